//! Matrix products by batched correlated OTs, in pieces of bounded size.

use super::super::ledger::Sender;
use super::super::wire::packed_bytes;
use super::Book;
use crate::baseline::{Chooser, Products, Program, TensorId};

/// OTs that are extended and used at once, at most (a single element may need more).
pub const PRODUCT_OTS: usize = 1 << 20;

/// Elements of the gathered operand that are multiplied at once where activations choose.
pub fn activation_chunk(bits: u32) -> usize {
    (PRODUCT_OTS / bits as usize).max(1)
}

/// Pairs of channels that are multiplied at once where weights of so many bits choose.
pub fn weight_chunk(bits: usize) -> usize {
    (PRODUCT_OTS / bits.max(1)).max(1)
}

impl Book {
    pub(super) fn products(&mut self, program: &Program, id: TensorId, products: &Products) {
        let (input, op) = (&program.ops[products.input], &program.ops[id]);
        let layout = products.layout(input.shape, op.shape);
        let gathered = layout.positions() * products.in_channels * layout.columns();
        match products.chooser {
            Chooser::Activations => self.activations_choose(products, gathered, (input.bits, op.bits)),
            Chooser::Weights => {
                if let Some(range) = products.operand.range() {
                    self.extend(gathered as u64, (input.bits, op.bits), range);
                }
                self.weights_choose(products, layout.columns(), op.bits);
            }
        }
    }

    fn activations_choose(&mut self, products: &Products, gathered: usize, (from, to): (u32, u32)) {
        let outs = products.out_channels as u64;
        let payload: u64 = (0..from).map(|bit| u64::from(to - bit)).sum();
        for elements in pieces(gathered, activation_chunk(from)) {
            let ots = elements * u64::from(from);
            self.draw(ots, 0);
            self.ledger.send(Sender::Client, packed_bytes(ots));
            self.ledger.send(Sender::Server, packed_bytes(elements * outs * payload));
        }
        let Some(range) = products.operand.range() else { return };
        self.wrap(gathered as u64, from, range);
        for elements in pieces(gathered, PRODUCT_OTS) {
            self.draw(elements, 0);
            self.ledger.send(Sender::Client, packed_bytes(elements));
            self.ledger.send(Sender::Server, packed_bytes(2 * elements * outs * u64::from(to - from)));
        }
    }

    fn weights_choose(&mut self, products: &Products, columns: usize, bits: u32) {
        let pairs = products.out_channels * products.group_in();
        for position in 0..products.positions() {
            let exponents = products.code.exponents(position);
            let payload: u64 = exponents.iter().map(|&exponent| u64::from(bits) - u64::from(exponent)).sum();
            for pairs in pieces(pairs, weight_chunk(exponents.len())) {
                let ots = pairs * exponents.len() as u64;
                self.draw(0, ots);
                self.ledger.send(Sender::Server, packed_bytes(ots));
                self.ledger.send(Sender::Client, packed_bytes(pairs * columns as u64 * payload));
            }
        }
    }
}

fn pieces(count: usize, chunk: usize) -> impl Iterator<Item = u64> {
    (0..count).step_by(chunk).map(move |start| (count - start).min(chunk) as u64)
}
