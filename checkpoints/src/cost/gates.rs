//! What each gate of the private protocol sends, as a function of public shapes. The gates themselves, with proofs, are
//! in `eqo-protocol`; a test there requires every byte, frame and round to equal these. Products of caller's counts saturate.
//!
//! A convolution's node has an offline part of three flights ([`ConvStep::offer`], [`ConvStep::choose`],
//! [`ConvStep::correct`]), which several nodes share, and an online part ([`ConvStep::online`]).

use super::comparison::Comparison;
use super::groups::{Group, groups};
use super::ledger::{Ledger, Ots, Sender};
use super::shared::{Gate, place_bits, top1};
use super::wire::packed_bytes;
use crate::graph::{CheckedGraph, Conv, NodeId, Output};
use crate::layout::ConvLayout;

/// XOR-shared bits of an element whose additive shares are prepared: those that mask "in range", the carry, their product,
/// and "saturated".
pub const MASK_BITS: u64 = 4;

/// Masked bits of an element that are opened after its comparison: in range, carry, saturated.
pub const OPENED_BITS: u64 = 3;

/// One convolution for a batch.
pub(super) struct ConvStep<'g> {
    conv: &'g Conv,
    /// Columns times batch: elements of a row of the products.
    lanes: u64,
    activation: Option<Activation>,
}

/// The activations that end a convolution.
struct Activation {
    /// The comparison of each group, and its elements.
    trees: Vec<(Comparison, u64)>,
    output: Widening,
}

/// Activations on their way from the ring that they are computed in to that of their readers.
pub(super) struct Widening {
    pub(super) elements: u64,
    /// w = a + 1.
    pub(super) narrow: u64,
    /// L: the ring of all readers.
    pub(super) wide: u64,
}

impl<'g> ConvStep<'g> {
    pub(super) fn new(graph: &'g CheckedGraph, id: NodeId, conv: &'g Conv, batch: usize) -> Self {
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
                    output: Widening {
                        elements: plane.saturating_mul(shape[0] as u64),
                        narrow: u64::from(bits) + 1,
                        wide: u64::from(graph.extension_bits(id)),
                    },
                })
            }
            Output::Accumulator => None,
        };
        Self { conv, lanes: lanes(columns, batch), activation }
    }

    /// The random OTs it takes, all in its offline part.
    pub(super) fn ots(&self) -> Ots {
        let mut ots = Ots { server_sends: 0, client_sends: self.weight_bits() };
        if let Some(activation) = &self.activation {
            let shared =
                activation.sum(|tree| tree.joints.len() as u64).saturating_add(activation.output.elements);
            let choices = activation.client_choices().saturating_add(activation.output.widened());
            ots += Ots { server_sends: shared, client_sends: shared };
            ots += Ots { server_sends: choices, client_sends: activation.output.elements };
        }
        ots
    }

    /// Offline, server to client: the server's choices.
    pub(super) fn offer(&self, ledger: &mut Ledger) {
        ledger.send(Sender::Server, packed_bytes(self.weight_bits()));
        if let Some(activation) = &self.activation {
            ledger.send(Sender::Server, packed_bytes(activation.output.elements));
        }
    }

    /// Offline, client to server: the products with its mask, its choices, and its part of the multiplexers.
    pub(super) fn choose(&self, ledger: &mut Ledger) {
        let row = self.conv.in_channels as u64 * payload_bits_per_lane(self.conv);
        ledger.send(Sender::Client, packed_bytes(self.lanes.saturating_mul(row)));
        if let Some(activation) = &self.activation {
            ledger.send(Sender::Client, packed_bytes(activation.client_choices()));
            ledger.send(
                Sender::Client,
                packed_bytes(activation.output.elements.saturating_mul(activation.output.narrow)),
            );
        }
    }

    /// Offline, server to client: additive shares of the mask bits, and of the products that extensions need.
    pub(super) fn correct(&self, ledger: &mut Ledger) {
        if let Some(activation) = &self.activation {
            let masks = activation.output.elements.saturating_mul(MASK_BITS * (activation.output.narrow - 1));
            ledger.send(Sender::Server, packed_bytes(masks));
            activation.output.correct(ledger);
        }
    }

    /// Online, from accumulators to masked activations.
    pub(super) fn online(&self, ledger: &mut Ledger) {
        let Some(activation) = &self.activation else { return };
        let elements = activation.output.elements;
        ledger.send(Sender::Server, packed_bytes(activation.sum(|tree| tree.leaf_message_bits() as u64)));
        ledger.send(Sender::Server, packed_bytes(elements.saturating_mul(activation.output.narrow)));
        let levels = activation.trees.iter().map(|(tree, _)| tree.levels()).max().unwrap_or(0);
        for level in 0..levels {
            ledger.exchange(packed_bytes(activation.sum(|tree| tree.opened_at(level) as u64)));
        }
        ledger.exchange(packed_bytes(elements.saturating_mul(OPENED_BITS)));
        activation.output.online(ledger);
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
        self.sum(|tree| tree.leaf_ots() as u64).saturating_add(self.output.elements.saturating_mul(MASK_BITS))
    }
}

impl Widening {
    /// How many elements get a wider ring, with a random OT of the server's each.
    pub(super) fn widened(&self) -> u64 {
        if self.wide > self.narrow { self.elements } else { 0 }
    }

    /// Offline, server to client: what the wraps need.
    pub(super) fn correct(&self, ledger: &mut Ledger) {
        let wraps = self.widened().saturating_mul(self.wide.saturating_sub(self.narrow));
        ledger.send(Sender::Server, packed_bytes(wraps));
    }

    /// Online: the wraps, and the mask that the readers know.
    pub(super) fn online(&self, ledger: &mut Ledger) {
        ledger.exchange(packed_bytes(self.widened()));
        unmask(ledger, self.elements, self.wide);
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
