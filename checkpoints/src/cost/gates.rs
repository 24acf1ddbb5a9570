//! What each gate of the private protocol sends, as a function of public shapes. The gates themselves, with proofs, are
//! in `eqo-protocol`; a test there requires every byte, frame and round to equal these. Products of caller's counts saturate.
//!
//! A convolution's node has an offline part of three flights ([`offer`], [`choose`], [`correct`]), which several
//! nodes share, and an online part ([`online`]).

use super::comparison::Comparison;
use super::groups::{Group, groups};
use super::ledger::{Ledger, Ots, Sender};
use super::shared::{Gate, place_bits, top1};
use super::wire::packed_bytes;
use crate::graph::{CheckedGraph, Conv, NodeId, Op, Output};
use crate::layout::ConvLayout;

/// XOR-shared bits of an element whose additive shares are prepared: those that mask "in range", the carry, their product,
/// and "saturated".
pub const MASK_BITS: u64 = 4;

/// Masked bits of an element that are opened after its comparison: in range, carry, saturated.
pub const OPENED_BITS: u64 = 3;

/// One convolution for a batch.
pub(super) struct Step<'g> {
    conv: &'g Conv,
    /// Columns times batch: elements of a row of the products.
    lanes: u64,
    activation: Option<Activation>,
}

/// The activations that end a convolution.
struct Activation {
    /// The comparison of each group, and its elements.
    trees: Vec<(Comparison, u64)>,
    elements: u64,
    /// w = a + 1.
    narrow: u64,
    /// L: the ring of all its readers.
    wide: u64,
}

impl<'g> Step<'g> {
    /// `None` for nodes that aren't convolutions: they are local.
    pub(super) fn new(graph: &'g CheckedGraph, id: NodeId, batch: usize) -> Option<Self> {
        let Op::Conv(conv) = &graph.nodes()[id].op else { return None };
        let shape = graph.shape(id);
        let columns = ConvLayout::new(conv, graph.shape(conv.input), shape).columns();
        let activation = match conv.output {
            Output::Activation { bits, .. } => {
                let plane = lanes(shape[1] * shape[2], batch);
                let tree = |group: &Group| {
                    (group.comparison(bits), plane.saturating_mul(group.channels.len() as u64))
                };
                Some(Activation {
                    trees: groups(conv).iter().map(tree).collect(),
                    elements: plane.saturating_mul(shape[0] as u64),
                    narrow: u64::from(bits) + 1,
                    wide: u64::from(graph.extension_bits(id)),
                })
            }
            Output::Accumulator => None,
        };
        Some(Self { conv, lanes: lanes(columns, batch), activation })
    }

    /// The random OTs it takes, all in its offline part.
    pub(super) fn ots(&self) -> Ots {
        let mut ots = Ots { server_sends: 0, client_sends: self.weight_bits() };
        if let Some(activation) = &self.activation {
            let shared = activation.sum(|tree| tree.joints.len() as u64).saturating_add(activation.elements);
            let choices = activation.client_choices().saturating_add(activation.extended());
            ots += Ots { server_sends: shared, client_sends: shared };
            ots += Ots { server_sends: choices, client_sends: activation.elements };
        }
        ots
    }

    /// Offline, server to client: the server's choices.
    pub(super) fn offer(&self, ledger: &mut Ledger) {
        ledger.send(Sender::Server, packed_bytes(self.weight_bits()));
        if let Some(activation) = &self.activation {
            ledger.send(Sender::Server, packed_bytes(activation.elements));
        }
    }

    /// Offline, client to server: the products with its mask, its choices, and its part of the multiplexers.
    pub(super) fn choose(&self, ledger: &mut Ledger) {
        let row = self.conv.in_channels as u64 * payload_bits_per_lane(self.conv);
        ledger.send(Sender::Client, packed_bytes(self.lanes.saturating_mul(row)));
        if let Some(activation) = &self.activation {
            ledger.send(Sender::Client, packed_bytes(activation.client_choices()));
            ledger.send(Sender::Client, packed_bytes(activation.elements.saturating_mul(activation.narrow)));
        }
    }

    /// Offline, server to client: additive shares of the mask bits, and of the products that extensions need.
    pub(super) fn correct(&self, ledger: &mut Ledger) {
        if let Some(activation) = &self.activation {
            let masks = activation.elements.saturating_mul(MASK_BITS * (activation.narrow - 1));
            ledger.send(Sender::Server, packed_bytes(masks));
            let wraps =
                activation.extended().saturating_mul(activation.wide.saturating_sub(activation.narrow));
            ledger.send(Sender::Server, packed_bytes(wraps));
        }
    }

    /// Online, from accumulators to masked activations.
    pub(super) fn online(&self, ledger: &mut Ledger) {
        let Some(activation) = &self.activation else { return };
        let elements = activation.elements;
        ledger.send(Sender::Server, packed_bytes(activation.sum(|tree| tree.leaf_message_bits() as u64)));
        ledger.send(Sender::Server, packed_bytes(elements.saturating_mul(activation.narrow)));
        let levels = activation.trees.iter().map(|(tree, _)| tree.levels()).max().unwrap_or(0);
        for level in 0..levels {
            ledger.exchange(packed_bytes(activation.sum(|tree| tree.opened_at(level) as u64)));
        }
        ledger.exchange(packed_bytes(elements.saturating_mul(OPENED_BITS)));
        ledger.exchange(packed_bytes(activation.extended()));
        unmask(ledger, elements, activation.wide);
    }

    /// The place of the largest logit, and its opening to the client; it takes further random OTs.
    pub(super) fn top1(&self) -> (Gate, u64) {
        let rows = self.lanes as usize;
        (top1(self.conv, rows), packed_bytes(self.lanes.saturating_mul(u64::from(place_bits(self.conv)))))
    }

    /// The server's shares of the logits, to the client.
    pub(super) fn open(&self, ledger: &mut Ledger) {
        let bits: u64 = self.conv.ring_bits.iter().map(|&bits| u64::from(bits)).sum();
        ledger.send(Sender::Server, packed_bytes(self.lanes.saturating_mul(bits)));
    }

    fn weight_bits(&self) -> u64 {
        self.conv.weight_bits() as u64
    }
}

impl Activation {
    fn sum(&self, of: impl Fn(&Comparison) -> u64) -> u64 {
        self.trees
            .iter()
            .fold(0, |sum, (tree, elements)| elements.saturating_mul(of(tree)).saturating_add(sum))
    }

    /// Bits by which the client chooses: its shares below the sign, and its shares of the mask bits.
    fn client_choices(&self) -> u64 {
        self.sum(|tree| tree.leaf_ots() as u64).saturating_add(self.elements.saturating_mul(MASK_BITS))
    }

    /// How many elements need an extension.
    fn extended(&self) -> u64 {
        if self.wide > self.narrow { self.elements } else { 0 }
    }
}

/// The client sends its share minus its mask, which makes the mask its share.
pub(super) fn unmask(ledger: &mut Ledger, elements: u64, ring: u64) {
    ledger.send(Sender::Client, packed_bytes(elements.saturating_mul(ring)));
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

pub(super) fn lanes(each: usize, batch: usize) -> u64 {
    (each as u64).saturating_mul(batch as u64)
}
