//! Private evaluation: this process is the client, a child process running `eqo serve` is the server.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eqo_checkpoints::engine::Engine;
use eqo_datasets::Dataset;
use eqo_protocol::report::{Report, Row};
use eqo_protocol::session::client::{Client, ClientConfig, connect};
use eqo_protocol::transport::{self, Link, TransportConfig};

use crate::args::PrivateArgs;
use crate::commands::inspect;
use crate::evaluation::{Evaluation, LayerFigures, PrivateFigures, count_correct, integer_logits};
use crate::exit::{Failure, Kind};
use crate::server_process::ServerProcess;
use crate::{interrupt, memory, party};

mod steps;

use steps::Steps;

/// How a private evaluation runs.
pub(crate) struct Setting<'a> {
    /// What the server serves.
    pub(crate) checkpoint: &'a Path,
    /// Batch, OT extension, profile.
    pub(crate) parameters: PrivateArgs,
    /// Longest wait of either party for the other.
    pub(crate) timeout: Duration,
    /// The network that both parties imitate; the loopback as it is if `None`.
    pub(crate) network: Option<Link>,
}

/// Longest wait of one party for the other where nobody says.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// Classifies `dataset` privately and compares every logit with `engine`, which runs the same checkpoint.
pub(crate) fn evaluate(
    engine: &Engine,
    dataset: &Dataset,
    setting: &Setting<'_>,
) -> Result<Evaluation, Failure> {
    run(engine, dataset.pixels(), setting, &|logits| Some(count_correct(logits, dataset)))
}

/// The same for images without labels, `[images][channels][height][width]`: cost and equality, no accuracy.
pub(crate) fn measure(engine: &Engine, pixels: &[u8], setting: &Setting<'_>) -> Result<Evaluation, Failure> {
    run(engine, pixels, setting, &|_| None)
}

fn run(
    engine: &Engine,
    pixels: &[u8],
    setting: &Setting<'_>,
    correct: &dyn Fn(&[Vec<i64>]) -> Option<usize>,
) -> Result<Evaluation, Failure> {
    interrupt::watch()?;
    let expected = integer_logits(engine, pixels)?;
    let images: Vec<&[u8]> = pixels.chunks(engine.graph().shape(0).iter().product()).collect();
    memory::forget_peak();
    let start = Instant::now();
    let mut server = serve(setting)?;
    let runtime = party::runtime()?;
    let settings = TransportConfig { timeout: setting.timeout, link: setting.network };
    let channel = transport::connect(&server.address, runtime.handle(), settings)?;
    let ot = setting.parameters.ot();
    let mut client = connect(
        channel,
        &ClientConfig { ot, expected_graph: Some(engine.graph().graph_hash()), threads: 1 },
    )?;
    let logits = infer_all(&mut client, &images, setting.parameters)?;
    // The server waits for what comes next.
    let peaks = server.peaks();
    let report = client.close()?;
    server.finish()?;
    let mismatches = expected.iter().zip(&logits).filter(|(plain, private)| plain != private).count();
    let model = &engine.graph().graph().name;
    let mut evaluation = Evaluation::plain(model, "private", images.len(), correct(&logits), start);
    evaluation.private = Some(figures(&report, mismatches, setting, peaks));
    Ok(evaluation)
}

/// Fails with exit code 1 unless private equals plain and measured equals predicted.
pub(crate) fn verdict(evaluation: &Evaluation) -> Result<(), Failure> {
    evaluation.private.as_ref().map_or(Ok(()), |private| private.verdict(evaluation.images))
}

impl PrivateFigures {
    /// The same of these figures, which are of so many images.
    pub(crate) fn verdict(&self, images: usize) -> Result<(), Failure> {
        if self.mismatches > 0 {
            let wrong = self.mismatches;
            let next = "please report this with the checkpoint: the protocol must equal the integer engine";
            let message = format!(
                "expected private logits equal to the integer engine's, found {wrong} of {images} images that differ; {next}"
            );
            return Err(Failure::new(Kind::Check, message));
        }
        self.unequal().map_or(Ok(()), |layer| {
            let (predicted, measured) = (layer.predicted_bytes, layer.bytes_offline + layer.bytes_online);
            let next = "please report this with the checkpoint: the cost model must be exact";
            Err(Failure::new(
                Kind::Check,
                format!("{}: predicted {predicted} bytes, measured {measured}; {next}", layer.node),
            ))
        })
    }
}

/// `eqo serve` for one session.
fn serve(setting: &Setting<'_>) -> Result<ServerProcess, Failure> {
    let mut arguments: Vec<OsString> = vec!["serve".into(), setting.checkpoint.into()];
    // Both processes are of this machine.
    arguments.extend(["--insecure-plaintext", "--sessions", "1", "--max-batch"].map(OsString::from));
    arguments.push(setting.parameters.batch.to_string().into());
    ServerProcess::start(arguments, setting.timeout, setting.network)
}

fn infer_all(
    client: &mut Client,
    images: &[&[u8]],
    parameters: PrivateArgs,
) -> Result<Vec<Vec<i64>>, Failure> {
    let costs = inspect::session(client.graph(), parameters.ot(), images.len(), parameters.batch);
    let done = Arc::new(AtomicUsize::new(0));
    let steps = Steps::new(client.graph(), costs.total().bytes(), images.len(), Arc::clone(&done));
    client.watch(move |entered| steps.enter(entered));
    let mut logits = Vec::with_capacity(images.len());
    for some in images.chunks(parameters.batch) {
        interrupt::check("the server process ends with this one")?;
        client.prepare(some.len())?;
        logits.extend(client.infer(some)?);
        done.store(logits.len(), Ordering::Relaxed);
    }
    Ok(logits)
}

fn figures(
    report: &Report,
    mismatches: usize,
    setting: &Setting<'_>,
    peaks: [Option<u64>; 2],
) -> PrivateFigures {
    let names = [setting.parameters.profile.name(), setting.parameters.ot().name()];
    PrivateFigures {
        batch: setting.parameters.batch,
        network: setting.network.map(party::network_name),
        ..PrivateFigures::of(report, names, mismatches, peaks)
    }
}

impl PrivateFigures {
    /// What a report says of a session that answered an image at a time on this machine's own network.
    pub(crate) fn of(
        report: &Report,
        [profile, ot]: [&'static str; 2],
        mismatches: usize,
        [peak_memory_client, peak_memory_server]: [Option<u64>; 2],
    ) -> Self {
        let (offline, online) = (report.offline(), report.online());
        Self {
            mismatches,
            profile,
            ot,
            batch: 1,
            network: None,
            bytes_offline: offline.bytes(),
            bytes_online: online.bytes(),
            bytes_total: report.bytes(),
            rounds_offline: offline.rounds,
            rounds_online: online.rounds,
            seconds_offline: offline.seconds,
            seconds_online: online.seconds,
            layers: report.rows.iter().map(layer).collect(),
            peak_memory_client,
            peak_memory_server,
        }
    }
}

fn layer(row: &Row) -> LayerFigures {
    LayerFigures {
        node: row.name.clone(),
        op: row.op.to_owned(),
        bytes_offline: row.offline.bytes(),
        bytes_online: row.online.bytes(),
        rounds_online: row.online.rounds,
        predicted_bytes: row.predicted_bytes(),
    }
}
