//! Writing: a deterministic safetensors file, put in place by a rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorInfo;
use serde::Serialize;

use super::{Checkpoint, TensorSpec, VERSION, convolutions, tensors_of, weights_hash};
use crate::Error;

/// An entry of the file's header. The safetensors crate writes the metadata in random order; this order is fixed.
#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry {
    Metadata(BTreeMap<&'static str, String>),
    Tensor(TensorInfo),
}

pub(super) fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    let tensors = tensors(checkpoint);
    let mut header = BTreeMap::new();
    header.insert("__metadata__", HeaderEntry::Metadata(metadata(checkpoint, weights_hash(&tensors))));
    // Widest type first keeps the int64 biases aligned, as the safetensors crate does.
    let mut ordered: Vec<_> = tensors.values().collect();
    ordered.sort_by_key(|(spec, _)| std::cmp::Reverse(spec.dtype));
    let mut data = Vec::new();
    for (spec, values) in ordered {
        let start = data.len();
        data.extend_from_slice(values);
        let info =
            TensorInfo { dtype: spec.dtype, shape: spec.shape.clone(), data_offsets: (start, data.len()) };
        header.insert(&spec.name, HeaderEntry::Tensor(info));
    }
    // Serialization fails for maps with other keys than strings and for failing writers; the header has neither.
    let mut header = serde_json::to_vec(&header).unwrap_or_default();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat()
}

fn metadata(checkpoint: &Checkpoint, weights_blake3: String) -> BTreeMap<&'static str, String> {
    let Checkpoint { graph, metadata, .. } = checkpoint;
    BTreeMap::from([
        ("format", "eqo".to_owned()),
        ("version", VERSION.to_owned()),
        ("graph", graph.graph().to_json()),
        ("graph_blake3", blake3::Hash::from(graph.graph_hash()).to_hex().to_string()),
        ("recipe", metadata.recipe.clone()),
        ("dataset", metadata.dataset.clone()),
        ("seed", metadata.seed.to_string()),
        ("accuracy", metadata.accuracy.map_or_else(String::new, |accuracy| accuracy.to_string())),
        ("weights_blake3", weights_blake3),
    ])
}

fn tensors(checkpoint: &Checkpoint) -> BTreeMap<String, (TensorSpec, Vec<u8>)> {
    let mut tensors = BTreeMap::new();
    for (name, conv) in convolutions(&checkpoint.graph) {
        let Some(layer) = checkpoint.weights.layers.get(name) else { continue };
        let [codes, bias] = tensors_of(name, conv);
        let code_bytes = layer.codes.iter().map(|&code| code as u8).collect();
        let bias_bytes = layer.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        tensors.insert(codes.name.clone(), (codes, code_bytes));
        tensors.insert(bias.name.clone(), (bias, bias_bytes));
    }
    tensors
}

pub(super) fn file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let placed = write_part(&part, bytes)
        .map_err(|source| Error::Io { path: part.clone(), action: "write", source })
        .and_then(|()| {
            fs::rename(&part, path).map_err(|source| Error::Io {
                path: path.to_owned(),
                action: "rename",
                source,
            })
        });
    if placed.is_err() {
        // The first error is the one to report; a part that can't be removed does no harm.
        let _ = fs::remove_file(&part);
    }
    placed
}

fn write_part(part: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(part)?;
    file.write_all(bytes)?;
    file.sync_all()
}
