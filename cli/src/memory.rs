//! The most memory that a process has held, where the system tells (Linux).

use std::fs;

/// Peak resident bytes of the process with this id since it began or since [`forget_peak`].
pub(crate) fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
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
