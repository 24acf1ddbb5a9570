//! A program operation by operation, on shares.

use eqo_checkpoints::baseline::{
    Kind, LayerCodes, Multiplexer, Op, Program, ProgramWeights, TensorId, window_sums, windows,
};
use eqo_checkpoints::layout::{shortcut, sum_pool};
use zeroize::Zeroizing;

use super::Peer;
use super::products::Task;
use crate::Error;
use crate::layers::Shares;
use crate::ring::mask;

/// What a party brings.
#[derive(Clone, Copy)]
pub(super) enum Brought<'b> {
    /// The server's integers.
    Weights(&'b ProgramWeights),
    /// The client's image, signed integers.
    Image(&'b [i64]),
}

/// Shares of an operation's tensor from those of earlier ones.
pub(super) fn step(
    peer: &mut Peer,
    (program, id): (&Program, TensorId),
    brought: Brought,
    tensors: &[Shares],
) -> Result<Shares, Error> {
    let op = &program.ops[id];
    let from = |input: TensorId| program.ops[input].bits;
    let shares = match &op.kind {
        Kind::Input => match brought {
            Brought::Image(image) => Shares::new(image.iter().map(|&pixel| pixel as u64).collect()),
            Brought::Weights(_) => Shares::new(vec![0; program.len(id)]),
        },
        Kind::Products(products) => {
            let source = &program.ops[products.input];
            let layout = products.layout(source.shape, op.shape);
            let task = Task { products, layout, bits: (source.bits, op.bits), codes: codes(brought, id) };
            task.run(peer, &tensors[products.input])?
        }
        Kind::Extend { input, range } => peer.extend((from(*input), op.bits), &tensors[*input], *range)?,
        Kind::Reduce { input } => tensors[*input].clone(),
        Kind::TruncateReduce { input, shift } => {
            peer.truncate_and_reduce((from(*input), *shift), &tensors[*input])?
        }
        Kind::Truncate { input, shift, range } => {
            peer.truncate((op.bits, *shift), &tensors[*input], *range)?
        }
        Kind::Relu { input, multiplexer } => peer.relu(op.bits, &tensors[*input], *multiplexer)?,
        Kind::Clamp { input, top } => peer.clamp((op.bits, *top), &tensors[*input])?,
        Kind::Add { inputs: [a, b] } => {
            Shares::new(tensors[*a].iter().zip(tensors[*b].iter()).map(|(a, b)| a.wrapping_add(*b)).collect())
        }
        Kind::Shortcut(spec) => {
            Shares::new(shortcut(spec, program.ops[spec.input].shape, op.shape, &tensors[spec.input]))
        }
        Kind::WindowSum { input, window } => {
            Shares::new(window_sums(program.ops[*input].shape, *window, op.shape, &tensors[*input]))
        }
        Kind::SumPool { input } => {
            let [_, height, width] = program.ops[*input].shape;
            Shares::new(sum_pool(height * width, &tensors[*input]))
        }
        Kind::MaxPool { input, window, multiplexer } => {
            let gathered =
                Zeroizing::new(windows(program.ops[*input].shape, *window, op.shape, &tensors[*input]));
            largest(peer, (op, *multiplexer), gathered, window[0] * window[0])?
        }
    };
    Ok(Zeroizing::new(shares.iter().map(|share| share & mask(op.bits)).collect()))
}

fn codes(brought: Brought<'_>, id: TensorId) -> Option<&LayerCodes> {
    match brought {
        Brought::Weights(weights) => weights.layers.get(id),
        Brought::Image(_) => None,
    }
}

/// `max(a, b) = a + relu(b − a)` over a tree; `candidates` are `[window][size]`.
fn largest(
    peer: &mut Peer,
    (op, multiplexer): (&Op, Multiplexer),
    mut candidates: Shares,
    mut size: usize,
) -> Result<Shares, Error> {
    while size > 1 {
        let pairs = |window: &[u64]| {
            window.chunks_exact(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect::<Vec<_>>()
        };
        let differences: Shares = Zeroizing::new(candidates.chunks_exact(size).flat_map(pairs).collect());
        let gains = peer.relu(op.bits, &differences, multiplexer)?;
        let mut gains = gains.iter();
        let mut next = Shares::new(Vec::with_capacity(candidates.len().div_ceil(2)));
        for window in candidates.chunks_exact(size) {
            for pair in window.chunks(2) {
                let gain = if pair.len() == 2 { gains.next().copied().unwrap_or(0) } else { 0 };
                next.push(pair[0].wrapping_add(gain));
            }
        }
        candidates = next;
        size = size.div_ceil(2);
    }
    Ok(candidates)
}
