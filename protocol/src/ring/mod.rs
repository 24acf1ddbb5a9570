//! The rings Z_{2^l}, 1 <= l <= 64, as `u64` values below 2^l.

pub mod pack;

use crate::Error;

/// Z_{2^l}. Values are `u64` below 2^l; every method takes any `u64` and returns a reduced one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ring {
    bits: u32,
}

impl Ring {
    /// The ring of `bits`-bit integers.
    ///
    /// # Errors
    /// [`Error::Config`] unless 1 <= `bits` <= 64.
    pub fn new(bits: u32) -> Result<Self, Error> {
        if (1..=64).contains(&bits) {
            return Ok(Self { bits });
        }
        Err(Error::Config {
            what: "ring width",
            expected: "1 to 64 bits".into(),
            found: bits.to_string(),
            next: "lower the graph again: its range proof must fit 64 bits",
        })
    }

    /// l.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// 2^l - 1.
    pub fn mask(self) -> u64 {
        mask(self.bits)
    }

    /// `value` mod 2^l.
    pub fn reduce(self, value: u64) -> u64 {
        value & self.mask()
    }

    /// `a + b` mod 2^l.
    pub fn add(self, a: u64, b: u64) -> u64 {
        self.reduce(a.wrapping_add(b))
    }

    /// `a - b` mod 2^l.
    pub fn sub(self, a: u64, b: u64) -> u64 {
        self.reduce(a.wrapping_sub(b))
    }

    /// `-a` mod 2^l.
    pub fn neg(self, a: u64) -> u64 {
        self.reduce(a.wrapping_neg())
    }

    /// `a * b` mod 2^l.
    pub fn mul(self, a: u64, b: u64) -> u64 {
        self.reduce(a.wrapping_mul(b))
    }

    /// The most significant bit of `value` mod 2^l, 0 or 1: its sign in two's complement.
    pub fn msb(self, value: u64) -> u64 {
        (value >> (self.bits - 1)) & 1
    }

    /// The two's complement integer of `value` mod 2^l.
    pub fn to_signed(self, value: u64) -> i64 {
        let spare = 64 - self.bits;
        ((value << spare) as i64) >> spare
    }

    /// `value` mod 2^l.
    pub fn from_signed(self, value: i64) -> u64 {
        self.reduce(value as u64)
    }
}

/// `bits` ones, 1 <= `bits` <= 64.
pub(crate) fn mask(bits: u32) -> u64 {
    debug_assert!((1..=64).contains(&bits), "ring width {bits}");
    u64::MAX >> (64 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn widths_outside_1_to_64_are_refused() {
        assert!(Ring::new(0).is_err() && Ring::new(65).is_err());
        assert!((1..=64).all(|bits| Ring::new(bits).is_ok()));
    }

    proptest! {
        #[test]
        fn arithmetic_equals_integers_mod_2_to_the_l(bits in 1u32..=64, a: u64, b: u64) {
            let ring = Ring::new(bits).unwrap();
            let modulus = 1u128 << bits;
            let (wide_a, wide_b) = (u128::from(a) % modulus, u128::from(b) % modulus);
            prop_assert_eq!(u128::from(ring.reduce(a)), wide_a);
            prop_assert_eq!(u128::from(ring.add(a, b)), (wide_a + wide_b) % modulus);
            prop_assert_eq!(u128::from(ring.sub(a, b)), (modulus + wide_a - wide_b) % modulus);
            prop_assert_eq!(u128::from(ring.mul(a, b)), wide_a.wrapping_mul(wide_b) % modulus);
            prop_assert_eq!(ring.add(a, ring.neg(a)), 0);
        }

        #[test]
        fn signed_values_survive_the_ring(bits in 1u32..=64, value: i64) {
            let ring = Ring::new(bits).unwrap();
            let half = 1i128 << (bits - 1);
            let signed = ring.to_signed(ring.from_signed(value));
            prop_assert!((-half..half).contains(&i128::from(signed)));
            prop_assert_eq!((i128::from(signed) - i128::from(value)).rem_euclid(1i128 << bits), 0);
            prop_assert_eq!(ring.msb(ring.from_signed(value)) == 1, signed < 0);
        }
    }
}
