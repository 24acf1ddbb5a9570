//! The test images of a comparison, read once for all runs of one size.

use std::path::Path;

use eqo_checkpoints::graph::CheckedGraph;
use eqo_datasets::Dataset;

use crate::exit::Failure;
use crate::images::{self, Choice};

/// Of the built-in images, and of those that are picked for private runs: the default of `eqo eval`.
pub(super) const SEED: u64 = 1;

/// `--data`.
pub(super) struct TestImages<'a> {
    data: Option<&'a Path>,
    read: Vec<(Key, Dataset)>,
}

/// Images are read differently for networks of another size, and checked for another number of classes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    size: [usize; 2],
    classes: usize,
}

impl<'a> TestImages<'a> {
    pub(super) fn new(data: Option<&'a Path>) -> Self {
        Self { data, read: Vec::new() }
    }

    /// All of them, as `graph` wants them; none without `--data`.
    pub(super) fn fitting(&mut self, graph: &CheckedGraph) -> Result<Option<&Dataset>, Failure> {
        let Some(data) = self.data else { return Ok(None) };
        let [_, height, width] = graph.shape(0);
        let key = Key { size: [height, width], classes: graph.graph().classes.len() };
        let at = match self.read.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                let (classes, size) = (Some(key.classes), key.size);
                let choice = Choice { data, images: None, skip_corrupt: false, seed: SEED, classes, size };
                self.read.push((key, images::open(&choice)?.0));
                self.read.len() - 1
            }
        };
        Ok(self.read.get(at).map(|(_, dataset)| dataset))
    }
}
