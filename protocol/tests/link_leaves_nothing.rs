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
    let pair = |link| {
        let config = TransportConfig { timeout: Duration::from_millis(100), link: Some(link) };
        memory_pair(1 << 16, runtime.handle(), config)
    };

    let (mut one, mut other) = pair(FAST);
    one.send(vec![1; 100]).unwrap();
    other.recv(100).unwrap();
    other.send(vec![1; 100]).unwrap();
    one.recv(100).unwrap();
    assert_eq!(links(), 2);
    drop((one, other));
    assert!(soon_none(), "after a drop");

    let (mut one, other) = pair(FAST);
    drop(other);
    let refused = (0..1000).try_for_each(|_| one.send(vec![0; 1 << 20]));
    assert!(matches!(refused, Err(Error::PeerClosed { .. })));
    assert!(soon_none(), "a peer that is gone ends it while the channel still lives");
    drop(one);

    let (mut one, other) = pair(FAST);
    let unread = (0..64).try_for_each(|_| one.send(vec![0; 1 << 20]));
    assert!(matches!(unread, Err(Error::Timeout { .. })));
    drop(one);
    drop(other);
    assert!(soon_none(), "after a timeout");

    let (mut one, other) = pair(FAST);
    one.send(vec![0; 1 << 20]).unwrap();
    let guard = runtime.enter();
    drop((one, other));
    drop(guard);
    assert!(soon_none(), "after a drop on the runtime's own thread");

    let own = self::runtime();
    let (mut one, other) = stuck_pair(&own);
    one.send(vec![0; 100]).unwrap();
    let guard = own.enter();
    drop((one, other));
    drop(guard);
    assert!(links() > 0, "one carries what was sent");
    drop(own);
    assert!(soon_none(), "after the runtime's end, in the middle of a delay");
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn stuck_pair(runtime: &Runtime) -> (Channel, Channel) {
    let config = TransportConfig { timeout: Duration::from_millis(100), link: Some(STUCK) };
    memory_pair(1 << 16, runtime.handle(), config)
}

/// Threads of links in this process.
fn links() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end while it is looked at.
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "eqo-link").count()
}

fn soon_none() -> bool {
    let start = Instant::now();
    while links() > 0 && start.elapsed() < LATE {
        thread::sleep(Duration::from_millis(5));
    }
    links() == 0
}
