//! What a private session of a run sends: predicted, and measured where that was asked for.

use eqo_checkpoints::cost::Costs;
use serde::Serialize;

use crate::evaluation::PrivateFigures;
use crate::exit::{Failure, Kind};

/// One session's bytes, both directions, set-up included.
#[derive(Serialize)]
pub(super) struct Traffic {
    /// Images of the session.
    pub(super) session_images: usize,
    predicted_bytes: u64,
    predicted_bytes_online: u64,
    /// A session's share, the measured one where there is one: what runs are compared by.
    pub(super) bytes_per_image: f64,
    pub(super) bytes_per_image_online: f64,
    /// What only a private run has.
    #[serde(flatten)]
    pub(super) measured: Option<Measured>,
}

/// Both parties as two processes.
#[derive(Serialize)]
pub(super) struct Measured {
    measured_bytes: u64,
    measured_bytes_online: u64,
    /// Images whose logits differ from the integer engine's.
    pub(super) mismatches: usize,
    /// Predicted and measured bytes are equal in every row and in all.
    pub(super) equal: bool,
}

/// Of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes {
    all: u64,
    /// The part that waits for an image.
    online: u64,
}

impl From<&Costs> for Bytes {
    fn from(costs: &Costs) -> Self {
        Self { all: costs.total().bytes(), online: costs.online().bytes() }
    }
}

impl Traffic {
    /// A session of which nothing was measured yet.
    pub(super) fn predicted(session_images: usize, bytes: Bytes) -> Self {
        let (predicted_bytes, predicted_bytes_online) = (bytes.all, bytes.online);
        let [bytes_per_image, bytes_per_image_online] = bytes.shares(session_images);
        Self {
            session_images,
            predicted_bytes,
            predicted_bytes_online,
            bytes_per_image,
            bytes_per_image_online,
            measured: None,
        }
    }

    /// From now on what was measured counts.
    pub(super) fn take(&mut self, figures: &PrivateFigures) {
        let predicted = Bytes { all: self.predicted_bytes, online: self.predicted_bytes_online };
        let measured = Bytes { all: figures.bytes_total, online: figures.bytes_online };
        [self.bytes_per_image, self.bytes_per_image_online] = measured.shares(self.session_images);
        self.measured = Some(Measured {
            measured_bytes: measured.all,
            measured_bytes_online: measured.online,
            mismatches: figures.mismatches,
            equal: figures.unequal().is_none() && measured == predicted,
        });
    }

    /// Fails with exit code 1 unless the whole session cost what was predicted; its rows are [`crate::private::verdict`]'s.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let Some(measured) = &self.measured else { return Ok(()) };
        let predicted = [self.predicted_bytes, self.predicted_bytes_online];
        let found = [measured.measured_bytes, measured.measured_bytes_online];
        if predicted == found {
            return Ok(());
        }
        let next = "please report this with the checkpoint: the cost model must be exact";
        let words = |[all, online]: [u64; 2]| format!("{all} bytes, {online} of them online");
        let message = format!("predicted {}, measured {}; {next}", words(predicted), words(found));
        Err(Failure::new(Kind::Check, message))
    }
}

impl Bytes {
    /// What an image takes.
    fn shares(self, images: usize) -> [f64; 2] {
        [self.all, self.online].map(|bytes| bytes as f64 / images.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::LayerFigures;

    fn figures(bytes_offline: u64, bytes_online: u64, predicted_bytes: u64) -> PrivateFigures {
        let (node, op) = ("conv1".to_owned(), "conv".to_owned());
        PrivateFigures {
            mismatches: 0,
            profile: "eqo",
            ot: "ferret",
            batch: 1,
            network: None,
            bytes_offline,
            bytes_online,
            bytes_total: bytes_offline + bytes_online,
            rounds_offline: 1,
            rounds_online: 1,
            seconds_offline: 0.0,
            seconds_online: 0.0,
            peak_memory_client: None,
            peak_memory_server: None,
            layers: vec![LayerFigures {
                node,
                op,
                bytes_offline,
                bytes_online,
                rounds_online: 1,
                predicted_bytes,
            }],
        }
    }

    fn traffic() -> Traffic {
        Traffic::predicted(2, Bytes { all: 100, online: 10 })
    }

    #[test]
    fn equal_means_every_row_and_the_session_with_its_online_part() {
        for (figures, equal) in [
            (figures(90, 10, 100), true),
            (figures(91, 10, 101), false),
            (figures(89, 11, 100), false),
            (figures(90, 10, 99), false),
        ] {
            let mut traffic = traffic();
            traffic.take(&figures);
            assert_eq!(traffic.measured.as_ref().map(|measured| measured.equal), Some(equal));
            assert_eq!(traffic.verdict().is_ok(), equal || figures.unequal().is_some());
        }
    }

    #[test]
    fn what_was_measured_is_what_an_image_costs() {
        let mut traffic = traffic();
        assert_eq!((traffic.bytes_per_image, traffic.bytes_per_image_online), (50.0, 5.0));
        traffic.take(&figures(180, 20, 200));
        assert_eq!((traffic.bytes_per_image, traffic.bytes_per_image_online), (100.0, 10.0));
    }
}
