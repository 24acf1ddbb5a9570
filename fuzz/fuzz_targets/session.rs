//! Whole sessions of either party, base OTs and requests included, with a peer that is honest except where the input says otherwise.

#![no_main]

use std::sync::LazyLock;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_fuzz::sessions::{ask, honest, serve};
use eqo_fuzz::{Transcript, channel, deviate, plant};
use eqo_protocol::ot::OtKind;
use libfuzzer_sys::fuzz_target;

static CHECKPOINT: LazyLock<Checkpoint> =
    LazyLock::new(|| random_checkpoint(1, &Spec::new([1, 3, 3], 3, vec![])));

const KINDS: [OtKind; 2] = [OtKind::SoftSpoken8, OtKind::Ferret];

/// What honest servers and clients say, for each kind of OT.
static HONEST: LazyLock<[[Transcript; 2]; 2]> = LazyLock::new(|| KINDS.map(|kind| honest(&CHECKPOINT, kind)));

fn seeds() -> Vec<Vec<u8>> {
    let longest = HONEST.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let each = |at: usize| {
        (0..12).map(move |what| vec![what % 4, what, at as u8, (at >> 8) as u8, 1, 0, 4, 255, 0, 1, 128])
    };
    (0..longest).flat_map(each).collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    let Some((side, data)) = data.split_first() else { return };
    // Ferret takes some 100 times as long as SoftSpoken for so small a network.
    let kind = usize::from(*side >= 252);
    let [server, client] = &HONEST[kind];
    let _ = match side & 1 {
        0 => serve(channel(deviate(client, data)), &CHECKPOINT),
        _ => ask(channel(deviate(server, data)), &CHECKPOINT, KINDS[kind]),
    };
});
