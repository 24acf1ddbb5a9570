//! How far a private run is, node by node: bytes of the bytes foretold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eqo_checkpoints::cost::Scope;
use eqo_checkpoints::graph::CheckedGraph;
use eqo_protocol::layers::Entered;

use crate::progress::Progress;

/// The bar of a private run. Its length is what the session will send, so the remaining time is weighted by bytes.
pub(super) struct Steps {
    bar: Progress,
    names: Vec<String>,
    /// Bytes of the whole session.
    total: u64,
    images: usize,
    done: Arc<AtomicUsize>,
    start: Instant,
}

impl Steps {
    /// For a session of `total` bytes that answers `images` images; `done` says how many it has answered.
    pub(super) fn new(graph: &CheckedGraph, total: u64, images: usize, done: Arc<AtomicUsize>) -> Self {
        let names = graph.nodes().iter().map(|node| node.name.clone()).collect();
        Self { bar: Progress::new("private inference"), names, total, images, done, start: Instant::now() }
    }

    pub(super) fn enter(&self, Entered { scope, before }: Entered) {
        let bytes = before.bytes();
        let (done, total) = (megabytes(bytes.min(self.total)), megabytes(self.total));
        self.bar.set_with(done, total, &self.note(scope, bytes));
    }

    fn note(&self, scope: Scope, bytes: u64) -> String {
        let nodes = self.names.len();
        let part = match scope {
            Scope::Offline(node) => format!("node {} of {nodes} {} offline", node + 1, self.names[node]),
            Scope::Node(node) => format!("node {} of {nodes} {}", node + 1, self.names[node]),
            other => other.to_string(),
        };
        let image = match self.images {
            1 => String::new(),
            all => format!(", image {} of {all}", (self.done.load(Ordering::Relaxed) + 1).min(all)),
        };
        format!("MB, {part}{image}{}", left(self.start.elapsed(), bytes, self.total))
    }
}

fn megabytes(bytes: u64) -> usize {
    bytes.div_ceil(1_000_000) as usize
}

/// The time that is left if the other bytes take as long as those before; nothing in the first second.
fn left(elapsed: Duration, bytes: u64, total: u64) -> String {
    if elapsed < Duration::from_secs(1) || bytes == 0 {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() * total.saturating_sub(bytes) as f64 / bytes as f64;
    format!(", {seconds:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_bytes_left() {
        assert_eq!(left(Duration::from_secs(10), 100, 400), ", 30 s left");
        assert_eq!(left(Duration::from_secs(10), 0, 400), "");
        assert_eq!(left(Duration::from_secs(10), 500, 400), ", 0 s left");
    }
}
