//! What oblivious transfer sends: base OTs once a connection, extension for every random OT.

mod lpn;
mod plan;

pub use lpn::LpnSet;
pub use plan::{Extension, Iteration, Plan};

/// How random OTs are made.
///
/// SoftSpoken over the field with 2^k elements (Roy, CRYPTO 2022, semi-honest) sends 128/k − 1 bits per OT for 2^k / k times
/// the work. Other k are left out: 128/k must be whole. Ferret sends 0.4 to 1.3 bits per OT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtKind {
    /// k = 1, which is IKNP (CRYPTO 2003).
    SoftSpoken1,
    /// k = 2.
    SoftSpoken2,
    /// k = 4.
    SoftSpoken4,
    /// k = 8.
    SoftSpoken8,
    /// Silent OT from LPN (Yang et al., CCS 2020), whose first seeds SoftSpoken with k = 8 makes.
    Ferret,
}

impl OtKind {
    /// Every kind, from the most traffic to the least.
    pub const ALL: [Self; 5] =
        [Self::SoftSpoken1, Self::SoftSpoken2, Self::SoftSpoken4, Self::SoftSpoken8, Self::Ferret];

    /// SoftSpoken with `k`, which is 1, 2, 4 or 8; `None` for any other.
    pub fn soft_spoken(k: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind != Self::Ferret && kind.k() == k)
    }

    /// The k of the SoftSpoken extension that makes the OTs, or Ferret's first seeds.
    pub const fn k(self) -> u32 {
        match self {
            Self::SoftSpoken1 => 1,
            Self::SoftSpoken2 => 2,
            Self::SoftSpoken4 => 4,
            Self::SoftSpoken8 | Self::Ferret => 8,
        }
    }

    /// The byte that stands for this kind on the wire; k for SoftSpoken, 0x10 for Ferret.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ferret => 0x10,
            soft_spoken => soft_spoken.k() as u8,
        }
    }

    /// The kind with this [`code`](Self::code).
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// What people call it: `softspoken4`, `ferret`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SoftSpoken1 => "softspoken1",
            Self::SoftSpoken2 => "softspoken2",
            Self::SoftSpoken4 => "softspoken4",
            Self::SoftSpoken8 => "softspoken8",
            Self::Ferret => "ferret",
        }
    }

    /// The kind with this [`name`](Self::name).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// OTs that one message of SoftSpoken extends by, at most. For every k it fits one frame, and with k = 1 it stays in the second-level cache on its
/// way through the sockets.
pub const EXTENSION_CHUNK: u64 = 1 << 14;

/// Bytes of a point of the base OTs' group.
pub const BASE_POINT: usize = 32;

/// Bytes of each party's first base OT message: nonce, point, role, kind.
pub const BASE_HELLO: usize = 32 + BASE_POINT + 2;

/// How many OTs come out of SoftSpoken for a request for `count`: rounded up to a multiple of 128.
pub const fn prepared(count: u64) -> u64 {
    count.saturating_add(127) / 128 * 128
}

/// Payload bytes of the message by which SoftSpoken makes `count` OTs (a multiple of 128, at most [`EXTENSION_CHUNK`]).
pub const fn extension_bytes(kind: OtKind, count: u64) -> u64 {
    (128 / kind.k() as u64 - 1) * (count / 8)
}

/// Payload bytes of the messages that each party sends for the base OTs: hello, replies, tree corrections (none for
/// k = 1). 66, 4096 and 4096·(k − 1)/k.
pub fn setup_payloads(kind: OtKind) -> [u64; 3] {
    let k = u64::from(kind.k());
    [BASE_HELLO as u64, 128 * BASE_POINT as u64, 128 / k * ((k - 1) * 32)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_stable_and_lead_back_to_their_kind() {
        assert_eq!(OtKind::ALL.map(OtKind::code), [1, 2, 4, 8, 0x10]);
        for kind in OtKind::ALL {
            assert_eq!(
                (OtKind::from_code(kind.code()), OtKind::parse(kind.name())),
                (Some(kind), Some(kind))
            );
        }
        assert_eq!((0..=u8::MAX).filter_map(OtKind::from_code).count(), OtKind::ALL.len());
        assert!(OtKind::parse("softspoken3").is_none());
    }
}
