//! The end: everybody who waits is turned away, whoever is being served may go on for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Shared;
use super::metrics::DRAINED;

/// How soon an end is noticed.
const POLL: Duration = Duration::from_millis(20);

/// How long sessions that were told to end may take to.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a client that came before the end may take to say what it wants, to be told that it came too late.
const LAST_KNOCK: Duration = Duration::from_secs(1);

/// Waits until nobody is inside; after a stop only for as long as `--drain` allows, because a client may never speak again.
pub(super) fn finish(shared: &Shared, stop: &AtomicBool) {
    shared.door.close();
    let (closed_at, mut stopped_at) = (Instant::now(), None);
    let knocks = || shared.knocking.load(Ordering::SeqCst) > 0 && closed_at.elapsed() < LAST_KNOCK;
    while knocks() || shared.inside.load(Ordering::SeqCst) > 0 {
        if stop.load(Ordering::SeqCst) {
            let since: &mut Instant = stopped_at.get_or_insert_with(Instant::now);
            if since.elapsed() >= shared.settings.drain {
                return cut_off(shared);
            }
        }
        thread::sleep(POLL);
    }
}

fn cut_off(shared: &Shared) {
    shared.live.close_all(DRAINED);
    let since = Instant::now();
    while shared.inside.load(Ordering::SeqCst) > 0 && since.elapsed() < LAST_WORDS {
        thread::sleep(POLL);
    }
}
