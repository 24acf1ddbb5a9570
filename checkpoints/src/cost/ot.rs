//! What oblivious transfer sends: base OTs once a session, extension for every random OT.

/// How random OTs are made.
///
/// SoftSpoken over the field with 2^k elements (Roy, CRYPTO 2022, semi-honest) sends 128/k − 1 bits per OT for 2^k / k times
/// the work. Other k are left out: 128/k must be whole.
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
}

impl OtKind {
    /// Every kind, from the least work to the least traffic.
    pub const ALL: [Self; 4] = [Self::SoftSpoken1, Self::SoftSpoken2, Self::SoftSpoken4, Self::SoftSpoken8];

    /// SoftSpoken with `k`, which is 1, 2, 4 or 8; `None` for any other.
    pub fn soft_spoken(k: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.k() == k)
    }

    /// k.
    pub const fn k(self) -> u32 {
        match self {
            Self::SoftSpoken1 => 1,
            Self::SoftSpoken2 => 2,
            Self::SoftSpoken4 => 4,
            Self::SoftSpoken8 => 8,
        }
    }
}

/// OTs that one message extends by, at most. For every k it fits one frame, and with k = 1 it stays in the second-level cache on its
/// way through the sockets.
pub const EXTENSION_CHUNK: u64 = 1 << 14;

/// Bytes of a point of the base OTs' group.
pub const BASE_POINT: usize = 32;

/// Bytes of each party's first base OT message: nonce, point, role, k.
pub const BASE_HELLO: usize = 32 + BASE_POINT + 2;

/// How many OTs really come out of a request for `count`: rounded up to a multiple of 128.
pub const fn prepared(count: u64) -> u64 {
    count.saturating_add(127) / 128 * 128
}

/// Payload bytes of the message by which `count` OTs (a multiple of 128, at most [`EXTENSION_CHUNK`]) are made.
pub const fn extension_bytes(kind: OtKind, count: u64) -> u64 {
    (128 / kind.k() as u64 - 1) * (count / 8)
}

/// The messages by which `count` OTs are made, from receiver to sender: payload bytes, and how many have that length.
/// Whole chunks come first, then what is left (nothing, if that is 0 bytes long).
pub const fn prepare_payloads(kind: OtKind, count: u64) -> [(u64, u64); 2] {
    let count = prepared(count);
    let (whole, rest) = (count / EXTENSION_CHUNK, count % EXTENSION_CHUNK);
    [(extension_bytes(kind, EXTENSION_CHUNK), whole), (extension_bytes(kind, rest), 1)]
}

/// Payload bytes of the messages that each party sends for the base OTs: hello, replies, tree corrections (none for
/// k = 1). 66, 4096 and 4096·(k − 1)/k.
pub fn setup_payloads(kind: OtKind) -> [u64; 3] {
    let k = u64::from(kind.k());
    [BASE_HELLO as u64, 128 * BASE_POINT as u64, 128 / k * ((k - 1) * 32)]
}
