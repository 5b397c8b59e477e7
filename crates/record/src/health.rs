//! Samples of the tester itself, `health.jsonl`, and of the server's own counters, `server.jsonl`.
//!
//! The first line of `health.jsonl` describes the file, then comes a [`HealthSample`] a second. Counters
//! are those of the system, since the thread, the process or the machine began: a line that is missing
//! costs a second of resolution and no total.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::{Nanos, Stamp};

/// Version of the lines; a reader refuses a newer one.
pub const HEALTH_FORMAT: u32 = 1;

/// Whether the measurement can be trusted. Failures of the server never touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every check passed.
    Valid,
    /// The figures may be off by more than they seem.
    Suspect,
    /// The figures are not those of the run that was asked for.
    Invalid,
}

impl Verdict {
    /// In print.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "VALID",
            Verdict::Suspect => "SUSPECT",
            Verdict::Invalid => "INVALID",
        }
    }
}

/// The first line of `health.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthHeader {
    /// [`HEALTH_FORMAT`] of the writer.
    pub tics_health: u32,
    /// Name of the run.
    pub run: String,
    /// Where zero is.
    pub zero: String,
}

impl HealthHeader {
    /// The header that this version writes.
    pub fn new(run: impl Into<String>) -> Self {
        HealthHeader {
            tics_health: HEALTH_FORMAT,
            run: run.into(),
            zero: "origin_monotonic_ns of run.json".to_owned(),
        }
    }
}

/// One thread, as `/proc/self/task/*/schedstat` has it; since it began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ThreadSample {
    /// The kernel's name of it, at most 15 bytes.
    pub name: String,
    /// Its number.
    pub tid: u32,
    /// Time on a processor.
    pub cpu_ns: u64,
    /// Time that it was ready to run and did not.
    pub run_delay_ns: u64,
    /// How often it was put on a processor.
    pub slices: u64,
}

/// Wake-up delays of a timer that rings every few milliseconds, since the sample before.
///
/// A delay of several periods counts once for each tick that it swallowed, with what was left of it
/// then: so `counts` weighs by time, and the share of counts above x is the share of instants at which
/// something that came would have waited for longer than x.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimerDelays {
    /// Ticks, swallowed ones included.
    pub n: u64,
    /// 99th percentile, to 20 %.
    #[serde(rename = "p99_ns")]
    pub p99: Nanos,
    /// Largest, exact.
    #[serde(rename = "max_ns")]
    pub max: Nanos,
    /// `[k, n]`: n delays from 2^(k/4) µs up to 2^((k+1)/4) µs; k = 0 holds the smaller ones, too.
    pub counts: Vec<(u16, u64)>,
}

impl TimerDelays {
    /// Highest class: 2^(127/4) µs is an hour.
    const LAST: u16 = 127;

    /// The class of a delay.
    pub fn class(delay: Nanos) -> u16 {
        let us = delay.as_micros_f64();
        if us <= 1.0 {
            return 0;
        }
        // Rounding may be off by one at a class's edge, where it does not matter.
        ((us.log2() * 4.0) as u16).min(Self::LAST)
    }

    /// The upper end of a class.
    pub fn end_of(class: u16) -> Nanos {
        Nanos::new((((f64::from(class) + 1.0) / 4.0).exp2() * 1e3) as u64)
    }

    /// Notes a delay of a timer of `period`, and those of the ticks that it swallowed.
    pub fn note(&mut self, delay: Nanos, period: Nanos) {
        self.max = self.max.max(delay);
        let mut left = delay;
        loop {
            self.count(Self::class(left), 1);
            left = left.saturating_minus(period);
            if left == Nanos::ZERO || period == Nanos::ZERO {
                break;
            }
        }
        self.p99 = self.quantile(0.99);
    }

    fn count(&mut self, class: u16, n: u64) {
        self.n += n;
        match self.counts.binary_search_by_key(&class, |(k, _)| *k) {
            Ok(at) => self.counts[at].1 += n,
            Err(at) => self.counts.insert(at, (class, n)),
        }
    }

    /// Adds those of another stretch of time.
    pub fn add(&mut self, other: &TimerDelays) {
        for (class, n) in &other.counts {
            self.count(*class, *n);
        }
        self.max = self.max.max(other.max);
        self.p99 = self.quantile(0.99);
    }

    /// The delay that a share `q` of the instants does not exceed, to 20 % upwards; zero without any.
    pub fn quantile(&self, q: f64) -> Nanos {
        let rank = (self.n as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (class, n) in &self.counts {
            seen += n;
            if seen >= rank {
                return Self::end_of(*class).min(self.max);
            }
        }
        Nanos::ZERO
    }
}

/// The canary of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Canary {
    /// Number of the worker.
    pub worker: u32,
    /// Its delays.
    #[serde(flatten)]
    pub delays: TimerDelays,
}

/// Time taken away by a limit on processor time (cgroup); since the group began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Throttling {
    /// Periods in which the group was stopped.
    pub periods: u64,
    /// For how long in all.
    pub ns: u64,
}

/// All processors of the machine; since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineTime {
    /// Worked.
    pub busy_ns: u64,
    /// Idle, or waiting for a disk.
    pub idle_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
}

/// Pressure stall information: time in which some task waited for the resource; since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pressure {
    /// For a processor.
    pub cpu_ns: u64,
    /// For memory.
    pub memory_ns: u64,
    /// For a disk.
    pub io_ns: u64,
}

/// Connections of this machine to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sockets {
    /// How many, each with a local port of its own.
    pub open: u64,
    /// Local ports that the system gives out.
    pub ports: u64,
    /// Bytes that came and are not read yet, over all of them.
    pub unread_bytes: u64,
    /// The same of the one with the most.
    pub unread_max: u64,
}

/// TCP of this network namespace; since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpCounters {
    /// Times that a receiver told its sender to stop, its buffer being full.
    pub zero_windows: u64,
    /// Packets dropped or squeezed for want of buffer.
    pub pruned: u64,
    /// Segments sent again.
    pub retransmitted: u64,
}

/// Wall time against the run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WallClock {
    /// Wall nanoseconds since 1970 minus nanoseconds of the run's clock.
    pub offset_ns: i64,
    /// Steps of the offset above 0.2 ms since the sample before, looked for every few milliseconds.
    pub steps: u64,
    /// The largest of them, either way.
    pub largest_step_ns: u64,
    /// Time that the machine was suspended; since it was started.
    pub suspended_ns: u64,
}

/// The tester during one second. What the system does not tell is null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HealthSample {
    /// When it was taken.
    #[serde(rename = "at_ns")]
    pub at: Stamp,
    /// Since the sample before, or since sampling began.
    #[serde(rename = "span_ns")]
    pub span: Nanos,
    /// Every thread of the process.
    pub threads: Vec<ThreadSample>,
    /// Processor time of the process.
    pub cpu_ns: u64,
    /// Processor time of the simulated server that was started for the run.
    pub server_cpu_ns: Option<u64>,
    /// See [`Throttling`].
    pub throttled: Option<Throttling>,
    /// See [`MachineTime`].
    pub machine: Option<MachineTime>,
    /// See [`Pressure`].
    pub pressure: Option<Pressure>,
    /// The timer of each worker.
    pub canary: Vec<Canary>,
    /// The sampler's own timer: what it misses, the whole process misses.
    pub own: TimerDelays,
    /// Open descriptors.
    pub fds: u64,
    /// Most descriptors allowed.
    pub fds_limit: Option<u64>,
    /// See [`Sockets`].
    pub sockets: Option<Sockets>,
    /// See [`TcpCounters`].
    pub tcp: Option<TcpCounters>,
    /// Memory of the process.
    pub rss_bytes: u64,
    /// Memory that the machine, or the limit of the process's group, has left.
    pub memory_left_bytes: Option<u64>,
    /// Pages that had to be read from a disk; since the process began.
    pub major_faults: u64,
    /// See [`WallClock`].
    pub wall: WallClock,
    /// Lines of the journal that are reported and not written yet.
    pub journal_backlog: u64,
    /// Lines written; since the run began.
    pub journal_written: u64,
    /// Mean number of requests in flight, looked at every few milliseconds.
    pub in_flight_mean: f64,
}

/// Writes `health.jsonl`.
#[derive(Debug)]
pub struct HealthWriter<W: Write>(W);

impl<W: Write> HealthWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn new(out: W, header: &HealthHeader) -> io::Result<Self> {
        let mut writer = HealthWriter(out);
        writer.line(header)?;
        Ok(writer)
    }

    /// Writes a sample, and flushes.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn sample(&mut self, sample: &HealthSample) -> io::Result<()> {
        self.line(sample)
    }

    fn line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, value)?;
        self.0.write_all(b"\n")?;
        self.0.flush()
    }
}

/// Why health samples could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// Reading failed.
    #[error("line {line}: cannot be read")]
    Read {
        /// Line number, from 1.
        line: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is not what the file holds.
    #[error("line {line}: not a health sample")]
    BadLine {
        /// Line number, from 1.
        line: u64,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A newer version wrote the file.
    #[error("line 1: health format {found}, this version reads up to {HEALTH_FORMAT}")]
    TooNew {
        /// The format of the file.
        found: u32,
    },
}

/// Reads `health.jsonl`, sample by sample. A last line without its newline is a torn write of a killed
/// run and ends the iteration.
///
/// # Errors
/// [`HealthError`]: for the header here, for the samples among them.
pub fn read_health<R: BufRead>(
    mut input: R,
) -> Result<impl Iterator<Item = Result<HealthSample, HealthError>>, HealthError> {
    let mut buffer = Vec::new();
    let mut line = 1;
    input.read_until(b'\n', &mut buffer).map_err(|source| HealthError::Read { line, source })?;
    let header: HealthHeader =
        serde_json::from_slice(&buffer).map_err(|source| HealthError::BadLine { line, source })?;
    if header.tics_health > HEALTH_FORMAT {
        return Err(HealthError::TooNew { found: header.tics_health });
    }
    Ok(std::iter::from_fn(move || {
        line += 1;
        buffer.clear();
        match input.read_until(b'\n', &mut buffer) {
            Err(source) => Some(Err(HealthError::Read { line, source })),
            Ok(_) if buffer.last() != Some(&b'\n') => None,
            Ok(_) => {
                let sample = serde_json::from_slice(&buffer);
                Some(sample.map_err(|source| HealthError::BadLine { line, source }))
            }
        }
    }))
}

/// What the server counts itself, scraped from its `/metrics`: a line of `server.jsonl`. Since it began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerTotals {
    /// When the page came.
    #[serde(rename = "at_ns")]
    pub at: Stamp,
    /// Whose names the counters have: `vllm`, `sglang`, `tgi`, `llamacpp`.
    pub server: String,
    /// Requests that ended, however.
    pub requests: Option<f64>,
    /// Prompt tokens.
    pub prompt_tokens: Option<f64>,
    /// Tokens generated.
    pub generation_tokens: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> HealthSample {
        let mut sample = HealthSample { at: Stamp::from_nanos(5), ..HealthSample::default() };
        sample.own.note(Nanos::from_micros(70), Nanos::from_millis(10));
        sample.canary = vec![Canary { worker: 1, delays: sample.own.clone() }];
        sample.threads = vec![ThreadSample { name: "tics-pacer".into(), tid: 7, ..ThreadSample::default() }];
        sample
    }

    #[test]
    fn what_is_written_reads_back_up_to_a_torn_line() {
        let mut file = Vec::new();
        let mut writer = HealthWriter::new(&mut file, &HealthHeader::new("r")).unwrap();
        writer.sample(&sample()).unwrap();
        writer.sample(&sample()).unwrap();
        file.truncate(file.len() - 9);
        let read: Result<Vec<_>, _> = read_health(&file[..]).unwrap().collect();
        assert_eq!(read.unwrap(), [sample()]);
    }

    #[test]
    fn a_damaged_line_and_a_newer_format_are_named() {
        let file = b"{\"tics_health\":1,\"run\":\"r\",\"zero\":\"\"}\n{}\n";
        let errors: Vec<String> =
            read_health(&file[..]).unwrap().filter_map(Result::err).map(|e| e.to_string()).collect();
        assert_eq!(errors, ["line 2: not a health sample"]);
        let newer = b"{\"tics_health\":2,\"run\":\"r\",\"zero\":\"\"}\n";
        assert!(read_health(&newer[..]).err().unwrap().to_string().contains("health format 2"));
    }

    #[test]
    fn a_long_stall_weighs_as_long_as_it_was() {
        let mut delays = TimerDelays::default();
        let period = Nanos::from_millis(10);
        for _ in 0..79 {
            delays.note(Nanos::from_micros(50), period);
        }
        // 200 ms of 1 s: a fifth of the instants.
        delays.note(Nanos::from_millis(200), period);
        assert_eq!(delays.n, 99);
        assert_eq!(delays.max, Nanos::from_millis(200));
        assert!(delays.quantile(0.75) < Nanos::from_micros(100));
        let p90 = delays.quantile(0.90);
        assert!(p90 > Nanos::from_millis(80) && p90 < Nanos::from_millis(130), "{p90:?}");
    }

    proptest! {
        #[test]
        fn a_class_holds_its_delay(ns in 0u64..3_600_000_000_000) {
            let class = TimerDelays::class(Nanos::new(ns));
            prop_assert!(TimerDelays::end_of(class).as_nanos() as f64 >= ns as f64 * 0.999 - 1.0);
            if class > 0 {
                prop_assert!(TimerDelays::end_of(class - 1).as_nanos() as f64 <= ns as f64 * 1.001);
            }
        }

        #[test]
        fn adding_equals_noting_together(
            a in prop::collection::vec(0u64..100_000_000, 0..20),
            b in prop::collection::vec(0u64..100_000_000, 0..20),
        ) {
            let period = Nanos::from_millis(10);
            let of = |all: &[u64]| {
                let mut delays = TimerDelays::default();
                for ns in all {
                    delays.note(Nanos::new(*ns), period);
                }
                delays
            };
            let mut sum = of(&a);
            sum.add(&of(&b));
            prop_assert_eq!(sum, of(&[a, b].concat()));
        }
    }
}
