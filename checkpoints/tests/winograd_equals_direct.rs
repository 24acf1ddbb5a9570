//! With weights that are exactly `G w Gᵀ`, up to a factor that makes them integers, a Winograd convolution is the direct one
//! times that factor: through codes, tap shifts, tile transforms and rings of the engine.

#![expect(clippy::unwrap_used, reason = "an Err is a failed test")]

use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::graph::{Conv, Graph, Input, Node, Op, Output};
use eqo_checkpoints::range::fit_rings;
use eqo_checkpoints::weights::{LayerWeights, Weights};
use eqo_checkpoints::winograd::Algorithm;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Channels in and out.
const CHANNELS: [usize; 2] = [3, 2];

proptest! {
    #[test]
    fn winograd_of_integer_kernels_equals_the_direct_convolution(
        seed in any::<u64>(),
        height in 1_usize..14,
        width in 1_usize..14,
        padding in 0_usize..3,
        factor in prop::sample::select(vec![(Algorithm::F2x2, 2), (Algorithm::F4x4, 24), (Algorithm::P2x2, 1)]),
    ) {
        prop_assume!(height + 2 * padding >= 3 && width + 2 * padding >= 3);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kernels: Vec<i64> = (0..9 * CHANNELS[0] * CHANNELS[1]).map(|_| rng.random_range(-2..=2)).collect();
        let image: Vec<u8> = (0..CHANNELS[0] * height * width).map(|_| rng.random()).collect();
        let (algorithm, denominator) = factor;
        let geometry = [height, width, algorithm.transform().unwrap().stride(), padding];
        let run = |(codes, shifts): (Vec<i8>, Vec<u8>), algorithm| {
            engine(geometry, algorithm, codes, &shifts).run(&image).unwrap()
        };
        let direct = run((kernels.iter().map(|&w| w as i8).collect(), vec![0]), Algorithm::Direct);
        let scaled: Vec<i64> = direct.iter().map(|sum| sum * denominator * denominator).collect();
        prop_assert_eq!(run(taps(algorithm, denominator, &kernels), algorithm), scaled);
    }
}

/// Codes `[taps][out][in]` and shifts of `(d·G) w (d·G)ᵀ` for kernels `[9][out][in]`. Every tap is divided by the powers of two
/// in its two rows of d·G, its shift: then 8 bits hold the codes of kernels with elements up to 2.
fn taps(algorithm: Algorithm, denominator: i64, kernels: &[i64]) -> (Vec<i8>, Vec<u8>) {
    let rows: Vec<Vec<i64>> =
        algorithm.transform().unwrap().g.iter().map(|row| integers(row, denominator)).collect();
    let power = |row: &Vec<i64>| row.iter().map(|g| g.trailing_zeros()).min().unwrap();
    let pairs = kernels.len() / 9;
    let (mut codes, mut shifts) = (Vec::new(), Vec::new());
    for (a, b) in rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b))) {
        let shift = power(a) + power(b);
        for pair in 0..pairs {
            let sum: i64 = (0..9).map(|at| a[at / 3] * b[at % 3] * kernels[at * pairs + pair]).sum();
            codes.push(i8::try_from(sum >> shift).unwrap());
        }
        shifts.push(shift as u8);
    }
    (codes, shifts)
}

fn integers(row: &[f32], denominator: i64) -> Vec<i64> {
    row.iter().map(|g| (g * denominator as f32).round() as i64).collect()
}

/// One convolution of an image whose pixels are offset by 100, with accumulators as its output.
fn engine(
    [height, width, stride, padding]: [usize; 4],
    algorithm: Algorithm,
    codes: Vec<i8>,
    shifts: &[u8],
) -> Engine {
    let [in_channels, out_channels] = CHANNELS;
    let conv = Conv {
        input: 0,
        in_channels,
        out_channels,
        kernel: 3,
        stride,
        padding,
        algorithm,
        weight_exponents: vec![(0..8).collect()],
        weight_offset: 0,
        tap_shifts: shifts.iter().map(|&shift| vec![shift; out_channels]).collect(),
        shortcut: None,
        ring_bits: Vec::new(),
        output: Output::Accumulator,
    };
    let input = Input { height, width, offsets: vec![100; in_channels] };
    let nodes = [("input", Op::Input(input)), ("conv", Op::Conv(conv))];
    let nodes = nodes.map(|(name, op)| Node { name: name.to_owned(), op }).into();
    let classes = (0..out_channels).map(|class| class.to_string()).collect();
    let graph = Graph { name: "one".to_owned(), classes, logit_exponent: 0, nodes };
    let layer = LayerWeights { codes, bias: vec![0; out_channels] };
    let weights = Weights { layers: [("conv".to_owned(), layer)].into() };
    Engine::new(fit_rings(graph, &weights).unwrap(), &weights).unwrap()
}
