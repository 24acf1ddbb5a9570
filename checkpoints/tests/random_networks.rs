//! Networks of random weights behave as trained ones do, at any bits and depth.

use std::collections::BTreeSet;

use eqo_checkpoints::arch::{Arch, ArchOp};
use eqo_checkpoints::graph::{Conv, Op, Output};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::random;
use eqo_checkpoints::winograd::Algorithm::{self, Direct, F2x2, F4x4, P2x2};
use eqo_checkpoints::{Checkpoint, Error};

fn network(name: &str, bits: [u8; 2], tiles: Algorithm, seed: u64) -> Checkpoint {
    let arch = Arch::by_name(name, 10).expect("a known name");
    let plan = BitPlan::uniform(&arch, bits[0], bits[1]).with_tiles(&arch, tiles);
    random::checkpoint(&arch, &plan, seed, &|_, _| {}).expect("a plan that can be followed")
}

fn convs(checkpoint: &Checkpoint) -> impl Iterator<Item = (usize, &Conv)> {
    checkpoint.graph().nodes().iter().enumerate().filter_map(|(id, node)| match &node.op {
        Op::Conv(conv) => Some((id, conv)),
        Op::Input(_) | Op::MaxPool(_) | Op::SumPool { .. } => None,
    })
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_another() {
    let bytes = |seed| network("cifar-resnet8", [4, 6], F2x2, seed).to_bytes();
    assert!(bytes(1) == bytes(1) && bytes(1) != bytes(2));
}

#[test]
fn activations_neither_vanish_nor_saturate_and_logits_depend_on_the_image() {
    for (bits, tiles) in [
        ([2, 2], F2x2),
        ([2, 6], F4x4),
        ([2, 6], F2x2),
        ([2, 6], P2x2),
        ([3, 4], Direct),
        ([4, 6], F4x4),
        ([4, 6], F2x2),
        ([8, 8], Direct),
    ] {
        let checkpoint = network("cifar-resnet8-b", bits, tiles, 3);
        let engine = checkpoint.engine();
        let images = random::images(9, 3, checkpoint.graph().shape(0));
        let traces: Vec<_> =
            images.chunks(images.len() / 3).map(|image| engine.trace(image).unwrap()).collect();
        for (id, conv) in convs(&checkpoint) {
            let Output::Activation { bits: act_bits, .. } = conv.output else { continue };
            let values: Vec<i64> = traces.iter().flat_map(|trace| trace[id].values.clone()).collect();
            let share = |count: usize| count as f64 / values.len() as f64;
            let zero = share(values.iter().filter(|&&value| value == 0).count());
            let full = share(values.iter().filter(|&&value| value == (1 << act_bits) - 1).count());
            assert!(zero < 0.85 && full < 0.3, "{bits:?}, node {id}: {zero} zero, {full} full");
        }
        let logits: BTreeSet<_> = traces.iter().map(|trace| &trace.last().unwrap().values).collect();
        assert_eq!(logits.len(), 3, "{bits:?}");
    }
}

/// `eqo quantize configs/cifar10-resnet20-w4a6.toml` gave rings of at most 15 to 20 bits at 4-bit weights, 17.6 bits on
/// average over layers, and of at most 23 at 8-bit weights.
#[test]
fn rings_are_as_wide_as_those_of_a_trained_resnet20() {
    let checkpoint = network("cifar-resnet20", [4, 6], F2x2, 1);
    let mut means = Vec::new();
    for (id, conv) in convs(&checkpoint) {
        let eight = conv.mean_bits() == 8.0;
        let (low, high) = if eight { (21, 25) } else { (15, 20) };
        assert!((low..=high).contains(&conv.widest_ring()), "node {id}: {} bits", conv.widest_ring());
        let sum: f64 = conv.ring_bits.iter().copied().map(f64::from).sum();
        means.extend((!eight).then_some(sum / conv.ring_bits.len() as f64));
    }
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    assert!((16.6..18.6).contains(&mean), "{mean} bits");
}

#[test]
fn every_known_architecture_keeps_its_shapes_and_the_bits_of_its_plan() {
    for name in ["cifar-resnet8", "cifar-resnet8-b", "minionn"] {
        let (arch, checkpoint) = (Arch::by_name(name, 10).unwrap(), network(name, [2, 6], F2x2, 1));
        for (id, shape) in arch.shapes().into_iter().enumerate() {
            assert_eq!(checkpoint.graph().shape(id), shape, "{name}, node {id}");
        }
        let bits: Vec<f64> = convs(&checkpoint).map(|(_, conv)| conv.mean_bits()).collect();
        let (ends, inner) = ([bits[0], bits[bits.len() - 1]], &bits[1..bits.len() - 1]);
        assert!(ends == [8.0, 8.0] && inner.iter().all(|&bits| bits == 2.0), "{name}: {bits:?}");
    }
}

#[test]
fn plans_that_cannot_be_followed_are_refused_by_layer() {
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    let refused = |change: &dyn Fn(&mut BitPlan)| {
        let mut plan = BitPlan::uniform(&arch, 4, 6);
        change(&mut plan);
        match random::checkpoint(&arch, &plan, 1, &|_, _| {}) {
            Err(Error::Node { node, what, .. }) => (node, what),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    };
    let first = |what| ("conv1".to_owned(), what);
    let layer = |plan: &mut BitPlan, change: &dyn Fn(&mut eqo_checkpoints::plan::LayerPlan)| {
        change(plan.layers.get_mut("conv1").unwrap());
    };
    assert_eq!(refused(&|plan| drop(plan.layers.remove("conv1"))), first("plan"));
    assert_eq!(refused(&|plan| layer(plan, &|layer| layer.weight_bits = 9)), first("weight bits"));
    assert_eq!(refused(&|plan| layer(plan, &|layer| layer.act_bits = 1)), first("activation bits"));
    let gaps = Some(vec![0, 1, 2, 3, 4, 5, 6, 9]);
    assert_eq!(refused(&|plan| layer(plan, &|layer| layer.exponents = gaps.clone())), first("bit exponents"));
    let mut grey = arch.clone();
    grey.nodes[0].op = ArchOp::Input { shape: [1, 32, 32] };
    assert!(random::checkpoint(&grey, &BitPlan::uniform(&arch, 4, 6), 1, &|_, _| {}).is_err());
    let strided = |plan: &mut BitPlan| {
        plan.layers.get_mut("layer2.0.conv1").unwrap().algorithm = F2x2;
    };
    assert_eq!(refused(&strided), ("layer2.0.conv1".to_owned(), "algorithm"));
}
