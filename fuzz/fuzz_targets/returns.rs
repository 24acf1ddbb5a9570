//! Clients that come back to a session whose connection broke, and servers that let them: honest until then, and after that except
//! where the input says otherwise.

#![no_main]

use std::sync::LazyLock;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_fuzz::returns::{Connection, Server, client_after, come_back, honest, with_ticket};
use eqo_fuzz::{channel, deviate, frames, plant};
use libfuzzer_sys::fuzz_target;

static CHECKPOINT: LazyLock<Checkpoint> =
    LazyLock::new(|| random_checkpoint(1, &Spec::new([1, 3, 3], 3, vec![])));

static HONEST: LazyLock<[Connection; 2]> = LazyLock::new(|| honest(&CHECKPOINT));

fn seeds() -> Vec<Vec<u8>> {
    let longest = HONEST.iter().map(|one| one.server.len().max(one.client.len())).max().unwrap_or(0);
    let each = |at: usize| {
        (0..12).map(move |what| vec![what % 2, what, at as u8, (at >> 8) as u8, 1, 0, 4, 255, 0, 1, 128])
    };
    (0..longest).flat_map(each).collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    let Some((side, data)) = data.split_first() else { return };
    let [first, second] = &*HONEST;
    if side & 1 == 0 {
        let server = Server::new(&CHECKPOINT);
        let Some(ticket) = server.left_by(&frames(&first.client)) else { return };
        let _ = server.serve(channel(deviate(&with_ticket(second.client.clone(), &ticket), data)));
    } else if let Ok(mut client) = client_after(channel(frames(&first.server))) {
        let _ = come_back(&mut client, &CHECKPOINT, channel(deviate(&second.server, data)));
    }
});
