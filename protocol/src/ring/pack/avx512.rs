//! Packing and unpacking of eight elements at a time: eight l-bit elements are exactly l bytes. The twins are
//! `BitWriter::put_portable` and `BitReader::get_portable`.
//!
//! From 8 bits on, an element is shifted to its place within a byte, and then bytes are permuted: those of even and of odd elements
//! separately, because only neighbours share a byte. Narrower elements are bytes first, whose bits are gathered.
#![allow(unsafe_code)] // Calls into target-feature code, and unaligned loads and stores.

use std::arch::x86_64::*;
use std::sync::OnceLock;

/// The widest elements these kernels take: with any shift within a byte, one still fits 64 bits.
pub(super) const WIDEST: u32 = 57;

/// Bytes that a kernel may touch past (and for writing, overwrite after) the first byte of a group.
pub(super) const REACH: usize = 64;

/// Proof that the processor has the features below: Intel from Ice Lake on, AMD from Zen 4 on.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The proof, if it holds (found out once for each process).
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        static ALL: OnceLock<bool> = OnceLock::new();
        ALL.get_or_init(|| {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2")
                && is_x86_feature_detected!("bmi2")
        })
        .then_some(Self(()))
    }

    /// Writes the `shift` < 8 bits of `carry`, then the elements mod 2^`bits`, to `out`, whose rest from the last whole byte on
    /// becomes meaningless. Returns the `shift` bits that follow that byte.
    ///
    /// # Panics
    /// If `bits` is outside 1..=[`WIDEST`] or `out` doesn't reach [`REACH`] bytes beyond the elements.
    pub(super) fn pack(
        self,
        values: &[[u64; 8]],
        bits: u32,
        (carry, shift): (u8, u32),
        out: &mut [u8],
    ) -> u8 {
        assert!((1..=WIDEST).contains(&bits) && out.len() >= values.len() * bits as usize + REACH);
        // SAFETY: `self` proves the features; the assertion is what the kernels ask for.
        unsafe {
            match (bits, shift) {
                (..8, _) => pack_narrow(values, bits, (carry, shift), out),
                (_, 0) => pack_wide::<true>(values, bits, (0, 0), out),
                _ => pack_wide::<false>(values, bits, (carry, shift), out),
            }
        }
    }

    /// Fills groups of `values` with the elements that start `shift` < 8 bits into `bytes`, as long as [`REACH`] bytes are there
    /// for each group. Returns the number of groups filled.
    ///
    /// # Panics
    /// If `bits` is outside 1..=[`WIDEST`].
    pub(super) fn unpack(self, bytes: &[u8], shift: u32, bits: u32, values: &mut [[u64; 8]]) -> usize {
        assert!((1..=WIDEST).contains(&bits));
        let Some(slack) = bytes.len().checked_sub(REACH) else { return 0 };
        let groups = values.len().min(slack / bits as usize + 1);
        // SAFETY: `self` proves the features; group i starts at byte i * bits, before which the last REACH bytes don't begin.
        unsafe {
            match bits {
                ..8 => unpack_narrow(bytes, shift, bits, &mut values[..groups]),
                _ => unpack_wide(bytes, shift, bits, &mut values[..groups]),
            }
        }
        groups
    }
}

/// How eight elements of one width become bytes.
struct Places {
    /// Left shifts of the elements.
    shifts: [u64; 8],
    /// For each output byte, the byte of the even and of the odd elements that it takes, and whether it takes one.
    bytes: [[u8; 64]; 2],
    taken: [u64; 2],
}

static PLACES: [Places; WIDEST as usize + 1] = {
    let mut all =
        [const { Places { shifts: [0; 8], bytes: [[0; 64]; 2], taken: [0; 2] } }; WIDEST as usize + 1];
    let mut bits = 8;
    while bits <= WIDEST as usize {
        let mut i = 0;
        while i < 8 {
            let first = i * bits;
            all[bits].shifts[i] = (first % 8) as u64;
            let mut byte = first / 8;
            while 8 * byte < first + bits {
                all[bits].bytes[i % 2][byte] = (8 * i + byte - first / 8) as u8;
                all[bits].taken[i % 2] |= 1 << byte;
                byte += 1;
            }
            i += 1;
        }
        bits += 1;
    }
    all
};

/// # Safety
/// `out` must have `values.len() * bits + REACH` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
unsafe fn pack_wide<const ALIGNED: bool>(
    values: &[[u64; 8]],
    bits: u32,
    (carry, shift): (u8, u32),
    out: &mut [u8],
) -> u8 {
    let places = &PLACES[bits as usize];
    let (mask, shifts) = (_mm512_set1_epi64((u64::MAX >> (64 - bits)) as i64), load(&places.shifts));
    let [even, odd] = places.bytes.each_ref().map(|bytes| load(bytes));
    let [even_taken, odd_taken] = places.taken;
    let (last, shift) = (_mm512_set1_epi8(bits as i8), _mm512_set1_epi64(shift.into()));
    let mut carry = _mm512_maskz_set1_epi8(1, carry as i8);
    for (i, group) in values.iter().enumerate() {
        let placed = _mm512_sllv_epi64(_mm512_and_si512(load(group), mask), shifts);
        let mut packed = _mm512_or_si512(
            _mm512_maskz_permutexvar_epi8(even_taken, even, placed),
            _mm512_maskz_permutexvar_epi8(odd_taken, odd, placed),
        );
        if !ALIGNED {
            let before = _mm512_alignr_epi64::<7>(packed, _mm512_setzero_si512());
            let shifted = _mm512_shldv_epi64(packed, before, shift);
            packed = _mm512_or_si512(shifted, carry);
            carry = _mm512_maskz_permutexvar_epi8(1, last, shifted);
        }
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(i * bits as usize).cast(), packed) };
    }
    _mm_cvtsi128_si32(_mm512_castsi512_si128(carry)) as u8
}

/// # Safety
/// As [`pack_wide`].
#[target_feature(enable = "avx512f,bmi2")]
unsafe fn pack_narrow(values: &[[u64; 8]], bits: u32, (carry, shift): (u8, u32), out: &mut [u8]) -> u8 {
    let mask = in_every_byte(bits);
    let mut carry = u64::from(carry);
    for (i, group) in values.iter().enumerate() {
        let bytes = _mm_cvtsi128_si64(_mm512_cvtepi64_epi8(load(group))) as u64;
        let packed = _pext_u64(bytes, mask) << shift | carry;
        // SAFETY: the caller's promise.
        unsafe { out.as_mut_ptr().add(i * bits as usize).cast::<u64>().write_unaligned(packed.to_le()) };
        carry = packed >> (8 * bits);
    }
    carry as u8
}

/// # Safety
/// `bytes` must have [`REACH`] bytes from the start of every group on.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn unpack_wide(bytes: &[u8], shift: u32, bits: u32, values: &mut [[u64; 8]]) {
    let mask = _mm512_set1_epi64((u64::MAX >> (64 - bits)) as i64);
    let starts = _mm512_mul_epu32(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(bits.into()));
    let starts = _mm512_add_epi64(starts, _mm512_set1_epi64(shift.into()));
    let shifts = _mm512_and_si512(starts, _mm512_set1_epi64(7));
    // The first byte of each element in all eight bytes of its word, then counted up.
    let first = _mm512_shuffle_epi8(
        _mm512_srli_epi64::<3>(starts),
        _mm512_set4_epi32(0x0808_0808, 0x0808_0808, 0, 0),
    );
    let taken = _mm512_add_epi8(first, _mm512_set1_epi64(0x0706_0504_0302_0100));
    for (i, group) in values.iter_mut().enumerate() {
        // SAFETY: the caller's promise; a group is 64 bytes.
        unsafe {
            let packed = _mm512_loadu_si512(bytes.as_ptr().add(i * bits as usize).cast());
            let words = _mm512_srlv_epi64(_mm512_permutexvar_epi8(taken, packed), shifts);
            _mm512_storeu_si512(group.as_mut_ptr().cast(), _mm512_and_si512(words, mask));
        }
    }
}

/// # Safety
/// As [`unpack_wide`].
#[target_feature(enable = "avx512f,bmi2")]
unsafe fn unpack_narrow(bytes: &[u8], shift: u32, bits: u32, values: &mut [[u64; 8]]) {
    let mask = in_every_byte(bits);
    for (i, group) in values.iter_mut().enumerate() {
        // SAFETY: the caller's promise; a group is 64 bytes.
        unsafe {
            let packed = u64::from_le(bytes.as_ptr().add(i * bits as usize).cast::<u64>().read_unaligned());
            let bytes = _mm_cvtsi64_si128(_pdep_u64(packed >> shift, mask) as i64);
            _mm512_storeu_si512(group.as_mut_ptr().cast(), _mm512_cvtepu8_epi64(bytes));
        }
    }
}

/// The lowest `bits` < 8 bits of every byte.
fn in_every_byte(bits: u32) -> u64 {
    0x0101_0101_0101_0101 * ((1 << bits) - 1)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<T>(from: &T) -> __m512i {
    const { assert!(size_of::<T>() == 64) };
    // SAFETY: the assertion above; the load needs no alignment, and this module's `T` are arrays of integers.
    unsafe { _mm512_loadu_si512((&raw const *from).cast()) }
}
