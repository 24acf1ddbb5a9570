//! Frames: what a payload costs on the wire. The transport cuts by these rules.

/// The largest payload of one frame, in bytes. Longer payloads travel in several frames.
pub const MAX_FRAME: usize = 1 << 20;

/// The bytes in front of every payload: its length and its causal depth.
pub const FRAME_HEADER: usize = 8;

/// How many frames carry `payload` bytes: none for none.
pub const fn frame_count(payload: u64) -> u64 {
    payload.div_ceil(MAX_FRAME as u64)
}

/// How many bytes cross the wire for one message of `payload` bytes: the payload and 8 bytes a frame.
pub const fn wire_bytes(payload: u64) -> u64 {
    payload.saturating_add(FRAME_HEADER as u64 * frame_count(payload))
}

/// The bytes that hold `bits` bits.
pub const fn packed_bytes(bits: u64) -> u64 {
    bits.div_ceil(8)
}
