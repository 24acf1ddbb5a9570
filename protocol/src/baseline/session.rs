//! One inference of one image by a baseline, from connection to logits.

use eqo_checkpoints::arith::to_signed;
use eqo_checkpoints::baseline::{Op, Program, ProgramWeights};
use eqo_checkpoints::cost::{self, BASELINE_HELLO, BASELINE_OT, Flow};

use super::walk::{Brought, step};
use super::{OneOfN, Peer};
use crate::clock::Clock;
use crate::gates::Party;
use crate::gates::open::open;
use crate::layers::Shares;
use crate::ot::{KkotReceiver, KkotSender, Ots};
use crate::report::{Phase, Report, Row};
use crate::transport::{Channel, Scope};
use crate::{Error, PartyRng, Role};

const MAGIC: [u8; 8] = *b"EQOBASE1";

/// The server's side of an inference; what it cost.
///
/// # Errors
/// [`Error::PeerIncompatible`] if the client runs another program; [`Error::Config`] for weights of another program; those of the
/// channel.
///
/// # Communication cost
/// [`eqo_checkpoints::cost::baseline`].
pub fn serve(channel: Channel, program: &Program, weights: &ProgramWeights) -> Result<Report, Error> {
    check(program)?;
    let fits = program.ops.iter().enumerate().all(|(id, op)| {
        let layer = weights.layers.get(id);
        op.codes() == 0
            || layer.is_some_and(|layer| layer.codes.len() == op.codes() && layer.bias.len() == op.shape[0])
    });
    if !fits {
        return Err(Error::Config {
            what: "weights",
            expected: format!("those of {}", program.name),
            found: "others".into(),
            next: "make program and weights together",
        });
    }
    let (_, report) = run(channel, program, Brought::Weights(weights), &mut |_| {})?;
    Ok(report)
}

/// The client's side: the logits `[classes]` of an image `[channels][height][width]` of signed integers, and what it cost.
/// `progress` is told how many operations are done.
///
/// # Errors
/// [`Error::Config`] for an image of another size; otherwise as [`serve`].
pub fn infer(
    channel: Channel,
    program: &Program,
    image: &[i64],
    progress: &mut dyn FnMut(usize),
) -> Result<(Vec<i64>, Report), Error> {
    check(program)?;
    let expected = if program.is_empty() { 0 } else { program.len(0) };
    if expected == 0 || image.len() != expected {
        return Err(Error::Config {
            what: "image",
            expected: format!("{expected} integers"),
            found: image.len().to_string(),
            next: "give one image of the program's input shape",
        });
    }
    run(channel, program, Brought::Image(image), progress)
}

fn check(program: &Program) -> Result<(), Error> {
    program.check().map_err(|error| Error::Config {
        what: "program",
        expected: "a sound one".into(),
        found: error.to_string(),
        next: "build it by a function of eqo_checkpoints::baseline",
    })
}

fn run(
    mut channel: Channel,
    program: &Program,
    brought: Brought,
    progress: &mut dyn FnMut(usize),
) -> Result<(Vec<i64>, Report), Error> {
    let role = match brought {
        Brought::Weights(_) => Role::Server,
        Brought::Image(_) => Role::Client,
    };
    let mut clock = Clock::start();
    agree(&mut channel, program)?;
    clock.enter(Scope::BaseOt);
    let mut rng = PartyRng::from_os()?;
    let mut ots = Ots::setup(&mut channel, role, BASELINE_OT, &mut rng)?;
    channel.set_scope(Scope::BaseOt);
    let one_of_n = match role {
        Role::Server => OneOfN::Sender(Box::new(KkotSender::setup(&mut channel, &mut rng)?)),
        Role::Client => OneOfN::Receiver(Box::new(KkotReceiver::setup(&mut channel, &mut rng)?)),
    };
    let party = Party { role, channel: &mut channel, ots: &mut ots, rng: &mut rng };
    let mut peer = Peer { party, one_of_n };
    let last_uses = program.last_uses();
    let mut tensors: Vec<Shares> = Vec::with_capacity(program.ops.len());
    for id in 0..program.ops.len() {
        clock.enter(Scope::Node(id));
        peer.party.channel.set_scope(Scope::Node(id));
        let shares = step(&mut peer, (program, id), brought, &tensors)?;
        tensors.push(shares);
        (0..id).filter(|&read| last_uses[read] == id).for_each(|read| tensors[read] = Shares::default());
        progress(id + 1);
    }
    clock.enter(Scope::Result);
    peer.party.channel.set_scope(Scope::Result);
    let logits = reveal(&mut peer, program, &tensors)?;
    // Waiting for nobody: closes the last scope's time.
    clock.enter(Scope::Handshake);
    Ok((logits, report(&channel, program, &clock)))
}

/// Both parties name what they run.
fn agree(channel: &mut Channel, program: &Program) -> Result<(), Error> {
    channel.set_scope(Scope::Handshake);
    let mut hello = MAGIC.to_vec();
    hello.extend(program.hash());
    debug_assert_eq!(hello.len(), BASELINE_HELLO);
    let theirs = channel.exchange(hello.clone())?;
    if theirs == hello {
        return Ok(());
    }
    let same_protocol = theirs.starts_with(&MAGIC);
    Err(Error::PeerIncompatible {
        what: "program",
        ours: program.name.clone(),
        theirs: if same_protocol { "another program".into() } else { "another protocol".into() },
        next: "start both parties with the same profile, model and bits",
    })
}

fn reveal(peer: &mut Peer, program: &Program, tensors: &[Shares]) -> Result<Vec<i64>, Error> {
    let (Some(shares), Some(op)) = (tensors.last(), program.ops.last()) else { return Ok(Vec::new()) };
    let bits = op.bits as u8;
    let logits = open(&mut peer.party, |_| bits, shares)?.unwrap_or_default();
    Ok(logits.into_iter().map(|logit| to_signed(logit as u64, bits)).collect())
}

fn report(channel: &Channel, program: &Program, clock: &Clock) -> Report {
    let costs = cost::baseline(program);
    let phase = |scope, predicted: Flow| {
        let measured = channel.meter().of(scope);
        Phase {
            bytes_sent: measured.bytes_sent,
            bytes_received: measured.bytes_received,
            frames: measured.frames,
            rounds: measured.rounds,
            seconds: clock.seconds(scope),
            predicted,
        }
    };
    let fixed = |name: &'static str, offline, online| Row {
        name: name.into(),
        op: name,
        algorithm: "",
        offline,
        online,
    };
    let mut rows = vec![
        fixed("handshake", phase(Scope::Handshake, costs.handshake), Phase::default()),
        fixed("base-ot", phase(Scope::BaseOt, costs.base_ot), Phase::default()),
    ];
    let row = |(id, op): (usize, &Op)| {
        let online = phase(Scope::Node(id), costs.ops[id]);
        Row {
            name: op.layer.clone(),
            op: op.operator(),
            algorithm: op.algorithm(),
            offline: Phase::default(),
            online,
        }
    };
    rows.extend(program.ops.iter().enumerate().map(row));
    rows.push(fixed("result", Phase::default(), phase(Scope::Result, costs.result)));
    Report { rows }
}
