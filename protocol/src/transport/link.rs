//! [`Link`]: the network model, what it takes to send so many bytes.

use std::time::Duration;

use eqo_checkpoints::cost::{self, Network};

use super::channel::QUEUE_FRAMES;
use super::frame::{FRAME_HEADER, MAX_FRAME};

/// No delay line holds more than this: beyond it a link slows down instead of taking more memory.
const MAX_HELD: u64 = 256 << 20;

/// A network between the parties that is slower than the one they really use.
///
/// Each party shapes what it sends, so both give their [`TransportConfig`](super::TransportConfig) the same link, and the
/// two directions do not disturb each other. A frame of n bytes, its header included, is on the wire for
/// `n / bytes_per_second` from the moment it was sent or the frame before it left the wire, whichever is later, and
/// arrives `rtt / 2` after that. Bytes, frames and rounds are those without a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Bandwidth of each direction, bytes a second; 0 counts as 1.
    pub bytes_per_second: u64,
    /// How long a message without a length takes there and back.
    pub rtt: Duration,
}

impl Link {
    /// [`cost::LAN`].
    pub const LAN: Self = Self::of(cost::LAN);

    /// [`cost::WAN`].
    pub const WAN: Self = Self::of(cost::WAN);

    const fn of(Network { bytes_per_second, rtt }: Network) -> Self {
        Self { bytes_per_second, rtt }
    }

    /// How long `bytes` occupy the wire, rounded up to a nanosecond.
    pub(super) fn time_on_wire(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.bytes_per_second.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long a frame travels after it left.
    pub(super) fn delay(&self) -> Duration {
        self.rtt / 2
    }

    /// How many bytes a delay line takes in: what is under way at full rate, and a frame that is next.
    pub(super) fn capacity(&self) -> u64 {
        let under_way = u128::from(self.bytes_per_second) * self.delay().as_nanos() / 1_000_000_000;
        let under_way = u64::try_from(under_way).unwrap_or(u64::MAX).min(MAX_HELD);
        under_way + (FRAME_HEADER + MAX_FRAME) as u64
    }

    /// How much longer than its peer's own doing a party may have to wait for the other one: until both directions have
    /// carried everything that can be queued for them.
    pub(super) fn patience(&self) -> Duration {
        let queued = QUEUE_FRAMES as u64 * (FRAME_HEADER + MAX_FRAME) as u64;
        let direction = self.time_on_wire(self.capacity() + queued).saturating_add(self.delay());
        direction.saturating_mul(2)
    }
}
