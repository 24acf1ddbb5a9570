//! Bits of their own for every tap of a Winograd layer.
//!
//! The taps that see low frequencies, above all the one that sees the tile's mean, carry most of what the loss minds: their
//! second derivatives are up to thousands of times those of the corners, because activations behind a ReLU are smooth and
//! positive. A bit more there is worth more than a bit less everywhere else, and costs as much at every tap.

use eqo_checkpoints::winograd::Algorithm;

use super::{LayerSensitivity, Menu, Sensitivity, Step, WeightChoice, tiled_layers, uniform};
use crate::Error;

/// Most bits of a tap. Codes are mid-rise, so that one bit has two values of opposite sign; without any a tap is 0.
pub(super) const MOST_BITS: u8 = 8;

/// Power of a tap's Ω at no bits by which bits are shared out. A fine-tune makes up for more of what large taps lose, so they get a
/// little less than Ω itself would give them: of 1, 0.75 and 0.5 this left the least loss after one (docs/planning.md), and it costs
/// 6% of Ω.
const TEMPER: f64 = 0.75;

impl Sensitivity<'_> {
    /// Adds the best choice of every mean of [`Menu::tap_bits`] to all layers that may have this algorithm.
    pub(super) fn add_tap_bits(
        &self,
        layers: &mut [LayerSensitivity],
        menu: &Menu,
        algorithm: Algorithm,
        progress: Step<'_>,
    ) -> Result<(), Error> {
        if algorithm.transform().is_none() {
            return Ok(());
        }
        let mut errors = Vec::new();
        for bits in 1..=MOST_BITS {
            progress(bits.into(), MOST_BITS.into())?;
            let net = self.replan(&uniform(self.net.arch(), algorithm, bits, &(None, true)))?;
            if errors.is_empty() {
                errors.push(net.tap_squares());
            }
            errors.push(net.rounding_errors());
        }
        let (tiled, last) = (tiled_layers(self.net.arch()), layers.len().saturating_sub(1));
        let free = |index: usize| tiled[index] && (menu.ends.is_none() || (index != 0 && index != last));
        for (index, layer) in layers.iter_mut().enumerate().filter(|(index, _)| free(*index)) {
            let Some(traces) = self.taps.get(algorithm.name()) else { continue };
            let means: Vec<f64> =
                traces.layers[index].tap_means().into_iter().map(|mean| mean.max(0.0)).collect();
            let of_layer: Vec<&Vec<f64>> = errors.iter().map(|layers| &layers[index]).collect();
            layer
                .weights
                .extend(menu.tap_bits.iter().map(|&mean| choice(algorithm, mean, &means, &of_layer)));
        }
        Ok(())
    }
}

/// The choice of `mean` bits a tap with about the least Ω, for squared errors `[bits][tap]` and second derivatives by tap.
fn choice(algorithm: Algorithm, mean: f64, derivatives: &[f64], errors: &[&Vec<f64>]) -> WeightChoice {
    let omega = |tap: usize, bits: u8| derivatives[tap] * errors[usize::from(bits)][tap];
    let total = (mean * derivatives.len() as f64).round() as usize;
    let tempered = |tap: usize, bits: u8| match omega(tap, 0) {
        whole if whole > 0.0 => omega(tap, bits) * whole.powf(TEMPER - 1.0),
        _ => 0.0,
    };
    let bits = allocate(derivatives.len(), total, &tempered);
    let each =
        |of: &dyn Fn(usize, u8) -> f64| bits.iter().enumerate().map(|(tap, &bits)| of(tap, bits)).sum();
    WeightChoice {
        algorithm,
        bits: bits.iter().copied().max().unwrap_or(1),
        exponents: None,
        mid_rise: true,
        error: each(&|tap, bits| errors[usize::from(bits)][tap]),
        omega: each(&omega),
        tap_bits: Some(bits),
    }
}

/// Bits of every tap, `total` in all, of least `Σ omega(tap, bits)`: bit by bit to the tap that gains most, which is best as a
/// tap's Ω falls more slowly with every bit.
fn allocate(taps: usize, total: usize, omega: &dyn Fn(usize, u8) -> f64) -> Vec<u8> {
    let mut bits = vec![0; taps];
    for _ in 0..total {
        let gain = |tap: usize| omega(tap, bits[tap]) - omega(tap, bits[tap] + 1);
        let open = (0..taps).filter(|&tap| bits[tap] < MOST_BITS);
        let Some(best) = open.max_by(|&a, &b| gain(a).total_cmp(&gain(b))) else { break };
        bits[best] += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_of_taps_are_the_best_of_all_for_that_total(
            scales in prop::collection::vec(0.001..1.0_f64, 4),
            total in 1..=16_usize,
        ) {
            // Rounding errors fall to a quarter or so with every bit.
            let omega = |tap: usize, bits: u8| scales[tap] * 4.0_f64.powi(-i32::from(bits));
            let sum = |bits: &[u8]| bits.iter().enumerate().map(|(tap, &bits)| omega(tap, bits)).sum::<f64>();
            let found = allocate(4, total, &omega);
            prop_assert_eq!(found.iter().map(|&bits| usize::from(bits)).sum::<usize>(), total);
            let all = (0..9_u32.pow(4)).map(|code| [0, 1, 2, 3].map(|tap| (code / 9_u32.pow(tap) % 9) as u8));
            let same = all.filter(|bits| bits.iter().map(|&bits| usize::from(bits)).sum::<usize>() == total);
            let best = same.map(|bits| sum(&bits)).fold(f64::MAX, f64::min);
            prop_assert!((sum(&found) - best).abs() < 1e-12);
        }
    }
}
