//! What both parties' commands share: runtime, names of networks and of OT kinds.

use eqo_protocol::ot::OtKind;
use eqo_protocol::transport::Link;
use tokio::runtime::{Builder, Runtime};

use crate::args::Ot;
use crate::exit::{Failure, Kind};

/// The runtime behind the channels; protocol code runs on the command's own threads.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| {
        let next = "raise the limit of threads or open files";
        Failure::new(Kind::Peer, format!("network runtime: start failed: {error}; {next}"))
    })
}

/// A network as people name it, and as `--network` reads it.
pub(crate) fn network_name(link: Link) -> String {
    match link {
        Link::LAN => "lan".to_owned(),
        Link::WAN => "wan".to_owned(),
        Link { bytes_per_second, rtt } => {
            // Nanoseconds first: seconds times 1000 would show the binary fraction.
            format!("{},{}", bytes_per_second as f64 / 1e6, rtt.as_nanos() as f64 / 1e6)
        }
    }
}

impl Ot {
    /// The protocol's name for it.
    pub(crate) fn kind(self) -> OtKind {
        match self {
            Self::Softspoken1 => OtKind::SoftSpoken1,
            Self::Softspoken2 => OtKind::SoftSpoken2,
            Self::Softspoken4 => OtKind::SoftSpoken4,
            Self::Softspoken8 => OtKind::SoftSpoken8,
            Self::Ferret => OtKind::Ferret,
        }
    }
}

/// A hash as people read it.
pub(crate) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] wrote.
pub(crate) fn parse_hash(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("expected 64 hexadecimal digits, as `eqo inspect` prints them, found {text:?}");
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_round_trip_and_other_texts_are_refused() {
        let hash = std::array::from_fn(|index| index as u8 * 7);
        assert_eq!(parse_hash(&hex(&hash)), Ok(hash));
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(parse_hash(wrong).is_err(), "{wrong}");
        }
    }
}
