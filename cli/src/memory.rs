//! Memory and descriptors of this machine and of processes, where the system tells (Linux).

use std::fs;

/// Peak resident bytes of the process with this id since it began or since [`forget_peak`].
pub(crate) fn peak(process: u32) -> Option<u64> {
    kilobytes(&format!("/proc/{process}/status"), "VmHWM:")
}

/// Resident bytes of this process.
pub(crate) fn resident() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Open file descriptors of this process.
pub(crate) fn open_descriptors() -> Option<usize> {
    // Reading the folder opens one itself.
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1))
}

/// Bytes of memory that this machine has, or this container may use.
pub(crate) fn of_machine() -> Option<u64> {
    let machine = kilobytes("/proc/meminfo", "MemTotal:")?;
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    Some(container.and_then(|most| most.trim().parse().ok()).map_or(machine, |most: u64| most.min(machine)))
}

/// The bytes on the line of a file of /proc that begins so.
fn kilobytes(file: &str, start: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(start))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Starts this process's peak anew from what it holds now, if the system lets it.
pub(crate) fn forget_peak() {
    // "5" resets the peak resident set size (proc(5), clear_refs). Elsewhere the peak is that since the start.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_more_memory_than_this_process_holds() {
        assert!(resident().unwrap() < of_machine().unwrap());
        let _held: Vec<_> = (0..20).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        assert!(open_descriptors().unwrap() >= 20);
    }

    /// Forgetting isn't tried: an allocator may keep what is dropped, and other tests of the process hold memory too.
    #[test]
    fn a_peak_is_what_was_held_and_stays() {
        let process = std::process::id();
        let held = vec![1_u8; 64 << 20];
        let size = held.iter().filter(|&&byte| byte == 1).count() as u64;
        assert!(peak(process).unwrap() > size);
        drop(held);
        assert!(peak(process).unwrap() > size);
    }
}
