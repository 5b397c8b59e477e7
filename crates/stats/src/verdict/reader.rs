//! B: whether the tester itself could keep up, by what its reads show of it.

use super::{Check, Evidence, Judged, Limits};

/// Largest delay of the tester that cannot be seen in the latencies, nanoseconds.
fn stall_limit_ns(evidence: &Evidence, limits: &Limits) -> f64 {
    limits.stall_ns.max(evidence.smallest_latency_ns().unwrap_or(0.0) * limits.effect)
}

pub(super) fn check(evidence: &Evidence, limits: &Limits) -> Check {
    let limit = stall_limit_ns(evidence, limits) / 1e6;
    Judged::new(
        "B3c",
        "kernel to reader: the p99 of half of the requests",
        evidence.read_delay_p99_ns.map(|ns| ns / 1e6),
        limit,
    )
    .hard(limit * limits.hard_factor)
    .remedy(
        "streams were read late, several events at a time: give the tester cores of its own (no other load, no \
         CPU limit), or lower the load",
    )
    .check(limits)
}
