//! What earlier protocols send for a [`Program`], exactly as `eqo-protocol`'s `baseline` runs it. Formulas follow SCI (EzPC), whose
//! measured bytes they are held to by tests (`tests/baseline_bytes.rs` names the differences); λ = 128, IKNP, 1-of-N OT of 256 bits.
//!
//! Everything but base OTs is online: these protocols prepare nothing.

mod gates;
mod products;

pub use gates::{DIGIT_BITS, levels as comparison_levels};
pub use products::{PRODUCT_OTS, activation_chunk, weight_chunk};

use super::ledger::{Flow, Ledger, Ots, Scope, Sender};
use super::ot::{Extension, OtKind, setup_payloads};
use super::wire::packed_bytes;
use super::{KKOT_HELLO, KKOT_REPLIES};
use crate::baseline::{Kind, Multiplexer, Program, TensorId};

/// Bytes by which each party names the program that it runs: magic and hash.
pub const BASELINE_HELLO: usize = 8 + 32;

/// The extension of 1-of-2 OTs: IKNP.
pub const BASELINE_OT: OtKind = OtKind::SoftSpoken1;

/// Traffic of one inference of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineCosts {
    /// Agreement on the program.
    pub handshake: Flow,
    /// Base OTs.
    pub base_ot: Flow,
    /// Every operation, in order.
    pub ops: Vec<Flow>,
    /// Opening the logits.
    pub result: Flow,
}

impl BaselineCosts {
    /// The sum of all parts.
    pub fn total(&self) -> Flow {
        self.ops.iter().fold(self.handshake + self.base_ot + self.result, |sum, op| sum + *op)
    }
}

/// What `program` sends.
pub fn baseline(program: &Program) -> BaselineCosts {
    let mut book = Book::new();
    for id in 0..program.ops.len() {
        book.ledger.set_scope(Scope::Node(id));
        book.op(program, id);
    }
    book.ledger.set_scope(Scope::Result);
    if let Some(op) = program.ops.last() {
        book.ledger
            .send(Sender::Server, packed_bytes(count(program, program.ops.len() - 1) * u64::from(op.bits)));
    }
    let row = |scope| book.ledger.row(scope);
    BaselineCosts {
        handshake: row(Scope::Handshake),
        base_ot: row(Scope::BaseOt),
        ops: (0..program.ops.len()).map(|id| row(Scope::Node(id))).collect(),
        result: row(Scope::Result),
    }
}

fn count(program: &Program, id: TensorId) -> u64 {
    program.len(id) as u64
}

/// The ledger with the stock of random OTs.
struct Book {
    ledger: Ledger,
    stock: Ots,
    server_sends: Extension,
    client_sends: Extension,
}

impl Book {
    fn new() -> Self {
        let mut ledger = Ledger::new();
        ledger.exchange(BASELINE_HELLO as u64);
        ledger.set_scope(Scope::BaseOt);
        for payload in setup_payloads(BASELINE_OT) {
            ledger.exchange(payload);
        }
        ledger.send(Sender::Client, KKOT_HELLO as u64);
        ledger.send(Sender::Server, KKOT_REPLIES as u64);
        let extension = Extension::new(BASELINE_OT);
        Self { ledger, stock: Ots::default(), server_sends: extension, client_sends: extension }
    }

    fn op(&mut self, program: &Program, id: TensorId) {
        let op = &program.ops[id];
        let n = count(program, id);
        let from = |input: TensorId| program.ops[input].bits;
        match &op.kind {
            Kind::Input
            | Kind::Reduce { .. }
            | Kind::Add { .. }
            | Kind::Shortcut(_)
            | Kind::SumPool { .. }
            | Kind::WindowSum { .. } => {}
            Kind::Products(products) => self.products(program, id, products),
            Kind::Extend { input, range } => self.extend(n, (from(*input), op.bits), *range),
            Kind::TruncateReduce { input, shift } => {
                self.compare(n, *shift, false);
                self.convert(n, from(*input) - shift);
            }
            Kind::Truncate { shift, range, .. } => self.truncate(n, (op.bits, *shift), *range),
            Kind::Relu { multiplexer, .. } => self.relu(n, op.bits, *multiplexer),
            Kind::Clamp { .. } => self.relu(n, op.bits, Multiplexer::Correlated),
            Kind::MaxPool { window, multiplexer, .. } => {
                let mut left = (window[0] * window[0]) as u64;
                while left > 1 {
                    self.relu(n * (left / 2), op.bits, *multiplexer);
                    left = left.div_ceil(2);
                }
            }
        }
    }

    /// Fills the stock of random OTs up to what is needed and takes it out, in the scope that needs it.
    fn draw(&mut self, server_sends: u64, client_sends: u64) {
        let server = self.server_sends.plan(server_sends.saturating_sub(self.stock.server_sends));
        let client = self.client_sends.plan(client_sends.saturating_sub(self.stock.client_sends));
        self.ledger.cross(client.from_receiver(), server.from_receiver());
        self.stock += Ots { server_sends: server.made, client_sends: client.made };
        self.stock.server_sends = self.stock.server_sends.saturating_sub(server_sends);
        self.stock.client_sends = self.stock.client_sends.saturating_sub(client_sends);
    }
}
