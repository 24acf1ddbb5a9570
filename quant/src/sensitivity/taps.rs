//! Bits of their own for every tap of a Winograd layer.
//!
//! The taps that see low frequencies, above all the one that sees the tile's mean, carry most of what the loss minds: their Ω is
//! up to a thousand times that of the corners, because activations behind a ReLU are smooth and
//! positive. A bit more there is worth more than a bit less everywhere else, and costs as much at every tap.

use eqo_checkpoints::winograd::Algorithm;

use super::{LayerSensitivity, Menu, Sensitivity, Step, WeightChoice, newly_arranged, uniform};
use crate::Error;

/// Most bits of a tap. Codes are mid-rise, so that one bit has two values of opposite sign; without any a tap is 0.
pub(super) const MOST_BITS: u8 = 8;

/// Power of a tap's Ω at no bits by which bits are shared out. A fine-tune makes up for more of what large taps lose, so they get a
/// little less than Ω itself would give them: of 1, 0.75 and 0.5 this left the least loss after one (docs/planning.md), and it costs
/// 6% of Ω.
const TEMPER: f64 = 0.75;

/// Least second derivative of a tap in that, as a share of its layer's mean.
const SMALLEST: f64 = 1e-4;

impl Sensitivity<'_> {
    /// Adds the best choice of every mean of [`Menu::tap_bits`] to the Winograd layers of this algorithm's network.
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
        let (arch, last) = (self.net.arch(), layers.len().saturating_sub(1));
        let arranged = newly_arranged(arch, &menu.algorithms, algorithm).into_iter().enumerate();
        let free = |index: usize| menu.ends.is_none() || (index != 0 && index != last);
        for (index, algorithm) in arranged.filter(|(index, _)| free(*index)) {
            let Some(algorithm) = algorithm.filter(|own| own.transform().is_some()) else { continue };
            let Some(means) = self.derivatives(index, algorithm.taps()) else { continue };
            let layer = &mut layers[index];
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
    let error = |tap: usize, bits: u8| errors[usize::from(bits)][tap];
    let taps = derivatives.len();
    // An estimate by products may be negative for a small tap, which isn't free for that.
    let least = SMALLEST * derivatives.iter().sum::<f64>() / taps as f64;
    let weight = |tap: usize| match derivatives[tap].max(least) * error(tap, 0) {
        whole if whole > 0.0 => whole.powf(TEMPER) / error(tap, 0),
        _ => f64::MIN_POSITIVE,
    };
    let weights: Vec<f64> = (0..taps).map(weight).collect();
    let total = (mean * taps as f64).round() as usize;
    let bits = allocate(taps, total, &|tap, bits| weights[tap] * error(tap, bits));
    let each =
        |of: &dyn Fn(usize, u8) -> f64| bits.iter().enumerate().map(|(tap, &bits)| of(tap, bits)).sum();
    WeightChoice {
        algorithm,
        bits: bits.iter().copied().max().unwrap_or(1),
        exponents: None,
        mid_rise: true,
        error: each(&error),
        omega: each(&|tap, bits| derivatives[tap] * error(tap, bits)),
        tap_bits: Some(bits),
    }
}

/// Bits of every tap, `total` in all, of least `Σ loss(tap, bits)`: tap by tap, the best for every number of bits spent so far.
fn allocate(taps: usize, total: usize, loss: &dyn Fn(usize, u8) -> f64) -> Vec<u8> {
    let total = total.min(taps * usize::from(MOST_BITS));
    let mut best: Vec<Option<(f64, Vec<u8>)>> = vec![None; total + 1];
    best[0] = Some((0.0, Vec::new()));
    for tap in 0..taps {
        let spend = |spent: usize| {
            let ways = (0..=MOST_BITS.min(spent.try_into().unwrap_or(MOST_BITS))).filter_map(|bits| {
                let (sum, before) = best[spent - usize::from(bits)].as_ref()?;
                Some((sum + loss(tap, bits), bits, before))
            });
            let (sum, bits, before) = ways.min_by(|a, b| a.0.total_cmp(&b.0))?;
            Some((sum, [before.as_slice(), &[bits]].concat()))
        };
        best = (0..=total).map(spend).collect();
    }
    best.pop().flatten().map_or_else(|| vec![0; taps], |(_, bits)| bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_of_taps_are_the_best_of_all_for_that_total(
            losses in prop::collection::vec(prop::collection::vec(0.0..1.0_f64, 9), 4),
            total in 1..=16_usize,
        ) {
            let loss = |tap: usize, bits: u8| losses[tap][usize::from(bits)];
            let sum = |bits: &[u8]| bits.iter().enumerate().map(|(tap, &bits)| loss(tap, bits)).sum::<f64>();
            let found = allocate(4, total, &loss);
            prop_assert_eq!(found.iter().map(|&bits| usize::from(bits)).sum::<usize>(), total);
            let all = (0..9_u32.pow(4)).map(|code| [0, 1, 2, 3].map(|tap| (code / 9_u32.pow(tap) % 9) as u8));
            let same = all.filter(|bits| bits.iter().map(|&bits| usize::from(bits)).sum::<usize>() == total);
            let best = same.map(|bits| sum(&bits)).fold(f64::MAX, f64::min);
            prop_assert!((sum(&found) - best).abs() < 1e-12);
        }
    }

    #[test]
    fn a_tap_whose_estimate_is_negative_and_a_layer_without_any_get_bits_too() {
        let errors: Vec<Vec<f64>> = (0..=8).map(|bits| vec![4.0_f64.powi(-bits); 4]).collect();
        let errors: Vec<&Vec<f64>> = errors.iter().collect();
        let bits = |mean: f64, derivatives: &[f64]| {
            choice(Algorithm::F2x2, mean, derivatives, &errors).tap_bits.unwrap()
        };
        assert!(bits(5.0, &[1.0, 1.0, 1.0, 0.0])[3] >= 1);
        assert_eq!(bits(3.0, &[0.0; 4]).iter().sum::<u8>(), 12);
        assert_eq!(bits(3.0, &[1.0; 4]), [3; 4]);
    }
}
