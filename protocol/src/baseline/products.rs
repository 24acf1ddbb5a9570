//! Matrix products of the server's integers with a shared tensor, by correlated OTs chosen by the bits of one of them.
//!
//! With shares `x = x_s + x_c − 2^m·wrap` of a gathered element and the server's column A: `A·x_s` is the server's own, `A·x_c` goes
//! through OTs (bit i of `x_c` chooses `2^i·A`, or bit i of a weight chooses `2^i` times the client's row), and where the operand's
//! ring is narrower than the products', `A·wrap` through OTs of two messages.

mod activations;
mod weights;

use eqo_checkpoints::baseline::{Chooser, LayerCodes, Products};
use eqo_checkpoints::layout::ConvLayout;

use super::Peer;
use crate::Error;
use crate::layers::Shares;

/// One operation: public but for the server's integers.
pub(super) struct Task<'t> {
    pub(super) products: &'t Products,
    pub(super) layout: ConvLayout,
    /// The operand's ring and the products'.
    pub(super) bits: (u32, u32),
    /// The server's integers; `None` at the client.
    pub(super) codes: Option<&'t LayerCodes>,
}

impl Task<'_> {
    /// Shares `[out][height][width]` from shares of the operand `[in][height][width]`.
    pub(super) fn run(&self, peer: &mut Peer, operand: &[u64]) -> Result<Shares, Error> {
        let (from, to) = self.bits;
        let mut gathered = Shares::new(self.layout.gather(operand));
        let matrix = self.codes.map(|layer| Shares::new(self.products.matrix(&layer.codes, &self.layout)));
        let matrix = matrix.as_ref().map(|matrix| matrix.as_slice());
        let products = match self.products.chooser {
            Chooser::Activations => self.activations_choose(peer, &mut gathered, matrix)?,
            Chooser::Weights => {
                if let Some(range) = self.products.operand.range() {
                    gathered = peer.extend((from, to), &gathered, range)?;
                }
                self.weights_choose(peer, &gathered, matrix)?
            }
        };
        let mut sums = Shares::new(self.layout.scatter(&products));
        if let Some(layer) = self.codes {
            let plane = sums.len() / layer.bias.len().max(1);
            for (sums, &bias) in sums.chunks_exact_mut(plane.max(1)).zip(&layer.bias) {
                sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(bias as u64));
            }
        }
        Ok(sums)
    }
}
