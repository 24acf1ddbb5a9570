//! However a shaped connection ends, its thread ends, too. One test, because it counts the process's threads.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::thread;
use std::time::{Duration, Instant};

use eqo_protocol::Error;
use eqo_protocol::transport::{Channel, Link, TransportConfig, memory_pair};
use tokio::runtime::{Builder, Runtime};

/// Fast, so that what waits for the link is short.
const FAST: Link = Link { bytes_per_second: 1_000_000_000, rtt: Duration::from_millis(20) };

/// So slow that nothing arrives during a test.
const STUCK: Link = Link { bytes_per_second: 1_000_000_000, rtt: Duration::from_secs(7200) };

const LATE: Duration = Duration::from_secs(20);

#[test]
fn a_link_ends_with_its_channel() {
    let runtime = runtime();

    let (mut one, mut other) = pair(&runtime, FAST);
    one.send(vec![1; 100]).unwrap();
    other.recv(100).unwrap();
    drop((one, other));
    assert!(soon(|links| links == 0), "after a drop");

    let (mut one, other) = pair(&runtime, FAST);
    drop(other);
    let refused = (0..1000).try_for_each(|_| one.send(vec![0; 1 << 20]));
    assert!(matches!(refused, Err(Error::PeerClosed { .. })));
    assert!(soon(|links| links == 0), "a peer that is gone ends it while the channel still lives");
    drop(one);

    let (mut one, other) = pair(&runtime, FAST);
    let unread = (0..64).try_for_each(|_| one.send(vec![0; 1 << 20]));
    assert!(matches!(unread, Err(Error::Timeout { .. })));
    drop(one);
    drop(other);
    assert!(soon(|links| links == 0), "after a timeout");

    let (mut one, other) = pair(&runtime, FAST);
    one.send(vec![0; 1 << 20]).unwrap();
    let guard = runtime.enter();
    drop((one, other));
    drop(guard);
    assert!(soon(|links| links == 0), "after a drop on the runtime's own thread");

    let own = self::runtime();
    let (mut one, other) = pair(&own, STUCK);
    one.send(vec![0; 100]).unwrap();
    let guard = own.enter();
    drop((one, other));
    drop(guard);
    assert!(soon(|links| links == 1), "one carries what was sent");
    drop(own);
    assert!(soon(|links| links == 0), "after the runtime's end, in the middle of a delay");
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Two connected channels, once both links run.
fn pair(runtime: &Runtime, link: Link) -> (Channel, Channel) {
    let config = TransportConfig { timeout: Duration::from_millis(100), link: Some(link) };
    let pair = memory_pair(1 << 16, runtime.handle(), config);
    assert!(soon(|links| links == 2));
    pair
}

/// Threads of links in this process.
fn links() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end while it is looked at.
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "eqo-link").count()
}

/// Whether their number is ever as wanted. A thread has its name a moment after its start, and is listed a moment after
/// its end.
fn soon(wanted: impl Fn(usize) -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < LATE {
        if wanted(links()) {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}
