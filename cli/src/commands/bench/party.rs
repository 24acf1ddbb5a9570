//! `eqo bench party`: the server of one inference by an earlier protocol.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use eqo_protocol::baseline;
use eqo_protocol::transport::{Listener, TransportConfig};

use super::program::ProgramSpec;
use crate::args::PartyArgs;
use crate::exit::Failure;
use crate::{interrupt, party, progress};

/// How soon a stop is noticed.
const POLL: Duration = Duration::from_millis(20);

pub(super) fn run(args: &PartyArgs) -> Result<(), Failure> {
    let stop = interrupt::watch()?;
    let built = ProgramSpec::from_json(&args.program)?.build()?;
    let runtime = party::runtime()?;
    let transport = TransportConfig { timeout: args.timeout, link: args.network };
    let listener = Listener::bind(&args.listen, runtime.handle(), transport)?;
    progress::line(&format!("listening on {}", listener.local_addr()?));
    if args.until_stdin_ends {
        thread::spawn(interrupt::stop_with_stdin);
    }
    while !stop.load(Ordering::SeqCst) {
        if let Some((channel, _)) = listener.accept(POLL)? {
            baseline::serve(channel, &built.program, &built.weights)?;
            break;
        }
    }
    // Whoever started this process looks at its memory before it lets it go.
    while args.until_stdin_ends && !stop.load(Ordering::SeqCst) {
        thread::sleep(POLL);
    }
    Ok(())
}
