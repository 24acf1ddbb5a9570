//! The network that new sessions run, and how it is replaced while others still run the old one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use eqo_checkpoints::format::Checkpoint;
use eqo_protocol::session::server::{Greeting, Return};
use eqo_protocol::session::{Parking, ParkingConfig, footprint};

use super::admission::Offer;
use super::client::ClientId;
use super::layers::LayerBytes;
use crate::exit::Failure;
use crate::party::hex;

/// What sessions are offered where memory allows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    /// Images of an inference, at most.
    pub(super) max_batch: usize,
    /// Bytes of a session's prepared inferences, at most.
    pub(super) stock: u64,
    /// Of those that all broken sessions left.
    pub(super) parked: u64,
}

/// Images that a session may keep prepared, whatever room there is.
const MOST_PREPARED: usize = 4096;

/// A checkpoint that was checked, and what sessions with it may be offered.
pub(super) struct Model {
    pub(super) checkpoint: Checkpoint,
    /// The graph's hash, as `eqo inspect` prints it.
    pub(super) hash: String,
    /// The best one first.
    pub(super) offers: Vec<Offer>,
    /// Bytes that a prepared image holds.
    pub(super) image_bytes: u64,
    pub(super) layers: LayerBytes,
    /// What broken sessions left for their clients to come back to.
    pub(super) parking: Parking,
}

impl Model {
    fn read(path: &Path, wishes: Wishes) -> Result<Self, Failure> {
        let checkpoint = Checkpoint::read(path)?;
        let graph = checkpoint.graph();
        let largest = footprint::largest_batch(graph, wishes.max_batch)?;
        let image_bytes = footprint::prepared_bytes(graph);
        let within = usize::try_from(wishes.stock / image_bytes.max(1)).unwrap_or(MOST_PREPARED);
        let within = within.min(MOST_PREPARED);
        let mut offers = Vec::new();
        for batch in halvings(largest, 1).filter(|&batch| batch <= within || batch == 1) {
            for prepared in halvings(within.max(batch), batch) {
                let bytes = footprint::session_bytes(graph, batch, prepared);
                offers.push(Offer { batch, prepared, bytes });
            }
        }
        let (hash, layers) = (hex(&graph.graph_hash()), LayerBytes::new(graph));
        let parked = usize::try_from(wishes.parked / image_bytes.max(1)).unwrap_or(MOST_PREPARED);
        let parking = Parking::new(ParkingConfig { images: parked, ..ParkingConfig::default() });
        Ok(Self { checkpoint, hash, offers, image_bytes, layers, parking })
    }

    /// What the least session takes.
    pub(super) fn least_bytes(&self) -> u64 {
        self.offers.iter().map(|offer| offer.bytes).min().unwrap_or(u64::MAX)
    }
}

/// `most`, half of it and so on, and `least` as the last.
fn halvings(most: usize, least: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(most), move |&count| (count > least).then(|| (count / 2).max(least)))
}

/// The model of new sessions. Running ones keep theirs.
pub(super) struct Models {
    path: PathBuf,
    wishes: Wishes,
    current: RwLock<Arc<Model>>,
    /// Those that sessions may still run.
    earlier: Mutex<Vec<Weak<Model>>>,
}

impl Models {
    pub(super) fn read(path: &Path, wishes: Wishes) -> Result<Self, Failure> {
        let current = RwLock::new(Arc::new(Model::read(path, wishes)?));
        Ok(Self { path: path.to_owned(), wishes, current, earlier: Mutex::default() })
    }

    pub(super) fn current(&self) -> Arc<Model> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again. One that can't be used, or whose sessions need more than `memory`, changes nothing.
    pub(super) fn reload(&self, memory: u64) -> Result<Arc<Model>, Failure> {
        let model = Arc::new(Model::read(&self.path, self.wishes)?);
        check_memory(&model, memory)?;
        let old = self.current();
        {
            let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
            earlier.retain(|model| model.strong_count() > 0);
            earlier.push(Arc::downgrade(&old));
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&model);
        // Who comes back will find the new one, and can't go on with what the old one left.
        old.parking.close();
        Ok(model)
    }

    /// Closes the connection that still uses the session of a client that came back, whichever model it runs.
    pub(super) fn call_off(&self, greeting: &mut Greeting, client: &ClientId) {
        for model in self.all() {
            greeting.call_off(Return { parking: &model.parking, client: client.proof() });
        }
    }

    /// Broken sessions that wait for their clients, and their prepared images.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiting = self.all().into_iter().map(|model| model.parking.waiting());
        waiting.fold((0, 0), |sum, of_model| (sum.0 + of_model.0, sum.1 + of_model.1))
    }

    /// The model of new sessions last; before it those that others still run.
    fn all(&self) -> Vec<Arc<Model>> {
        // A model that is replaced meanwhile is there twice rather than not at all.
        let current = self.current();
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = earlier.iter().filter_map(Weak::upgrade).filter(|model| !Arc::ptr_eq(model, &current));
        earlier.chain([Arc::clone(&current)]).collect()
    }
}

/// Refuses a network of which not even one session fits.
pub(super) fn check_memory(model: &Model, memory: u64) -> Result<(), Failure> {
    let least = model.least_bytes();
    if least <= memory {
        return Ok(());
    }
    let [least, memory] = [least, memory].map(|bytes| bytes.div_ceil(1_000_000));
    Err(Failure::new(
        crate::exit::Kind::Usage,
        format!(
            "--memory: expected room for a session of one image, about {least} MB beside what queue, door and broken sessions take, found {memory} MB; give more, \
             or take a smaller network, --queue or --stock"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_shrink_to_one_image_and_prepare_at_least_a_batch() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../checkpoints/fixtures/tiny.safetensors");
        let model = |stock| Model::read(tiny.as_ref(), Wishes { max_batch: 12, stock, parked: 0 }).unwrap();
        let wide = model(u64::MAX);
        assert_eq!((wide.offers[0].batch, wide.offers[0].prepared), (12, MOST_PREPARED));
        let last = wide.offers.last().unwrap();
        assert_eq!((last.batch, last.prepared, last.bytes), (1, 1, wide.least_bytes()));
        assert!(wide.offers.iter().all(|offer| offer.prepared >= offer.batch));
        let narrow = model(3 * wide.image_bytes);
        assert_eq!((narrow.offers[0].batch, narrow.offers[0].prepared), (3, 3));
        assert!(model(0).offers.iter().all(|offer| (offer.batch, offer.prepared) == (1, 1)));
    }

    #[test]
    fn halving_ends_at_the_least() {
        assert_eq!(halvings(12, 1).collect::<Vec<_>>(), [12, 6, 3, 1]);
        assert_eq!(halvings(5, 2).collect::<Vec<_>>(), [5, 2]);
        assert_eq!(halvings(2, 2).collect::<Vec<_>>(), [2]);
    }
}
