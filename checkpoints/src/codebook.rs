//! What the codes of a weight stand for, and the nearest code to a number.

use crate::arith::code_value;
use crate::scales::{least_error, round_half_up};

/// The values `Σ_{i<b-1} c_i·2^{k_i} − c_{b-1}·2^{k_{b-1}}` of signed b-bit codes, in steps of the weight's scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    /// Ascending.
    values: Vec<f32>,
    codes: Vec<i8>,
    /// Whether the values are consecutive integers (two's complement).
    consecutive: bool,
}

impl Codebook {
    /// The codebook of strictly increasing exponents `k_0 < … < k_{b-1}`, 2 to 8 of them, each at most 20.
    pub fn new(exponents: &[u8]) -> Self {
        let half = 1_i16 << (exponents.len() - 1);
        let mut entries: Vec<(i64, i8)> =
            (-half..half).map(|code| (code_value(code as i8, exponents), code as i8)).collect();
        entries.sort_unstable();
        let consecutive = entries.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1);
        let (values, codes) = entries.into_iter().map(|(value, code)| (value as f32, code)).unzip();
        Self { values, codes, consecutive }
    }

    /// Smallest and largest value.
    pub fn range(&self) -> (f32, f32) {
        (self.values[0], self.values[self.values.len() - 1])
    }

    /// All values, ascending.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether the values are consecutive integers, as those of two's complement.
    pub fn is_consecutive(&self) -> bool {
        self.consecutive
    }

    /// The value nearest to `x`; halfway, the larger one. For two's complement `clamp(floor(x + 0.5))`.
    #[inline(always)]
    pub fn nearest(&self, x: f32) -> f32 {
        if self.consecutive {
            let (low, high) = self.range();
            return round_half_up(x).clamp(low, high);
        }
        let above = self.values.partition_point(|&value| value <= x);
        let (Some(&high), Some(&low)) = (self.values.get(above), self.values.get(above.wrapping_sub(1)))
        else {
            return x.clamp(self.range().0, self.range().1);
        };
        if x - low < high - x { low } else { high }
    }

    /// The code of one of [`Codebook::values`]; `None` for any other number.
    pub fn code(&self, value: f32) -> Option<i8> {
        let index = self.values.binary_search_by(|found| found.total_cmp(&(value + 0.0))).ok()?;
        Some(self.codes[index])
    }

    /// The exponent `e` with the least `Σ (nearest(x/2^e)·2^e − x)²`; `None` if all numbers are zero.
    pub fn best_exponent(&self, numbers: &[f32]) -> Option<i32> {
        least_error(numbers, self.range().1, |x| self.nearest(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_complement_codes_are_the_rounded_numbers() {
        for bits in 2..=8_u8 {
            let book = Codebook::new(&(0..bits).collect::<Vec<u8>>());
            let (low, high) = crate::scales::code_range(bits);
            assert_eq!(book.range(), (low, high));
            for sixteenth in -3000..3000 {
                let x = sixteenth as f32 / 16.0;
                let want = (x + 0.5).floor().clamp(low, high);
                assert_eq!(book.nearest(x), want);
                assert_eq!(book.code(want), Some(want as i8));
            }
        }
    }

    #[test]
    fn no_value_is_nearer_than_the_nearest_and_its_code_stands_for_it() {
        for exponents in [vec![0, 2], vec![0, 1, 3], vec![1, 2, 4, 5], vec![0, 3, 4]] {
            let book = Codebook::new(&exponents);
            for sixteenth in -800..800 {
                let x = sixteenth as f32 / 16.0;
                let found = book.nearest(x);
                let distance = |value: f32| (value - x).abs();
                assert!(book.values().iter().all(|&value| distance(value) >= distance(found)));
                let code = book.code(found).unwrap();
                assert_eq!(code_value(code, &exponents) as f32, found);
            }
            assert_eq!(book.code(0.5), None);
        }
    }
}
