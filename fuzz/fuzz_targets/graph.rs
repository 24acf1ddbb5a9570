//! What a client does with a server's graph: JSON, structure, limits, price.

#![no_main]

use eqo_checkpoints::cost::{self, OtKind, Profile};
use eqo_checkpoints::graph::Graph;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_fuzz::{channel, frames, plant};
use eqo_protocol::session::client::{ClientConfig, connect};
use libfuzzer_sys::fuzz_target;

fn seeds() -> Vec<Vec<u8>> {
    let specs = [Spec::every_kind(), Spec::pools(), Spec::new([1, 3, 3], 2, vec![])];
    let specs = specs.into_iter().chain((0..20).map(Spec::random));
    let graph = |(seed, spec): (usize, Spec)| random_checkpoint(seed as u64, &spec).graph().graph().to_json();
    specs.enumerate().map(graph).map(String::into_bytes).collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |json: &[u8]| {
    let welcome = [b"EQO2PC".as_slice(), &2_u16.to_le_bytes(), &[0], &[64, 0, 0, 0], &[64, 0, 0, 0]].concat();
    let graph = [&(json.len() as u32).to_le_bytes(), json].concat();
    let client = connect(channel(frames(&[welcome, graph])), &ClientConfig::default());
    assert!(client.is_err(), "the server left before the base OTs");
    let Ok(graph) = Graph::from_json(json).and_then(Graph::check) else { return };
    let again = Graph::from_json(graph.graph().to_json().as_bytes()).expect("what is written can be read");
    assert_eq!(&again, graph.graph());
    for ot in [OtKind::SoftSpoken2, OtKind::Ferret] {
        let costs = cost::inference(&graph, &Profile { ot }, 3);
        assert!(costs.total().bytes() >= costs.online().bytes());
    }
});
