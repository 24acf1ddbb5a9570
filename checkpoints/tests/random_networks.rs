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
fn weights_with_gaps_between_bits_with_bits_by_tap_and_without_a_zero_are_drawn() {
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    let taps: Vec<u8> = (0..16).map(|tap| [5, 0, 2, 3][tap % 4]).collect();
    let mut plan = BitPlan::uniform(&arch, 2, 6);
    plan.layers.get_mut("layer1.0.conv1").unwrap().exponents = Some(vec![0, 2]);
    plan.layers.get_mut("layer1.0.conv2").unwrap().tap_bits = Some(taps.clone());
    plan.layers.get_mut("layer2.0.conv2").unwrap().mid_rise = true;
    let checkpoint = random::checkpoint(&arch, &plan, 1, &|_, _| {}).unwrap();
    let nodes = checkpoint.graph().nodes();
    let values = |name: &str, position: usize| -> BTreeSet<i64> {
        let node = nodes.iter().find(|node| node.name == name).unwrap();
        let Op::Conv(conv) = &node.op else { panic!("{name} is a convolution") };
        let codes = &checkpoint.weights().layers[name].codes;
        let of_position = codes.len() / conv.positions();
        let codes = &codes[position * of_position..][..of_position];
        codes.iter().map(|&code| conv.weight_value(position, code)).collect()
    };
    assert_eq!(Vec::from_iter(values("layer1.0.conv1", 3)), [-4, -3, 0, 1]);
    assert_eq!(Vec::from_iter(values("layer2.0.conv2", 3)), [-3, -1, 1, 3]);
    for (position, &bits) in taps.iter().enumerate() {
        let (values, half) = (values("layer1.0.conv2", position), 1 << bits >> 1);
        assert!(values.iter().all(|value| (-half..half.max(1)).contains(value)), "{position}: {values:?}");
        assert!(bits == 0 || values.len() > 1, "{position}: {values:?}");
    }
    let engine = checkpoint.engine();
    let images = random::images(9, 2, checkpoint.graph().shape(0));
    let logits: BTreeSet<_> =
        images.chunks(images.len() / 2).map(|image| engine.run(image).unwrap()).collect();
    assert_eq!(logits.len(), 2);
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
    for wrong in [vec![1, 0], vec![0, 0], vec![0, 22], (0..9).collect()] {
        let wrong = Some(wrong);
        assert_eq!(
            refused(&|plan| layer(plan, &|layer| layer.exponents = wrong.clone())),
            first("bit exponents")
        );
    }
    let few = Some(vec![2; 15]);
    assert_eq!(
        refused(&|plan| layer(plan, &|layer| layer.tap_bits = few.clone())),
        first("taps with bits of their own")
    );
    let mut grey = arch.clone();
    grey.nodes[0].op = ArchOp::Input { shape: [1, 32, 32] };
    assert!(random::checkpoint(&grey, &BitPlan::uniform(&arch, 4, 6), 1, &|_, _| {}).is_err());
    let strided = |plan: &mut BitPlan| {
        plan.layers.get_mut("layer2.0.conv1").unwrap().algorithm = F2x2;
    };
    assert_eq!(refused(&strided), ("layer2.0.conv1".to_owned(), "algorithm"));
}
