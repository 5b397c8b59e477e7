//! B: whether the tester itself could keep up: its timers, processors, reads, limits and clocks.

use super::{Check, Evidence, Judged, Limits};
use crate::evidence::HealthDigest;

const MORE_CORES: &str = "give the tester cores of its own (no other load, no CPU limit), or lower the load";

/// Largest delay of the tester that cannot be seen in the latencies, nanoseconds.
pub(super) fn stall_limit_ns(evidence: &Evidence, limits: &Limits) -> f64 {
    limits.stall_ns.max(evidence.smallest_latency_ns().unwrap_or(0.0) * limits.effect)
}

pub(super) fn checks(evidence: &Evidence, limits: &Limits) -> Vec<Check> {
    let digest = evidence.health.as_ref();
    let mut all = vec![canary(evidence, limits)];
    all.extend(processors(evidence, limits));
    all.extend(reads(evidence, limits));
    all.push(back_pressure(evidence));
    all.extend(resources(digest));
    all.extend(clocks(evidence, limits));
    all.into_iter().map(|judged| judged.check(limits)).collect()
}

fn canary(evidence: &Evidence, limits: &Limits) -> Judged {
    let limit = stall_limit_ns(evidence, limits) / 1e6;
    let worst = evidence.health.as_ref().and_then(HealthDigest::worst_canary);
    let note = worst.as_ref().map(|w| w.delays.max.as_millis_f64()).filter(|max| *max > limit);
    Judged::new("B1", "p99 delay of a worker's own timer", worst.map(|w| w.delays.p99.as_millis_f64()), limit)
        .hard(limit * limits.hard_factor)
        .note(note.map(|ms| format!("the longest delay was {ms:.1} ms")))
        .remedy(format!("workers stand still for too long: {MORE_CORES}"))
}

fn processors(evidence: &Evidence, limits: &Limits) -> [Judged; 4] {
    let digest = evidence.health.as_ref();
    let busiest = digest.and_then(|d| d.busiest_thread.as_ref());
    let delayed = digest.and_then(|d| d.most_delayed.as_ref());
    // A mean wait of m has its p99 near 5 m.
    let wait_limit = (stall_limit_ns(evidence, limits) / 5e6).max(0.2);
    let shared = digest.and_then(|d| d.server_cores).filter(|cores| *cores > 0.5);
    let shared = shared.map(|cores| {
        format!("the simulated server on this machine takes {cores:.2} cores: what it takes the tester lacks")
    });
    [
        Judged::new("B2a", "busiest second of a worker or the pacer", busiest.map(|b| b.value * 100.0), 85.0)
            .note(busiest.filter(|b| b.value > 0.85).map(|b| format!("{} in {:.0} s", b.name, b.at_s)))
            .remedy(format!("a thread that keeps time has no time left: {MORE_CORES}")),
        Judged::new(
            "B2b",
            "mean wait for a processor, of a worker or the pacer",
            delayed.map(|d| d.value / 1e6),
            wait_limit,
        )
        .hard(wait_limit * limits.hard_factor)
        .note(delayed.filter(|d| d.value / 1e6 > wait_limit).map(|d| {
            let who = &d.name;
            shared.map_or_else(|| who.clone(), |shared| format!("{who}; {shared}"))
        }))
        .remedy(format!("other programs take the tester's processors: {MORE_CORES}")),
        Judged::new(
            "B2c",
            "time for which a CPU limit stopped the tester",
            digest.and_then(|d| d.throttled_share).map(|s| s * 100.0),
            0.0,
        )
        .hard(1.0)
        .remedy("raise the CPU limit of its container, or take it away"),
        Judged::new(
            "B2d",
            "processor time that the hypervisor took",
            digest.and_then(|d| d.steal_share).map(|s| s * 100.0),
            2.0,
        )
        .hard(20.0)
        .remedy("run on a machine whose cores are not shared with others"),
    ]
}

fn reads(evidence: &Evidence, limits: &Limits) -> [Judged; 3] {
    let reads = &evidence.reads;
    let longest = longest_stall_ns(evidence);
    let visible = evidence.median_icl_ns.unwrap_or(0.0) * limits.effect;
    let ttft = longest.and_then(|longest| reads.ttft_uncertainty(longest));
    let visible = visible.max(limits.stall_ns / 5.0);
    let gaps = longest.and_then(|longest| reads.share_uncertain(visible, longest));
    let limit = stall_limit_ns(evidence, limits) / 1e6;
    let remedy = format!("streams were read late, several events at a time: {MORE_CORES}");
    [
        Judged::new(
            "B3a",
            "p99 TTFT could be too long, by late reads",
            ttft.map(|s| s * 100.0),
            limits.effect * 100.0,
        )
        .hard(50.0)
        .remedy(&remedy),
        Judged::new("B3b", "tics whose gap could be wrong, by late reads", gaps.map(|s| s * 100.0), 1.0)
            .hard(20.0)
            .note(longest.and_then(|longest| reads.coalescing_note(longest)))
            .remedy(&remedy),
        Judged::new(
            "B3c",
            "kernel to reader: the p99 of half of the requests",
            reads.delay_p99_ns.map(|ns| ns / 1e6),
            limit,
        )
        .hard(limit * limits.hard_factor)
        .remedy(remedy),
    ]
}

/// The longest that a worker may have been away, nanoseconds: an event that shared its read waited for
/// no longer than that, whatever the server did. None where nothing is known of the workers.
fn longest_stall_ns(evidence: &Evidence) -> Option<f64> {
    let longest = evidence.health.as_ref()?.longest_stall()?;
    Some((longest.as_nanos() as f64).max(evidence.reads.delay_max_ns))
}

fn back_pressure(evidence: &Evidence) -> Judged {
    let tcp = evidence.health.as_ref().and_then(|d| d.tcp);
    let per_request = tcp.map(|t| 100.0 * t.zero_windows as f64 / evidence.sent.max(1) as f64);
    let note = tcp.filter(|t| t.zero_windows > 0).map(|t| {
        format!(
            "{} zero windows, {} packets pruned, {} segments sent again",
            t.zero_windows, t.pruned, t.retransmitted
        )
    });
    Judged::new("B4", "full receive buffers for every 100 requests", per_request, 1.0)
        .note(note)
        .remedy("the server was told to wait: enlarge net.ipv4.tcp_rmem, give the tester more cores, or lower the load")
}

fn resources(digest: Option<&HealthDigest>) -> [Judged; 5] {
    let share = |of: fn(&HealthDigest) -> Option<f64>| digest.and_then(of).map(|s| s * 100.0);
    [
        Judged::new("B5a", "descriptors in use, of those allowed", share(|d| d.fds_share), 80.0)
            .remedy("raise the limit (ulimit -n), or lower the load"),
        Judged::new("B5b", "local ports in use, of those given out", share(|d| d.ports_share), 80.0)
            .remedy("widen net.ipv4.ip_local_port_range, reuse connections, or lower the load"),
        Judged::new("B5c", "memory of the tester, of what it could have", share(|d| d.memory_share), 80.0)
            .remedy("give the tester more memory, or lower --lookahead"),
        Judged::new("B5d", "time in which a task waited for memory", share(|d| d.memory_stall_share), 1.0)
            .remedy("the machine is short of memory: free some, or run on another"),
        Judged::new("B5e", "how far the journal was behind", digest.and_then(|d| d.journal_behind_s), 2.0)
            .remedy("the disk is too slow for the journal: --run-dir on a faster one, or lower the load"),
    ]
}

fn clocks(evidence: &Evidence, limits: &Limits) -> [Judged; 3] {
    let digest = evidence.health.as_ref();
    let step = digest.map(|d| d.largest_step_ns as f64 / 1e6);
    let step_limit = (stall_limit_ns(evidence, limits) / 1e6).max(1.0);
    let steps = digest.map_or(0, |d| d.clock_steps);
    [
        Judged::new("B6a", "largest step of wall time", step, step_limit)
            .hard(step_limit * limits.hard_factor)
            .note((steps > 0).then(|| format!("{steps} steps")))
            .remedy("stop what sets the clock (NTP may slew it, not step it), and run again"),
        Judged::new("B6b", "drift of wall time", digest.and_then(|d| d.drift_ppm), 100.0)
            .hard(1e4)
            .remedy("let NTP steer the clock, or wait until it has"),
        Judged::new(
            "B6c",
            "time for which the tester stood still",
            digest.map(|d| d.paused_share * 100.0),
            1.0,
        )
        .hard(10.0)
        .note(
            digest
                .filter(|d| d.paused_share > 0.0)
                .map(|d| format!("the longest pause was {:.0} ms", d.longest_pause.as_millis_f64())),
        )
        .remedy("it was stopped, suspended or starved: let it run, on cores of its own"),
    ]
}
