//! What each gate of the private protocol sends, as a function of public shapes. The gates themselves, with proofs, are
//! in `eqo-protocol`; a test there requires every byte, frame and round to equal these. Products of caller's counts saturate.

use super::comparison::Comparison;
use super::groups::Group;
use super::ledger::{Ledger, Sender};
use super::wire::packed_bytes;
use crate::graph::Conv;

/// One batch of correlated OTs: choices from the receiver, then corrections of `payload_bits` bits from the sender.
fn cot(ledger: &mut Ledger, sender: Sender, count: u64, payload_bits: u64) {
    ledger.use_ots(sender, count);
    ledger.send(other(sender), packed_bytes(count));
    ledger.send(sender, packed_bytes(payload_bits));
}

/// `count` bit ANDs: two random OTs each, four opened bits each.
fn and(ledger: &mut Ledger, count: u64) {
    ledger.use_ots(Sender::Server, count);
    ledger.use_ots(Sender::Client, count);
    ledger.exchange(packed_bytes(count.saturating_mul(2)));
}

/// The fused requantization of all groups together, to shares in Z_{2^(act_bits + 1)}.
pub(super) fn requantize(ledger: &mut Ledger, groups: &[Group], act_bits: u8, lanes: u64) {
    let trees: Vec<(Comparison, u64)> = groups
        .iter()
        .map(|group| (group.comparison(act_bits), lanes.saturating_mul(group.channels.len() as u64)))
        .collect();
    let sum = |of: &dyn Fn(&Comparison) -> usize| -> u64 {
        trees
            .iter()
            .fold(0, |sum, (tree, elements)| elements.saturating_mul(of(tree) as u64).saturating_add(sum))
    };
    ledger.use_ots(Sender::Server, sum(&Comparison::leaf_ots));
    ledger.send(Sender::Client, packed_bytes(sum(&Comparison::leaf_ots)));
    ledger.send(Sender::Server, packed_bytes(sum(&Comparison::leaf_message_bits)));
    for level in 0..trees.iter().map(|(tree, _)| tree.levels()).max().unwrap_or(0) {
        and(ledger, sum(&|tree| tree.ands_at(level)));
    }
    let elements = sum(&|_| 1);
    bit_to_arithmetic(ledger, elements, act_bits + 1);
    multiplexers(ledger, elements.saturating_mul(2), act_bits + 1);
}

/// `count` XOR-shared bits to Z_{2^ring}.
fn bit_to_arithmetic(ledger: &mut Ledger, count: u64, ring: u8) {
    cot(ledger, Sender::Server, count, count.saturating_mul(u64::from(ring - 1)));
}

/// `count` products of a shared bit and a shared element of Z_{2^ring}: a COT in each direction.
fn multiplexers(ledger: &mut Ledger, count: u64, ring: u8) {
    ledger.use_ots(Sender::Server, count);
    ledger.use_ots(Sender::Client, count);
    ledger.exchange(packed_bytes(count));
    ledger.exchange(packed_bytes(count.saturating_mul(u64::from(ring))));
}

/// `count` activations of `act_bits` bits from Z_{2^(act_bits + 1)} to Z_{2^ring}; free where that is no wider.
pub(super) fn extend(ledger: &mut Ledger, count: u64, act_bits: u8, ring: u8) {
    if ring > act_bits + 1 {
        cot(ledger, Sender::Server, count, count.saturating_mul(u64::from(ring - act_bits - 1)));
    }
}

/// All products of a convolution with the bits of the server's weight codes as choices; `lanes` is columns times batch.
pub(super) fn matmul(ledger: &mut Ledger, conv: &Conv, lanes: u64) {
    let weights = (conv.positions() * conv.out_channels * conv.in_channels) as u64;
    let count = weights * conv.weight_bits() as u64;
    cot(
        ledger,
        Sender::Client,
        count,
        lanes.saturating_mul(conv.in_channels as u64 * payload_bits_per_lane(conv)),
    );
}

/// `Σ (l_o − k_t − k_i)` over positions, output channels and weight bits: what one input channel's row costs a lane.
fn payload_bits_per_lane(conv: &Conv) -> u64 {
    let mut bits = 0;
    for position in 0..conv.positions() {
        let exponents = conv.exponents(position);
        let spent: u64 = exponents.iter().map(|&exponent| u64::from(exponent)).sum();
        for (out, &ring) in conv.ring_bits.iter().enumerate() {
            let room = u64::from(ring - conv.tap_shift(position, out));
            bits += room * exponents.len() as u64 - spent;
        }
    }
    bits
}

/// The server's shares of the logits, to the client.
pub(super) fn open(ledger: &mut Ledger, conv: &Conv, lanes: u64) {
    let bits: u64 = conv.ring_bits.iter().map(|&bits| u64::from(bits)).sum();
    ledger.send(Sender::Server, packed_bytes(lanes.saturating_mul(bits)));
}

fn other(sender: Sender) -> Sender {
    match sender {
        Sender::Server => Sender::Client,
        Sender::Client => Sender::Server,
    }
}
