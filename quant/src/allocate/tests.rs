use eqo_checkpoints::arch::{ArchNode, Conv, Shortcut};
use eqo_checkpoints::winograd::Algorithm;
use proptest::prelude::*;

use super::*;
use crate::sensitivity::WeightChoice;

const CHOICES: usize = 3;
const BITS: [u8; 2] = [4, 6];

/// Stem, two convolutions beside a projection, so that the stem's activation has two readers, and a linear layer.
fn arch() -> Arch {
    let conv = |input: usize, shortcut: Option<usize>, relu: bool| {
        let shortcut = shortcut.map(|input| Shortcut { input, stride: 1, channel_offset: 0 });
        ArchOp::Conv(Conv {
            input,
            in_channels: 3,
            out_channels: 3,
            kernel: 3,
            stride: 1,
            padding: 1,
            bias: true,
            batch_norm: None,
            shortcut,
            relu,
        })
    };
    let nodes = [
        ("input", ArchOp::Input { shape: [3, 4, 4] }),
        ("stem", conv(0, None, true)),
        ("a", conv(1, None, true)),
        ("p", conv(1, None, false)),
        ("b", conv(2, Some(3), true)),
        ("pool", ArchOp::GlobalAvgPool { input: 4 }),
        ("linear", ArchOp::Linear { input: 5, in_features: 3, kernel: 1, out_features: 2, relu: false }),
    ];
    let nodes = nodes.map(|(name, op)| ArchNode { name: name.to_owned(), op });
    Arch { name: "test".to_owned(), nodes: nodes.into() }
}

/// Layers and prices from numbers, used up in order.
fn case(mut numbers: impl Iterator<Item = f64>) -> (Vec<LayerSensitivity>, Vec<LayerPrices>) {
    let mut next = || numbers.next().unwrap_or(0.5);
    let names = ["stem", "a", "p", "b", "linear"];
    let layer = |name: &&str, next: &mut dyn FnMut() -> f64| {
        let choice = |bits: u8, omega: f64| {
            let (algorithm, exponents, mid_rise) = (Algorithm::Direct, None, false);
            WeightChoice { algorithm, bits, tap_bits: None, exponents, mid_rise, error: omega, omega }
        };
        let weights = (0..CHOICES).map(|at| choice(2 + at as u8, next())).collect();
        let activations = (!["p", "linear"].contains(name)).then(|| BITS.map(|_| next()).to_vec());
        LayerSensitivity { layer: (*name).to_owned(), weights, activations }
    };
    let layers = names.iter().map(|name| layer(name, &mut next)).collect();
    let price = |next: &mut dyn FnMut() -> f64| Price { offline: next(), ..Price::default() };
    let prices = names.map(|_| {
        let of_choice =
            |next: &mut dyn FnMut() -> f64| BITS.map(|_| BITS.map(|_| price(next)).to_vec()).to_vec();
        (0..CHOICES).map(|_| of_choice(&mut next)).collect()
    });
    (layers, prices.into())
}

/// ΣΩ and cost of every combination.
fn all(layers: &[LayerSensitivity], prices: &[LayerPrices]) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    for combination in 0..CHOICES.pow(5) * BITS.len().pow(3) {
        let choice = |layer: u32| combination / CHOICES.pow(layer) % CHOICES;
        let bits = |tensor: u32| combination / CHOICES.pow(5) / BITS.len().pow(tensor) % BITS.len();
        let (mut omega, mut cost) = (0.0, 0.0);
        for (layer, [reads, writes]) in
            [[0, bits(0)], [bits(0), bits(1)], [bits(0), 0], [bits(1), bits(2)], [bits(2), 0]]
                .iter()
                .enumerate()
        {
            omega += layers[layer].weights[choice(layer as u32)].omega;
            omega += layers[layer].activations.as_ref().map_or(0.0, |omegas| omegas[*writes]);
            cost += prices[layer][choice(layer as u32)][*reads][*writes].total();
        }
        found.push((omega, cost));
    }
    found
}

fn menu() -> Menu {
    Menu {
        weight_bits: vec![2, 3, 4],
        act_bits: BITS.to_vec(),
        algorithms: vec![Algorithm::Direct],
        tap_bits: Vec::new(),
        reweight: false,
        ends: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn allocations_equal_the_best_of_all_combinations(
        numbers in prop::collection::vec(0.01..1.0_f64, 100),
        share in 0.0..1.0_f64,
    ) {
        let (layers, prices) = case(numbers.into_iter());
        let (arch, menu) = (arch(), menu());
        let cost = |price: &Price| price.total();
        let problem = Problem { arch: &arch, menu: &menu, layers: &layers, prices: &prices, cost: &cost };
        let combinations = all(&layers, &prices);
        for cost_is_bounded in [true, false] {
            let ordered = |&(omega, cost): &(f64, f64)| if cost_is_bounded { (omega, cost) } else { (cost, omega) };
            let (of, other) = (|pair: &(f64, f64)| ordered(pair).0, |pair: &(f64, f64)| ordered(pair).1);
            let bounds = combinations.iter().map(other).fold((f64::MAX, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
            let bound = bounds.0 + share * (bounds.1 - bounds.0) + 1e-9;
            let want = combinations.iter().filter(|c| other(c) <= bound).map(of).fold(f64::MAX, f64::min);
            let goal = if cost_is_bounded { Goal::Sensitivity(bound) } else { Goal::Cost(bound) };
            let found = problem.solve(goal).unwrap();
            prop_assert_eq!(found.gap, Some(0.0));
            let [relaxed, least] = [true, false].map(|relaxed| problem.search(goal, relaxed).unwrap().2);
            prop_assert!(relaxed <= least + 1e-6 && relaxed > 0.0);
            let pair = (found.omega, found.cost);
            prop_assert!((of(&pair) - want).abs() < 1e-6 && other(&pair) <= bound + 1e-6, "{:?} {} {}", pair, want, bound);
        }
    }
}

#[test]
fn a_budget_that_nothing_fits_is_an_error_that_says_what_to_do() {
    let (layers, prices) = case(std::iter::repeat(0.5));
    let (arch, menu) = (arch(), menu());
    let cost = |price: &Price| price.total();
    let problem = Problem { arch: &arch, menu: &menu, layers: &layers, prices: &prices, cost: &cost };
    let error = problem.solve(Goal::Sensitivity(0.1)).unwrap_err().to_string();
    assert!(error.contains("allow more"), "{error}");
}
