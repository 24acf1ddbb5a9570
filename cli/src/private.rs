//! Private evaluation: this process is the client, a child process running `eqo serve` is the server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use eqo_checkpoints::engine::Engine;
use eqo_datasets::Dataset;
use eqo_protocol::report::{Report, Row};
use eqo_protocol::session::client::{Client, ClientConfig, connect};
use eqo_protocol::transport::{self, Link, TransportConfig};

use crate::args::PrivateArgs;
use crate::evaluation::{Evaluation, LayerFigures, PrivateFigures, count_correct, integer_logits};
use crate::exit::{Failure, Kind};
use crate::progress::{self, Progress};
use crate::{interrupt, party};

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
    let start = Instant::now();
    let mut server = Server::start(setting)?;
    let runtime = party::runtime()?;
    let settings = TransportConfig { timeout: setting.timeout, link: setting.network };
    let channel = transport::connect(&server.address, runtime.handle(), settings)?;
    let ot = setting.parameters.ot();
    let mut client = connect(
        channel,
        &ClientConfig { ot, expected_graph: Some(engine.graph().graph_hash()), threads: 1 },
    )?;
    let logits = infer_all(&mut client, &images, setting.parameters.batch)?;
    let report = client.close()?;
    server.finish()?;
    let mismatches = expected.iter().zip(&logits).filter(|(plain, private)| plain != private).count();
    let model = &engine.graph().graph().name;
    let mut evaluation = Evaluation::plain(model, "private", images.len(), correct(&logits), start);
    evaluation.private = Some(figures(&report, mismatches, setting));
    Ok(evaluation)
}

/// Fails with exit code 1 unless private equals plain and measured equals predicted.
pub(crate) fn verdict(evaluation: &Evaluation) -> Result<(), Failure> {
    let Some(private) = &evaluation.private else { return Ok(()) };
    if private.mismatches > 0 {
        let (wrong, all) = (private.mismatches, evaluation.images);
        let next = "please report this with the checkpoint: the protocol must equal the integer engine";
        let message = format!(
            "expected private logits equal to the integer engine's, found {wrong} of {all} images that differ; {next}"
        );
        return Err(Failure::new(Kind::Check, message));
    }
    private.unequal().map_or(Ok(()), |layer| {
        let (predicted, measured) = (layer.predicted_bytes, layer.bytes_offline + layer.bytes_online);
        let next = "please report this with the checkpoint: the cost model must be exact";
        Err(Failure::new(
            Kind::Check,
            format!("{}: predicted {predicted} bytes, measured {measured}; {next}", layer.node),
        ))
    })
}

fn infer_all(client: &mut Client, images: &[&[u8]], batch: usize) -> Result<Vec<Vec<i64>>, Failure> {
    let bar = Progress::new("private inference");
    let mut logits = Vec::with_capacity(images.len());
    for some in images.chunks(batch) {
        interrupt::check("the server process ends with this one")?;
        client.prepare(some.len())?;
        logits.extend(client.infer(some)?);
        bar.set(logits.len(), images.len());
    }
    Ok(logits)
}

fn figures(report: &Report, mismatches: usize, setting: &Setting<'_>) -> PrivateFigures {
    let (offline, online) = (report.offline(), report.online());
    PrivateFigures {
        mismatches,
        profile: setting.parameters.profile.name(),
        batch: setting.parameters.batch,
        network: setting.network.map(party::network_name),
        ot: setting.parameters.ot().name(),
        bytes_offline: offline.bytes(),
        bytes_online: online.bytes(),
        bytes_total: report.bytes(),
        rounds_offline: offline.rounds,
        rounds_online: online.rounds,
        seconds_offline: offline.seconds,
        seconds_online: online.seconds,
        layers: report.rows.iter().map(layer).collect(),
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

/// A child that runs `eqo serve` for one session. It ends with this value, or with this process.
struct Server {
    child: Child,
    address: String,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Server {
    fn start(setting: &Setting<'_>) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| child_failure("find this program", &error))?;
        let mut command = Command::new(program);
        command.arg("serve").arg(setting.checkpoint).args(["--listen", "127.0.0.1:0", "--sessions", "1"]);
        // Both processes are of this machine.
        command.arg("--insecure-plaintext");
        command.args(["--max-batch", &setting.parameters.batch.to_string(), "--until-stdin-ends"]);
        command.args(["--timeout", &setting.timeout.as_secs_f64().to_string()]);
        if let Some(link) = setting.network {
            command.args(["--network", &party::network_name(link)]);
        }
        // The child watches its stdin: when this process ends, however it ends, the pipe closes and the child stops.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| child_failure("start the server process", &error))?;
        let stderr = child.stderr.take().map(BufReader::new);
        let mut server = Self { child, address: String::new(), stderr };
        server.address = server.read_address()?;
        Ok(server)
    }

    fn read_address(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if let Some(stderr) = &mut self.stderr {
            stderr
                .read_line(&mut line)
                .map_err(|error| child_failure("read the server's address", &error))?;
        }
        match line.trim().strip_prefix("listening on ") {
            Some(address) => Ok(address.to_owned()),
            None => {
                let message = format!("server process: expected its address, found {:?}", line.trim());
                Err(Failure::new(Kind::Peer, message))
            }
        }
    }

    /// Waits for the session's end and passes on what the server had to say.
    fn finish(&mut self) -> Result<(), Failure> {
        for line in self.stderr.take().into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
            progress::line(&format!("server: {line}"));
        }
        let status =
            self.child.wait().map_err(|error| child_failure("wait for the server process", &error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Peer,
            format!("server process: expected exit code 0, found {status}; its lines are above"),
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless this party failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn child_failure(action: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Kind::Peer,
        format!("could not {action}: {error}; run `eqo serve` and `eqo infer` by hand to see more"),
    )
}
