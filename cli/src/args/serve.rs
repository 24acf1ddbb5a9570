//! Arguments of the server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use eqo_protocol::transport::Link;

use super::values::{at_least_one, network, port_or_address, seconds, seconds_or_none};
use super::{AllowArgs, CredentialArgs};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// EQO checkpoint (.safetensors); SIGHUP has it read again.
    pub(crate) checkpoint: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: String,
    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,
    #[command(flatten)]
    pub(crate) clients: AllowArgs,
    /// Stop after this many sessions; serve until stopped if absent.
    #[arg(long, value_parser = at_least_one)]
    pub(crate) sessions: Option<usize>,
    #[command(flatten)]
    pub(crate) admission: AdmissionArgs,
    #[command(flatten)]
    pub(crate) observation: ObservationArgs,
    /// Images of one inference, at most.
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    pub(crate) max_batch: usize,
    /// Threads of a session that make random OTs (Ferret); beyond one each, all sessions together have fewer than there are
    /// processors.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) threads: usize,
    /// Longest wait for a client's next message, and for its whole handshake, seconds.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Send no faster than a network would, to try it on one machine (as in `eqo eval`; the client needs the same).
    #[arg(long, value_name = "lan|wan|MB/S,MS", value_parser = network)]
    pub(crate) network: Option<Link>,
    /// Stop when standard input ends: a server never outlives the process that started it.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

/// Who is let in, and for how long.
#[derive(Debug, Args)]
pub(crate) struct AdmissionArgs {
    /// Sessions at the same time; more clients wait their turn.
    #[arg(long, default_value_t = 2, value_parser = at_least_one)]
    pub(crate) concurrent: usize,
    /// Sessions of one client (by certificate, without TLS by address) at the same time; as many as of all if absent.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) per_client: Option<usize>,
    /// Clients that wait; others are turned away.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) queue: usize,
    /// Longest wait for a session, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) queue_wait: Duration,
    /// Memory for all sessions, the queue and the door, MB; half of the machine's if absent. Sessions are offered smaller batches where larger
    /// ones wouldn't fit.
    #[arg(long, value_name = "MB")]
    pub(crate) memory: Option<u64>,
    /// Memory for prepared inferences of all sessions, MB, of which a session gets an equal share; half of --memory if absent.
    #[arg(long, value_name = "MB")]
    pub(crate) stock: Option<u64>,
    /// Longest session on one connection, seconds; no limit if absent.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) deadline: Option<Duration>,
    /// How long running sessions may go on after SIGTERM or Ctrl-C, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds_or_none)]
    pub(crate) drain: Duration,
}

/// What an operator sees.
#[derive(Debug, Args)]
pub(crate) struct ObservationArgs {
    /// Metrics for Prometheus and health checks on this address, or on this port of 127.0.0.1.
    #[arg(long, value_name = "[HOST:]PORT", value_parser = port_or_address)]
    pub(crate) metrics: Option<String>,
    /// A page with the live sessions at / of that address.
    #[arg(long, requires = "metrics")]
    pub(crate) dashboard: bool,
}
