//! Slicing, scaling and order.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod support;

use std::num::NonZeroU64;

use proptest::prelude::*;
use tics_record::Nanos;
use tics_trace::{
    LengthRange, OpenOptions, Row, Scale, Schedule, ScheduledRequest, Selection, Trace, TraceError,
};

use support::trace_of;

fn all(schedule: Schedule) -> Vec<ScheduledRequest> {
    schedule.collect::<Result<_, _>>().unwrap()
}

fn row(at_ms: u64, input_length: u32) -> Row {
    Row { at: Nanos::from_millis(at_ms), input_length, output_length: input_length + 1, ..Row::default() }
}

#[test]
fn a_feeder_thread_can_own_them() {
    fn check<T: Send + 'static>() {}
    check::<Trace>();
    check::<Schedule>();
}

#[test]
fn window_then_limit_then_scale() {
    let trace =
        trace_of(&[row(9_000, 1), row(1_000, 2), row(4_000, 3), row(4_000, 4), row(7_000, 5), row(2_000, 6)]);
    let selection = Selection {
        window: Some((Nanos::from_secs(2), Nanos::from_secs(7))),
        limit: NonZeroU64::new(2),
        scale: Scale::new(0.5).unwrap(),
        ..Selection::default()
    };
    let schedule = trace.schedule(&selection).unwrap();
    let totals = schedule.totals();
    assert_eq!((totals.scheduled, totals.input_tokens, totals.output_tokens), (2, 9, 11));
    assert_eq!(totals.span, Nanos::from_secs(1));
    let requests = all(schedule);
    let brief: Vec<_> = requests.iter().map(|r| (r.index, r.due.as_nanos(), r.row.line)).collect();
    assert_eq!(brief, [(0, 0, 6), (1, 1_000_000_000, 3)], "7 s is not in a window that ends there");
    assert_eq!(requests[1].row.at, Nanos::from_secs(4), "the row keeps its own time");
}

#[test]
fn a_window_without_rows_says_where_they_are() {
    let trace = trace_of(&[row(1_500, 1), row(9_000, 2)]);
    let window = Some((Nanos::from_secs(2), Nanos::from_secs(9)));
    let error = trace.schedule(&Selection { window, ..Selection::default() }).unwrap_err();
    assert!(matches!(error, TraceError::EmptyWindow { .. }));
    assert_eq!(
        error.to_string(),
        "rows: no request in the window 2..9 s; its requests lie from 1.5 s to 9 s"
    );
}

#[test]
fn drawn_lengths_cover_their_ranges_and_repeat() {
    let range = |text: &str| text.parse::<LengthRange>().unwrap();
    let draw = |seed| Schedule::drawn(2_000, range("1..4"), range("7"), seed);
    let totals = draw(5).totals();
    let requests = all(draw(5));
    assert_eq!(requests, all(draw(5)));
    assert_ne!(requests, all(draw(6)));
    assert_eq!(requests.len() as u64, totals.scheduled);
    assert_eq!(requests.iter().map(|r| u64::from(r.row.input_length)).sum::<u64>(), totals.input_tokens);
    assert_eq!(totals.output_tokens, 14_000);
    for length in 1..=4 {
        let n = requests.iter().filter(|r| r.row.input_length == length).count();
        assert!((400..600).contains(&n), "{n} requests of {length} tokens, 500 expected");
    }
    assert!(requests.iter().all(|r| r.due == Nanos::ZERO && r.row.output_length == 7));
    let first: Vec<_> = all(Schedule::drawn(5, range("1..8192"), range("16..1024"), 42))
        .iter()
        .map(|r| (r.row.input_length, r.row.output_length))
        .collect();
    assert_eq!(
        first,
        [(5587, 974), (3503, 649), (2365, 167), (2524, 827), (6319, 256)],
        "a seed means the same for ever"
    );
}

fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    // Few distinct times, so that ties are common.
    prop::collection::vec((0_u64..40, 1_u32..5_000), 1..60)
        .prop_map(|rows| rows.into_iter().map(|(tenths, length)| row(tenths * 100, length)).collect())
}

proptest! {
    /// The schedule against the plainest possible reading of its definition.
    #[test]
    fn a_schedule_is_its_definition(
        rows in some_rows(), from in 0_u64..4_000, width in 1_u64..4_000, limit in prop::option::of(1_u64..70),
        windowed: bool, eighths in 1_u64..32,
    ) {
        let window = windowed.then_some((Nanos::from_millis(from), Nanos::from_millis(from + width)));
        let scale = Scale::new(eighths as f64 / 8.0).unwrap();
        let mut expect: Vec<(u64, u64, u32)> =
            rows.iter().zip(1..).map(|(row, line)| (row.at.as_nanos(), line, row.input_length)).collect();
        expect.sort_by_key(|(at, ..)| *at);
        if let Some((from, to)) = window {
            expect.retain(|(at, ..)| (from.as_nanos()..to.as_nanos()).contains(at));
        }
        expect.truncate(limit.unwrap_or(u64::MAX) as usize);
        let zero = expect.first().map_or(0, |(at, ..)| *at);
        for (at, ..) in &mut expect {
            *at = ((*at - zero) * eighths + 4) / 8;
        }

        match trace_of(&rows).schedule(&Selection { window, limit: limit.and_then(NonZeroU64::new), scale, ..Selection::default() }) {
            Err(error) => prop_assert!(expect.is_empty(), "{}", error),
            Ok(schedule) => {
                let totals = schedule.totals();
                let requests = all(schedule);
                let found: Vec<_> =
                    requests.iter().map(|r| (r.due.as_nanos(), r.row.line, r.row.input_length)).collect();
                prop_assert_eq!(&found, &expect);
                prop_assert_eq!(found[0].0, 0);
                prop_assert!(requests.iter().zip(0..).all(|(r, i)| r.index == i));
                prop_assert_eq!(totals.scheduled, found.len() as u64);
                prop_assert_eq!(totals.span.as_nanos(), found.last().unwrap().0);
                let sum = |f: fn(&Row) -> u32| requests.iter().map(|r| u64::from(f(&r.row))).sum::<u64>();
                prop_assert_eq!(totals.input_tokens, sum(|r| r.input_length));
                prop_assert_eq!(totals.output_tokens, sum(|r| r.output_length));
            }
        }
    }

    /// A shuffled file is the same trace, ties aside: those keep their order in the file.
    #[test]
    fn order_in_the_file_does_not_matter(rows in some_rows(), seed: u64) {
        let mut sorted = rows.clone();
        sorted.sort_by_key(|row| row.at);
        let mut shuffled = sorted.clone();
        // A shuffle that keeps ties in order: by a hash of the time.
        shuffled.sort_by_key(|row| (row.at.as_nanos() ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (a, b) = (trace_of(&sorted), trace_of(&shuffled));
        let plain = |trace: &Trace| {
            let requests = all(trace.schedule(&Selection::default()).unwrap());
            requests.into_iter().map(|r| (r.due, r.row.input_length)).collect::<Vec<_>>()
        };
        prop_assert!(a.index().sorted);
        prop_assert_eq!(b.index().sorted, shuffled.is_sorted_by_key(|row| row.at));
        prop_assert_eq!(plain(&a), plain(&b));
        let facts = |trace: &Trace| {
            let i = trace.index().clone();
            (i.rows, i.start, i.end, i.bursts, i.input_tokens, i.output_tokens, i.max_input_length, i.max_output_length)
        };
        prop_assert_eq!(facts(&a), facts(&b));
        // The first lines are the file's own.
        let info = |trace: &Trace| trace.info().unwrap().render().lines().skip(4).collect::<String>();
        prop_assert_eq!(info(&a), info(&b));
    }

    /// What the index pass adds up is what the rows say.
    #[test]
    fn the_index_agrees_with_the_rows(rows in some_rows()) {
        let trace = trace_of(&rows);
        let read: Vec<Row> = trace.rows_as_recorded().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read.iter().zip(1..).map(|(row, line)| Row { line, ..row.clone() }).collect::<Vec<_>>(),
            rows.iter().zip(1..).map(|(row, line)| Row { line, ..row.clone() }).collect::<Vec<_>>());
        let index = trace.index();
        prop_assert_eq!(index.rows, rows.len() as u64);
        prop_assert_eq!(index.start, rows.iter().map(|row| row.at).min().unwrap());
        prop_assert_eq!(index.end, rows.iter().map(|row| row.at).max().unwrap());
        let times: std::collections::BTreeSet<_> = rows.iter().map(|row| row.at).collect();
        prop_assert_eq!(index.bursts.distinct_times, times.len() as u64);
        let largest = times.iter().map(|at| rows.iter().filter(|row| row.at == *at).count() as u64).max();
        prop_assert_eq!(Some(index.bursts.largest_burst), largest);
    }

    /// No bytes make the reader panic, and errors are one line.
    #[test]
    fn any_bytes_are_a_trace_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200), edits in prop::collection::vec((0_usize..400, any::<u8>()), 0..6),
    ) {
        let mut text = b"{\"timestamp\": 0.5, \"input_length\": 20, \"output_length\": 5, \"hash_ids\": [1, 2]}\n".repeat(3);
        for (at, byte) in edits {
            let at = at % text.len();
            text[at] = byte;
        }
        for content in [bytes, text] {
            for skip_bad_rows in [false, true] {
                let options = OpenOptions { skip_bad_rows, ..OpenOptions::default() };
                match Trace::read(&*content, "bytes", &options) {
                    Err(error) => prop_assert!(!error.to_string().contains('\n')),
                    Ok(trace) => {
                        prop_assert_eq!(trace.rows().map(Result::unwrap).count() as u64, trace.index().rows);
                        prop_assert!(trace.check().is_ok() && trace.info().is_ok());
                    }
                }
            }
        }
    }
}
