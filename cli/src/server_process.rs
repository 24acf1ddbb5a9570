//! The server of a measurement: a child process of this program that listens on the loopback.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use eqo_protocol::transport::Link;

use crate::exit::{Failure, Kind};
use crate::{memory, party, progress};

/// It ends with this value, or with this process.
pub(crate) struct ServerProcess {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    stderr: Option<BufReader<ChildStderr>>,
}

impl ServerProcess {
    /// Starts this program with `arguments` and the options that every server has, and waits until it listens.
    pub(crate) fn start<S: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = S>,
        timeout: Duration,
        network: Option<Link>,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| child_failure("find this program", &error))?;
        let mut command = Command::new(program);
        command.args(arguments).args(["--listen", "127.0.0.1:0", "--until-stdin-ends"]);
        command.args(["--timeout", &timeout.as_secs_f64().to_string()]);
        if let Some(link) = network {
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

    /// The most bytes that this process and the server's have held; as long as the server waits for something.
    pub(crate) fn peaks(&self) -> [Option<u64>; 2] {
        [std::process::id(), self.child.id()].map(memory::peak)
    }

    /// Lets the server go, waits for the session's end and passes on what the server had to say.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
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

impl Drop for ServerProcess {
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
