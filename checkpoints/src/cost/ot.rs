//! What oblivious transfer sends: base OTs once a session, extension for every random OT.

/// How random OTs are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtKind {
    /// SoftSpoken over the field with 2^k elements (Roy, CRYPTO 2022, semi-honest): 128/k − 1 bits per OT, 2^k / k
    /// times the work. k = 1 is IKNP.
    SoftSpoken {
        /// 1, 2, 4 or 8.
        k: u32,
    },
}

impl OtKind {
    /// SoftSpoken with `k`, which is 1, 2, 4 or 8; `None` for any other.
    pub fn soft_spoken(k: u32) -> Option<Self> {
        [1, 2, 4, 8].contains(&k).then_some(Self::SoftSpoken { k })
    }

    /// k.
    pub fn k(self) -> u32 {
        let Self::SoftSpoken { k } = self;
        k
    }
}

/// OTs that one message extends by, at most: the memory of a chunk is bounded and, for every k, it fits one frame.
pub const EXTENSION_CHUNK: u64 = 1 << 16;

/// Bytes of a point of the base OTs' group.
pub const BASE_POINT: usize = 32;

/// Bytes of each party's first base OT message: nonce, point, role, k.
pub const BASE_HELLO: usize = 32 + BASE_POINT + 2;

/// How many OTs really come out of a request for `count`: rounded up to a multiple of 128.
pub const fn prepared(count: u64) -> u64 {
    count.next_multiple_of(128)
}

/// Payload bytes of the message by which `count` OTs (a multiple of 128, at most [`EXTENSION_CHUNK`]) are made.
pub const fn extension_bytes(kind: OtKind, count: u64) -> u64 {
    let OtKind::SoftSpoken { k } = kind;
    (128 / k as u64 - 1) * (count / 8)
}

/// Payload bytes of the messages by which `count` OTs are made, from receiver to sender.
pub fn prepare_payloads(kind: OtKind, count: u64) -> impl Iterator<Item = u64> {
    let count = prepared(count);
    (0..count.div_ceil(EXTENSION_CHUNK))
        .map(move |chunk| (count - chunk * EXTENSION_CHUNK).min(EXTENSION_CHUNK))
        .map(move |chunk| extension_bytes(kind, chunk))
}

/// Payload bytes of the messages that each party sends for the base OTs: hello, replies, tree corrections (none for
/// k = 1). 66, 4096 and 4096·(k − 1)/k.
pub fn setup_payloads(kind: OtKind) -> [u64; 3] {
    let k = u64::from(kind.k());
    [BASE_HELLO as u64, 128 * BASE_POINT as u64, 128 / k * ((k - 1) * 32)]
}
