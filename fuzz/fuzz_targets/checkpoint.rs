//! The checkpoint reader: raw files, and files whose checksums fit whatever the graph and the tensors are.

#![no_main]

use std::collections::{BTreeMap, HashMap};

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::graph::{CheckedGraph, Graph, Op};
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_checkpoints::winograd::Algorithm;
use eqo_fuzz::plant;
use libfuzzer_sys::fuzz_target;
use safetensors::tensor::{Dtype, TensorView};

/// Weights of a forged file, at most: a reader takes as long as they are many.
const MOST_CODES: usize = 1 << 14;

fn seeds() -> Vec<Vec<u8>> {
    let small = [Spec::new([1, 4, 4], 2, vec![]), Spec::every_kind(), Spec::pools()];
    let specs = small.into_iter().chain((0..6).map(Spec::random)).enumerate();
    let both = |(seed, spec): (usize, Spec)| {
        let checkpoint = random_checkpoint(seed as u64, &spec);
        let json = checkpoint.graph().graph().to_json();
        [[&[0], &checkpoint.to_bytes()[..]].concat(), [&[1], json.as_bytes(), &[0, 3, 250, 1, 0, 9]].concat()]
    };
    specs.flat_map(both).collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let forged = match kind % 2 {
        0 => Some(data.to_vec()),
        _ => forge(data),
    };
    let Some(bytes) = forged else { return };
    let Ok(checkpoint) = Checkpoint::read_bytes(&bytes) else { return };
    let again = Checkpoint::read_bytes(&checkpoint.to_bytes()).expect("what is written can be read");
    assert!(again == checkpoint);
    let graph = checkpoint.graph();
    let values: usize = (0..graph.nodes().len()).map(|id| graph.shape(id).iter().product::<usize>()).sum();
    if values < 1 << 12 {
        let pixels = graph.shape(0).iter().product();
        let logits = checkpoint.engine().run(&vec![200; pixels]).expect("a proven network runs");
        assert_eq!(logits.len(), graph.graph().classes.len());
    }
});

/// A file whose graph is what comes before the first zero byte, and whose tensors are made of what comes behind it.
fn forge(data: &[u8]) -> Option<Vec<u8>> {
    let end = data.iter().position(|&byte| byte == 0)?;
    let (json, mut material) = (&data[..end], data[end + 1..].iter().cycle());
    let graph = Graph::from_json(json).and_then(Graph::check).ok()?;
    let shapes = tensors(&graph);
    if shapes.values().map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>() > MOST_CODES {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    let mut data = BTreeMap::new();
    for (name, (dtype, shape)) in &shapes {
        let count = shape.iter().product::<usize>();
        let bytes: Vec<u8> = match dtype {
            Dtype::I64 => (0..count).flat_map(|_| i64::from(next(&mut material)).to_le_bytes()).collect(),
            _ => (0..count).map(|_| next(&mut material) as u8).collect(),
        };
        let shape_text = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        for text in [name, &dtype.to_string(), &shape_text] {
            hasher.update(text.as_bytes()).update(&[0]);
        }
        hasher.update(&bytes);
        data.insert(name.clone(), bytes);
    }
    let text = std::str::from_utf8(json).ok()?;
    let fields = [
        ("format", "eqo"),
        ("version", "1"),
        ("graph", text),
        ("graph_blake3", blake3::hash(json).to_hex().as_str()),
        ("weights_blake3", hasher.finalize().to_hex().as_str()),
        ("recipe", ""),
        ("dataset", "fuzz"),
        ("seed", "1"),
        ("accuracy", ""),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let view = |(name, bytes): (&String, _)| {
        let (dtype, shape) = &shapes[name];
        Some((name.clone(), TensorView::new(*dtype, shape.clone(), bytes).ok()?))
    };
    let views: Vec<_> = data.iter().map(|(name, bytes)| (name, bytes.as_slice())).filter_map(view).collect();
    safetensors::serialize(views, Some(HashMap::from(fields))).ok()
}

fn next<'a>(material: &mut impl Iterator<Item = &'a u8>) -> i8 {
    material.next().copied().unwrap_or(0) as i8
}

/// Types and shapes that a file of this graph must have.
fn tensors(graph: &CheckedGraph) -> BTreeMap<String, (Dtype, Vec<usize>)> {
    let mut tensors = BTreeMap::new();
    for node in graph.nodes() {
        let Op::Conv(conv) = &node.op else { continue };
        let kind = if conv.algorithm == Algorithm::Direct { "w" } else { "u" };
        let codes = vec![conv.positions(), conv.out_channels, conv.in_channels];
        tensors.insert(format!("{}.{kind}", node.name), (Dtype::I8, codes));
        tensors.insert(format!("{}.bias", node.name), (Dtype::I64, vec![conv.out_channels]));
    }
    tensors
}
