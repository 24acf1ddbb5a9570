//! How much memory a server's session takes, before it begins: what admission is decided by.
//!
//! An upper bound by the cost model, not a measurement. Beside the peak of a whole `eqo serve` with one session, program and weights
//! included (MB, one inference prepared and answered, Ferret; SoftSpoken takes 60 to 100 less):
//!
//! | network | images | estimate | peak |
//! |---|---|---|---|
//! | ResNet-32 W4A6 | 1, 4, 16 | 260, 340, 878 | 237, 298, 745 |
//! | the synthetic ResNet-8 W4A6 of `checkpoints/weights` | 1, 16, 64 | 207, 543, 1,854 | 120, 449, 1,429 |
//!
//! So it is 9 to 30% too high where it is large, and up to 90 MB where it is small: a small network doesn't fill an iteration of Ferret.

use eqo_checkpoints::cost::{self, windows};
use eqo_checkpoints::graph::{CheckedGraph, Op};
use eqo_checkpoints::layout::ConvLayout;

use super::limits;
pub use super::limits::largest_batch;

/// Frames on their way in both directions, and buffers that were used and are kept.
const CHANNEL_BYTES: u64 = 24 << 20;

/// What makes random OTs: the outputs of a whole iteration of Ferret in each direction, and its matrix.
const EXTENSION_BYTES: u64 = 88 << 20;

/// A random OT from its extension to its use: its block, its pad where that is drawn ahead, its choice.
const OT_BYTES: u64 = 28;

/// Bytes that a prepared inference holds for each of its images.
pub fn prepared_bytes(graph: &CheckedGraph) -> u64 {
    limits::image_bytes(graph) as u64
}

/// Bytes that a session may hold that answers up to `batch` images at once and keeps up to `prepared` images prepared, at least a
/// batch: the stock, the OTs of the largest window of an offline part, and the layers that are computed at a time.
pub fn session_bytes(graph: &CheckedGraph, batch: usize, prepared: usize) -> u64 {
    let stock = prepared_bytes(graph).saturating_mul(prepared.max(batch) as u64);
    let of_window = |window: std::ops::Range<usize>| -> u64 {
        let ots = window.map(|node| cost::ots(graph, node, batch));
        ots.map(|ots| ots.server_sends.saturating_add(ots.client_sends)).fold(0, u64::saturating_add)
    };
    let ots = windows(graph, batch).into_iter().map(of_window).max().unwrap_or(0);
    let elements = limits::most_held(graph, batch) as u64 + largest_layer(graph, batch);
    [CHANNEL_BYTES, EXTENSION_BYTES, stock, ots.saturating_mul(OT_BYTES), elements.saturating_mul(8)]
        .into_iter()
        .fold(0, u64::saturating_add)
}

/// Elements of the gathered input and the products of the layer that has most.
fn largest_layer(graph: &CheckedGraph, batch: usize) -> u64 {
    let of_node = |id: usize| match &graph.nodes()[id].op {
        Op::Conv(conv) => {
            let lanes = ConvLayout::new(conv, graph.shape(conv.input), graph.shape(id)).columns() * batch;
            (conv.positions() * (conv.in_channels + conv.out_channels) * lanes) as u64
        }
        Op::Input(_) | Op::MaxPool(_) | Op::SumPool { .. } => 0,
    };
    (0..graph.nodes().len()).map(of_node).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use eqo_checkpoints::Checkpoint;

    use super::*;

    #[test]
    fn more_images_take_more_and_a_batch_is_always_prepared() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../checkpoints/fixtures/tiny.safetensors");
        let checkpoint = Checkpoint::read(tiny.as_ref()).unwrap();
        let graph = checkpoint.graph();
        let bytes = |batch, prepared| session_bytes(graph, batch, prepared);
        assert_eq!(bytes(1, 5) - bytes(1, 4), prepared_bytes(graph));
        assert_eq!(bytes(4, 0), bytes(4, 4));
        assert!(bytes(8, 8) > bytes(4, 8));
    }
}
