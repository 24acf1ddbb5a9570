//! What both parties still have of a session whose connection broke. Numbers only: nothing here is secret.
//!
//! The client names what it holds, the server says which of it it holds, too, and both drop the rest. The server's preparation is at
//! least as far as the client's, because every window's last message is the server's ([`eqo_checkpoints::cost::needs_end`]); it goes back to
//! the client's last whole window.

use eqo_checkpoints::cost::{Interrupted, Kept, holdings_bytes, kept_bytes};

use super::stock::{Begun, Stock};
use crate::Error;
use crate::layers::{ClientMaterial, ClientPreparation, ServerMaterial, ServerPreparation};
use crate::transport::{Channel, Scope};

pub(super) type ClientStock = Stock<ClientMaterial, ClientPreparation>;
pub(super) type ServerStock = Stock<ServerMaterial, ServerPreparation>;

/// Serial numbers that a client may have given without the server's hearing of it: one for each connection that broke.
const MOST_AHEAD: u64 = 1 << 20;

/// Client to server.
struct Holdings {
    next_serial: u64,
    /// Serial number of the preparation that was interrupted; its batch and whole windows, zeros if there is none.
    serial: u64,
    batch: u32,
    windows: u32,
    /// Of the prepared inferences, in order.
    serials: Vec<u64>,
}

/// The client's part: both stocks are the same afterwards.
///
/// # Errors
/// [`Error::PeerData`] for an answer that fits no holdings of this party; those of the channel.
pub(super) fn offer(channel: &mut Channel, stock: &mut ClientStock) -> Result<Kept, Error> {
    let (serial, batch, windows) = stock.interrupted().map_or((0, 0, 0), place);
    let serials = stock.serials();
    let holdings = Holdings { next_serial: stock.next_serial(), serial, batch, windows, serials };
    channel.send_message(&holdings.bytes())?;
    let offered = holdings.serials.len();
    let answer = channel.recv(kept_bytes(offered))?;
    let (theirs, has) = (u32::from_le_bytes([answer[0], answer[1], answer[2], answer[3]]), &answer[4..]);
    if theirs != windows && theirs != 0 {
        return Err(wrong("windows of a preparation", "all that this party has, or none", theirs));
    }
    // Until here nothing has changed: a return that breaks is tried again with all of it.
    let mut has = has.iter().map(|&byte| byte == 1);
    stock.retain(|_| has.next() == Some(true));
    if theirs == 0 {
        stock.take_interrupted();
    }
    let interrupted = (theirs > 0).then_some(Interrupted { batch: batch as usize, windows: theirs as usize });
    Ok(Kept { offered, prepared: stock.batches(), interrupted })
}

/// The server's part, for a client that may keep at most `most` prepared images: fewer, perhaps, than on its last connection.
///
/// # Errors
/// [`Error::PeerLength`] and [`Error::PeerData`] for holdings that no client of this session has; those of the channel.
pub(super) fn accept(channel: &mut Channel, stock: &mut ServerStock, most: usize) -> Result<Kept, Error> {
    // Of the client's inferences the server misses at most one that the break overtook, and those that it dropped in a return of which
    // the client didn't hear.
    let message = channel.recv_bounded(holdings_bytes(most.max(stock.most_ready() + 1)))?;
    let holdings = Holdings::read(&message)?;
    let ahead = holdings.next_serial.checked_sub(stock.next_serial());
    if ahead.is_none_or(|ahead| ahead > MOST_AHEAD) {
        return Err(wrong("a serial number", "the next one, or one soon after", holdings.next_serial));
    }
    stock.count_from(holdings.next_serial);
    let batch = holdings.batch as usize;
    let interrupted = common_windows(&holdings, stock).filter(|_| batch <= most);
    let windows = interrupted.as_ref().map_or(0, |begun| begun.preparation.windows() as u32);
    stock.retain(|serial| holdings.serials.contains(&serial));
    interrupted.into_iter().for_each(|begun| stock.interrupt(begun));
    stock.shrink_to(most);
    let ours = stock.serials();
    let mut answer = windows.to_le_bytes().to_vec();
    answer.extend(holdings.serials.iter().map(|serial| u8::from(ours.contains(serial))));
    channel.send(answer)?;
    let interrupted = (windows > 0).then_some(Interrupted { batch, windows: windows as usize });
    Ok(Kept { offered: holdings.serials.len(), prepared: stock.batches(), interrupted })
}

/// The preparation that the client was interrupted in, as far as the client had come. For the server it may be whole.
fn common_windows(holdings: &Holdings, stock: &mut ServerStock) -> Option<Begun<ServerPreparation>> {
    let Holdings { serial, batch, windows, .. } = *holdings;
    let interrupted = stock.take_interrupted();
    if windows == 0 {
        return None;
    }
    let reopen =
        |(batch, material): (usize, ServerMaterial)| Begun { serial, batch, preparation: material.reopen() };
    let begun = match interrupted.filter(|begun| begun.serial == serial) {
        Some(begun) => begun,
        None => stock.take_serial(serial).map(reopen)?,
    };
    let far_enough = begun.batch == batch as usize && begun.preparation.windows() >= windows as usize;
    far_enough.then(|| {
        let mut begun = begun;
        begun.preparation.keep(windows as usize);
        begun
    })
}

fn place(begun: &Begun<ClientPreparation>) -> (u64, u32, u32) {
    (begun.serial, begun.batch as u32, begun.preparation.windows() as u32)
}

impl Holdings {
    fn bytes(&self) -> Vec<u8> {
        let mut message = self.next_serial.to_le_bytes().to_vec();
        message.extend(self.serial.to_le_bytes());
        message.extend(self.batch.to_le_bytes());
        message.extend(self.windows.to_le_bytes());
        self.serials.iter().for_each(|serial| message.extend(serial.to_le_bytes()));
        message
    }

    fn read(message: &[u8]) -> Result<Self, Error> {
        let (words, rest) = message.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let (Some(next_serial), Some(serial), Some(place), true) =
            (words.next(), words.next(), words.next(), rest.is_empty())
        else {
            return Err(wrong("a client's holdings", "words of 8 bytes, at least three", message.len()));
        };
        let serials: Vec<u64> = words.collect();
        if !serials.iter().zip(&serials[1.min(serials.len())..]).all(|(one, next)| one < next) {
            return Err(wrong("a client's holdings", "serial numbers in order", "others"));
        }
        Ok(Self { next_serial, serial, batch: place as u32, windows: (place >> 32) as u32, serials })
    }
}

fn wrong(what: &'static str, expected: &'static str, found: impl ToString) -> Error {
    Error::PeerData { scope: Scope::Handshake, what, expected, found: found.to_string() }
}
