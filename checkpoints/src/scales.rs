//! The exponent bookkeeping of a quantized layer: what the fake quantizer rounds at and what the integer graph shifts by.
//!
//! Every scale is a power of two; node values are `integer · 2^exponent` (DESIGN §2). One function, so that training,
//! lowering and networks of random weights can't disagree.

use crate::Error;

/// Exponents that meet in one layer.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    /// Of the weight codes, `[taps][out]`; direct convolution has one tap.
    pub weight: &'a [Vec<i32>],
    /// Of the input.
    pub input: i32,
    /// Of the activation the layer ends in; `None` if it ends in its accumulator.
    pub output: Option<i32>,
    /// Of the residual, `[out]`.
    pub shortcut: Option<&'a [i32]>,
}

/// The accumulator's exponents and every shift to and from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerScales {
    /// Exponent of the accumulator, `[out]`.
    pub acc: Vec<i32>,
    /// Left shift of each tap, `[taps][out]`.
    pub tap_shifts: Vec<Vec<u8>>,
    /// Right shift to the activation, `[out]`, each at least 1; empty if there is none.
    pub output_shifts: Vec<u8>,
    /// Left shift of the residual, `[out]`; empty if there is none.
    pub shortcut_shifts: Vec<u8>,
}

/// Largest shift the integer graph is given; more means that a scale has run away.
const LARGEST_SHIFT: i32 = 40;

impl LayerScales {
    /// The shifts that go with [`accumulator_exponents`].
    ///
    /// # Errors
    /// [`Error::Node`] if a shift would exceed 40 bits.
    pub fn new(layer: &str, meeting: &Meeting<'_>) -> Result<Self, Error> {
        let acc = accumulator_exponents(meeting);
        let shifts = |what, from: &dyn Fn(usize) -> i32| {
            let differences = acc.iter().enumerate().map(|(out, &acc)| from(out) - acc);
            differences.map(|shift| checked(layer, what, shift)).collect::<Result<Vec<u8>, Error>>()
        };
        let taps = meeting.weight.iter();
        let tap_shifts = taps
            .map(|row| shifts("tap shift", &|out| meeting.input + row[out]))
            .collect::<Result<_, Error>>()?;
        let output = meeting.output.map(|output| shifts("output shift", &|_| output)).transpose()?;
        let shortcut = meeting.shortcut.map(|row| shifts("shortcut shift", &|out| row[out])).transpose()?;
        let (output_shifts, shortcut_shifts) = (output.unwrap_or_default(), shortcut.unwrap_or_default());
        Ok(Self { acc, tap_shifts, output_shifts, shortcut_shifts })
    }
}

/// The finest scale that meets, `[out]`: `min(input + min_t weight[t][o], output − 1, shortcut[o])`.
///
/// So nothing needs clamping: a finer accumulator is always allowed and only costs ring bits.
pub fn accumulator_exponents(meeting: &Meeting<'_>) -> Vec<i32> {
    let channels = meeting.weight.first().map_or(0, Vec::len);
    let finest = |out: usize| {
        let products = meeting.input + meeting.weight.iter().map(|row| row[out]).min().unwrap_or(0);
        let output = meeting.output.map_or(products, |output| output - 1);
        let shortcut = meeting.shortcut.map_or(products, |row| row[out]);
        products.min(output).min(shortcut)
    };
    (0..channels).map(finest).collect()
}

/// `floor(x + 0.5)`: the rounding of every scale, weight, bias and activation, as [`crate::arith::requantize`] does it in
/// integers (halves go up, unlike `f32::round`).
#[inline(always)]
pub fn round_half_up(x: f32) -> f32 {
    (x + 0.5).floor()
}

/// The exponent `e` with the least `Σ (clamp(floor(x/2^e + 0.5), low, high)·2^e − x)²`; `None` if all are zero.
pub fn best_exponent(values: &[f32], (low, high): (f32, f32)) -> Option<i32> {
    least_error(values, high, |x| round_half_up(x).clamp(low, high))
}

/// The exponent with the least squared error of `nearest`, whose largest value is `high`.
pub(crate) fn least_error(values: &[f32], high: f32, nearest: impl Fn(f32) -> f32) -> Option<i32> {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest == 0.0 || !largest.is_finite() || high == 0.0 {
        return None;
    }
    let clips_nothing = (largest / high).log2().ceil() as i32;
    let error = |exponent: i32| -> f64 {
        let step = 2.0_f32.powi(exponent);
        let miss = |x: f32| f64::from(nearest(x / step) * step - x);
        values.iter().map(|&x| miss(x) * miss(x)).sum()
    };
    let candidates = (clips_nothing - DEPTH..=clips_nothing).rev();
    candidates
        .map(|exponent| (exponent, error(exponent)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|best| best.0)
}

/// Exponents tried below the one that clips nothing.
const DEPTH: i32 = 6;

/// Smallest and largest signed code of `bits` bits, 2 to 8.
pub fn code_range(bits: u8) -> (f32, f32) {
    let half = f32::from(1_u16 << (bits - 1));
    (-half, half - 1.0)
}

fn checked(layer: &str, what: &'static str, shift: i32) -> Result<u8, Error> {
    let next = "Calibrate again with more images, or lower learning_rate.";
    let fits = u8::try_from(shift).ok().filter(|_| shift <= LARGEST_SHIFT);
    fits.ok_or_else(|| Error::node(layer, what, "0 to 40", shift, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_finest_of_products_output_and_residual_sets_the_accumulator() {
        let weight = vec![vec![-7, -2], vec![-5, -1]];
        let meeting = Meeting { weight: &weight, input: -3, output: Some(-2), shortcut: Some(&[-4, -9]) };
        let scales = LayerScales::new("conv", &meeting).unwrap();
        assert_eq!(scales.acc, [-10, -9]);
        assert_eq!(scales.tap_shifts, [[0, 4], [2, 5]]);
        assert_eq!(scales.output_shifts, [8, 7]);
        assert_eq!(scales.shortcut_shifts, [6, 0]);
    }

    #[test]
    fn a_runaway_scale_is_refused_by_name() {
        let weight = vec![vec![-50], vec![0]];
        let meeting = Meeting { weight: &weight, input: 0, output: None, shortcut: None };
        let message = LayerScales::new("layer1.0.conv1", &meeting).unwrap_err().to_string();
        assert!(message.contains("layer1.0.conv1") && message.contains("50"), "{message}");
    }

    #[test]
    fn the_best_exponent_has_the_least_error_of_all() {
        let values: Vec<f32> = (0..100).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).powi(3)).collect();
        for bits in 2..=8 {
            let (low, high) = code_range(bits);
            let error = |exponent: i32| -> f32 {
                let step = 2.0_f32.powi(exponent);
                values.iter().map(|x| ((x / step + 0.5).floor().clamp(low, high) * step - x).powi(2)).sum()
            };
            let best = best_exponent(&values, (low, high)).unwrap();
            assert!((-12..4).all(|exponent| error(best) <= error(exponent)), "{bits} bits");
        }
        assert_eq!(best_exponent(&[0.0; 4], code_range(4)), None);
    }

    proptest! {
        #[test]
        fn shifts_undo_the_exponents_and_requantization_shifts_at_least_one(
            weight in prop::collection::vec(prop::collection::vec(-12..0_i32, 3), 1..5),
            input in -8..1_i32,
            output in prop::option::of(-8..3_i32),
            shortcut in prop::option::of(prop::collection::vec(-10..2_i32, 3)),
        ) {
            let meeting = Meeting { weight: &weight, input, output, shortcut: shortcut.as_deref() };
            let scales = LayerScales::new("layer", &meeting).unwrap();
            for out in 0..3 {
                for (row, shifts) in weight.iter().zip(&scales.tap_shifts) {
                    prop_assert_eq!(scales.acc[out] + i32::from(shifts[out]), input + row[out]);
                }
                if let Some(output) = output {
                    prop_assert!(scales.output_shifts[out] >= 1);
                    prop_assert_eq!(scales.acc[out] + i32::from(scales.output_shifts[out]), output);
                }
                if let Some(shortcut) = &shortcut {
                    prop_assert_eq!(scales.acc[out] + i32::from(scales.shortcut_shifts[out]), shortcut[out]);
                }
            }
        }
    }
}
