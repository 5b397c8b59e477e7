//! A: whether the load was the one that was asked for.

use tics_record::{LateCause, LoadModel};

use super::{Check, Evidence, Judged, Limits};

/// Below this the 99th percentile is little else than the largest value.
const FEW: u64 = 100;

/// A1 is over every request handed to the kernel, failed or not, without those whose wait was asked
/// for (a cap on requests in flight, the turn before). *Place*: the n-th of several requests due at
/// one instant cannot leave before the others have, so each is excused 50 µs a request that left
/// before it. A burst of a trace and an all-at-once run are thus judged alike, by how far they are
/// from leaving back to back. In a closed loop a request is due when its place becomes free, and
/// lateness is the tester's own turnaround.
pub(super) fn checks(evidence: &Evidence, limits: &Limits) -> Vec<Check> {
    let [whole, window] = rates(evidence);
    let [load, time] = dependence(evidence, limits);
    [lateness(evidence, limits), whole, window, conservation(evidence), load, time, lumps(evidence)]
        .into_iter()
        .map(|judged| judged.check(limits))
        .collect()
}

fn lateness(evidence: &Evidence, limits: &Limits) -> Judged {
    let threshold = limits.lateness(evidence.median_ttft_ns);
    let statistic = match evidence.model {
        Some(LoadModel::ClosedLoop) => "p99 turnaround from a free place to the next request",
        Some(LoadModel::AllAtOnce) => "p99 lateness beyond leaving back to back",
        _ => "p99 lateness",
    };
    let note = match evidence.n_lateness {
        0 => Some("no request was handed to the kernel".to_owned()),
        1 => Some("one request: its lateness stands for the p99".to_owned()),
        n if n < FEW => Some(format!("{n} requests: the p99 is little else than the largest")),
        _ => None,
    };
    Judged::new("A1", statistic, evidence.lateness_p99_ns.map(|ns| ns / 1e6), threshold / 1e6)
        .hard(threshold * limits.hard_factor / 1e6)
        .note(note)
        .remedy(late_remedy(evidence.main_late_cause))
}

fn late_remedy(cause: Option<LateCause>) -> &'static str {
    match cause {
        Some(LateCause::PromptNotReady) => {
            "prompts were not ready in time: shorten the prompts, stretch the trace, or give the tester more cores"
        }
        Some(LateCause::NoConnection) => {
            "connections were not ready in time: check the way to the server, or stretch the trace"
        }
        Some(LateCause::Worker) => {
            "workers were too busy to prepare requests: give the tester more cores, or lower the load"
        }
        Some(LateCause::History | LateCause::Turnaround) => {
            "turns were not ready when the one before them had ended: give the tester more cores, or think time"
        }
        Some(LateCause::Pacer | LateCause::OwnCap | LateCause::ParentTurn) | None => {
            "the tester was not scheduled in time: free a core for it (no other load, no CPU limit), or run it on another machine"
        }
    }
}

fn rates(evidence: &Evidence) -> [Judged; 2] {
    let timing = &evidence.timing;
    let remedy = "requests did not leave at the schedule's rate: see A1 for why, or stretch the trace";
    let whole = timing.rate_off.map(|off| off * 100.0);
    let window = timing.window_off;
    let note = window
        .filter(|w| w.off > 0.0)
        .map(|w| format!("worst in the second from {:.1} s: {} sent, {} due", w.at_s, w.sent, w.due));
    [
        Judged::new("A2a", "achieved rate, off the schedule's over the whole run", whole, 1.0)
            .hard(10.0)
            .remedy(remedy),
        Judged::new("A2b", "requests of a second sent in another one", window.map(|w| w.off * 100.0), 5.0)
            .note(note)
            .remedy(remedy),
    ]
}

fn conservation(evidence: &Evidence) -> Judged {
    let balance = evidence.scheduled.abs_diff(evidence.sent + evidence.not_sent);
    // Lost and stray requests also unbalance the sum; each is counted once.
    let named = evidence.lost + evidence.duplicates + evidence.strays;
    let violations = balance.max(named) + u64::from(!evidence.complete);
    let mut notes = Vec::new();
    if !evidence.complete {
        notes.push("the journal has no closing line: the run was cut off".to_owned());
    }
    for (count, what) in [
        (evidence.lost, "without a record"),
        (evidence.duplicates, "recorded twice"),
        (evidence.strays, "recorded that the schedule does not have"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {} {what}", if count == 1 { "request" } else { "requests" }));
        }
    }
    if balance > 0 {
        notes.push(format!(
            "{} scheduled, {} sent and {} not sent do not add up",
            evidence.scheduled, evidence.sent, evidence.not_sent
        ));
    }
    let remedy = if evidence.complete {
        "the journal is damaged or the tester has a fault: run again, and report it if it recurs"
    } else {
        "use the figures as those of an unfinished run; run again for the whole schedule"
    };
    let statistic = "requests missing, double or unknown, and a journal cut off";
    Judged::new("A3", statistic, Some(violations as f64), 0.0)
        .hard(0.0)
        .note((!notes.is_empty()).then(|| notes.join("; ")))
        .remedy(remedy)
}

/// The server must not steer the load: a lateness that grows with its load, or with time, is
/// coordinated omission on its way.
fn dependence(evidence: &Evidence, limits: &Limits) -> [Judged; 2] {
    let limit = limits.lateness(evidence.median_ttft_ns) / 4.0 / 1e6;
    [
        ("A4a", evidence.timing.by_load, "load", "in flight", "the calm to the busy quarter"),
        ("A4b", evidence.timing.by_time, "time", "time", "the first to the last quarter"),
    ]
    .map(|(id, found, what, with, quarters)| {
        let statistic = format!("lateness that depends on {what}: its mean from {quarters}");
        let value = found.map(|c| if c.is_significant() { c.effect_ns.abs() / 1e6 } else { 0.0 });
        let note = found.filter(|c| c.is_significant() && c.effect_ns.abs() / 1e6 > limit);
        Judged::new(id, statistic, value, limit)
            .note(note.map(|c| format!("rank correlation of lateness and {with} {:.2}, n {}", c.rho, c.n)))
            .remedy("the tester falls behind as it goes: give it more cores, or lower the load")
    })
}

fn lumps(evidence: &Evidence) -> Judged {
    let lumps = evidence.timing.lumps;
    let note = lumps.filter(|l| l.share > 0.0).map(|l| {
        format!("up to {} within {} ms, where the schedule has at most {}", l.most, l.width_ms, l.scheduled)
    });
    Judged::new("A5", "requests that left in lumps", lumps.map(|l| l.share * 100.0), 1.0)
        .note(note)
        .remedy("the tester was held up and then caught up: free a core for it, or lower the load")
}
