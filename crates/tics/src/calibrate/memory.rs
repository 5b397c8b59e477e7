//! Memory: 10,000 streams at once, and a million requests one after the other.

use serde::{Deserialize, Serialize};

use super::bench::Bench;
use super::child::{Sample, Watched, watch};
use super::rungs::{Arrival, Draw, write_trace_file};
use crate::outcome::{Failed, INTERNAL, failed};

const STREAMS: u64 = 10_000;
const REQUESTS: u64 = 1_000_000;

/// Rows of the two traces whose memory is compared.
const ROWS: [u64; 2] = [100_000, 1_000_000];
/// Requests a second of both.
const ROWS_PER_S: u64 = 3_000;
/// Mean and most tokens of their prompts.
const ROW_TOKENS: (f64, f64) = (2_000.0, 32_000.0);

/// 10,000 open streams: prompt of 100 tokens, 100 events each.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Requests.
    pub requests: u64,
    /// Most in flight at the same time.
    pub max_in_flight: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Resident memory before the first was sent, in 10^6 bytes.
    pub start_mb: f64,
    /// Most resident memory until the last stream ended.
    pub streams_mb: f64,
    /// Most resident memory of the whole process, its report included.
    pub peak_mb: f64,
}

/// A million requests, 64 in flight.
#[derive(Debug, Serialize, Deserialize)]
pub struct Growth {
    /// Requests.
    pub requests: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Resident memory when a tenth of the journal was written, in 10^6 bytes.
    pub early_mb: f64,
    /// When all of it was.
    pub late_mb: f64,
    /// Growth a request from then on: the slope of a straight line through all that was seen.
    pub bytes_per_request: f64,
    /// Most resident memory while the report was made.
    pub report_mb: f64,
}

/// The most memory that a replay ever had, its index pass and its report included.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rows {
    /// Rows of the longer trace.
    pub requests: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Mean length of its prompts, tokens.
    pub mean_tokens: f64,
    /// Largest number in flight: a server that falls behind would be what is measured.
    pub max_in_flight: u64,
    /// Of a trace of a tenth of the rows, in 10^6 bytes.
    pub tenth_mb: f64,
    /// Of the whole.
    pub whole_mb: f64,
    /// `whole_mb` / `tenth_mb`.
    pub ratio: f64,
    /// The most while the whole was sent, without the report.
    pub sending_mb: f64,
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Opens 10,000 streams over five seconds, each of which lasts thirty.
pub fn open_streams(bench: &Bench) -> Result<Memory, Failed> {
    let dir = bench.fresh("memory")?;
    let trace = dir.join("trace.jsonl");
    let gap = 5_000_000_000 / STREAMS;
    let arrivals: Vec<Arrival> =
        (0..STREAMS).map(|n| Arrival { due_ns: n * gap, input: 100, output: 100 }).collect();
    write_trace_file(&arrivals, &trace)?;
    let args = ["replay", &trace.display().to_string(), "--sim=--ttft=20ms --itl=300ms", "--no-probe"];
    let watched = watch(&args.map(String::from), &dir.join("run"), &dir.join("summary.json"))?;
    let number = |name: &str| watched.summary[name].as_u64().unwrap_or(0);
    let most = |samples: &[Sample]| samples.iter().map(|sample| sample.peak).max().unwrap_or(0);
    let (run, _) = phases(&watched)?;
    Ok(Memory {
        requests: STREAMS,
        max_in_flight: number("max_in_flight"),
        answered: answered(&watched),
        start_mb: watched.samples.iter().find(|s| s.journal > 0).map_or(0.0, |s| mb(s.rss)),
        streams_mb: mb(most(run)),
        peak_mb: mb(most(&watched.samples)),
    })
}

/// Sends a million requests of one token.
pub fn many_requests(bench: &Bench) -> Result<Growth, Failed> {
    let dir = bench.fresh("million")?;
    let (requests, in_flight) = (format!("--requests={REQUESTS}"), "--concurrency=64");
    let args = ["bench", &requests, in_flight, "--input-tokens=8", "--output-tokens=1", "--no-probe"];
    let args: Vec<String> = args.into_iter().chain(["--sim=--ttft=0s --itl=0s"]).map(String::from).collect();
    let watched = watch(&args, &dir.join("run"), &dir.join("summary.json"))?;
    let (run, report) = phases(&watched)?;
    let whole = run.last().map_or(0, |sample| sample.journal);
    // The first tenth fills what is kept for ever: buffers, connections, the allocator's own.
    let steady: Vec<Sample> = run.iter().copied().filter(|sample| sample.journal * 10 >= whole).collect();
    let (Some(early), Some(late), Some(slope)) = (steady.first(), steady.last(), slope(&steady)) else {
        return Err(failed(INTERNAL, "million: the run was too short to be watched"));
    };
    Ok(Growth {
        requests: REQUESTS,
        answered: answered(&watched),
        early_mb: mb(early.rss),
        late_mb: mb(late.rss),
        bytes_per_request: slope * whole as f64 / REQUESTS as f64,
        report_mb: mb(report.iter().map(|sample| sample.rss).max().unwrap_or(0)),
    })
}

/// Replays a trace of a hundred thousand rows and one of a million, against a server that answers at once.
pub fn many_rows(bench: &Bench) -> Result<Rows, Failed> {
    let mut peaks = [0.0; 2];
    let mut whole = None;
    for (n, peak) in ROWS.into_iter().zip(&mut peaks) {
        let dir = bench.fresh("rows")?;
        let trace = dir.join("trace.jsonl");
        let (mean, most) = ROW_TOKENS;
        let mut draw = Draw(1);
        let arrivals: Vec<Arrival> = (0..n)
            .map(|row| {
                let input = (draw.exponential() * mean).clamp(1.0, most) as u32;
                Arrival { due_ns: row * 1_000_000_000 / ROWS_PER_S, input, output: 1 }
            })
            .collect();
        write_trace_file(&arrivals, &trace)?;
        let tokens: u64 = arrivals.iter().map(|arrival| u64::from(arrival.input)).sum();
        // Not this process's memory is looked at, but the machine has it.
        drop(arrivals);
        let args = ["replay", &trace.display().to_string(), "--sim=--ttft=0s --itl=0s", "--no-probe"];
        let watched = watch(&args.map(String::from), &dir.join("run"), &dir.join("summary.json"))?;
        *peak = watched.samples.iter().map(|sample| mb(sample.peak)).fold(0.0, f64::max);
        whole = Some((watched, tokens as f64 / n as f64));
        // A million rows leave 700 MB.
        let _kept = std::fs::remove_dir_all(&dir);
    }
    let [tenth_mb, whole_mb] = peaks;
    let (watched, mean_tokens) = whole.ok_or_else(|| failed(INTERNAL, "rows: nothing was run"))?;
    let (run, _) = phases(&watched)?;
    Ok(Rows {
        requests: ROWS[1],
        answered: answered(&watched),
        mean_tokens,
        max_in_flight: watched.summary["max_in_flight"].as_u64().unwrap_or(0),
        tenth_mb,
        whole_mb,
        ratio: whole_mb / tenth_mb,
        sending_mb: run.iter().map(|sample| mb(sample.peak)).fold(0.0, f64::max),
    })
}

/// Least squares: bytes of resident memory a byte of journal. `None` if the journal did not grow.
fn slope(samples: &[Sample]) -> Option<f64> {
    let n = samples.len() as f64;
    let mean = |value: fn(&Sample) -> u64| samples.iter().map(|s| value(s) as f64).sum::<f64>() / n;
    let (x, y) = (mean(|s| s.journal), mean(|s| s.rss));
    let sum = |value: &dyn Fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>();
    let covariance = sum(&|s| (s.journal as f64 - x) * (s.rss as f64 - y));
    let variance = sum(&|s| (s.journal as f64 - x).powi(2));
    (variance > 0.0).then(|| covariance / variance)
}

fn answered(watched: &Watched) -> u64 {
    let requests = &watched.summary["requests"];
    ["ok", "short", "long"].iter().filter_map(|name| requests[name].as_u64()).sum()
}

/// Samples up to the last growth of the journal, and those after it, when the report is made.
fn phases(watched: &Watched) -> Result<(&[Sample], &[Sample]), Failed> {
    let whole = watched.samples.last().map_or(0, |sample| sample.journal);
    let end = watched.samples.iter().position(|sample| sample.journal == whole);
    let end = end.filter(|_| whole > 0).ok_or_else(|| failed(INTERNAL, "the run left no journal"))?;
    Ok(watched.samples.split_at(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_noise() {
        let sample = |(journal, rss)| Sample { journal, rss, peak: 0 };
        let of = |points: &[(u64, u64)]| slope(&points.iter().copied().map(sample).collect::<Vec<_>>());
        assert_eq!(of(&[(0, 100), (10, 120), (20, 140)]), Some(2.0));
        assert_eq!(of(&[(0, 100), (10, 130), (20, 130), (30, 100)]), Some(0.0));
        assert_eq!(of(&[(5, 1), (5, 2)]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_report_comes_after_the_last_growth_of_the_journal() {
        let samples =
            [(0, 5), (10, 6), (20, 7), (20, 9)].map(|(journal, rss)| Sample { journal, rss, peak: rss });
        let watched = Watched { samples: samples.to_vec(), summary: serde_json::Value::Null };
        let (run, report) = phases(&watched).unwrap();
        assert_eq!((run.len(), report.len(), report[0].rss), (3, 1, 9));
        let nothing = Watched { samples: Vec::new(), summary: serde_json::Value::Null };
        assert!(phases(&nothing).is_err());
    }
}
