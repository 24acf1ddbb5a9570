//! Both parties' handshakes with a peer that says anything.

#![no_main]

use std::sync::LazyLock;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_fuzz::{channel, cut, frames, plant};
use eqo_protocol::ot::OtKind;
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, Session};
use libfuzzer_sys::fuzz_target;

static CHECKPOINT: LazyLock<Checkpoint> =
    LazyLock::new(|| random_checkpoint(1, &Spec::new([1, 3, 3], 2, vec![])));

fn seeds() -> [Vec<u8>; 2] {
    let graph = CHECKPOINT.graph();
    let greeting = [b"EQO2PC".as_slice(), &2_u16.to_le_bytes()].concat();
    let hello = [&greeting[..], &[OtKind::SoftSpoken2.code()]].concat();
    let confirmation = [&[0][..], &graph.graph_hash()].concat();
    let welcome = [&greeting[..], &[0, 4, 0, 0, 0, 4, 0, 0, 0]].concat();
    let json = graph.graph().to_json();
    let named = [&(json.len() as u32).to_le_bytes(), json.as_bytes()].concat();
    let words = |side: u8, payloads: &[Vec<u8>]| {
        let lengthy = payloads
            .iter()
            .flat_map(|payload| [&(payload.len() as u16).to_le_bytes(), &payload[..]].concat());
        [side].into_iter().chain(lengthy).collect()
    };
    [words(0, &[hello, confirmation, vec![3; 66]]), words(1, &[welcome, named, vec![3; 66]])]
}

fuzz_target!(init: plant(seeds()), |data: &[u8]| {
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
