//! The only rounding, clamping, wrapping and code-to-value arithmetic of the integer world.

/// `clamp((y + 2^(s-1)) >> s, 0, 2^act_bits - 1)`, arithmetic shift: round half up, then ReLU and saturation (DESIGN §2).
///
/// `shift` is 1 to 62, `act_bits` 1 to 16; `y + 2^(s-1)` must not overflow, which the range proof grants.
pub fn requantize(y: i64, shift: u8, act_bits: u8) -> i64 {
    (y.wrapping_add(1 << (shift - 1)) >> shift).clamp(0, (1 << act_bits) - 1)
}

/// Low `bits` bits of `value`, the representative of its class in Z_{2^bits}; `bits` is 1 to 64.
pub fn reduce(value: i64, bits: u8) -> u64 {
    (value as u64) & mask(bits)
}

/// The signed representative in `[-2^(bits-1), 2^(bits-1))` of a class of Z_{2^bits}; `bits` is 1 to 64.
pub fn to_signed(class: u64, bits: u8) -> i64 {
    let unused = 64 - u32::from(bits);
    ((class << unused) as i64) >> unused
}

/// `2^bits - 1` for 1 to 64 bits.
pub fn mask(bits: u8) -> u64 {
    u64::MAX >> (64 - u32::from(bits))
}

/// Bit `index` of a two's-complement weight code, as the choice of an oblivious transfer.
pub fn code_bit(code: i8, index: usize) -> bool {
    (code >> index) & 1 == 1
}

/// `Σ_{i<b-1} c_i·2^{k_i} − c_{b-1}·2^{k_{b-1}} + offset` of a signed `b`-bit code; `exponents` holds `k_0 < … < k_{b-1}`.
/// No exponents: 0, whatever the offset.
pub fn code_value(code: i8, exponents: &[u8], offset: u8) -> i64 {
    let Some(top) = exponents.len().checked_sub(1) else { return 0 };
    exponents.iter().enumerate().fold(i64::from(offset), |sum, (index, &exponent)| {
        let term = i64::from(code_bit(code, index)) << exponent;
        if index == top { sum - term } else { sum + term }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_complement_codes_are_their_own_values_for_2_to_8_bits() {
        for bits in 2..=8_u8 {
            let exponents: Vec<u8> = (0..bits).collect();
            for code in -(1_i16 << (bits - 1))..(1 << (bits - 1)) {
                assert_eq!(code_value(code as i8, &exponents, 0), i64::from(code));
            }
        }
    }

    #[test]
    fn signed_representatives_round_trip_at_every_width() {
        for bits in 1..=64_u8 {
            for value in [0, -1, -(1_i64 << (bits - 1)), (1_i64 << (bits - 1)).wrapping_sub(1)] {
                assert_eq!(to_signed(reduce(value, bits), bits), value, "{bits} bits");
            }
        }
    }

    #[test]
    fn requantize_rounds_half_up_and_clamps() {
        assert_eq!([-9, -8, 7, 8, 23, 24, 1000].map(|y| requantize(y, 4, 2)), [0, 0, 0, 1, 1, 2, 3]);
    }
}
