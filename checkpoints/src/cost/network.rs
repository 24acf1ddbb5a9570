//! The networks that times are stated for: those of CrypTFlow2's experiments (eprint 2020/1002).

use std::time::Duration;

/// A network between the parties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Bandwidth of each direction, bytes a second.
    pub bytes_per_second: u64,
    /// How long a message without a length takes there and back.
    pub rtt: Duration,
}

/// One data centre: 377 MB/s, 0.3 ms.
pub const LAN: Network = Network { bytes_per_second: 377_000_000, rtt: Duration::from_micros(300) };

/// Two continents: 40 MB/s, 80 ms.
pub const WAN: Network = Network { bytes_per_second: 40_000_000, rtt: Duration::from_millis(80) };
