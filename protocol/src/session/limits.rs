//! What a party is willing to hold in memory, whatever graph the other one names.

use eqo_checkpoints::cost;
use eqo_checkpoints::graph::{CheckedGraph, Op};
use eqo_checkpoints::layout::ConvLayout;

use crate::Error;

/// Largest batch a session may allow.
pub(super) const MAX_BATCH: usize = 1024;

/// Weight bits of one layer.
const MAX_WEIGHT_BITS: usize = 1 << 27;

/// Elements of one layer's gathered input or products: 8 bytes each.
const MAX_ELEMENTS: usize = 1 << 27;

/// Random OTs of one node: some 20 bytes each.
const MAX_OTS: u64 = 1 << 27;

/// The largest batch up to `wanted` that this party is willing to hold, by halving.
///
/// # Errors
/// [`Error::Config`] if not even one image fits, or `wanted` is no batch size.
pub(super) fn largest_batch(graph: &CheckedGraph, wanted: usize) -> Result<usize, Error> {
    let mut batch = wanted;
    while batch > 1 && batch <= MAX_BATCH && check(graph, batch).is_err() {
        batch /= 2;
    }
    check(graph, batch).map(|()| batch)
}

/// # Errors
/// [`Error::Config`] for a graph or batch that would need too much memory.
pub(super) fn check(graph: &CheckedGraph, batch: usize) -> Result<(), Error> {
    if batch == 0 || batch > MAX_BATCH {
        return Err(refuse("batch", format!("1 to {MAX_BATCH} images"), batch));
    }
    for (id, node) in graph.nodes().iter().enumerate() {
        let Op::Conv(conv) = &node.op else { continue };
        let lanes = ConvLayout::new(conv, graph.shape(conv.input), graph.shape(id)).columns() * batch;
        let weights = conv.positions() * conv.in_channels * conv.out_channels * conv.weight_bits();
        if weights > MAX_WEIGHT_BITS {
            return Err(refuse("weight bits of a layer", format!("at most {MAX_WEIGHT_BITS}"), weights));
        }
        let elements = conv.positions() * conv.in_channels.max(conv.out_channels) * lanes;
        if elements > MAX_ELEMENTS {
            return Err(refuse("elements of a layer", format!("at most {MAX_ELEMENTS}"), elements));
        }
        // The products above are bounded, so nothing overflows in here.
        let ots = cost::ots(graph, id, batch);
        let ots = ots.server_sends + ots.client_sends;
        if ots > MAX_OTS {
            return Err(refuse("oblivious transfers of a layer", format!("at most {MAX_OTS}"), ots as usize));
        }
    }
    Ok(())
}

fn refuse(what: &'static str, expected: String, found: usize) -> Error {
    Error::Config { what, expected, found: found.to_string(), next: "take a smaller batch or network" }
}
