//! Every message that the client decodes after the handshake, from a server that is honest except where the input says otherwise.

#![no_main]

use std::sync::LazyLock;

use eqo_fuzz::parties::{ask, serve};
use eqo_fuzz::{Transcript, channel, deviate, plant, record};
use libfuzzer_sys::fuzz_target;

/// What an honest server says.
static HONEST: LazyLock<Transcript> = LazyLock::new(|| {
    let [server, client] = record(|channel| serve(channel).is_ok(), |channel| ask(channel).is_ok());
    assert!(ask(channel(eqo_fuzz::frames(&server))).is_ok(), "honest words are understood");
    drop(client);
    server
});

/// One step for every kind of deviation and every frame.
fn seeds() -> Vec<Vec<u8>> {
    let each =
        |at: usize| (0..12).map(move |what| vec![what, at as u8, (at >> 8) as u8, 1, 0, 4, 255, 0, 1, 128]);
    (0..HONEST.len()).flat_map(each).collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    // Whatever it says: an error, or logits that are nobody's.
    let _ = ask(channel(deviate(&HONEST, data)));
});
