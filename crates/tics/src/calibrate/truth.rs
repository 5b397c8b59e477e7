//! The simulated server's truth log, read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tics_stats::Distribution;

use crate::outcome::{Failed, OrStatus, USAGE};

/// What the server knows of one request; instants in ns of CLOCK_MONOTONIC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TrueRequest {
    id: Option<String>,
    received_ns: u64,
    kernel_ns: Option<u64>,
    /// Before and after the write of each token.
    pub tokens: Vec<(u64, u64)>,
    /// When each token was planned; empty where there is no plan.
    due_ns: Vec<u64>,
}

impl TrueRequest {
    /// When it reached the server: the kernel's stamp, or the server's own where there is none.
    pub fn arrived_ns(&self) -> u64 {
        self.kernel_ns.unwrap_or(self.received_ns)
    }
}

/// The truth of one run.
#[derive(Debug, Default)]
pub struct Truth {
    by_index: HashMap<u64, TrueRequest>,
}

impl Truth {
    /// Reads the lines of `run`'s requests, whose ids are `<run>-<index>`. The server must have ended.
    pub fn read(path: &Path, run: &str) -> Result<Self, Failed> {
        let file = BufReader::with_capacity(1 << 18, File::open(path).or_status(USAGE)?);
        let mut truth = Truth::default();
        for line in file.lines().skip(1) {
            let line = line.or_status(USAGE)?;
            let request: TrueRequest = serde_json::from_str(&line).or_status(USAGE)?;
            if let Some(index) = request.id.as_deref().and_then(|id| index_in(id, run)) {
                truth.by_index.insert(index, request);
            }
        }
        Ok(truth)
    }

    /// Request number `index`.
    pub fn request(&self, index: u64) -> Option<&TrueRequest> {
        self.by_index.get(&index)
    }

    /// How good the truth itself is.
    pub fn error(&self) -> TruthError {
        let (mut writes, mut late) = (Vec::new(), Vec::new());
        for request in self.by_index.values() {
            writes.extend(request.tokens.iter().map(|(before, after)| after.saturating_sub(*before)));
            let planned = request.tokens.iter().zip(&request.due_ns);
            late.extend(planned.map(|((before, _), due)| before.cast_signed() - due.cast_signed()));
        }
        writes.sort_unstable();
        late.sort_unstable();
        TruthError {
            write_us: Distribution::of_sorted(&writes, 1e3),
            timetable_us: Distribution::of_sorted(&late, 1e3),
        }
    }
}

fn index_in(id: &str, run: &str) -> Option<u64> {
    id.strip_prefix(run)?.strip_prefix('-')?.parse().ok()
}

/// What the truth log cannot know better, and how well the server kept its own timetable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TruthError {
    /// After - before the write of each token: it left at some instant in between.
    pub write_us: Distribution,
    /// Before the write - planned. Does not count as Tics' error: what really happened is compared.
    pub timetable_us: Distribution,
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_the_run_s_own_requests_count() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line = |id: &str, kernel: &str, before: u64| {
            format!(
                r#"{{"id":{id},"conn":0,"received_ns":90,"kernel_ns":{kernel},"tokens":[[{before},{}]],"due_ns":[1000]}}"#,
                before + 4_000
            )
        };
        writeln!(file, "{{\"format\":\"tics-truth\"}}").unwrap();
        writeln!(file, "{}", line("\"run-0\"", "80", 3_000)).unwrap();
        writeln!(file, "{}", line("\"run-7\"", "null", 5_000)).unwrap();
        writeln!(file, "{}", line("\"run-2-1\"", "1", 1)).unwrap();
        writeln!(file, "{}", line("null", "1", 1)).unwrap();
        let truth = Truth::read(file.path(), "run").unwrap();
        assert_eq!(truth.by_index.len(), 2);
        assert_eq!(truth.request(0).unwrap().arrived_ns(), 80);
        assert_eq!(truth.request(7).unwrap().arrived_ns(), 90);
        let error = truth.error();
        assert_eq!((error.write_us.p50, error.timetable_us.max), (Some(4.0), Some(4.0)));
    }
}
