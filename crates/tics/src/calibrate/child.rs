//! A run in a process of its own, whose memory is watched from outside.

use std::fs::{File, read_to_string};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::outcome::{Failed, OrStatus, SERVER, failed};

/// Between two looks at the process.
const EVERY: Duration = Duration::from_millis(50);

/// The process at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Bytes of the journal so far.
    pub journal: u64,
    /// Resident memory, bytes.
    pub rss: u64,
    /// The most it ever was, bytes.
    pub peak: u64,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Watched {
    /// In order of time.
    pub samples: Vec<Sample>,
    /// Its summary.
    pub summary: Value,
}

/// Runs `tics` with `args` and watches it; its run directory is `run_dir`, its output goes to `out`.
pub fn watch(args: &[String], run_dir: &Path, out: &Path) -> Result<Watched, Failed> {
    let program = std::env::current_exe().or_status(SERVER)?;
    let output = File::create(out).or_status(SERVER)?;
    let mut command = Command::new(program);
    command.args(args).arg("--quiet").arg("--json");
    command.arg(format!("--run-dir={}", run_dir.display()));
    let mut child = command.stdin(Stdio::null()).stdout(output).spawn().or_status(SERVER)?;
    let journal = run_dir.join("requests.jsonl");
    let status = format!("/proc/{}/status", child.id());
    let mut samples = Vec::new();
    let ended = loop {
        if let Some(ended) = child.try_wait().or_status(SERVER)? {
            break ended;
        }
        // The process may be gone by now: nothing to note then.
        let text = read_to_string(&status).unwrap_or_default();
        if let (Some(rss), Some(peak)) = (field(&text, "VmRSS:"), field(&text, "VmHWM:")) {
            let journal = std::fs::metadata(&journal).map_or(0, |meta| meta.len());
            samples.push(Sample { journal, rss, peak });
        }
        std::thread::sleep(EVERY);
    };
    // INVALID is no failure here: memory is what is looked at.
    if !matches!(ended.code(), Some(0 | 3)) {
        return Err(failed(SERVER, format!("`tics {}` failed: {ended}", args.join(" "))));
    }
    let summary = serde_json::from_str(&read_to_string(out).or_status(SERVER)?).or_status(SERVER)?;
    Ok(Watched { samples, summary })
}

/// A line of /proc/PID/status, which is in kB.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_system() {
        let status = "Name:\ttics\nVmHWM:\t  1024 kB\nVmRSS:\t     8 kB\n";
        assert_eq!((field(status, "VmHWM:"), field(status, "VmRSS:")), (Some(1 << 20), Some(8192)));
        let own = read_to_string("/proc/self/status").unwrap();
        assert!(field(&own, "VmRSS:").unwrap() > 100_000);
    }
}
