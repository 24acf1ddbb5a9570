//! Earlier protocols, executed: a [`Program`](eqo_checkpoints::baseline::Program) by the gates of SCI (EzPC), between the same two
//! parties over the same transport as our own protocol, so that ratios to SiRNN, CrypTFlow2, CoPriv and COINN are measured in one
//! engine.
//!
//! | gate | as in SCI | OTs |
//! |---|---|---|
//! | comparison | digits of 4 bits by 1-of-16 OT, a tree of ANDs by bit triples (CrypTFlow2, eprint 2020/1002, §3.1) | KKOT |
//! | wrap of a known top bit | 1-of-4 OT (SiRNN, eprint 2021/459, §3.1) | KKOT |
//! | conversion, multiplexer | correlated OT; for CrypTFlow2 two messages | IKNP |
//! | extension, truncation | comparison of the low bits, conversion (SiRNN, §3.2; faithful truncation: CrypTFlow2, §5.1) | both |
//! | products | correlated OTs of a row or column, by the bits of one factor | IKNP |
//!
//! Messages and lengths are those of [`eqo_checkpoints::cost::baseline`]; the tests hold both to the bytes that the peers' programs
//! were measured to send. Security is semi-honest as everywhere: every message is masked by a fresh pad.

mod comparison;
mod gates;
mod products;
mod session;
#[cfg(test)]
mod tests;
mod walk;

pub use session::{infer, serve};

use crate::Error;
use crate::gates::Party;
use crate::ot::{KkotReceiver, KkotSender};

/// One party of a baseline.
struct Peer<'p> {
    party: Party<'p>,
    one_of_n: OneOfN,
}

/// The 1-of-N OTs, in which the server always sends.
enum OneOfN {
    Sender(Box<KkotSender>),
    Receiver(Box<KkotReceiver>),
}

impl Peer<'_> {
    fn is_server(&self) -> bool {
        self.party.is_server()
    }

    /// Fills the stock of random OTs up to what is needed; the traffic belongs to the scope in force.
    fn draw(&mut self, server_sends: usize, client_sends: usize) -> Result<(), Error> {
        let (send, receive) =
            if self.is_server() { (server_sends, client_sends) } else { (client_sends, server_sends) };
        let ots = &mut *self.party.ots;
        let send = send.saturating_sub(ots.left_as_sender());
        let receive = receive.saturating_sub(ots.left_as_receiver());
        ots.replenish(self.party.channel, send, receive)
    }
}
