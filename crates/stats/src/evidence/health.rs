//! The samples of the tester, boiled down.

use std::collections::{BTreeMap, HashMap};

use tics_record::{Canary, HealthSample, Nanos, TcpCounters, TimerDelays};

/// The first class of delays above 10 ms: the tester stood still.
const STILL: Nanos = Nanos::from_millis(10);

/// A figure and whose it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Named {
    /// The thread.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// When, seconds after the run's origin.
    pub at_s: f64,
}

/// The tester over the run: fed with samples one by one, complete after each.
///
/// What keeps time is judged while requests are in flight: how busy the tester was while it made its
/// first prompts touches no latency.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HealthDigest {
    /// Busiest second of a thread that keeps time: share of a processor.
    pub busiest_thread: Option<Named>,
    /// Longest mean wait for a processor of such a thread, nanoseconds.
    pub most_delayed: Option<Named>,
    /// Share of time for which a limit stopped the process.
    pub throttled_share: Option<f64>,
    /// Share of processor time that the hypervisor took.
    pub steal_share: Option<f64>,
    /// Processors that the simulated server of the run took.
    pub server_cores: Option<f64>,
    /// TCP's counters over the run.
    pub tcp: Option<TcpCounters>,
    /// Most descriptors open, of those allowed.
    pub fds_share: Option<f64>,
    /// Most connections to the server, of the local ports given out.
    pub ports_share: Option<f64>,
    /// Most memory of the process, of what it could have.
    pub memory_share: Option<f64>,
    /// Share of time in which a task waited for memory.
    pub memory_stall_share: Option<f64>,
    /// How far the journal was behind, seconds of its writing.
    pub journal_behind_s: Option<f64>,
    /// Largest step of wall time, nanoseconds.
    pub largest_step_ns: u64,
    /// Steps of wall time.
    pub clock_steps: u64,
    /// Drift of wall time where it was not stepped.
    pub drift_ppm: Option<f64>,
    /// Share of instants at which the sampler was late by more than 10 ms, or the machine suspended.
    pub paused_share: f64,
    /// Its longest delay.
    pub longest_pause: Nanos,
    /// Integral of the number of requests in flight, nanoseconds.
    pub in_flight_ns: f64,
    /// Each worker's timer.
    canary: BTreeMap<u32, TimerDelays>,
    /// The sampler's.
    own: TimerDelays,
    /// Wait for a processor and number of times on one, by thread.
    waits: BTreeMap<String, (u64, u64)>,
    /// Time during which something was in flight, nanoseconds.
    loaded_ns: f64,
    server_cpu_ns: f64,
    first: Option<Box<HealthSample>>,
    last: Option<Box<HealthSample>>,
}

fn keeps_time(thread: &str) -> bool {
    thread.starts_with("tics-worker") || thread == "tics-pacer"
}

fn raise(most: &mut Option<f64>, value: Option<f64>) {
    if let Some(value) = value
        && most.is_none_or(|m| value > m)
    {
        *most = Some(value);
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl HealthDigest {
    /// Takes the next sample.
    pub fn add(&mut self, sample: &HealthSample) {
        let span = sample.span.as_nanos() as f64;
        self.in_flight_ns += sample.in_flight_mean * span;
        let last = self.last.take();
        self.levels(last.as_deref(), sample);
        if let Some(last) = last
            && sample.in_flight_mean > 0.0
        {
            self.loaded_ns += span;
            self.threads(&last, sample);
            self.timers(sample);
            if let (Some(before), Some(now)) = (last.server_cpu_ns, sample.server_cpu_ns) {
                self.server_cpu_ns += now.saturating_sub(before) as f64;
                self.server_cores = Some(self.server_cpu_ns / self.loaded_ns.max(1.0));
            }
        }
        self.clock_steps += sample.wall.steps;
        self.largest_step_ns = self.largest_step_ns.max(sample.wall.largest_step_ns);
        self.since_the_first(sample);
        self.last = Some(Box::new(sample.clone()));
        if self.first.is_none() {
            self.first.clone_from(&self.last);
        }
    }

    fn threads(&mut self, before: &HealthSample, sample: &HealthSample) {
        let span = sample.span.as_nanos() as f64;
        let known: HashMap<u32, _> = before.threads.iter().map(|t| (t.tid, t)).collect();
        for thread in sample.threads.iter().filter(|t| keeps_time(&t.name)) {
            // A thread that is new has everything from this stretch.
            let (cpu, delay, slices) =
                known.get(&thread.tid).map_or((0, 0, 0), |t| (t.cpu_ns, t.run_delay_ns, t.slices));
            let busy = thread.cpu_ns.saturating_sub(cpu) as f64 / span.max(1.0);
            // In a short stretch a single long wake-up looks like a full load.
            if span >= 0.5e9 && self.busiest_thread.as_ref().is_none_or(|b| busy > b.value) {
                let at_s = sample.at.as_nanos() as f64 / 1e9;
                self.busiest_thread = Some(Named { name: thread.name.clone(), value: busy, at_s });
            }
            let (waited, times) = self.waits.entry(thread.name.clone()).or_default();
            *waited += thread.run_delay_ns.saturating_sub(delay);
            *times += thread.slices.saturating_sub(slices);
        }
        let means = self.waits.iter().filter(|(_, (_, times))| *times >= 20);
        let means = means.map(|(name, (waited, times))| (name, *waited as f64 / *times as f64));
        self.most_delayed = means.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, value)| Named {
            name: name.clone(),
            value,
            at_s: 0.0,
        });
    }

    fn timers(&mut self, sample: &HealthSample) {
        for Canary { worker, delays } in &sample.canary {
            self.canary.entry(*worker).or_default().add(delays);
        }
        self.own.add(&sample.own);
        self.longest_pause = self.own.max;
    }

    fn levels(&mut self, before: Option<&HealthSample>, sample: &HealthSample) {
        raise(&mut self.fds_share, sample.fds_limit.and_then(|limit| share(sample.fds, limit)));
        raise(&mut self.ports_share, sample.sockets.and_then(|s| share(s.open, s.ports)));
        let memory =
            sample.memory_left_bytes.and_then(|left| share(sample.rss_bytes, sample.rss_bytes + left));
        raise(&mut self.memory_share, memory);
        let written = before.map_or(0, |before| before.journal_written);
        let rate = sample.journal_written.saturating_sub(written) as f64 / sample.span.as_secs_f64().max(0.1);
        // A journal with little to write is not behind for want of speed.
        raise(&mut self.journal_behind_s, Some(sample.journal_backlog as f64 / rate.max(100.0)));
    }

    /// What is the difference of two readings.
    fn since_the_first(&mut self, sample: &HealthSample) {
        let Some(first) = &self.first else { return };
        let span = sample.at.since(first.at).unwrap_or_default().as_nanos();
        self.throttled_share =
            first.throttled.zip(sample.throttled).and_then(|(a, b)| share(b.ns.saturating_sub(a.ns), span));
        self.steal_share = first.machine.zip(sample.machine).and_then(|(a, b)| {
            let all = |m: tics_record::MachineTime| m.busy_ns + m.idle_ns + m.steal_ns;
            share(b.steal_ns.saturating_sub(a.steal_ns), all(b).saturating_sub(all(a)))
        });
        self.memory_stall_share = first
            .pressure
            .zip(sample.pressure)
            .and_then(|(a, b)| share(b.memory_ns.saturating_sub(a.memory_ns), span));
        self.tcp = first.tcp.zip(sample.tcp).map(|(a, b)| TcpCounters {
            zero_windows: b.zero_windows.saturating_sub(a.zero_windows),
            pruned: b.pruned.saturating_sub(a.pruned),
            retransmitted: b.retransmitted.saturating_sub(a.retransmitted),
        });
        let moved = (sample.wall.offset_ns - first.wall.offset_ns).unsigned_abs();
        // A reading is good to some microseconds, which over less than two seconds looks like a drift.
        self.drift_ppm =
            (span > 2_000_000_000 && self.clock_steps == 0).then(|| moved as f64 * 1e6 / span as f64);
        let suspended = sample.wall.suspended_ns.saturating_sub(first.wall.suspended_ns);
        let still = self.own.counts.iter().filter(|(class, _)| {
            class.checked_sub(1).is_some_and(|below| TimerDelays::end_of(below) >= STILL)
        });
        let still: u64 = still.map(|(_, n)| n).sum();
        self.paused_share =
            share(still, self.own.n).unwrap_or(0.0) + share(suspended, span + suspended).unwrap_or(0.0);
    }

    /// The worker whose timer has the largest p99.
    pub fn worst_canary(&self) -> Option<Canary> {
        let worst = self.canary.iter().filter(|(_, d)| d.n > 0).max_by_key(|(_, d)| d.p99)?;
        Some(Canary { worker: *worst.0, delays: worst.1.clone() })
    }

    /// The longest delay of any worker's timer.
    pub fn longest_stall(&self) -> Option<Nanos> {
        self.canary.values().filter(|d| d.n > 0).map(|d| d.max).max()
    }
}

#[cfg(test)]
mod tests {
    use tics_record::{MachineTime, Pressure, Sockets, Stamp, ThreadSample, Throttling, WallClock};

    use super::*;

    const S: u64 = 1_000_000_000;

    /// Second `k` of a run with requests in flight.
    fn second(k: u64) -> HealthSample {
        let mut sample = HealthSample {
            at: Stamp::from_nanos(k * S),
            span: Nanos::from_secs(1),
            in_flight_mean: 4.0,
            fds_limit: Some(100),
            fds: 10,
            ..HealthSample::default()
        };
        for _ in 0..100 {
            sample.own.note(Nanos::from_micros(60), Nanos::from_millis(10));
        }
        sample.canary = vec![Canary { worker: 0, delays: sample.own.clone() }];
        sample
    }

    fn thread(name: &str, tid: u32, cpu_ms: u64, delay_us: u64, slices: u64) -> ThreadSample {
        ThreadSample {
            name: name.into(),
            tid,
            cpu_ns: cpu_ms * 1_000_000,
            run_delay_ns: delay_us * 1_000,
            slices,
        }
    }

    fn digest(samples: impl IntoIterator<Item = HealthSample>) -> HealthDigest {
        let mut digest = HealthDigest::default();
        samples.into_iter().for_each(|s| digest.add(&s));
        digest
    }

    #[test]
    fn only_threads_that_keep_time_count_and_only_under_load() {
        let threads = |cpu: u64, delay: u64| {
            vec![
                thread("tics-worker-0", 1, cpu, delay, cpu),
                thread("tics-pacer", 2, cpu / 10, delay / 10, cpu),
                thread("tics-feeder", 3, 9 * cpu, 9 * delay, cpu),
            ]
        };
        let digest = digest([
            HealthSample { in_flight_mean: 0.0, ..second(0) },
            HealthSample { in_flight_mean: 0.0, threads: threads(990, 99_000), ..second(1) },
            HealthSample { threads: threads(1_490, 149_000), ..second(2) },
            HealthSample { threads: threads(1_690, 169_000), ..second(3) },
        ]);
        let busiest = digest.busiest_thread.unwrap();
        assert_eq!((busiest.name.as_str(), busiest.at_s), ("tics-worker-0", 2.0));
        assert!((busiest.value - 0.5).abs() < 1e-9);
        let delayed = digest.most_delayed.unwrap();
        assert_eq!(delayed.name, "tics-worker-0");
        assert!((delayed.value - 100_000.0).abs() < 1e-6, "{delayed:?}");
    }

    #[test]
    fn counters_are_differences_and_levels_are_peaks() {
        let mut samples = [second(0), second(1), second(2), second(3)];
        for (k, sample) in samples.iter_mut().enumerate() {
            let k = k as u64;
            sample.throttled = Some(Throttling { periods: 7 + k, ns: 50 + k * S / 100 });
            sample.machine =
                Some(MachineTime { busy_ns: k * 6 * S / 10, idle_ns: k * S / 2, steal_ns: k * 9 * S / 10 });
            sample.pressure = Some(Pressure { memory_ns: 3 + k * S / 50, ..Pressure::default() });
            sample.tcp = Some(TcpCounters { zero_windows: 5 + 2 * k, ..TcpCounters::default() });
            sample.sockets = Some(Sockets { open: 10 * k, ports: 100, ..Sockets::default() });
            sample.wall.offset_ns = (k * 50_000).cast_signed();
            sample.server_cpu_ns = Some(k * 7 * S / 10);
            sample.rss_bytes = 30;
            sample.memory_left_bytes = Some(100 - 10 * k);
            (sample.journal_written, sample.journal_backlog) = (1_000 * k, 500 * k);
        }
        samples[1].fds = 85;
        let digest = digest(samples);
        let near = |found: Option<f64>, expect: f64| {
            assert!((found.unwrap() - expect).abs() < 1e-6, "{found:?} {expect}");
        };
        near(digest.throttled_share, 0.01);
        near(digest.steal_share, 0.45);
        near(digest.memory_stall_share, 0.02);
        near(digest.fds_share, 0.85);
        near(digest.ports_share, 0.30);
        near(digest.memory_share, 0.30);
        near(digest.drift_ppm, 50.0);
        near(digest.server_cores, 0.7);
        near(digest.journal_behind_s, 1.5);
        assert_eq!(digest.tcp.unwrap().zero_windows, 6);
        near(Some(digest.in_flight_ns), 16e9);
    }

    #[test]
    fn a_stop_of_200_ms_in_five_seconds_is_four_per_cent() {
        let mut samples: Vec<HealthSample> = (0..6).map(second).collect();
        samples[3].own = TimerDelays::default();
        for _ in 0..80 {
            samples[3].own.note(Nanos::from_micros(60), Nanos::from_millis(10));
        }
        samples[3].own.note(Nanos::from_millis(200), Nanos::from_millis(10));
        let stopped = digest(samples.clone());
        assert!((stopped.paused_share - 0.04).abs() < 0.004, "{}", stopped.paused_share);
        assert_eq!(stopped.longest_pause, Nanos::from_millis(200));
        samples[4].wall =
            WallClock { suspended_ns: 5 * S, steps: 1, largest_step_ns: 77, ..WallClock::default() };
        samples[5].wall = WallClock { suspended_ns: 5 * S, ..WallClock::default() };
        let suspended = digest(samples);
        assert!(suspended.paused_share > 0.5);
        assert_eq!((suspended.clock_steps, suspended.largest_step_ns, suspended.drift_ppm), (1, 77, None));
    }

    #[test]
    fn the_worst_worker_is_named() {
        let mut sample = second(1);
        let mut slow = TimerDelays::default();
        (0..100).for_each(|_| slow.note(Nanos::from_millis(3), Nanos::from_millis(10)));
        sample.canary.push(Canary { worker: 1, delays: slow });
        let digest = digest([second(0), sample]);
        assert_eq!(digest.worst_canary().unwrap().worker, 1);
        assert_eq!(digest.longest_stall(), Some(Nanos::from_millis(3)));
        assert_eq!(HealthDigest::default().worst_canary(), None);
    }
}
