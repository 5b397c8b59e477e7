//! What a summary promises, over generated and hand-made records.

use std::convert::Infallible;

use proptest::prelude::*;
use tics_record::{
    Closing, Event, EventClass, LateCause, Line, LoadModel, Nanos, Outcome, OutputTokens, ReadDelay,
    RequestRecord, Sent, Stamp,
};
use tics_stats::{
    CheckOutcome, Distribution, Limits, Plan, Summariser, Summary, TokenCount, Verdict, Wanted,
};

const fn at(ns: u64) -> Stamp {
    Stamp::from_nanos(ns)
}

/// An answered request, sent when due, with a tic at each stamp (ns).
fn answered(i: u64, due: u64, tics: &[u64]) -> RequestRecord {
    let mut record = RequestRecord::not_sent(i, at(due));
    record.sent = Some(at(due));
    record.head = Some(at(due + 1));
    record.events = tics.iter().map(|t| Event::new(at(*t), EventClass::Content)).collect();
    record.end = record.events.last().map(|e| e.at);
    record.outcome = Outcome::Ok;
    record.output = OutputTokens { asked: tics.len() as u32, tics: tics.len() as u32, usage: None };
    record
}

fn failed(i: u64, due: u64, outcome: Outcome) -> RequestRecord {
    RequestRecord { outcome, end: Some(at(due + 10)), ..answered(i, due, &[]) }
}

const CLOSED: Closing = Closing {
    complete: true,
    interrupted: false,
    end: Stamp::ORIGIN,
    max_in_flight: 0,
    max_queued: 0,
    pacer_spun: Nanos::from_millis(50),
};

fn collect(records: &[RequestRecord]) -> Summariser {
    let mut summariser = Summariser::new();
    for record in records {
        summariser.record(record);
    }
    summariser
}

fn finish(mut summariser: Summariser, scheduled: u64) -> Summary {
    summariser.closing(&CLOSED);
    summariser.finish(&Plan::new(scheduled, LoadModel::OpenLoop), &Limits::default())
}

fn summary(records: &[RequestRecord]) -> Summary {
    finish(collect(records), records.len() as u64)
}

fn outcome_of(summary: &Summary, id: &str) -> Option<CheckOutcome> {
    summary.validity.checks.iter().find(|c| c.id == id).map(|c| c.outcome)
}

prop_compose! {
    fn event()(
        step in prop_oneof![0u64..1_000_000, 1u64 << 32..1 << 33],
        class in 0..EventClass::ALL.len(),
        tokens in prop_oneof![Just(None), (0u32..5).prop_map(Some)],
        shared: bool,
    ) -> (u64, Event) {
        (step, Event::new(Stamp::ORIGIN, EventClass::ALL[class]).with_tokens(tokens).with_shared(shared))
    }
}

prop_compose! {
    /// A record of any outcome; `i` and `due` are set by [`records`].
    fn record()(
        outcome in 0..Outcome::COUNT,
        late in 0u64..3_000_000,
        events in prop::collection::vec(event(), 0..12),
        handed_over in prop::bool::weighted(0.9),
        (input, usage) in (1u32..5, prop_oneof![Just(None), (0u32..12).prop_map(Some)]),
        cause in prop_oneof![Just(None), Just(Some(LateCause::Pacer)), Just(Some(LateCause::OwnCap))],
        delay in prop_oneof![Just(None), (0u64..9999).prop_map(Some)],
    ) -> RequestRecord {
        let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
        record.outcome = Outcome::ALL[outcome];
        if record.outcome == Outcome::NotSent || !(handed_over || record.outcome.is_answered()) {
            return record;
        }
        record.sent = Some(at(late));
        let mut now = late;
        record.events = events.into_iter().map(|(step, event)| {
            now += step;
            Event::new(at(now), event.class).with_tokens(event.tokens()).with_shared(event.shared)
        }).collect();
        record.end = Some(at(now));
        record.input.asked = input;
        record.input.usage = usage;
        record.output = OutputTokens { asked: 5, tics: record.tics().count() as u32, usage };
        record.late_cause = cause;
        record.read_delay = delay.map(|d| {
            ReadDelay { p50: Nanos::new(d / 2), p99: Nanos::new(d), max: Nanos::new(d * 2) }
        });
        record
    }
}

/// A run's records in order of their index, due at one of a few instants so that bursts occur.
fn records() -> impl Strategy<Value = Vec<RequestRecord>> {
    prop::collection::vec((record(), 0u64..5), 0..25).prop_map(|records| {
        let shift = |stamp: &mut Stamp, by: u64| *stamp = at(stamp.as_nanos() + by);
        let with = |(i, (mut record, slot)): (usize, (RequestRecord, u64))| {
            let due = slot * 1_000_000;
            record.i = i as u64;
            shift(&mut record.due, due);
            record.sent.iter_mut().chain(record.end.iter_mut()).for_each(|s| shift(s, due));
            record.events.iter_mut().for_each(|e| shift(&mut e.at, due));
            record
        };
        records.into_iter().enumerate().map(with).collect()
    })
}

proptest! {
    #[test]
    fn merging_equals_recording_together(records in records(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(records.len() + 1);
        // Lines as a journal has them, cut anywhere: some requests start in one part and end in the other.
        let whole = {
            let mut summariser = Summariser::new();
            for record in &records {
                if let Some(sent) = record.sent {
                    summariser.sent(&Sent { i: record.i, due: record.due, sent });
                }
                summariser.record(record);
            }
            finish(summariser, records.len() as u64)
        };
        let mut late = Summariser::new();
        let mut early = collect(&records[cut..]);
        for record in &records {
            if let Some(sent) = record.sent {
                late.sent(&Sent { i: record.i, due: record.due, sent });
            }
        }
        early.merge(late);
        early.merge(collect(&records[..cut]));
        prop_assert_eq!(finish(early, records.len() as u64), whole);
    }

    #[test]
    fn every_request_is_in_one_class(records in records(), unseen in 0u64..4, interrupted: bool, cut_off: bool) {
        let scheduled = records.len() as u64 + unseen;
        let mut summariser = collect(&records);
        if !cut_off {
            summariser.closing(&Closing { interrupted, ..CLOSED });
        }
        let plan = Plan::new(scheduled, LoadModel::OpenLoop);
        let got = summariser.finish(&plan, &Limits::default());
        let r = got.requests;
        prop_assert_eq!(r.scheduled, scheduled);
        prop_assert_eq!(got.outcomes.len(), Outcome::COUNT);
        prop_assert_eq!(r.ok + r.short + r.long + r.failed, r.sent);
        prop_assert_eq!(got.outcomes.values().sum::<u64>(), r.sent + r.not_sent);
        prop_assert_eq!(r.sent + r.not_sent + r.lost, scheduled);
        // What is missing is lost only where nothing explains it.
        prop_assert_eq!(r.lost, if cut_off || interrupted { 0 } else { unseen });
        let broken = cut_off || r.lost > 0;
        let expect = if broken { CheckOutcome::Invalid } else { CheckOutcome::Pass };
        prop_assert_eq!(outcome_of(&got, "A3"), Some(expect));
        prop_assert!(got.ttft_ms.n <= r.answered());
    }

    #[test]
    fn failures_are_in_no_latency_and_no_rate(records in records()) {
        let all = summary(&records);
        let only: Vec<_> = records.iter().filter(|r| r.outcome.is_answered()).cloned().collect();
        let answered = finish(collect(&only), only.len() as u64);
        let latencies = |s: &Summary| {
            (s.ttft_ms, s.ttft_from_due_ms, s.icl_ms, s.itl_ms, s.tpot_ms, s.e2e_ms, s.e2e_from_due_ms)
        };
        prop_assert_eq!(latencies(&all), latencies(&answered));
        prop_assert_eq!(all.output_tokens.used, answered.output_tokens.used);
        if let (Some(with), Some(without)) = (all.tokens_per_s, answered.tokens_per_s) {
            prop_assert!(with <= without, "failures raise the rate from {without} to {with}");
        }
        // Peaks and lateness are the tester's own and are over all that was sent.
        let sent = records.iter().filter(|r| r.sent.is_some()).count() as u64;
        prop_assert_eq!(all.lateness_us.n, sent);
        prop_assert!(all.max_queued <= all.max_in_flight && all.max_in_flight <= sent);
    }

    #[test]
    fn token_gaps_add_up_to_tic_gaps(
        tics in prop::collection::vec((1u64..1_000_000, 1u32..6), 2..20),
    ) {
        let mut now = 0;
        let mut record = answered(0, 0, &[]);
        record.events = tics.iter().map(|(step, tokens)| {
            now += step;
            Event::new(at(now), EventClass::Content).with_tokens(Some(*tokens))
        }).collect();
        let got = summary(&[record]);
        let itl = got.itl_ms.unwrap();
        let total = |d: Distribution| d.mean.unwrap() * d.n as f64;
        prop_assert_eq!(itl.n, tics[1..].iter().map(|(_, tokens)| u64::from(*tokens)).sum::<u64>());
        prop_assert!((total(itl) - total(got.icl_ms)).abs() < 1e-9 * total(itl));
        prop_assert!(itl.max <= got.icl_ms.max);
    }
}

#[test]
fn the_figures_of_three_requests_by_hand() {
    // Due at 0, 1 and 2 ms; sent 0.1 ms late each; first tic 5, 6, 7 ms after sent; 3 tics 2 ms apart.
    let ms = 1_000_000;
    let make = |i: u64| {
        let sent = i * ms + ms / 10;
        let first = sent + (5 + i) * ms;
        let mut record = answered(i, i * ms, &[first, first + 2 * ms, first + 4 * ms]);
        record.sent = Some(at(sent));
        record.events.push(Event::new(at(first + 5 * ms), EventClass::Done));
        record.end = Some(at(first + 5 * ms));
        record
    };
    let got = summary(&[make(0), make(1), make(2)]);
    assert_eq!(got.ttft_ms.plain(), Distribution::of_sorted(&[5.0, 6.0, 7.0], 1.0));
    assert_eq!(
        got.ttft_from_due_ms.plain(),
        Distribution::of_sorted(&[5_100_000u64, 6_100_000, 7_100_000], 1e6)
    );
    assert_eq!(got.icl_ms.plain(), Distribution::of_sorted(&[2.0; 6], 1.0));
    assert_eq!(got.tpot_ms.plain(), Distribution::of_sorted(&[2.0; 3], 1.0));
    assert_eq!(got.e2e_ms.plain(), Distribution::of_sorted(&[10.0, 11.0, 12.0], 1.0));
    assert_eq!(got.lateness_us, Distribution::of_sorted(&[100.0; 3], 1.0));
    assert_eq!(got.duration_s, Some(0.014));
    assert_eq!(got.tokens_per_s, Some(9.0 / 0.014));
    assert_eq!((got.max_in_flight, got.max_queued), (3, 3));
    assert_eq!(got.validity.verdict, Verdict::Valid);
}

#[test]
fn itl_is_printed_only_where_tokens_are_known() {
    let tokens = |mut record: RequestRecord, usage: Option<u32>| {
        record.output.usage = usage;
        record
    };
    let one = || answered(0, 0, &[10, 20, 30]);
    assert_eq!(summary(&[one()]).itl_ms, None);
    assert_eq!(summary(&[tokens(one(), Some(4))]).itl_ms, None);
    let known = summary(&[tokens(one(), Some(3))]);
    assert_eq!(known.itl_ms, Some(known.icl_ms));

    // Over the requests that are known, and the summary says how many of how many.
    let other = RequestRecord { i: 1, ..answered(1, 0, &[10, 60]) };
    let mixed = summary(&[tokens(one(), Some(3)), other]);
    assert_eq!((mixed.itl_requests, mixed.icl_requests), (1, 2));
    assert_eq!((mixed.itl_ms.unwrap().n, mixed.icl_ms.n), (2, 3));

    // By the server's word: 2 tokens after 10 ns are two of 5 ns; a tic without one passes its gap on.
    let mut said = one();
    for (event, tokens) in said.events.iter_mut().zip([1, 0, 2]) {
        *event = event.with_tokens(Some(tokens));
    }
    let said = summary(&[said]);
    assert_eq!(said.itl_ms.map(Distribution::plain), Some(Distribution::of_sorted(&[10u64, 10], 1e6)));
    assert_eq!(said.icl_ms.plain(), Distribution::of_sorted(&[10u64, 10], 1e6));
}

#[test]
fn which_count_of_tokens_is_used_is_said() {
    let with = |i: u64, usage: Option<u32>| {
        let mut record = answered(i, 0, &[10, 20]);
        record.output.usage = usage;
        record
    };
    let check = |records: &[RequestRecord], count: TokenCount, used: u64, differ: u64| {
        let got = summary(records).output_tokens;
        assert_eq!((got.count, got.used, got.differ), (count, used, differ));
        got
    };
    check(&[], TokenCount::None, 0, 0);
    check(&[with(0, None)], TokenCount::Tics, 2, 0);
    check(&[with(0, Some(2))], TokenCount::Usage, 2, 0);
    let mixed = check(&[with(0, Some(3)), with(1, None)], TokenCount::Mixed, 5, 1);
    assert_eq!((mixed.usage, mixed.tics, mixed.tokens_per_tic), (Some(3), 4, Some(1.5)));
}

#[test]
fn a_run_cut_off_names_what_was_in_flight() {
    let mut summariser = collect(&[answered(0, 0, &[10, 20])]);
    summariser.sent(&Sent { i: 2, due: at(5), sent: at(6) });
    summariser.sent(&Sent { i: 1, due: at(4), sent: at(5) });
    let plan = Plan::new(9, LoadModel::OpenLoop);
    let cut = summariser.clone().finish(&plan, &Limits::default());
    assert_eq!((cut.requests.sent, cut.requests.not_sent, cut.requests.lost), (3, 6, 0));
    assert_eq!(cut.count(Outcome::Cancelled), 2);
    assert_eq!((cut.examples[0].i, cut.max_in_flight, cut.lateness_us.n), (1, 3, 3));
    assert_eq!(cut.validity.verdict, Verdict::Invalid);

    // The same lines in a journal that says it is complete: they were lost.
    summariser.closing(&CLOSED);
    let complete = summariser.finish(&plan, &Limits::default());
    assert_eq!((complete.requests.lost, complete.requests.not_sent), (8, 0));
    assert_eq!(complete.validity.verdict, Verdict::Invalid);
}

#[test]
fn a_record_twice_or_from_nowhere_is_invalid() {
    let one = answered(0, 0, &[10]);
    let twice = finish(collect(&[one.clone(), one.clone()]), 1);
    assert_eq!(outcome_of(&twice, "A3"), Some(CheckOutcome::Invalid));
    let stray = finish(collect(&[RequestRecord { i: u64::MAX, ..one }]), 1);
    assert_eq!(outcome_of(&stray, "A3"), Some(CheckOutcome::Invalid));
}

#[test]
fn a_server_that_fails_everything_does_not_touch_the_verdict() {
    let records: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|o| o.is_failed())
        .zip(0..)
        .map(|(outcome, i)| failed(i, i * 1_000, outcome))
        .collect();
    let got = summary(&records);
    assert_eq!((got.requests.failed, got.requests.answered()), (10, 0));
    assert_eq!((got.ttft_ms, got.tokens_per_s), (Distribution::default(), Some(0.0)));
    assert_eq!(got.examples.len(), records.len());
    assert_eq!(got.validity.verdict, Verdict::Valid);
}

#[test]
fn a_burst_is_judged_by_how_far_it_is_from_leaving_back_to_back() {
    let burst = |gap: u64| {
        let sent = |i: u64| RequestRecord { sent: Some(at(i * gap)), ..failed(i, 0, Outcome::HttpStatus) };
        outcome_of(&summary(&(0..1000).map(sent).collect::<Vec<_>>()), "A1")
    };
    assert_eq!(burst(30_000), Some(CheckOutcome::Pass));
    assert_eq!(burst(55_000), Some(CheckOutcome::Suspect));
    assert_eq!(burst(200_000), Some(CheckOutcome::Invalid));
}

#[test]
fn a_stamp_that_runs_backwards_is_counted_and_never_zero() {
    let got = summary(&[answered(0, 0, &[10, 30, 20])]);
    assert_eq!((got.broken_stamps, got.icl_ms.n), (1, 1));
}

#[test]
fn lines_and_records_give_the_same_summary() {
    let record = answered(0, 0, &[10, 20]);
    let lines = [
        Line::Sent(Sent { i: 0, due: at(0), sent: at(0) }),
        Line::Ended(Box::new(record.clone())),
        Line::Closing(CLOSED),
    ];
    let run = serde_json::from_value(serde_json::json!({
        "format": 1, "tics_version": "0.1.0", "name": "r", "started": "", "origin_monotonic_ns": 0,
        "origin_unix_ns": 0, "command": [], "prompts": {"tokenizer": "embedded", "mode": "random", "seed": 0},
        "target": {"url": "", "path": "", "model": "", "simulated": false, "addresses": [], "insecure": false,
                   "body": null},
        "load": {"model": "open_loop", "scheduled": 1, "input_tokens": 1, "output_tokens": 2, "span_ns": 0,
                 "epoch_ns": 0},
        "host": {"name": "", "system": "", "cores": 1, "cpu": "", "workers": 1},
    }))
    .unwrap();
    let from_lines = tics_stats::summarise(lines.map(Ok::<_, Infallible>), &run, &Wanted::default()).unwrap();
    assert_eq!(from_lines, summary(&[record]));
}

#[test]
fn summary_json_has_the_documented_keys_and_is_read_back() {
    let got = summary(&[answered(0, 0, &[10, 20]), failed(1, 5, Outcome::Timeout)]);
    let json = serde_json::to_value(&got).unwrap();
    for key in [
        "requests",
        "outcomes",
        "duration_s",
        "ttft_ms",
        "ttft_from_due_ms",
        "icl_ms",
        "itl_ms",
        "tpot_ms",
        "e2e_ms",
        "e2e_from_due_ms",
        "lateness_us",
        "read_delay_us",
        "input_tokens",
        "output_tokens",
        "tokens_per_s",
        "requests_per_s",
        "max_in_flight",
        "max_queued",
        "validity",
    ] {
        assert!(json.get(key).is_some(), "{key} is missing");
    }
    assert!(json["itl_ms"].is_null());
    assert_eq!(json["outcomes"].as_object().unwrap().len(), Outcome::COUNT);
    assert_eq!(json["outcomes"]["timeout"], 1);
    assert_eq!(json["validity"]["verdict"], "VALID");
    let keys: Vec<&String> = json["validity"]["checks"][0].as_object().unwrap().keys().collect();
    for key in ["id", "statistic", "value", "threshold", "outcome", "remedy"] {
        assert!(keys.iter().any(|k| *k == key), "{key} is missing in {keys:?}");
    }
    assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), got);
}
