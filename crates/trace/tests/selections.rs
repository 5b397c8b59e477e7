//! Spreading batches, and samples that keep what belongs together.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod support;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;

use proptest::prelude::*;
use tics_record::Nanos;
use tics_trace::{Id, Row, Scale, ScheduledRequest, Selection, Spread, Trace, TraceError};

use support::trace_of;

fn all(trace: &Trace, selection: &Selection) -> Vec<ScheduledRequest> {
    let schedule = trace.schedule(selection).unwrap();
    let totals = schedule.totals();
    let requests: Vec<_> = schedule.collect::<Result<_, _>>().unwrap();
    assert_eq!(totals.scheduled, requests.len() as u64);
    assert_eq!(totals.span, requests.last().unwrap().due);
    assert_eq!(totals.input_tokens, requests.iter().map(|r| u64::from(r.row.input_length)).sum::<u64>());
    requests
}

fn at(ms: u64) -> Row {
    Row { at: Nanos::from_millis(ms), input_length: 5, output_length: 5, ..Row::default() }
}

fn due_ms(trace: &Trace, selection: &Selection) -> Vec<f64> {
    all(trace, selection).iter().map(|r| r.due.as_nanos() as f64 / 1e6).collect()
}

#[test]
fn uniform_spreads_a_batch_over_the_gap_behind_it() {
    let trace = trace_of(&[at(100), at(100), at(100), at(100), at(500), at(1_500), at(1_500), at(1_600)]);
    let spread = Selection { spread: Some(Spread::Uniform), ..Selection::default() };
    // Gaps of 400, 1,000 and 100 ms.
    assert_eq!(due_ms(&trace, &spread), [0.0, 100.0, 200.0, 300.0, 400.0, 1_400.0, 1_450.0, 1_500.0]);
    let last = trace_of(&[at(0), at(100), at(500), at(1_500), at(1_500)]);
    // The median gap is 400 ms, to within one part in a thousand, and never longer.
    let times = due_ms(&last, &spread);
    assert!((1_699.8..=1_700.0).contains(&times[4]), "{times:?}");
    let selection = Selection {
        window: Some((Nanos::from_millis(100), Nanos::from_millis(600))),
        scale: Scale::new(2.0).unwrap(),
        ..spread
    };
    assert_eq!(due_ms(&trace, &selection), [0.0, 200.0, 400.0, 600.0, 800.0], "windows are in recorded time");
}

#[test]
fn one_time_has_no_gap() {
    let trace = trace_of(&[at(7), at(7), at(7)]);
    for spread in Spread::ALL {
        let selection = Selection { spread: Some(spread), ..Selection::default() };
        assert_eq!(due_ms(&trace, &selection), [0.0; 3]);
    }
}

/// Kolmogorov's distance of a sample from the uniform distribution over 0 to 1.
fn distance_from_uniform(mut shares: Vec<f64>) -> f64 {
    shares.sort_by(f64::total_cmp);
    let n = shares.len() as f64;
    shares
        .iter()
        .zip(0..)
        .map(|(x, i)| (f64::from(i + 1) / n - x).max(x - f64::from(i) / n))
        .fold(0.0, f64::max)
}

#[test]
fn poisson_is_uniform_over_the_gap() {
    // A row alone stays where it is, so that times count from the trace's own zero.
    let mut rows = vec![at(0)];
    for batch in 1..=500 {
        rows.extend(std::iter::repeat_n(at(3_000 * batch), 10));
    }
    let trace = trace_of(&rows);
    let selection = Selection { spread: Some(Spread::Poisson), seed: 3, ..Selection::default() };
    let requests = all(&trace, &selection);
    let offset = |r: &ScheduledRequest| (r.due.as_nanos() - r.row.at.as_nanos()) as f64 / 3e9;
    let d = distance_from_uniform(requests[1..].iter().map(offset).collect());
    // 1.95 / √5000: passed once in a thousand seeds.
    assert!(d < 0.0276, "{d}");
    // In each batch the first of ten lies below 1 - 0.5^(1/10) in half of the cases.
    let firsts = requests[1..].chunks(10).filter(|batch| offset(&batch[0]) < 0.066_97).count();
    assert!((200..300).contains(&firsts), "{firsts} of 500");
    assert_eq!(requests, all(&trace, &selection), "a seed repeats");
    assert_ne!(requests, all(&trace, &Selection { seed: 4, ..selection }));
}

#[test]
fn a_row_alone_stays_where_it_is() {
    let trace = trace_of(&[at(0), at(130), at(990), at(2_000)]);
    for spread in Spread::ALL {
        let selection = Selection { spread: Some(spread), ..Selection::default() };
        assert_eq!(due_ms(&trace, &selection), [0.0, 130.0, 990.0, 2_000.0]);
    }
}

proptest! {
    #[test]
    fn spreading_keeps_order_and_batches_apart(
        tenths in prop::collection::vec(0_u64..30, 1..60), poisson: bool, seed: u64, limit in 1_u64..70,
    ) {
        let rows: Vec<Row> = tenths.iter().map(|t| at(t * 100)).collect();
        let trace = trace_of(&rows);
        let spread = if poisson { Spread::Poisson } else { Spread::Uniform };
        let selection = Selection { spread: Some(spread), seed, limit: NonZeroU64::new(limit), ..Selection::default() };
        let plain = all(&trace, &Selection { spread: None, ..selection });
        let spread = all(&trace, &selection);
        prop_assert_eq!(plain.iter().map(|r| &r.row).collect::<Vec<_>>(), spread.iter().map(|r| &r.row).collect::<Vec<_>>());
        prop_assert!(spread.is_sorted_by_key(|r| r.due));
        // Rows of different batches stay on their sides of every recorded time: measured from the
        // first row, which may itself lie up to its gap behind its own time.
        let mut distinct: Vec<u64> = rows.iter().map(|r| r.at.as_nanos()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let behind = |at: u64| distinct.get(distinct.partition_point(|t| *t <= at)).map_or(3_000_000_000, |next| next - at);
        let first = spread[0].row.at.as_nanos();
        for request in &spread {
            let at = request.row.at.as_nanos();
            prop_assert!(request.due.as_nanos() <= at - first + behind(at));
            prop_assert!(request.due.as_nanos() + behind(first) >= at - first);
        }
    }
}

/// Conversations of up to 5 turns in random order, named, linked by parents, or known by their blocks.
fn conversations(link: &str) -> Trace {
    let mut rows = Vec::new();
    for session in 0..2_000_u64 {
        for turn in 0..=session % 5 {
            let id = session * 10 + turn;
            let mut row = at(turn * 1_000_000 + session);
            match link {
                "session" => row.session = Some(format!("s{session}")),
                "parent" => {
                    row.id = Some(Id::Number(id.cast_signed()));
                    row.parent = (turn > 0).then(|| Id::Number(id.cast_signed() - 1));
                }
                "blocks" => {
                    // Two system prompts of one and three blocks, then what is the session's own.
                    let system: &[u64] = if session % 2 == 0 { &[1] } else { &[2, 3, 4] };
                    let own = (0..=turn).map(|n| 1_000 + session * 10 + n);
                    row.hash_ids = Some(system.iter().copied().chain(own).collect());
                    row.input_length = 16 * row.hash_ids.as_ref().unwrap().len() as u32;
                    row.block_size = Some(16);
                }
                _ => {}
            }
            // The session, readable whatever links the rows.
            row.kind = Some(session.to_string());
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| row.at);
    trace_of(&rows)
}

#[test]
fn a_sample_keeps_what_belongs_together() {
    for link in ["session", "parent", "blocks", "nothing"] {
        let trace = conversations(link);
        let selection = Selection { sample: Some(0.1), seed: 5, ..Selection::default() };
        let kept = all(&trace, &selection);
        let share = kept.len() as f64 / trace.index().rows as f64;
        // 2,000 sessions of 3 turns on average: five standard deviations are 0.037.
        assert!((share - 0.1).abs() < 0.037, "{link}: {share}");
        let mut turns: HashMap<String, u64> = HashMap::new();
        for request in &kept {
            *turns.entry(request.row.kind.clone().unwrap()).or_default() += 1;
        }
        let whole =
            turns.iter().filter(|(session, n)| **n == session.parse::<u64>().unwrap() % 5 + 1).count();
        assert_eq!(whole == turns.len(), link != "nothing", "{link}");
        assert_eq!(kept, all(&trace, &selection), "a seed repeats");
        let other: HashSet<u64> =
            all(&trace, &Selection { seed: 6, ..selection }).iter().map(|r| r.row.line).collect();
        let common = kept.iter().filter(|r| other.contains(&r.row.line)).count();
        assert!(common * 4 < kept.len(), "{link}: another seed is another sample");
        // A larger sample contains the smaller one.
        let half: HashSet<u64> =
            all(&trace, &Selection { sample: Some(0.5), ..selection }).iter().map(|r| r.row.line).collect();
        assert!(kept.iter().all(|r| half.contains(&r.row.line)));
        assert_eq!(
            all(&trace, &Selection { sample: Some(1.0), ..selection }).len() as u64,
            trace.index().rows
        );
    }
}

#[test]
fn a_sample_of_nothing_is_an_error() {
    let trace = trace_of(&[at(0)]);
    let error = trace.schedule(&Selection { sample: Some(1e-9), ..Selection::default() }).unwrap_err();
    assert!(matches!(error, TraceError::EmptySample { .. }), "{error}");
}
