//! Reading: every fact of the file is checked before anything is made from it.

use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::unique::UniqueKeys;
use super::{Checkpoint, MAX_FILE, Metadata, TensorSpec, VERSION, convolutions, tensors_of, weights_hash};
use crate::Error;
use crate::graph::{CheckedGraph, Graph};
use crate::weights::{LayerWeights, Weights};

type Fields = HashMap<String, String>;
type Tensors = BTreeMap<String, (TensorSpec, Vec<u8>)>;

/// Reads a checkpoint; `file` is what errors call it.
pub(super) fn checkpoint(file: &str, bytes: &[u8]) -> Result<Checkpoint, Error> {
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::file(file, "size", format!("at most {MAX_FILE} bytes"), "more", NEXT));
    }
    let broken = |fault: &dyn std::fmt::Display| Error::file(file, "structure", "safetensors", fault, NEXT);
    let (header_len, header) = SafeTensors::read_metadata(bytes).map_err(|fault| broken(&fault))?;
    serde_json::from_slice::<UniqueKeys>(&bytes[8..8 + header_len]).map_err(|fault| broken(&fault))?;
    let fields = header.metadata().clone().unwrap_or_default();
    require(file, &fields, "format", "eqo")?;
    require(file, &fields, "version", VERSION)?;
    let graph = graph(file, &fields)?;
    let metadata = metadata(file, &fields)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|fault| broken(&fault))?;
    let tensors = tensors.iter().map(|(name, view)| tensor(name, &view)).collect();
    let weights = weights(file, &graph, &tensors)?;
    require(file, &fields, "weights_blake3", &weights_hash(&tensors))?;
    Checkpoint::new(graph, weights, metadata).map_err(|fault| fault.in_file(file))
}

fn graph(file: &str, fields: &Fields) -> Result<CheckedGraph, Error> {
    let json = field(file, fields, "graph")?;
    require(file, fields, "graph_blake3", blake3::hash(json.as_bytes()).to_hex().as_str())?;
    Graph::from_json(json.as_bytes()).and_then(Graph::check).map_err(|fault| fault.in_file(file))
}

fn metadata(file: &str, fields: &Fields) -> Result<Metadata, Error> {
    let seed = field(file, fields, "seed")?;
    let accuracy = field(file, fields, "accuracy")?;
    Ok(Metadata {
        recipe: field(file, fields, "recipe")?.to_owned(),
        dataset: field(file, fields, "dataset")?.to_owned(),
        seed: seed
            .parse()
            .map_err(|_| Error::file(file, "metadata seed", "an unsigned integer", seed, NEXT))?,
        accuracy: match accuracy.parse::<f64>() {
            _ if accuracy.is_empty() => None,
            Ok(share) if (0.0..=1.0).contains(&share) => Some(share),
            _ => return Err(Error::file(file, "metadata accuracy", "empty or 0 to 1", accuracy, NEXT)),
        },
    })
}

fn field<'a>(file: &str, fields: &'a Fields, key: &str) -> Result<&'a str, Error> {
    fields
        .get(key)
        .map(String::as_str)
        .ok_or_else(|| Error::file(file, format!("metadata {key}"), "a value", "none", NEXT))
}

fn require(file: &str, fields: &Fields, key: &str, expected: &str) -> Result<(), Error> {
    let found = field(file, fields, key)?;
    if found == expected {
        return Ok(());
    }
    let found: String = found.chars().take(80).collect();
    Err(Error::file(file, format!("metadata {key}"), expected, found, NEXT))
}

fn tensor(name: &str, view: &TensorView<'_>) -> (String, (TensorSpec, Vec<u8>)) {
    let spec = TensorSpec { name: name.to_owned(), dtype: view.dtype(), shape: view.shape().to_vec() };
    (name.to_owned(), (spec, view.data().to_vec()))
}

fn weights(file: &str, graph: &CheckedGraph, tensors: &Tensors) -> Result<Weights, Error> {
    let mut weights = Weights::default();
    for (node, conv) in convolutions(graph) {
        let [codes, bias] = tensors_of(node, conv);
        let codes = data(file, tensors, &codes)?.iter().map(|&byte| byte as i8).collect();
        let (words, _) = data(file, tensors, &bias)?.as_chunks::<8>();
        let bias = words.iter().map(|&word| i64::from_le_bytes(word)).collect();
        weights.layers.insert(node.to_owned(), LayerWeights { codes, bias });
    }
    let expected = 2 * weights.layers.len();
    if tensors.len() != expected {
        let known: Vec<_> = convolutions(graph)
            .flat_map(|(node, conv)| tensors_of(node, conv))
            .map(|spec| spec.name)
            .collect();
        let extra = tensors.keys().find(|name| !known.contains(name)).map_or("", String::as_str);
        return Err(Error::file(file, "tensors", format!("the {expected} of the graph"), extra, NEXT));
    }
    Ok(weights)
}

fn data<'a>(file: &str, tensors: &'a Tensors, expected: &TensorSpec) -> Result<&'a [u8], Error> {
    let what = format!("tensor {}", expected.name);
    let describe = |spec: &TensorSpec| format!("{} {:?}", spec.dtype, spec.shape);
    match tensors.get(&expected.name) {
        Some((spec, data)) if spec == expected => Ok(data),
        Some((spec, _)) => Err(Error::file(file, what, describe(expected), describe(spec), NEXT)),
        None => Err(Error::file(file, what, describe(expected), "none", NEXT)),
    }
}

const NEXT: &str = "Export it again with `eqo quantize`, or copy it again if it was damaged on the way.";
