//! Whole sessions by a script: what the parties say must be the engine's, and cost what was foretold.

use std::thread;
use std::time::Duration;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::{Answer, Forecast, OtKind, Profile};
use eqo_checkpoints::engine::{Engine, class_of};
use eqo_checkpoints::testing::random_image;
use eqo_protocol::Error;
use eqo_protocol::report::{Phase, Report, scopes};
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, Session};
use eqo_protocol::transport::{TransportConfig, memory_pair};

/// What a client asks for, with the batch size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    Prepare(usize),
    Infer(usize),
    Classify(usize),
}

use Ask::{Classify, Infer, Prepare};

/// What came of a script.
pub(crate) struct Played {
    /// Logits of each image of each `Infer`; for each `Classify`, the classes as numbers.
    pub(crate) answers: Vec<Vec<Vec<i64>>>,
    /// Images of all prepared inferences after each request.
    pub(crate) stocks: Vec<usize>,
    pub(crate) client: Report,
    pub(crate) server: Report,
}

pub(crate) fn images(checkpoint: &Checkpoint, count: usize) -> Vec<Vec<u8>> {
    (0..count as u64).map(|seed| random_image(seed, checkpoint)).collect()
}

/// Runs a session. The images of a batch are always the same ones.
pub(crate) fn play(checkpoint: &Checkpoint, kind: OtKind, script: &[Ask]) -> Played {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = TransportConfig { timeout: Duration::from_secs(20), ..TransportConfig::default() };
    let (server, client) = memory_pair(1 << 20, runtime.handle(), config);
    let (server, client) = thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<_, Error> {
            let mut session = Session::accept(server, checkpoint, &ServerConfig::default())?;
            let mut stocks = Vec::new();
            while session.serve()? {
                stocks.push(session.prepared());
            }
            Ok((stocks, session.report()))
        });
        let run_client = || -> Result<_, Error> {
            let mut client = connect(client, &ClientConfig { ot: kind, ..ClientConfig::default() })?;
            assert_eq!(client.graph(), checkpoint.graph());
            let (mut answers, mut stocks) = (Vec::new(), Vec::new());
            for ask in script {
                match *ask {
                    Prepare(batch) => client.prepare(batch)?,
                    Infer(batch) => answers.push(client.infer(&images(checkpoint, batch))?),
                    Classify(batch) => {
                        let classes = client.classify(&images(checkpoint, batch))?;
                        answers.push(classes.iter().map(|&class| vec![class as i64]).collect());
                    }
                }
                stocks.push((1..=8).map(|batch| batch * client.prepared(batch)).sum());
            }
            Ok((answers, stocks, client.close()?))
        };
        let client = run_client();
        (server.join().unwrap(), client)
    });
    match (server, client) {
        (Ok((server_stocks, server)), Ok((answers, stocks, client))) => {
            assert_eq!(server_stocks, stocks, "both stocks have the same size after every request");
            Played { answers, stocks, client, server }
        }
        (server, client) => panic!("client: {:?}; server: {:?}", client.err(), server.err()),
    }
}

/// [`play`], whose answers must be the engine's and whose every byte, frame and round the predicted one.
pub(crate) fn check(checkpoint: &Checkpoint, kind: OtKind, script: &[Ask]) -> Played {
    let played = play(checkpoint, kind, script);
    let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
    let mut answers = played.answers.iter();
    for ask in script {
        let (batch, class_only) = match *ask {
            Prepare(_) => continue,
            Infer(batch) => (batch, false),
            Classify(batch) => (batch, true),
        };
        let logits = images(checkpoint, batch).into_iter().map(|image| engine.run(&image).unwrap());
        let expected: Vec<Vec<i64>> =
            logits.map(|logits| if class_only { vec![class_of(&logits) as i64] } else { logits }).collect();
        assert_eq!(answers.next(), Some(&expected), "{kind:?}, {ask:?} of {script:?}");
    }
    check_costs(checkpoint, kind, script, &played);
    played
}

fn check_costs(checkpoint: &Checkpoint, kind: OtKind, script: &[Ask], played: &Played) {
    let mut forecast = Forecast::new(checkpoint.graph(), &Profile { ot: kind });
    for ask in script {
        match *ask {
            Prepare(batch) => forecast.prepare(batch),
            Infer(batch) => forecast.infer(batch, Answer::Logits),
            Classify(batch) => forecast.infer(batch, Answer::Top1),
        }
    }
    forecast.close();
    assert_eq!(played.client.rows.len(), scopes(checkpoint.graph()).count());
    let predicted = played.client.offline().predicted + played.client.online().predicted;
    assert_eq!(predicted, forecast.costs().total(), "the report foretells the same session");
    check_rows(played);
}

/// Every byte, frame and round is the predicted one, and both parties saw the same.
fn check_rows(played: &Played) {
    for (client, server) in played.client.rows.iter().zip(&played.server.rows) {
        let name = &client.name;
        let phases = [(&client.offline, &server.offline), (&client.online, &server.online)];
        for (client, server) in phases {
            let Phase { bytes_sent, bytes_received, frames, rounds, predicted, .. } = *client;
            assert_eq!(bytes_sent, predicted.to_server, "{name} to server");
            assert_eq!(bytes_received, predicted.to_client, "{name} to client");
            assert_eq!(frames, predicted.frames, "{name} frames");
            assert_eq!(rounds, predicted.rounds, "{name} rounds");
            assert_eq!([server.bytes_received, server.bytes_sent], [bytes_sent, bytes_received], "{name}");
        }
    }
    assert_eq!(played.client.rounds(), played.server.rounds());
}
