//! Two channels joined in memory, for both parties in one process.

use tokio::runtime::Handle;

use super::{Channel, TransportConfig};

/// Two connected channels over a pipe that holds `buffer` bytes in each direction.
pub fn memory_pair(buffer: usize, runtime: &Handle, config: TransportConfig) -> (Channel, Channel) {
    let (one, other) = tokio::io::duplex(buffer);
    (Channel::over(one, runtime, config), Channel::over(other, runtime, config))
}
