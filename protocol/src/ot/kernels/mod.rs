//! AVX-512 kernels of the OT layer. Each has a portable twin where it is used, which is its oracle.
//!
//! [`Avx512`] exists only on processors with all the features that the kernels need, so its methods are safe.

use std::sync::OnceLock;

mod aes;
mod columns;
mod expand;
mod rows;
mod sum;

pub(super) use aes::RoundKeys;
pub(super) use columns::COLUMNS;
pub(super) use sum::WideLeaves;

/// Proof that the processor has the features below: Intel from Ice Lake on, AMD from Zen 4 on.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The proof, if it holds (found out once for each process).
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        static ALL: OnceLock<bool> = OnceLock::new();
        ALL.get_or_init(|| {
            is_x86_feature_detected!("aes")
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("gfni")
                && is_x86_feature_detected!("vaes")
        })
        .then_some(Self(()))
    }
}
