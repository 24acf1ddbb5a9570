//! Whole sessions over a network that loses, delays, repeats, reorders, changes and cuts what it carries.
//!
//! Claims, for whatever goes wrong and wherever: no party panics or waits for ever; over TLS the client has the engine's answers or
//! none, all of them if it comes back, and what was damaged doesn't go unnoticed; in the clear the same holds of whatever ends or
//! delays a connection (nothing vouches for bytes there, so a changed one can change the answer); and no message with a secret in it
//! is ever sent twice, in one session, on the connection on which it goes on, or in the next session.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

#[path = "common/attempt.rs"]
mod attempt;
#[path = "common/authority.rs"]
mod authority;

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use attempt::{Attempt, Faults, HURRIED, NETWORKS, Plan, SCRIPTS};
use eqo_checkpoints::cost::OtKind;
use eqo_protocol::Error;
use eqo_protocol::testing::{Direction, Fault, FaultKind, Injected};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// Sessions at a time: most of a bad session is waiting.
const LANES: usize = 12;

/// Shorter messages may be equal by chance.
const DISTINCT: usize = 32;

fn kinds() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        Just(FaultKind::Drop),
        (0..2 * HURRIED.as_millis() as u64).prop_map(|ms| FaultKind::Delay(Duration::from_millis(ms))),
        Just(FaultKind::Truncate),
        Just(FaultKind::Duplicate),
        any::<u32>().prop_map(FaultKind::Flip),
        Just(FaultKind::Reorder),
        Just(FaultKind::Stall),
        Just(FaultKind::Cut),
    ]
}

fn faults(counts: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Faults> {
    let direction = prop_oneof![Just(Direction::ToServer), Just(Direction::ToClient)];
    proptest::collection::vec((direction, any::<Index>(), kinds()), counts)
}

fn plans() -> impl Strategy<Value = Plan> {
    let resumed = prop_oneof![Just(None), faults(0..=2).prop_map(Some)];
    // Ferret makes a million OTs even for the smallest network.
    let ot = prop_oneof![
        12 => proptest::sample::select(vec![OtKind::SoftSpoken1, OtKind::SoftSpoken2, OtKind::SoftSpoken4]),
        2 => Just(OtKind::SoftSpoken8),
        1 => Just(OtKind::Ferret),
    ];
    let plan = (0..NETWORKS, ot, any::<bool>(), 0..SCRIPTS.len(), faults(1..=3), resumed);
    plan.prop_map(|(network, ot, tls, script, faults, resumed)| Plan {
        network,
        ot,
        tls,
        script,
        faults,
        resumed,
    })
}

/// Whether a fault changes what arrives, rather than whether or when it does.
fn damages(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Duplicate | FaultKind::Flip(_) | FaultKind::Reorder)
}

/// Whether the rest of the session can do without what was hit: a record for old middleboxes, the notice that TLS is closed, or a
/// record's outer type and version; or it had nothing to be reordered with, which was dropped or held back itself. TLS 1.3 fixes these two (RFC 8446, 5.2), and rustls authenticates what they have to be in place
/// of what they are: what is inside is as it was sent.
fn idle(injected: &Injected, all: &[Injected]) -> bool {
    let Fault { direction, at, .. } = injected.fault;
    let byte = |bit: u32| bit as usize % (8 * injected.length) / 8;
    // Then it arrives in its turn.
    let next_is_gone = |next: &Injected| {
        (next.fault.direction, next.fault.at) == (direction, at + 1)
            && matches!(next.fault.kind, FaultKind::Drop | FaultKind::Reorder)
    };
    injected.first == 20
        || injected.length == 24
        || matches!(injected.fault.kind, FaultKind::Delay(_))
        || (injected.fault.kind == FaultKind::Reorder && all.iter().any(next_is_gone))
        || matches!(injected.fault.kind, FaultKind::Flip(bit) if byte(bit) < 3)
}

/// Plays a plan and checks every claim; what came of it.
fn check(plan: &Plan) -> Attempt {
    let mut attempts = plan.play();
    let expected = plan.expected();
    if attempts.len() > 1 {
        assert_eq!(attempts[1].answers, expected, "again, without faults: {plan:?}");
    }
    let mut said = HashSet::new();
    for message in attempts.iter().flat_map(|attempt| &attempt.said) {
        if message.len() >= DISTINCT {
            assert!(said.insert(blake3::hash(message)), "{} bytes were sent twice: {plan:?}", message.len());
        }
    }
    let attempt = attempts.swap_remove(0);
    if plan.tls || !attempt.injected.iter().any(|injected| damages(injected.fault.kind)) {
        assert_eq!(attempt.answers, expected[..attempt.answers.len()], "{plan:?}");
    }
    if plan.tls && plan.resumed.is_some() && attempt.opened {
        // A client whose certificate seems to be refused doesn't insist.
        let given_up = matches!(attempt.client, Err(Error::TlsRefused { .. }));
        assert!(given_up || attempt.answers.len() == expected.len(), "{:?}: {plan:?}", attempt.client);
    }
    if plan.tls && attempt.returns == 0 && attempt.client.is_ok() && attempt.server.is_ok() {
        let unnoticed = attempt.injected.iter().find(|injected| !idle(injected, &attempt.injected));
        assert!(unnoticed.is_none(), "nobody noticed {unnoticed:?} of {plan:?}");
    }
    attempt
}

/// What a session with faults ended with.
fn outcome(plan: &Plan, attempt: &Attempt) -> &'static str {
    let wrong = attempt.answers != plan.expected()[..attempt.answers.len()];
    match (&attempt.client, &attempt.server) {
        _ if wrong => "wrong answer",
        (Ok(()), _) if attempt.returns > 0 => "resumed",
        (Ok(()), Ok(())) => "survived",
        (Err(error), _) => name(error),
        // The client has all it wants.
        (Ok(()), Err(_)) => "server alone",
    }
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::Timeout { .. } => "timeout",
        Error::PeerClosed { found, .. } if found.starts_with("a broken") => "broken",
        Error::PeerClosed { .. } => "closed",
        Error::PeerLength { .. } => "length",
        Error::PeerData { .. } => "data",
        Error::PeerIncompatible { .. } => "incompatible",
        Error::PeerGraph { .. } => "graph",
        Error::TlsRefused { .. } => "TLS refused",
        _ => "another error",
    }
}

/// Checks plans, [`LANES`] at a time; `each` is told of every one.
fn check_all(plans: &[Plan], each: impl Fn(&Plan, &Attempt) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..LANES.min(plans.len()) {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(plan, &check(plan));
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(Config { cases: 8, ..Config::default() })]

    #[test]
    fn whatever_happens_on_the_way_sessions_end_with_right_answers_or_errors_and_say_nothing_twice(
        plans in proptest::collection::vec(plans(), 2 * LANES)
    ) {
        check_all(&plans, |_, _| {});
    }
}

/// Sessions by wire and fault, and by how they ended.
type Table = BTreeMap<(&'static str, &'static str), BTreeMap<&'static str, usize>>;

#[expect(clippy::print_stdout, reason = "the figures that somebody asked for")]
fn print(table: &Table) {
    let mut outcomes: Vec<&str> = table.values().flat_map(BTreeMap::keys).copied().collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    println!("| wire | fault | injected | {} |", outcomes.join(" | "));
    println!("|---|---|---:|{}", "---:|".repeat(outcomes.len()));
    for ((wire, fault), row) in table {
        let cells: Vec<String> =
            outcomes.iter().map(|name| row.get(name).copied().unwrap_or(0).to_string()).collect();
        println!("| {wire} | {fault} | {} | {} |", row.values().sum::<usize>(), cells.join(" | "));
    }
}

/// `EQO_FAULTS` faults, 10,000 unless said otherwise, in new sessions every time `EQO_SEED` changes; prints how sessions ended.
#[test]
#[ignore = "minutes: cargo test --release -p eqo-protocol --test faults -- --ignored --nocapture"]
fn ten_thousand_faults() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let wanted = number("EQO_FAULTS").unwrap_or(10_000);
    let seed = number("EQO_SEED").unwrap_or(1) as u64;
    let mut runner = TestRunner::new(Config {
        rng_seed: proptest::test_runner::RngSeed::Fixed(seed),
        ..Config::default()
    });
    let (table, faults, sessions) = (Mutex::new(Table::new()), AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    while faults.load(Ordering::Relaxed) < wanted {
        let plans: Vec<Plan> =
            (0..20 * LANES).map(|_| plans().new_tree(&mut runner).unwrap().current()).collect();
        check_all(&plans, |plan, attempt| {
            sessions.fetch_add(1, Ordering::Relaxed);
            faults.fetch_add(attempt.injected.len(), Ordering::Relaxed);
            let wire = match (plan.tls, plan.resumed.is_some()) {
                (true, false) => "TLS",
                (true, true) => "TLS, resuming",
                (false, false) => "clear",
                (false, true) => "clear, resuming",
            };
            let mut table = table.lock().unwrap();
            for injected in &attempt.injected {
                let row = table.entry((wire, injected.fault.kind.name())).or_default();
                *row.entry(outcome(plan, attempt)).or_default() += 1;
            }
        });
        eprintln!("{} faults, {} s", faults.load(Ordering::Relaxed), started.elapsed().as_secs());
    }
    print(&table.lock().unwrap());
    println!("{} faults in {} sessions", faults.load(Ordering::Relaxed), sessions.load(Ordering::Relaxed));
}
