//! One inference by both parties as two processes, checked against the clear and against the cost model.

use std::path::Path;
use std::time::{Duration, Instant};

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::{self, BASELINE_OT};
use eqo_protocol::baseline;
use eqo_protocol::transport::{self, TransportConfig};

use super::program::ProgramSpec;
use crate::args::{NamedNetwork, PrivateArgs};
use crate::evaluation::PrivateFigures;
use crate::exit::{Failure, Kind};
use crate::progress::Progress;
use crate::server_process::ServerProcess;
use crate::{images, interrupt, memory, party, private};

/// How both parties are run.
#[derive(Clone, Copy)]
pub(super) struct Conditions {
    pub(super) network: NamedNetwork,
    /// Longest wait of either for the other.
    pub(super) timeout: Duration,
    /// Of the image.
    pub(super) seed: u64,
}

/// An earlier protocol's program; `name` is the profile's.
pub(super) fn program(
    spec: &ProgramSpec,
    name: &'static str,
    conditions: Conditions,
) -> Result<PrivateFigures, Failure> {
    let built = spec.build()?;
    let expected = built.expected()?;
    let link = conditions.network.link();
    let arguments = ["bench", "party", "--program", &spec.to_json()];
    let mut server = ServerProcess::start(arguments, conditions.timeout, link)?;
    let runtime = party::runtime()?;
    let settings = TransportConfig { timeout: conditions.timeout, link };
    memory::forget_peak();
    let channel = transport::connect(&server.address, runtime.handle(), settings)?;
    let steps = Megabytes::of(&built.program);
    let bar = Progress::new(&format!("{}, {}", built.program.name, conditions.network.name()));
    let (logits, report) =
        baseline::infer(channel, &built.program, &built.image, &mut |done| steps.show(&bar, done))?;
    let peaks = server.peaks();
    server.finish()?;
    drop(bar);
    interrupt::check("nothing was written")?;
    let mismatches = usize::from(logits != expected);
    let figures = PrivateFigures::of(&report, [name, BASELINE_OT.name()], mismatches, peaks);
    Ok(PrivateFigures { network: link.map(party::network_name), ..figures })
}

/// A checkpoint by our own protocol.
pub(super) fn checkpoint(
    checkpoint: &Checkpoint,
    path: &Path,
    parameters: PrivateArgs,
    conditions: Conditions,
) -> Result<PrivateFigures, Failure> {
    let pixels = images::random(conditions.seed, 1, checkpoint.graph().shape(0))?;
    let setting = private::Setting {
        checkpoint: path,
        parameters,
        timeout: conditions.timeout,
        network: conditions.network.link(),
    };
    let evaluation = private::measure(&checkpoint.engine(), &pixels, &setting)?;
    evaluation.private.ok_or_else(|| {
        let message = format!("{}: expected figures of a private run, found none", path.display());
        Failure::new(Kind::Check, message)
    })
}

/// How far a program is, by what its operations are predicted to send.
struct Megabytes {
    /// After each number of operations, from none to all.
    done: Vec<usize>,
    start: Instant,
}

impl Megabytes {
    fn of(program: &eqo_checkpoints::baseline::Program) -> Self {
        let mut sum = 0;
        let flows = cost::baseline(program).ops.into_iter().map(|flow| {
            sum += flow.bytes();
            (sum / 1_000_000) as usize
        });
        Self { done: std::iter::once(0).chain(flows).collect(), start: Instant::now() }
    }

    fn show(&self, bar: &Progress, operations: usize) {
        let all = self.done.last().copied().unwrap_or(0);
        let done = self.done.get(operations).copied().unwrap_or(all);
        let left = self.start.elapsed().as_secs_f64() * (all - done) as f64 / done.max(1) as f64;
        bar.set_with(done, all, &format!("MB, {left:.0} s left"));
    }
}
