//! Where and by what a measurement was made.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What other people need to judge times, and to run the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Environment {
    /// The command line.
    pub(super) command: String,
    pub(super) cpu: String,
    /// Cores that this process may use.
    pub(super) cores: usize,
    pub(super) os: String,
    /// Version of this program.
    pub(super) eqo: String,
    /// The compiler that built it.
    pub(super) rustc: String,
    /// What was checked out where the command ran, `+` for changes that aren't committed; none outside a repository.
    pub(super) commit: Option<String>,
    /// When it began, UTC.
    pub(super) date: String,
    /// Of weights and images.
    pub(super) seed: u64,
}

impl Environment {
    /// Here and now.
    pub(super) fn new(seed: u64) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            command: command_line(),
            cpu: cpu().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: os(),
            eqo: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: env!("EQO_RUSTC").to_owned(),
            commit: commit(),
            date: date(seconds),
            seed,
        }
    }

    /// The same in a sentence.
    pub(super) fn sentence(&self) -> String {
        let Self { command, cpu, cores, os, eqo, rustc, date, seed, .. } = self;
        let commit = self.commit.as_deref().unwrap_or("unknown");
        format!(
            "`{command}` on {cpu}, {cores} cores for both parties, {os}; eqo {eqo} at commit {commit}, {rustc}; {date}, seed {seed}."
        )
    }
}

/// As people type it: without the program's folder.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("eqo {}", arguments.join(" "))
}

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn os() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"')).to_owned();
    match std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(kernel) => format!("{name}, kernel {}", kernel.trim()),
        Err(_) => name,
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=10", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if clean { hash } else { hash + "+" })
}

/// Seconds since 1970 as a date: days by months of a year that begins in March, so that leap days come last (Hinnant,
/// chrono-compatible low-level date algorithms).
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00"),
            (951_782_400, "2000-02-29 00:00"),
            (1_735_689_599, "2024-12-31 23:59"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
