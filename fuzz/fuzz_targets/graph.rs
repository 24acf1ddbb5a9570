//! What a client does with a server's graph: JSON, structure, limits, price.

#![no_main]

use std::sync::LazyLock;

use eqo_checkpoints::cost::{self, OtKind, Profile, Scope};
use eqo_checkpoints::graph::Graph;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_fuzz::sessions::honest;
use eqo_fuzz::{Transcript, channel, frames, plant};
use eqo_protocol::Error;
use eqo_protocol::session::client::{ClientConfig, connect};
use libfuzzer_sys::fuzz_target;

/// What a server says before its graph, which a client of today understands.
static BEFORE: LazyLock<Transcript> = LazyLock::new(|| {
    let checkpoint = random_checkpoint(1, &Spec::new([1, 3, 3], 2, vec![]));
    let graph = sent(checkpoint.graph().graph().to_json().as_bytes());
    let [mut server, _] = honest(&checkpoint, OtKind::SoftSpoken2);
    let at = server.iter().position(|said| *said == graph).expect("a server sends its graph");
    server.truncate(at);
    let understood = meet(&server, graph);
    assert!(matches!(understood, Some(Error::PeerClosed { scope: Scope::BaseOt, .. })), "{understood:?}");
    server
});

/// How a server sends its graph.
fn sent(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u32).to_le_bytes(), json].concat()
}

/// What a client says to a server that leaves after its graph.
fn meet(before: &[Vec<u8>], graph: Vec<u8>) -> Option<Error> {
    connect(channel(frames(&[before, &[graph]].concat())), &ClientConfig::default()).err()
}

fn seeds() -> Vec<Vec<u8>> {
    let specs = [Spec::every_kind(), Spec::pools(), Spec::new([1, 3, 3], 2, vec![])];
    let specs = specs.into_iter().chain((0..20).map(Spec::random));
    let graph = |(seed, spec): (usize, Spec)| random_checkpoint(seed as u64, &spec).graph().graph().to_json();
    specs.enumerate().map(graph).map(String::into_bytes).collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |json: &[u8]| {
    assert!(meet(&BEFORE, sent(json)).is_some(), "the server left before the base OTs");
    let Ok(graph) = Graph::from_json(json).and_then(Graph::check) else { return };
    let again = Graph::from_json(graph.graph().to_json().as_bytes()).expect("what is written can be read");
    assert_eq!(&again, graph.graph());
    for ot in [OtKind::SoftSpoken2, OtKind::Ferret] {
        let costs = cost::inference(&graph, &Profile { ot }, 3);
        assert!(costs.total().bytes() >= costs.online().bytes());
    }
});
