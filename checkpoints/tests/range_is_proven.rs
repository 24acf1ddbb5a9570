//! Bounds are never exceeded, attained by the right input, and rings one bit smaller are refused.

use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::graph::{Conv, Graph, Input, Node, Op, Output};
use eqo_checkpoints::range::{NodeRange, fit_rings, needed_ring_bits, prove};
use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_checkpoints::weights::{LayerWeights, Weights};
use eqo_checkpoints::winograd::Algorithm;
use proptest::prelude::*;

proptest! {
    #[test]
    fn accumulators_and_sums_stay_within_their_bounds(seed in any::<u64>()) {
        let checkpoint = random_checkpoint(seed, &Spec::random(seed));
        let ranges = prove(checkpoint.graph(), checkpoint.weights()).unwrap();
        let engine = checkpoint.engine();
        let tensors = engine.trace(&random_image(seed, &checkpoint)).unwrap();
        for ((node, range), tensor) in checkpoint.graph().nodes().iter().zip(&ranges).zip(&tensors) {
            if matches!(&node.op, Op::Conv(Conv { output: Output::Activation { .. }, .. })) {
                continue;
            }
            let plane = tensor.values.len() / range.bounds.len();
            for (values, &(low, high)) in tensor.values.chunks(plane).zip(&range.bounds) {
                prop_assert!(values.iter().all(|v| (low..=high).contains(v)), "seed {seed}, {}", node.name);
            }
        }
    }

    #[test]
    fn a_single_convolution_attains_both_bounds(
        algorithm in prop::sample::select(vec![Algorithm::F2x2, Algorithm::F4x4, Algorithm::P2x2]),
        codes in prop::collection::vec(-8_i8..8, 36 * 2),
        shifts in prop::collection::vec(0_u8..4, 36),
        offsets in prop::collection::vec(0_i16..=255, 2),
        bias in -1000_i64..1000,
    ) {
        // One tile on an image of its size without padding: every pixel counts once, no output is near an edge.
        let layer = LayerWeights { codes: codes[..2 * algorithm.taps()].to_vec(), bias: vec![bias] };
        let (graph, weights) = one_convolution(algorithm, layer, &shifts[..algorithm.taps()], &offsets);
        let range = prove(&graph, &weights).unwrap().pop().unwrap();
        let engine = Engine::new(graph, &weights).unwrap();
        prop_assert_eq!(extremes(&engine), range.bounds[0]);
    }
}

#[test]
fn a_ring_one_bit_too_small_is_refused_and_named() {
    let checkpoint = random_checkpoint(11, &Spec::every_kind());
    let ranges = prove(checkpoint.graph(), checkpoint.weights()).unwrap();
    let mut refused = 0;
    for (id, NodeRange { needed_bits, .. }) in ranges.iter().enumerate() {
        for (channel, &needed) in needed_bits.iter().enumerate() {
            let mut graph = checkpoint.graph().graph().clone();
            let Op::Conv(conv) = &mut graph.nodes[id].op else { unreachable!() };
            conv.ring_bits[channel] = needed - 1;
            let name = graph.nodes[id].name.clone();
            // Some rings can't shrink because a shift needs them; the structural check says so.
            let Ok(graph) = graph.check() else { continue };
            let error = prove(&graph, checkpoint.weights()).unwrap_err().to_string();
            let words = [format!("node {name}:"), format!("{needed} bits for channel {channel}")];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 10, "only {refused} rings were tight");
}

#[test]
fn requantization_needs_room_for_its_constants() {
    // a = 2, s = 3: y - 2^5 >= -2^(l-1) and y + 2^2 < 2^(l-1).
    let output = Output::Activation { bits: 2, shifts: vec![3] };
    for bits in 7..=62_u8 {
        let half = 1_i128 << (bits - 1);
        assert_eq!(needed_ring_bits(&output, 0, (-half + 32, 0)), Some(bits));
        assert_eq!(needed_ring_bits(&output, 0, (-half + 31, 0)), (bits < 62).then_some(bits + 1));
        assert_eq!(needed_ring_bits(&output, 0, (0, half - 5)), Some(bits));
        assert_eq!(needed_ring_bits(&output, 0, (0, half - 4)), (bits < 62).then_some(bits + 1));
    }
}

#[test]
fn accumulators_beyond_62_bits_are_refused_without_overflow() {
    let layer = LayerWeights { codes: vec![-8; 32], bias: vec![0] };
    let (graph, mut weights) = one_convolution(Algorithm::F2x2, layer, &[0; 16], &[0, 255]);
    for bias in [i64::MIN, i64::MAX, 1 << 61] {
        weights.layers.values_mut().for_each(|layer| layer.bias = vec![bias]);
        let error = fit_rings(graph.graph().clone(), &weights).err().unwrap().to_string();
        assert!(error.contains("node conv") && error.contains("62 bits in channel 0"), "{error}");
    }
}

#[test]
fn weights_that_do_not_match_the_graph_are_refused() {
    let checkpoint = random_checkpoint(5, &Spec::every_kind());
    type Damage = fn(&mut Weights);
    let broken: [(&str, Damage); 5] = [
        ("weight codes", |w| w.layers.values_mut().for_each(|layer| layer.codes.truncate(1))),
        ("biases", |w| w.layers.values_mut().for_each(|layer| layer.bias.push(0))),
        ("weight code:", |w| w.layers.values_mut().for_each(|layer| layer.codes.fill(127))),
        ("found none", |w| drop(w.layers.pop_first())),
        ("stranger", |w| {
            let (_, layer) = w.clone().layers.pop_first().unwrap();
            drop(w.layers.insert("stranger".to_owned(), layer));
        }),
    ];
    for (word, damage) in broken {
        let mut weights = checkpoint.weights().clone();
        damage(&mut weights);
        let error = prove(checkpoint.graph(), &weights).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

fn one_convolution(
    algorithm: Algorithm,
    layer: LayerWeights,
    shifts: &[u8],
    offsets: &[i16],
) -> (eqo_checkpoints::graph::CheckedGraph, Weights) {
    let conv = Conv {
        input: 0,
        in_channels: offsets.len(),
        out_channels: 1,
        kernel: 3,
        stride: algorithm.transform().map_or(1, |transform| transform.stride()),
        padding: 0,
        algorithm,
        weight_exponents: vec![(0..4).collect()],
        weight_offset: 0,
        tap_shifts: shifts.iter().map(|&shift| vec![shift]).collect(),
        shortcut: None,
        ring_bits: vec![0],
        output: Output::Accumulator,
    };
    let side = shifts.len().isqrt();
    let input = Input { height: side, width: side, offsets: offsets.to_vec() };
    let nodes = vec![
        Node { name: "input".to_owned(), op: Op::Input(input) },
        Node { name: "conv".to_owned(), op: Op::Conv(conv) },
    ];
    let graph = Graph { name: "one".to_owned(), classes: vec!["only".to_owned()], logit_exponent: 0, nodes };
    let weights = Weights { layers: [("conv".to_owned(), layer)].into() };
    let graph = match fit_rings(graph, &weights) {
        Ok(graph) => graph,
        Err(error) => panic!("{error}"),
    };
    (graph, weights)
}

/// Smallest and largest output the engine can be made to give, found by a black-box search: the kernel of each output
/// is read off by unit images, then every pixel goes to the end its sign asks for.
fn extremes(engine: &Engine) -> (i64, i64) {
    let run = |image: &[u8]| engine.run(image).expect("an image of the graph's shape");
    let dark = vec![0_u8; engine.graph().shape(0).iter().product()];
    let base = run(&dark);
    let mut worst = (i64::MAX, i64::MIN);
    for (output, base) in base.iter().enumerate() {
        let (mut low, mut high) = (dark.clone(), dark.clone());
        for pixel in 0..dark.len() {
            let mut image = dark.clone();
            image[pixel] = 1;
            let end = if run(&image)[output] > *base { &mut high } else { &mut low };
            end[pixel] = 255;
        }
        worst.0 = worst.0.min(run(&low)[output]);
        worst.1 = worst.1.max(run(&high)[output]);
    }
    worst
}
