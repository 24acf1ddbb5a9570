//! What the codes of a weight stand for, and the nearest code to a number.

use crate::arith::code_value;
use crate::scales::{least_error, round_half_up};

/// The values `Σ_{i<b-1} c_i·2^{k_i} − c_{b-1}·2^{k_{b-1}} + offset` of signed b-bit codes, in steps of the weight's scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    /// Ascending.
    values: Vec<f32>,
    codes: Vec<i8>,
    spacing: Spacing,
}

/// Codebooks whose nearest value needs no search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spacing {
    /// Consecutive integers: two's complement.
    Ones,
    /// Consecutive odd integers: two's complement, mid-rise.
    Odd,
    /// Any other.
    Uneven,
}

impl Codebook {
    /// The codebook of strictly increasing exponents `k_0 < … < k_{b-1}`, up to 8 of them, each at most 21; 0 alone without any.
    pub fn new(exponents: &[u8], offset: u8) -> Self {
        let half = 1_i16 << exponents.len() >> 1;
        let mut entries: Vec<(i64, i8)> = (-half..half.max(1))
            .map(|code| (code_value(code as i8, exponents, offset), code as i8))
            .collect();
        entries.sort_unstable();
        let apart = |by: i64| entries.windows(2).all(|pair| pair[1].0 == pair[0].0 + by);
        let odd = entries[0].0 % 2 != 0;
        let spacing = match (apart(1), apart(2) && odd) {
            (true, _) => Spacing::Ones,
            (_, true) => Spacing::Odd,
            _ => Spacing::Uneven,
        };
        let (values, codes) = entries.into_iter().map(|(value, code)| (value as f32, code)).unzip();
        Self { values, codes, spacing }
    }

    /// Smallest and largest value.
    pub fn range(&self) -> (f32, f32) {
        (self.values[0], self.values[self.values.len() - 1])
    }

    /// Edges of the outermost values' cells: beyond them a number is clipped, off by more than half a step. Empty without
    /// bits.
    pub fn clip(&self) -> (f32, f32) {
        let (low, high) = self.range();
        let (first, last) = match self.values.as_slice() {
            [first, second, .., before, last] => (second - first, last - before),
            [first, last] => (last - first, last - first),
            _ => return (f32::INFINITY, f32::NEG_INFINITY),
        };
        (low - first / 2.0, high + last / 2.0)
    }

    /// Bits of a code.
    pub fn bits(&self) -> i32 {
        self.values.len().ilog2() as i32
    }

    /// All values, ascending.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether the values are consecutive integers, as those of two's complement.
    pub fn is_consecutive(&self) -> bool {
        self.spacing == Spacing::Ones
    }

    /// The value nearest to `x`; halfway, the larger one. For two's complement `clamp(floor(x + 0.5))`.
    #[inline(always)]
    pub fn nearest(&self, x: f32) -> f32 {
        let (low, high) = self.range();
        match self.spacing {
            Spacing::Ones => return round_half_up(x).clamp(low, high),
            Spacing::Odd => return ((x * 0.5).floor() * 2.0 + 1.0).clamp(low, high),
            Spacing::Uneven => {}
        }
        let above = self.values.partition_point(|&value| value <= x);
        let (Some(&high), Some(&low)) = (self.values.get(above), self.values.get(above.wrapping_sub(1)))
        else {
            return x.clamp(low, high);
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
            let book = Codebook::new(&(0..bits).collect::<Vec<u8>>(), 0);
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
        for (exponents, offset) in [
            (vec![0, 2], 0),
            (vec![0, 1, 3], 0),
            (vec![1, 2, 4, 5], 0),
            (vec![0, 3, 4], 0),
            (vec![1, 2], 1),
            (vec![1, 2, 3], 1),
            (vec![1, 3, 4], 1),
            (vec![2, 3], 1),
            (vec![1], 1),
        ] {
            let book = Codebook::new(&exponents, offset);
            for sixteenth in -800..800 {
                let x = sixteenth as f32 / 16.0;
                let found = book.nearest(x);
                let distance = |value: f32| (value - x).abs();
                assert!(book.values().iter().all(|&value| distance(value) >= distance(found)));
                let code = book.code(found).unwrap();
                assert_eq!(code_value(code, &exponents, offset) as f32, found);
            }
            assert_eq!(book.code(0.5), None);
            let (low, high) = book.clip();
            let miss = |x: f32| (book.nearest(x) - x).abs();
            let widest = book.values().windows(2).map(|pair| (pair[1] - pair[0]) / 2.0).fold(0.0, f32::max);
            assert!(
                miss(low) <= widest && miss(high) <= widest && low < book.range().0 && high > book.range().1
            );
        }
    }
}
