//! Both parties' handshakes with a peer that says anything.

#![no_main]

use std::sync::LazyLock;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_fuzz::sessions::honest;
use eqo_fuzz::{channel, cut, frames, plant};
use eqo_protocol::ot::OtKind;
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, Session};
use libfuzzer_sys::fuzz_target;

static CHECKPOINT: LazyLock<Checkpoint> =
    LazyLock::new(|| random_checkpoint(1, &Spec::new([1, 3, 3], 2, vec![])));

/// The beginnings of honest sessions.
fn seeds() -> [Vec<u8>; 2] {
    let [server, client] = honest(&CHECKPOINT, OtKind::SoftSpoken2);
    let words = |side: u8, said: &[Vec<u8>]| {
        let lengthy = said
            .iter()
            .take(3)
            .flat_map(|payload| [&(payload.len() as u16).to_le_bytes(), &payload[..]].concat());
        [side].into_iter().chain(lengthy).collect()
    };
    [words(0, &client), words(1, &server)]
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    let Some((side, words)) = data.split_first() else { return };
    // As frames, or as they are.
    let words = if side & 2 == 0 { frames(&cut(words)) } else { words.to_vec() };
    let failed = match side & 1 {
        0 => Session::accept(channel(words), &CHECKPOINT, &ServerConfig::default()).is_err(),
        _ => connect(channel(words), &ClientConfig { ot: OtKind::SoftSpoken2, ..ClientConfig::default() }).is_err(),
    };
    // Base OTs need points on the curve, and 4 kB of them: a peer that gets there by chance may stay.
    assert!(failed || data.len() > 4096);
});
