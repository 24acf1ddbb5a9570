//! Bit-exact wire form: an l-bit element takes l bits, least significant bit first, with padding only at the end of a
//! message. Widths may change from element to element.

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "x86_64")]
use avx512::{Avx512, REACH, WIDEST};

use super::mask;

/// The bytes that hold `bits` bits.
pub const fn packed_bytes(bits: u64) -> u64 {
    bits.div_ceil(8)
}

/// Packs elements of any widths into one bit string.
#[derive(Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// An empty string with room for `bits` bits.
    pub fn with_capacity(bits: u64) -> Self {
        Self { bytes: Vec::with_capacity(packed_bytes(bits) as usize + 8), ..Self::default() }
    }

    /// Appends `value` mod 2^`bits`, 1 <= `bits` <= 64.
    pub fn put(&mut self, value: u64, bits: u32) {
        self.put_all(&[value], bits);
    }

    /// Appends every element mod 2^`bits`, 1 <= `bits` <= 64.
    pub fn put_all(&mut self, values: &[u64], bits: u32) {
        let done = self.put_groups(values, bits);
        self.put_portable(&values[done..], bits);
    }

    /// Appends as many elements as the processor's kernels take; how many.
    #[cfg(target_arch = "x86_64")]
    fn put_groups(&mut self, values: &[u64], bits: u32) -> usize {
        let (groups, rest) = values.as_chunks::<8>();
        let Some(simd) = Avx512::detect().filter(|_| bits <= WIDEST && !groups.is_empty()) else { return 0 };
        let whole = (self.pending_bits / 8) as usize;
        self.bytes.extend_from_slice(&self.pending.to_le_bytes()[..whole]);
        let (carry, shift) = ((self.pending >> (8 * whole)) as u8, self.pending_bits % 8);
        let (start, len) = (self.bytes.len(), groups.len() * bits as usize);
        self.bytes.resize(start + len + REACH, 0);
        let carry = simd.pack(groups, bits, (carry, shift), &mut self.bytes[start..]);
        self.bytes.truncate(start + len);
        (self.pending, self.pending_bits) = (carry.into(), shift);
        values.len() - rest.len()
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn put_groups(&mut self, _values: &[u64], _bits: u32) -> usize {
        0
    }

    fn put_portable(&mut self, values: &[u64], bits: u32) {
        let mask = mask(bits);
        let (mut pending, mut pending_bits) = (self.pending, self.pending_bits);
        self.bytes.reserve(packed_bytes(values.len() as u64 * u64::from(bits)) as usize + 8);
        for value in values {
            let value = value & mask;
            pending |= value << pending_bits;
            pending_bits += bits;
            if pending_bits >= 64 {
                self.bytes.extend_from_slice(&pending.to_le_bytes());
                pending_bits -= 64;
                // Two shifts, because a single one by 64 is undefined when nothing of the value is left over.
                pending = (value >> (bits - pending_bits - 1)) >> 1;
            }
        }
        (self.pending, self.pending_bits) = (pending, pending_bits);
    }

    /// How many bytes are complete.
    pub(crate) fn complete(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the first `len` complete bytes out; the rest and what follows go to the memory of `next`.
    pub(crate) fn take_front(&mut self, len: usize, mut next: Vec<u8>) -> Vec<u8> {
        next.clear();
        next.extend_from_slice(&self.bytes[len..]);
        self.bytes.truncate(len);
        std::mem::replace(&mut self.bytes, next)
    }

    /// The packed bytes, the last one padded with zero bits.
    pub fn finish(mut self) -> Vec<u8> {
        let tail = packed_bytes(u64::from(self.pending_bits)) as usize;
        self.bytes.extend_from_slice(&self.pending.to_le_bytes()[..tail]);
        self.bytes
    }
}

/// Reads what a [`BitWriter`] with the same sequence of widths wrote.
pub struct BitReader<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl<'b> BitReader<'b> {
    /// Starts at the first bit.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Starts `position` bits in.
    pub(crate) fn at(bytes: &'b [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    /// The next `bits`-bit element, 1 <= `bits` <= 64; bits past the end read as zero.
    pub fn get(&mut self, bits: u32) -> u64 {
        let mut value = [0];
        self.get_all(&mut value, bits);
        value[0]
    }

    /// Fills `values` with the next `bits`-bit elements, 1 <= `bits` <= 64; bits past the end read as zero.
    pub fn get_all(&mut self, values: &mut [u64], bits: u32) {
        let done = self.get_groups(values, bits);
        self.get_portable(&mut values[done..], bits);
    }

    /// Fills as many elements as the processor's kernels can; how many.
    #[cfg(target_arch = "x86_64")]
    fn get_groups(&mut self, values: &mut [u64], bits: u32) -> usize {
        let groups = values.as_chunks_mut::<8>().0;
        let Some(simd) = Avx512::detect().filter(|_| bits <= WIDEST && !groups.is_empty()) else { return 0 };
        let bytes = self.bytes.get(self.position / 8..).unwrap_or_default();
        let done = 8 * simd.unpack(bytes, (self.position % 8) as u32, bits, groups);
        self.position += done * bits as usize;
        done
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn get_groups(&mut self, _values: &mut [u64], _bits: u32) -> usize {
        0
    }

    fn get_portable(&mut self, values: &mut [u64], bits: u32) {
        let mask = mask(bits);
        for value in values {
            let (byte, shift) = (self.position / 8, (self.position % 8) as u32);
            *value = match self.bytes.get(byte..byte + 8) {
                Some(word) if shift + bits <= 64 => word_of(word) >> shift,
                _ => wide_word(self.bytes, byte, shift),
            } & mask;
            self.position += bits as usize;
        }
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// 64 bits from `shift` bits into `byte`, for elements over nine bytes or near the end.
fn wide_word(bytes: &[u8], byte: usize, shift: u32) -> u64 {
    let mut wide = [0; 16];
    let tail = bytes.get(byte..).unwrap_or_default();
    let len = tail.len().min(16);
    wide[..len].copy_from_slice(&tail[..len]);
    (u128::from_le_bytes(wide) >> shift) as u64
}

/// Packs elements of one width.
pub fn pack(values: &[u64], bits: u32) -> Vec<u8> {
    let mut writer = BitWriter::default();
    writer.put_all(values, bits);
    writer.finish()
}

/// Unpacks `count` elements of one width.
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Vec<u64> {
    let mut values = vec![0; count];
    BitReader::new(bytes).get_all(&mut values, bits);
    values
}

/// Packs eight bits a byte, the first in the least significant place.
pub fn pack_bits(bits: &[bool]) -> Vec<u8> {
    let (eights, rest) = bits.as_chunks::<8>();
    let mut bytes = Vec::with_capacity(eights.len() + 1);
    // The product moves bit 8i to bit 56 + i, and no two of its terms meet.
    bytes.extend(eights.iter().map(|eight| {
        let word = u64::from_le_bytes(eight.map(u8::from));
        (word.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    }));
    if !rest.is_empty() {
        bytes.push(rest.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    }
    bytes
}

/// Unpacks `count` bits; bits past the end read as zero.
pub fn unpack_bits(bytes: &[u8], count: usize) -> Vec<bool> {
    let mut bits = Vec::with_capacity(count.next_multiple_of(8));
    for byte in &bytes[..bytes.len().min(count.div_ceil(8))] {
        // Bit i alone in byte i.
        let spread = (u64::from(*byte) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
        bits.extend_from_slice(&spread.to_le_bytes().map(|bit| bit != 0));
    }
    bits.resize(count, false);
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_width_round_trips_in_exactly_its_bits() {
        for bits in 1..=64 {
            for count in [0, 1, 2, 7, 8, 9, 63, 64, 65, 200] {
                let values: Vec<u64> =
                    (1..=count as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask(bits)).collect();
                let packed = pack(&values, bits);
                assert_eq!(packed.len() as u64, packed_bytes(count as u64 * u64::from(bits)));
                assert_eq!(unpack(&packed, bits, count), values, "{bits} bits");
            }
        }
    }

    proptest! {
        #[test]
        fn mixed_widths_round_trip(items in proptest::collection::vec((any::<u64>(), 1u32..=64), 0..200)) {
            let mut writer = BitWriter::default();
            items.iter().for_each(|(value, bits)| writer.put(*value, *bits));
            let packed = writer.finish();
            prop_assert_eq!(packed.len() as u64, packed_bytes(items.iter().map(|(_, bits)| u64::from(*bits)).sum()));
            let mut reader = BitReader::new(&packed);
            for (value, bits) in items {
                prop_assert_eq!(reader.get(bits), value & mask(bits));
            }
        }

        #[test]
        fn runs_of_any_width_after_any_number_of_bits_equal_the_portable_ones(
            runs in proptest::collection::vec((1u32..=64, 0usize..90), 1..6),
            seed: u64,
        ) {
            let (mut ours, mut expected) = (BitWriter::default(), BitWriter::default());
            let values: Vec<u64> = (1..=90).map(|i| seed.wrapping_mul(i << 32 | 0x9e37_79b9)).collect();
            for (bits, count) in &runs {
                ours.put_all(&values[..*count], *bits);
                expected.put_portable(&values[..*count], *bits);
            }
            let (ours, expected) = (ours.finish(), expected.finish());
            prop_assert_eq!(&ours, &expected);
            let (mut ours, mut expected) = (BitReader::new(&ours), BitReader::new(&expected));
            for (bits, count) in runs {
                let (mut one, mut other) = (vec![1; count], vec![2; count]);
                ours.get_all(&mut one, bits);
                expected.get_portable(&mut other, bits);
                prop_assert_eq!(&one, &other);
                prop_assert!(one.iter().zip(&values).all(|(one, value)| *one == value & mask(bits)));
            }
        }

        #[test]
        fn reading_any_bytes_past_their_end_gives_zeros(bytes: Vec<u8>, bits in 1u32..=64) {
            let mut reader = BitReader::at(&bytes, bytes.len() * 8);
            prop_assert_eq!(reader.get(bits), 0);
        }

        #[test]
        fn bits_round_trip_as_one_bit_elements(bits: Vec<bool>) {
            let packed = pack_bits(&bits);
            prop_assert_eq!(unpack_bits(&packed, bits.len()), bits.clone());
            let longer = unpack_bits(&packed, bits.len() + 20);
            prop_assert!(longer.len() == bits.len() + 20 && longer[bits.len()..].iter().all(|bit| !bit));
            prop_assert_eq!(packed, pack(&bits.iter().map(|bit| u64::from(*bit)).collect::<Vec<_>>(), 1));
        }
    }
}
