//! [`Ots`]: base OTs in both directions, then random OTs as they are needed.

use rand::{Rng, RngExt};
use zeroize::Zeroizing;

use super::base::{self, BaseSender, POINT, Session};
use super::ferret::{FerretReceiver, FerretSender};
use super::hash::OtHash;
use super::pprf::{correction_bytes, grow, grow_punctured};
use super::softspoken::{SoftSpokenReceiver, SoftSpokenSender, chunk_of, chunks};
use super::stock::{ReceiverStock, SenderStock};
use super::{Block, OtKind, Plan, RandomCotReceiver, RandomCotSender, Step};
use crate::transport::{Channel, QUEUE_FRAMES, Scope};
use crate::{Error, PartyRng, Role};

/// Bytes of each party's contribution to the session's name.
const NONCE: usize = 32;

/// Nonce, the base sender's point, role, kind.
const HELLO: usize = NONCE + POINT + 2;

/// By how many chunks a party's sending runs ahead of its receiving in [`Ots::prepare`]. A chunk is one frame, so while
/// this is below the queue's length neither party can block the other.
const AHEAD: usize = QUEUE_FRAMES / 2;

/// Random OTs with the peer in both directions, each used once.
pub struct Ots {
    pub(super) sender: SenderStock,
    pub(super) receiver: ReceiverStock,
}

impl Ots {
    /// Runs the base OTs of both directions with the peer, which calls it too with the other role and the same `kind`.
    /// Booked under [`Scope::BaseOt`].
    ///
    /// # Errors
    /// [`Error::PeerIncompatible`] if the peer has another `kind`, [`Error::PeerData`] if it sends no valid points or has the
    /// same role; those of the channel.
    ///
    /// # Communication cost
    /// [`setup_payloads`](super::setup_payloads) each way, a round for each that isn't empty.
    pub fn setup(channel: &mut Channel, role: Role, kind: OtKind, rng: &mut PartyRng) -> Result<Self, Error> {
        let k = kind.k() as usize;
        let outer = channel.meter().scope();
        channel.set_scope(Scope::BaseOt);
        let base_sender = BaseSender::new(rng);
        let mut hello = [0; HELLO];
        rng.fill_bytes(&mut hello[..NONCE]);
        hello[NONCE..NONCE + POINT].copy_from_slice(&base_sender.hello());
        hello[HELLO - 2..].copy_from_slice(&[role as u8, kind.code()]);
        let theirs = channel.exchange(hello.to_vec())?;
        check_hello(&theirs, role, kind)?;
        let sessions = Sessions::of(role, &hello, &theirs);

        let mut choices = Zeroizing::new(rng.random::<[bool; 128]>());
        // The last step of the first tree's path, hence the lowest bit of delta, is 1.
        choices[k - 1] = false;
        let their_point = &theirs[NONCE..NONCE + POINT];
        let (replies, known) = base::receive(&sessions.as_sender, their_point, choices.as_ref(), rng)?;
        let known = Zeroizing::new(known);
        let pairs = base_sender.keys(&sessions.as_receiver, &channel.exchange(replies)?)?;
        let pairs = Zeroizing::new(pairs);

        let (mut trees, mut corrections) = (Vec::new(), Vec::new());
        for keys in pairs.chunks_exact(k) {
            let (leaves, bytes) = grow(keys);
            trees.push(leaves);
            corrections.extend(bytes);
        }
        let corrections = channel.exchange(corrections)?;
        channel.set_scope(outer);
        let receiver = SoftSpokenReceiver::new(kind, &trees);
        let sender = punctured_sender(kind, choices.as_ref(), &known, &corrections);
        let (sender, receiver) = sources(kind, sender, receiver, &sessions);
        Ok(Self {
            sender: SenderStock::new(kind, sender, OtHash::new(hash_key(&sessions.as_sender))),
            receiver: ReceiverStock::new(kind, receiver, OtHash::new(hash_key(&sessions.as_receiver))),
        })
    }

    /// Adds random OTs to the stock: at least `as_sender` of them with this party as sender and `as_receiver` as receiver;
    /// [`Plan`] says how many really. The peer calls it with the two swapped. Booked under [`Scope::OtExtension`].
    ///
    /// # Errors
    /// Those of the channel; [`Error::PeerLength`] if the peer prepares other counts.
    ///
    /// # Communication cost
    /// First [`Plan::from_receiver`], then [`Plan::from_sender`] of each direction; a round for each that isn't empty.
    pub fn prepare(
        &mut self,
        channel: &mut Channel,
        as_sender: usize,
        as_receiver: usize,
    ) -> Result<(), Error> {
        let outer = channel.meter().scope();
        channel.set_scope(Scope::OtExtension);
        self.replenish(channel, as_sender, as_receiver)?;
        channel.set_scope(outer);
        Ok(())
    }

    /// [`prepare`](Self::prepare), booked under the scope in force.
    pub(crate) fn replenish(
        &mut self,
        channel: &mut Channel,
        as_sender: usize,
        as_receiver: usize,
    ) -> Result<(), Error> {
        let (sending, receiving) = (self.sender.plan(as_sender), self.receiver.plan(as_receiver));
        channel.flight(|channel| self.run_soft_spoken(channel, &sending, &receiving))?;
        channel.flight(|channel| self.run_ferret(channel, &sending, &receiving))
    }

    pub(super) fn run_soft_spoken(
        &mut self,
        channel: &mut Channel,
        sending: &Plan,
        receiving: &Plan,
    ) -> Result<(), Error> {
        let steps = |plan: &Plan| chunks(plan.soft_spoken as usize).map(Step::SoftSpoken);
        let (mut to_receive, mut to_send) = (steps(sending), steps(receiving));
        for step in to_send.by_ref().take(AHEAD) {
            self.receiver.extend(channel, step)?;
        }
        loop {
            let (inbound, outbound) = (to_receive.next(), to_send.next());
            if let Some(step) = outbound {
                self.receiver.extend(channel, step)?;
            }
            if let Some(step) = inbound {
                self.sender.extend(channel, step)?;
            }
            if inbound.is_none() && outbound.is_none() {
                return Ok(());
            }
        }
    }

    /// Each iteration sends one frame before it waits for one, so neither party can block the other.
    fn run_ferret(&mut self, channel: &mut Channel, sending: &Plan, receiving: &Plan) -> Result<(), Error> {
        let (mut to_send, mut to_receive) = (sending.each_iteration(), receiving.each_iteration());
        loop {
            let (outbound, inbound) = (to_send.next(), to_receive.next());
            if let Some(iteration) = outbound {
                self.sender.extend(channel, Step::Ferret(iteration))?;
            }
            if let Some(iteration) = inbound {
                self.receiver.extend(channel, Step::Ferret(iteration))?;
            }
            if inbound.is_none() && outbound.is_none() {
                return Ok(());
            }
        }
    }

    /// Lets the local work of [`prepare`](Self::prepare) use so many threads (1 unless set; 0 counts as 1). It affects
    /// Ferret only, and no message.
    pub fn set_threads(&mut self, threads: usize) {
        self.sender.set_threads(threads);
        self.receiver.set_threads(threads);
    }

    /// Random OTs left with this party as sender.
    pub fn left_as_sender(&self) -> usize {
        self.sender.left()
    }

    /// Random OTs left with this party as receiver.
    pub fn left_as_receiver(&self) -> usize {
        self.receiver.left()
    }
}

/// The public names of the two directions' base OTs, equal at both parties.
pub(super) struct Sessions {
    /// Of the direction in which this party is the extension's sender (and the base OTs' receiver).
    pub(super) as_sender: Session,
    pub(super) as_receiver: Session,
}

impl Sessions {
    pub(super) fn of(role: Role, mine: &[u8], theirs: &[u8]) -> Self {
        let (server, client) = match role {
            Role::Server => (mine, theirs),
            Role::Client => (theirs, mine),
        };
        let name = |sender: Role| {
            let mut hasher = blake3::Hasher::new_derive_key("eqo OT session, version 1");
            *hasher.update(server).update(client).update(&[sender as u8]).finalize().as_bytes()
        };
        Self { as_sender: name(role), as_receiver: name(role.peer()) }
    }
}

/// What makes the random OTs of both directions.
pub(super) fn sources(
    kind: OtKind,
    sender: SoftSpokenSender,
    receiver: SoftSpokenReceiver,
    sessions: &Sessions,
) -> (Box<dyn RandomCotSender>, Box<dyn RandomCotReceiver>) {
    if kind == OtKind::Ferret {
        let sender = FerretSender::new(sender, &sessions.as_sender);
        return (Box::new(sender), Box::new(FerretReceiver::new(receiver, &sessions.as_receiver)));
    }
    (Box::new(sender), Box::new(receiver))
}

/// The key of the fixed permutation that hashes a direction's OTs.
pub(super) fn hash_key(session: &Session) -> [u8; 16] {
    let mut key = [0; 16];
    blake3::Hasher::new_derive_key("eqo OT hash key, version 1")
        .update(session)
        .finalize_xof()
        .fill(&mut key);
    key
}

fn check_hello(theirs: &[u8], role: Role, kind: OtKind) -> Result<(), Error> {
    let (their_role, their_kind) = (theirs[HELLO - 2], theirs[HELLO - 1]);
    if their_role != role.peer() as u8 {
        return Err(Error::PeerData {
            scope: Scope::BaseOt,
            what: "the peer's role",
            expected: "the other role than this party's",
            found: format!("role {their_role}"),
        });
    }
    if their_kind != kind.code() {
        return Err(Error::PeerIncompatible {
            what: "kind of OT",
            ours: kind.name().to_owned(),
            theirs: OtKind::from_code(their_kind)
                .map_or_else(|| format!("code {their_kind}"), |kind| kind.name().to_owned()),
            next: "start both parties with the same profile",
        });
    }
    Ok(())
}

/// The extension's sender: its base choices are the sides that the paths to its punctured points don't take.
pub(super) fn punctured_sender(
    kind: OtKind,
    choices: &[bool],
    known: &[Block],
    corrections: &[u8],
) -> SoftSpokenSender {
    let k = kind.k() as usize;
    let path = |tree: &[bool]| tree.iter().fold(0, |point, choice| point << 1 | Block::from(!choice));
    let delta = choices.chunks_exact(k).rev().fold(0, |delta, tree| delta << k | path(tree));
    let tree = |(index, keys): (usize, &[Block])| {
        let each = correction_bytes(k);
        let corrections = &corrections[index * each..(index + 1) * each];
        grow_punctured(keys, chunk_of(delta, k, index), corrections)
    };
    let trees: Vec<_> = known.chunks_exact(k).enumerate().map(tree).collect();
    SoftSpokenSender::new(kind, delta, &trees)
}
