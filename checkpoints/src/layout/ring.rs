//! Integers that wrap: plain values or shares.

/// An element of Z_{2^32} or Z_{2^64}, in a signed or unsigned representation.
pub trait RingElement: Copy + Default + PartialEq + Send + Sync {
    /// The class of an integer.
    fn from_i64(value: i64) -> Self;
    /// The signed representative of a class, in `[-2^31, 2^31)` or `[-2^63, 2^63)`.
    fn signed(self) -> i64;
    /// Sum.
    fn plus(self, other: Self) -> Self;
    /// Difference.
    fn minus(self, other: Self) -> Self;
    /// Product.
    fn times(self, other: Self) -> Self;
    /// Product with `2^shift`; zero when the shift is at least the ring's width.
    fn shifted(self, shift: u8) -> Self;
}

macro_rules! ring_element {
    ($($integer:ty as $signed:ty),*) => {$(
        impl RingElement for $integer {
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $integer
            }
            #[inline(always)]
            fn signed(self) -> i64 {
                (self as $signed) as i64
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn shifted(self, shift: u8) -> Self {
                self.checked_shl(u32::from(shift)).unwrap_or(0)
            }
        }
    )*};
}

ring_element!(i32 as i32, i64 as i64, u32 as i32, u64 as i64);

/// `sum[i] += coefficient · terms[i]`; transform coefficients are mostly 0 and ±1.
pub(super) fn accumulate<W: RingElement>(sum: &mut [W], coefficient: i64, terms: &[W]) {
    let pairs = sum.iter_mut().zip(terms);
    match coefficient {
        0 => {}
        1 => pairs.for_each(|(sum, &term)| *sum = sum.plus(term)),
        -1 => pairs.for_each(|(sum, &term)| *sum = sum.minus(term)),
        _ => {
            let factor = W::from_i64(coefficient);
            pairs.for_each(|(sum, &term)| *sum = sum.plus(factor.times(term)));
        }
    }
}
