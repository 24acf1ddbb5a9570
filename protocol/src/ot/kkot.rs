//! 1-of-N OT by extension: Kolesnikov and Kumaresan, "Improved OT Extension for Transferring Short Secrets" (CRYPTO 2013),
//! with the 256-bit Walsh-Hadamard code, for N up to 16. CrypTFlow2 and SiRNN compare with it.
//!
//! For each of the code's 256 bits the receiver holds two seeds and the sender, by a base OT with its choice bit s_i, one of
//! them. A column of the extension matrix has a bit for each OT: the receiver's are t_i = G(k0_i), it sends
//! u_i = G(k0_i) ^ G(k1_i) ^ c_i with c_i bit i of its choices' codewords, and the sender has q_i = G(k_i) ^ s_i·u_i =
//! t_i ^ s_i·c_i. So in the row of an OT with choice r, q ^ (C(w) & s) = t ^ ((C(r) ^ C(w)) & s): the receiver knows it for w = r
//! only, elsewhere 128 bits of s hide it.
//!
//! The pad of message w is H(L(q) ^ L(C(w) & s), serial): L is the linear map of [`code`] from 256 to 128 bits, H the TMMO hash
//! of [`hash`](super::hash). To the receiver this is H(L(t) ^ R, serial) with R = L(C(d) & s), d = r ^ w. L is chosen such that
//! R is uniform on 128 bits for each d > 0, and since C is linear so are the sums of two different R. Guo et al. (S&P 2020)
//! prove TMMO for one secret offset; with up to 15 the same argument holds, because of the offsets it needs only that x ^ R
//! hits no query of the adversary to the permutation, and now also that x ^ R = x' ^ R' for no two of them. Either has
//! probability 2^-128 for each pair, so p pads are safe within O(p(p + a) / 2^128) for a queries, as with one offset. (This
//! extension of the proof is ours; it hasn't been published.) L before the transposition halves that, and H runs on the wide
//! AES units.

mod code;

use rand::{Rng, RngExt};
use zeroize::Zeroizing;

use eqo_checkpoints::cost::{KKOT_HELLO, KKOT_REPLIES, kkot_from_sender, kkot_request_bytes};

use self::code::{COLUMNS, WORDS};
use super::base::{self, BaseSender, Session};
use super::hash::OtHash;
use super::leaves::Leaves;
use super::prg::{Row, WIDE};
use super::setup::hash_key;
use super::softspoken::{CHUNK, batches, chunks};
use super::transpose::columns;
use super::{Block, Secrets};
use crate::ring::mask;
use crate::ring::pack::BitWriter;
use crate::transport::{Channel, PackedRecv, Scope};
use crate::{Error, PartyRng};

/// Bytes of each party's contribution to the session's name.
const NONCE: usize = 32;

/// OTs whose messages are masked together.
const GROUP: usize = 64;

/// What both sides share in kind: the streams, how far they were used, and a batch of the matrix after the fold.
struct Extension {
    streams: Vec<Leaves>,
    next_counter: u64,
    rows: Box<Zeroizing<[Row; 128]>>,
    hash: OtHash,
    next_serial: u64,
}

impl Extension {
    fn new(streams: Vec<Leaves>, session: &Session) -> Self {
        let rows = Box::new(Zeroizing::new([Row::ZERO; 128]));
        Self { streams, next_counter: 0, rows, hash: OtHash::new(hash_key(session)), next_serial: 0 }
    }

    /// Appends the folded rows of `blocks` times 128 OTs. `each(column, stream, total)` may change the stream of a column; at
    /// the receiver, `total` is that of its other seed XORed to it.
    fn batch(&mut self, blocks: usize, mut each: impl FnMut(usize, &mut Row, &Row), out: &mut Secrets) {
        let (mut stream, mut total) = (Zeroizing::new([Row::ZERO]), Zeroizing::new(Row::ZERO));
        self.rows.fill(Row::ZERO);
        for (column, seeds) in self.streams.iter().enumerate() {
            seeds.sum(self.next_counter, stream.as_mut(), &mut total);
            each(column, &mut stream[0], &total);
            code::add(column, &stream[0], &mut self.rows);
        }
        columns(&self.rows, blocks, out);
        self.next_counter += blocks as u64;
    }
}

/// The sender of 1-of-N OTs, the server.
pub struct KkotSender {
    /// s: the base OTs' choices.
    secret: Zeroizing<[bool; COLUMNS]>,
    /// L(C(w) & s) for each option w.
    offsets: Zeroizing<[Block; WORDS]>,
    extension: Extension,
}

impl KkotSender {
    /// Runs the 256 base OTs with the peer's [`KkotReceiver::setup`]. Booked under [`Scope::BaseOt`].
    ///
    /// # Errors
    /// [`Error::PeerData`] if the peer sends no valid point; those of the channel.
    ///
    /// # Communication cost
    /// Receives [`KKOT_HELLO`], then sends [`KKOT_REPLIES`] bytes: two rounds.
    pub fn setup(channel: &mut Channel, rng: &mut PartyRng) -> Result<Self, Error> {
        let outer = channel.meter().scope();
        channel.set_scope(Scope::BaseOt);
        let hello = channel.recv(KKOT_HELLO)?;
        let mut replies = vec![0; NONCE];
        rng.fill_bytes(&mut replies);
        let session = session(&hello, &replies);
        let secret = Zeroizing::new(rng.random::<[bool; COLUMNS]>());
        let (points, keys) = base::receive(&session, &hello[NONCE..], secret.as_ref(), rng)?;
        let keys = Zeroizing::new(keys);
        replies.extend_from_slice(&points);
        channel.send(replies)?;
        channel.set_scope(outer);
        // A tree of two leaves whose first is unknown: its sum is the stream of the known one.
        let streams = keys.iter().map(|key| Leaves::new([*key].into_iter(), true)).collect();
        let offsets = Zeroizing::new(std::array::from_fn(|word| code::offset(word, &secret)));
        Ok(Self { secret, offsets, extension: Extension::new(streams, &session) })
    }

    /// Sends the messages of `count` OTs of one message out of `options` (2 to 16) of `bits` bits (1 to 8):
    /// `message(j, w)`, of which the low `bits` bits matter, is what the peer gets from OT j for choice w. The peer calls
    /// [`KkotReceiver::recv`] with as many choices.
    ///
    /// Holds its answer, `options * bits` bits an OT, until all of the peer's messages are there.
    ///
    /// # Errors
    /// [`Error::Config`] for other `options` or `bits`; [`Error::PeerLength`] if the peer asks for other counts; those of the
    /// channel.
    ///
    /// # Communication cost
    /// Receives [`kkot_from_receiver`](eqo_checkpoints::cost::kkot_from_receiver), then sends [`kkot_from_sender`] in one
    /// message: two rounds.
    pub fn send(
        &mut self,
        channel: &mut Channel,
        count: usize,
        (options, bits): (usize, u32),
        message: impl Fn(usize, usize) -> u8,
    ) -> Result<(), Error> {
        check_shape(options, bits)?;
        let (mut masked, mut rows) = (BitWriter::default(), Zeroizing::new(Vec::with_capacity(CHUNK)));
        for (chunk, start) in chunks(count).zip((0..).step_by(CHUNK)) {
            let request = channel.recv(kkot_request_bytes(chunk as u64) as usize)?;
            rows.clear();
            self.extend(&request, chunk, &mut rows);
            channel.recycle(request);
            rows.truncate(count - start);
            self.mask(&rows, (options, bits), |j, w| message(start + j, w), &mut masked);
        }
        channel.send(masked.finish())
    }

    /// Appends L(q) of `count` OTs.
    fn extend(&mut self, request: &[u8], count: usize, out: &mut Secrets) {
        let mut rest = request.as_chunks::<16>().0;
        for blocks in batches(count) {
            let (batch, after) = rest.split_at(COLUMNS * blocks);
            let secret = &self.secret;
            let correct = |column: usize, stream: &mut Row, _: &Row| {
                let mask = Block::from(secret[column]).wrapping_neg();
                stream.fold(&batch[column * blocks..(column + 1) * blocks], mask);
            };
            self.extension.batch(blocks, correct, out);
            rest = after;
        }
    }

    /// Masks the messages of the OTs with these rows.
    fn mask(
        &mut self,
        rows: &[Block],
        (options, bits): (usize, u32),
        message: impl Fn(usize, usize) -> u8,
        masked: &mut BitWriter,
    ) {
        let mut pads = Zeroizing::new([0; GROUP]);
        let mut messages = Zeroizing::new(vec![0; GROUP * options]);
        for (rows, start) in rows.chunks(GROUP).zip((0..).step_by(GROUP)) {
            let (pads, messages) = (&mut pads[..rows.len()], &mut messages[..rows.len() * options]);
            for (word, offset) in self.offsets[..options].iter().enumerate() {
                self.extension.hash.keys(rows, *offset, self.extension.next_serial, pads);
                let own = messages.iter_mut().skip(word).step_by(options);
                for (j, (masked, pad)) in own.zip(&*pads).enumerate() {
                    *masked = *pad as u64 ^ u64::from(message(start + j, word));
                }
            }
            masked.put_all(messages, bits);
            self.extension.next_serial += rows.len() as u64;
        }
    }
}

/// The receiver of 1-of-N OTs, the client.
pub struct KkotReceiver(Extension);

impl KkotReceiver {
    /// Counterpart of [`KkotSender::setup`], with its errors and cost.
    ///
    /// # Errors
    /// As [`KkotSender::setup`].
    pub fn setup(channel: &mut Channel, rng: &mut PartyRng) -> Result<Self, Error> {
        let outer = channel.meter().scope();
        channel.set_scope(Scope::BaseOt);
        let base_sender = BaseSender::new(rng);
        let mut hello = [0; KKOT_HELLO];
        rng.fill_bytes(&mut hello[..NONCE]);
        hello[NONCE..].copy_from_slice(&base_sender.hello());
        channel.send(hello.to_vec())?;
        let replies = channel.recv(KKOT_REPLIES)?;
        let (nonce, points) = replies.split_at(NONCE);
        let session = session(&hello, nonce);
        let pairs = Zeroizing::new(base_sender.keys(&session, points)?);
        channel.set_scope(outer);
        // A tree of two leaves: the sum with the factors 0 and 1 is the stream of the second, k0.
        let streams = pairs.iter().map(|[k0, k1]| Leaves::new([*k1, *k0].into_iter(), false)).collect();
        Ok(Self(Extension::new(streams, &session)))
    }

    /// The message that the peer's [`KkotSender::send`] offers for each choice, in order; choices are below `options`.
    ///
    /// # Errors
    /// [`Error::Config`] for a choice that is no option, and as [`KkotSender::send`].
    ///
    /// # Communication cost
    /// As [`KkotSender::send`].
    pub fn recv(
        &mut self,
        channel: &mut Channel,
        choices: &[u8],
        (options, bits): (usize, u32),
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        check_shape(options, bits)?;
        check_choices(choices, options)?;
        let mut opened = self.request(channel, choices)?;
        let sent = kkot_from_sender(choices.len() as u64, options as u64, bits.into());
        let mut message = PackedRecv::new(channel, sent as usize);
        let mut messages = vec![0; GROUP * options];
        for (opened, choices) in opened.chunks_mut(GROUP).zip(choices.chunks(GROUP)) {
            let messages = &mut messages[..choices.len() * options];
            message.get_all(messages, bits)?;
            for ((opened, choice), messages) in opened.iter_mut().zip(choices).zip(messages.chunks(options)) {
                *opened = (*opened ^ messages[usize::from(*choice)] as u8) & mask(bits) as u8;
            }
        }
        Ok(opened)
    }

    /// Sends what makes OTs with these choices; the lowest 8 bits of the chosen pads.
    pub(super) fn request(
        &mut self,
        channel: &mut Channel,
        choices: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut pads = Zeroizing::new(Vec::with_capacity(choices.len()));
        let (mut rows, mut keys) = (Zeroizing::new(Vec::with_capacity(CHUNK)), Zeroizing::new([0; GROUP]));
        for (chunk, choices) in chunks(choices.len()).zip(choices.chunks(CHUNK)) {
            let mut request = channel.buffer(kkot_request_bytes(chunk as u64) as usize);
            rows.clear();
            self.extend(choices, chunk, &mut request, &mut rows);
            channel.send(request)?;
            for rows in rows[..choices.len()].chunks(GROUP) {
                let keys = &mut keys[..rows.len()];
                self.0.hash.keys(rows, 0, self.0.next_serial, keys);
                pads.extend(keys.iter().map(|key| *key as u8));
                self.0.next_serial += rows.len() as u64;
            }
        }
        Ok(pads)
    }

    /// Appends L(t) of `count` OTs and fills `request`.
    fn extend(&mut self, choices: &[u8], count: usize, request: &mut [u8], out: &mut Secrets) {
        let mut rest = request.as_chunks_mut::<16>().0;
        for (blocks, choices) in batches(count).zip(choices.chunks(128 * WIDE)) {
            let (batch, after) = rest.split_at_mut(COLUMNS * blocks);
            let codewords = code::codewords(choices);
            let hide = |column: usize, _: &mut Row, total: &Row| {
                let request = &mut batch[column * blocks..(column + 1) * blocks];
                total.write_sum(&codewords[code::group(column)], request);
            };
            self.0.batch(blocks, hide, out);
            rest = after;
        }
    }
}

/// The public name of the base OTs, equal at both parties.
fn session(hello: &[u8], nonce: &[u8]) -> Session {
    let mut hasher = blake3::Hasher::new_derive_key("eqo KKOT session, version 1");
    *hasher.update(hello).update(nonce).finalize().as_bytes()
}

fn check_shape(options: usize, bits: u32) -> Result<(), Error> {
    if (2..=WORDS).contains(&options) && (1..=8).contains(&bits) {
        return Ok(());
    }
    Err(Error::Config {
        what: "1-of-N OT",
        expected: format!("2 to {WORDS} options of 1 to 8 bits"),
        found: format!("{options} options of {bits} bits"),
        next: "split longer digits into several OTs",
    })
}

fn check_choices(choices: &[u8], options: usize) -> Result<(), Error> {
    match choices.iter().all(|choice| usize::from(*choice) < options) {
        true => Ok(()),
        false => Err(Error::Config {
            what: "choices of a 1-of-N OT",
            expected: format!("choices below {options}"),
            // Which one it is stays secret.
            found: "a larger one".into(),
            next: "use as many options as the choices have values",
        }),
    }
}
