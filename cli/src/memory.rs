//! Peak resident memory of processes, where the kernel tells (Linux).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bytes that each party held at most; none where the kernel doesn't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peaks {
    pub(crate) server: Option<u64>,
    pub(crate) client: Option<u64>,
}

/// How often another process is looked at. Its peak only grows, so little is missed at its end.
const EVERY: Duration = Duration::from_millis(50);

/// From now on this process's peak is counted anew.
pub(crate) fn reset_own_peak() {
    // Without it the peak is that of the whole process: still an upper bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// This process's peak.
pub(crate) fn own_peak() -> Option<u64> {
    peak(Path::new("/proc/self/status"))
}

fn peak(status: &Path) -> Option<u64> {
    high_water_mark(&std::fs::read_to_string(status).ok()?)
}

fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// Watches another process until it is dropped.
pub(crate) struct PeakWatch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PeakWatch {
    /// The process with this id.
    pub(crate) fn start(process: u32) -> Self {
        let (found, stop): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let status = format!("/proc/{process}/status");
        let thread = {
            let (found, stop) = (Arc::clone(&found), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(bytes) = peak(Path::new(&status)) else { return };
                    found.fetch_max(bytes, Ordering::Relaxed);
                    thread::sleep(EVERY);
                }
            })
        };
        Self { peak: found, stop, thread: Some(thread) }
    }

    /// What it held at most so far.
    pub(crate) fn peak(&self) -> Option<u64> {
        Some(self.peak.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0)
    }
}

impl Drop for PeakWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A watcher that panicked has nothing more to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        assert_eq!(high_water_mark("Name:\teqo\nVmPeak:\t 9 kB\nVmHWM:\t    1204 kB\n"), Some(1204 * 1024));
        assert_eq!(high_water_mark("VmHWM:\t"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_watched_while_it_lives() {
        let watch = PeakWatch::start(std::process::id());
        thread::sleep(2 * EVERY);
        assert!(watch.peak().unwrap() > 1 << 20 && own_peak().unwrap() > 1 << 20);
    }
}
