//! The sizes of Ferret's learning-parity-with-noise instances.

/// One primal LPN instance with regular noise: a public matrix with 10 entries a row times a secret of 2^`log_secret` bits,
/// plus `trees` blocks of 2^`depth` bits with one noisy bit each (Yang, Weng, Lan, Zhang and Wang, CCS 2020).
///
/// The sets are those of emp-ot (`emp-ot/tuning.h`, b10 to b12; b13 is left out: it costs more work and memory, and 0.36 bits
/// an OT are few enough). Its authors state that each is at the 128-bit floor of lpnestimator.com over Gauss, statistical
/// decoding, BJMM, hybrid, Esser et al. and algebraic attacks on regular noise, and that the hybrid attack binds.
///
/// Evaluated for this project by published formulas, for b10, b11 and b12: Gauss with the parity of each block known,
/// (k − t)^2.8 · (1 − (k − t)/N)^−t, takes 2^139, 2^142, 2^144 (Liu, Wang, Yang and Yu, eprint 2022/712); the algebraic attack
/// of Briaud and Øygarden (EUROCRYPT 2023) 2^145, 2^144, 2^144. By that attack the set-up instance of the CCS 2020 paper
/// (k = 19 870, t = 2508, N = 642 048) takes 2^117, so none of the older sets is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LpnSet {
    /// Noisy positions, each from one tree.
    pub trees: u64,
    /// The binary logarithm of the secret's length; at most 21.
    pub log_secret: u32,
    /// The depth of each tree; 2 or more.
    pub depth: u32,
}

impl LpnSet {
    /// By size.
    pub const ALL: [Self; 3] = [
        Self { trees: 850, log_secret: 16, depth: 10 },
        Self { trees: 1170, log_secret: 17, depth: 11 },
        Self { trees: 1520, log_secret: 18, depth: 12 },
    ];

    /// The first one, which the seeds from SoftSpoken feed.
    pub const SMALLEST: Self = Self::ALL[0];

    /// The one for bulk.
    pub const LARGEST: Self = Self::ALL[2];

    /// OTs that an iteration makes: 870 400, 2 396 160, 6 225 920.
    pub const fn outputs(self) -> u64 {
        self.trees << self.depth
    }

    /// OTs that an iteration consumes: the secret, and one for each level of each tree. 74 036, 143 942, 280 384.
    pub const fn seeds(self) -> u64 {
        (1 << self.log_secret) + self.trees * self.depth as u64
    }

    /// Payload bytes of an iteration's only message, from sender to receiver: a block for each level of each tree after
    /// the first. 122 400, 187 200, 267 520.
    pub const fn message_bytes(self) -> u64 {
        self.trees * (self.depth as u64 - 1) * 16
    }

    /// OTs that an iteration leaves if it also replaces its seeds.
    pub const fn gain(self) -> u64 {
        self.outputs() - self.seeds()
    }

    /// The smallest set that covers `shortage` in one iteration, or the largest.
    pub(super) fn for_shortage(shortage: u64) -> Self {
        Self::ALL.into_iter().find(|set| set.gain() >= shortage).unwrap_or(Self::LARGEST)
    }

    /// The largest set that `seeds` OTs can start, if any.
    pub(super) fn affordable(seeds: u64) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|set| set.seeds() <= seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::MAX_FRAME;

    #[test]
    fn the_sets_have_the_documented_sizes_and_messages_of_one_frame() {
        assert_eq!(LpnSet::ALL.map(LpnSet::outputs), [870_400, 2_396_160, 6_225_920]);
        assert_eq!(LpnSet::ALL.map(LpnSet::seeds), [74_036, 143_942, 280_384]);
        assert_eq!(LpnSet::ALL.map(LpnSet::message_bytes), [122_400, 187_200, 267_520]);
        assert!(LpnSet::ALL.into_iter().all(|set| set.message_bytes() <= MAX_FRAME as u64));
        assert!(LpnSet::SMALLEST.outputs() > LpnSet::LARGEST.seeds(), "any set can be reached in one step");
    }
}
