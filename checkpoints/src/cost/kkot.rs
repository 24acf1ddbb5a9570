//! What 1-of-N OT by the extension of Kolesnikov and Kumaresan (CRYPTO 2013) sends: 256 bits from the receiver for each OT,
//! whatever N up to 16, then all N masked messages from the sender.

use super::ot::{BASE_POINT, EXTENSION_CHUNK, prepared};
use super::wire::packed_bytes;

/// Bits that the receiver sends for each OT: the length of the code, which is also the number of base OTs.
pub const KKOT_COLUMNS: u64 = 256;

/// Bytes of the first set-up message, from the OT receiver: nonce and point.
pub const KKOT_HELLO: usize = 32 + BASE_POINT;

/// Bytes of the second set-up message, from the OT sender: nonce and a point for each base OT.
pub const KKOT_REPLIES: usize = 32 + KKOT_COLUMNS as usize * BASE_POINT;

/// Payload bytes of the receiver's message for `count` OTs (a multiple of 128, at most [`EXTENSION_CHUNK`]).
pub const fn kkot_request_bytes(count: u64) -> u64 {
    KKOT_COLUMNS / 8 * count
}

/// What the receiver of `count` OTs sends: the payload bytes of a message, and how many there are. `count` is rounded up to a
/// multiple of 128.
pub fn kkot_from_receiver(count: u64) -> [(u64, u64); 2] {
    let count = prepared(count);
    let rest = kkot_request_bytes(count % EXTENSION_CHUNK);
    [(kkot_request_bytes(EXTENSION_CHUNK), count / EXTENSION_CHUNK), (rest, u64::from(rest > 0))]
}

/// Payload bytes of the sender's answer, one message: `options` messages of `bits` bits for each of `count` OTs.
pub const fn kkot_from_sender(count: u64, options: u64, bits: u64) -> u64 {
    packed_bytes(count.saturating_mul(options).saturating_mul(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::MAX_FRAME;

    #[test]
    fn an_ot_of_the_paper_costs_256_bits_up_and_its_messages_down() {
        assert_eq!((KKOT_HELLO, KKOT_REPLIES), (64, 8224));
        assert_eq!(kkot_from_receiver(0), [(1 << 19, 0), (0, 0)]);
        assert_eq!(kkot_from_receiver(1), [(1 << 19, 0), (4096, 1)]);
        assert_eq!(kkot_from_receiver(3 << 14), [(1 << 19, 3), (0, 0)]);
        assert_eq!(kkot_from_receiver((1 << 14) + 129), [(1 << 19, 1), (8192, 1)]);
        assert_eq!(kkot_from_sender(1000, 16, 2), 4000);
        assert_eq!(kkot_from_sender(3, 2, 1), 1);
        assert!(kkot_request_bytes(EXTENSION_CHUNK) <= MAX_FRAME as u64);
    }

    #[test]
    fn absurd_counts_saturate() {
        assert!(kkot_from_receiver(u64::MAX)[0].1 >= u64::MAX >> 14);
        assert_eq!(kkot_from_sender(u64::MAX, 16, 8), u64::MAX.div_ceil(8));
    }
}
