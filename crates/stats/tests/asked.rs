//! What is asked of a run, and the figures over its parts, by hand.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use tics_record::{Asked, Closing, Event, EventClass, LoadModel, Nanos, Outcome, RequestRecord, Stamp};
use tics_stats::{Distribution, Limits, Plan, Summariser, Summary, Wanted};

const MS: u64 = 1_000_000;

/// Request `i`: due and sent at `at_ms`, first of `tics` tics after `ttft_ms`, the others 10 ms apart.
fn request(i: u64, at_ms: u64, ttft_ms: u64, tics: u64) -> RequestRecord {
    let sent = Stamp::from_nanos(at_ms * MS);
    let mut record = RequestRecord::not_sent(i, sent);
    record.sent = Some(sent);
    record.events = (0..tics)
        .map(|k| Event::new(sent.plus(Nanos::from_millis(ttft_ms + 10 * k)), EventClass::Content))
        .collect();
    record.end = record.events.last().map(|e| e.at);
    record.outcome = Outcome::Ok;
    record.input.asked = 100;
    (record.output.asked, record.output.tics) = (tics as u32, tics as u32);
    record
}

fn failed(i: u64, at_ms: u64) -> RequestRecord {
    let mut record = request(i, at_ms, 1, 0);
    (record.outcome, record.end) = (Outcome::HttpStatus, Some(Stamp::from_nanos((at_ms + 1) * MS)));
    record
}

fn summary(records: &[RequestRecord], model: LoadModel, asked: &Asked) -> Summary {
    let mut summariser = Summariser::new();
    for record in records {
        summariser.record(record);
    }
    summariser.closing(&Closing {
        complete: true,
        interrupted: false,
        end: Stamp::ORIGIN,
        max_in_flight: 0,
        max_queued: 0,
        pacer_spun: Nanos::ZERO,
    });
    let plan = Plan::new(records.len() as u64, model);
    summariser.finish_as(&plan, &Limits::default(), &Wanted::parse(asked).unwrap())
}

fn open(records: &[RequestRecord], asked: &Asked) -> Summary {
    summary(records, LoadModel::OpenLoop, asked)
}

fn asked(slo: &str, objectives: &[&str]) -> Asked {
    Asked {
        slo: Some(slo.to_owned()).filter(|s| !s.is_empty()),
        objectives: objectives.iter().map(ToString::to_string).collect(),
        ..Asked::default()
    }
}

#[test]
fn a_failed_request_is_a_miss() {
    // TTFT 100, 200, 300 ms, TPOT 10 ms; one of a single token, which has no TPOT; one failed.
    let records = [
        request(0, 0, 100, 3),
        request(1, 10, 200, 3),
        request(2, 20, 300, 3),
        request(3, 30, 100, 1),
        failed(4, 40),
    ];
    let got = open(&records, &asked("ttft<300ms,tpot<=10ms", &[]));
    let slo = got.slo.unwrap();
    assert_eq!((slo.requests, slo.met, slo.share), (5, 3, Some(0.6)));
    assert_eq!(slo.goodput_per_s, Some(3.0 / 0.34));
    let each: Vec<_> = slo.each.iter().map(|l| (l.limit.as_str(), l.met)).collect();
    assert_eq!(each, [("ttft<300ms", 3), ("tpot<=10ms", 4)]);
    let (lo, hi) = (slo.share_ci.lo.unwrap(), slo.share_ci.hi.unwrap());
    assert!((lo - 0.2307).abs() < 1e-3 && (hi - 0.8824).abs() < 1e-3, "{lo} {hi}");
    // A limit on the largest gap.
    let mut stalled = request(0, 0, 100, 3);
    let last = stalled.events[2].at;
    stalled.events[2].at = last.plus(Nanos::from_millis(40));
    let slo = open(&[stalled, request(1, 0, 100, 3)], &asked("icl<50ms", &[])).slo.unwrap();
    assert_eq!((slo.met, slo.requests), (1, 2));
}

#[test]
fn objectives_are_judged_with_a_value_or_missed() {
    let mut records: Vec<_> = (0..9).map(|i| request(i, 10 * i, 100 + i, 3)).collect();
    records.push(failed(9, 100));
    let texts = [
        "p50(ttft)<105ms",
        "p99(ttft)<105ms",
        "mean(tpot)<=10ms",
        "max(icl)<10ms",
        "p99(icl)<=10ms",
        "failed<=10%",
        "failed<1%",
        "goodput>20",
        "attainment>=0.9",
        "tokens_per_s>1",
        "p50(itl)<1s",
    ];
    let got = open(&records, &asked("ttft<1s", &texts));
    let met: Vec<bool> = got.objectives.iter().map(|o| o.met).collect();
    assert_eq!(met, [true, false, true, false, true, true, false, true, true, true, false]);
    assert_eq!(got.objectives[0].value, Some(104.0));
    assert_eq!(got.objectives[1].note.as_deref(), Some("needs 662 requests, had 9"));
    assert_eq!(got.objectives[3].value, Some(10.0));
    assert_eq!((got.objectives[6].value, got.objectives[6].limit), (Some(0.1), 0.01));
    // ITL is not known here: no value is no success.
    assert_eq!((got.objectives[10].value, got.objectives[10].met), (None, false));
}

#[test]
fn failures_as_infinity_reach_every_quantile_above_their_share() {
    let mut records: Vec<_> = (0..6).map(|i| request(i, 10 * i, 100, 3)).collect();
    records.extend((6..10).map(|i| failed(i, 10 * i)));
    let inf = Asked { failed_as_inf: true, ..asked("", &["p50(ttft)<1s", "p90(ttft)<1s", "mean(e2e)<9s"]) };
    let got = open(&records, &inf);
    let d = got.ttft_ms;
    assert_eq!((d.n, d.infinite, d.p50, d.p90, d.p99, d.mean), (10, 4, Some(100.0), None, None, None));
    assert_eq!(got.objectives.iter().map(|o| o.met).collect::<Vec<_>>(), [true, false, false]);
    assert!(got.objectives[1].note.as_deref().unwrap().contains("infinite"));
    assert_eq!(got.icl_ms.n, 12);
    assert!(got.population.latency.contains('∞'));
    let without = open(&records, &Asked::default());
    assert_eq!((without.ttft_ms.n, without.ttft_ms.p99), (6, Some(100.0)));
}

#[test]
fn windows_lengths_and_channels_by_hand() {
    // Two a second for four seconds; each in flight for 500 ms.
    let records: Vec<_> = (0..8).map(|i| request(i, 500 * i, 490, 2)).collect();
    let got = open(&records, &Asked::default());
    assert_eq!(got.windows.len(), 4);
    for (k, window) in (0u8..).zip(&got.windows) {
        assert_eq!((window.from_s, window.requests, window.failed), (f64::from(k), 2, 0));
        assert_eq!((window.ttft_p50_ms, window.ttft_p99_ms), (Some(490.0), Some(490.0)));
        assert!((window.in_flight - 1.0).abs() < 1e-9, "{window:?}");
    }
    let tokens: f64 = got.windows.iter().map(|w| w.tokens_per_s * (w.to_s - w.from_s)).sum();
    // The last tic is at the very end of the last window's last tenth of a second.
    assert!((14.9..=16.0).contains(&tokens), "{tokens}");
    let flow = got.concurrency;
    assert!((flow.mean.unwrap() - 1.0).abs() < 1e-9, "{flow:?}");
    assert_eq!((flow.rate_per_s, flow.mean_time_s), (Some(2.0), Some(0.5)));
    // From the first end to the last request sent.
    let steady = got.steady.unwrap();
    assert_eq!((steady.from_s, steady.to_s, steady.requests, steady.declared), (0.5, 3.5, 6, false));
    assert!((steady.in_flight - 1.0).abs() < 1e-9 && (steady.requests_per_s - 2.0).abs() < 1e-9);
    let declared = Asked { steady_s: Some((1.0, 2.0)), ..Asked::default() };
    let steady = open(&records, &declared).steady.unwrap();
    assert_eq!((steady.from_s, steady.to_s, steady.requests, steady.declared), (1.0, 2.0, 2, true));

    let mut long = request(0, 0, 10, 600);
    long.input.asked = 128;
    let got = open(&[long, request(1, 0, 20, 2), failed(2, 0)], &Asked::default());
    let classes: Vec<_> = got.by_input_length.iter().map(|c| (c.from, c.to, c.answered, c.failed)).collect();
    assert_eq!(classes, [(0, Some(127), 1, 1), (128, Some(511), 1, 0)]);
    assert_eq!(got.by_output_length.iter().map(|c| c.from).collect::<Vec<_>>(), [0, 512]);
}

#[test]
fn the_first_visible_token_is_told_from_the_first_of_any_channel() {
    let mut thinking = request(0, 0, 100, 4);
    for (event, class) in thinking.events.iter_mut().zip([EventClass::Reasoning, EventClass::Reasoning]) {
        *event = Event::new(event.at, class).with_tokens(Some(2));
    }
    thinking.events[3] = Event::new(thinking.events[3].at, EventClass::ToolCall).with_tokens(Some(1));
    thinking.events[2] = thinking.events[2].with_tokens(Some(1));
    thinking.output.usage = Some(7);
    let got = open(&[thinking, request(1, 0, 50, 4)], &Asked::default());
    assert_eq!(got.ttft_ms.max, Some(100.0));
    assert_eq!(got.ttft_visible_ms.unwrap().max, Some(120.0));
    let c = got.channels;
    let counts = c.named().map(|(_, channel)| (channel.tics, channel.tokens));
    assert_eq!(counts, [(5, 1), (2, 4), (1, 1), (0, 0)]);
    assert_eq!((c.said_requests, c.said_tokens, c.said_differ, c.most_in_a_tic), (1, Some(6), 1, Some(2)));
    // Pooled and by request: gaps of 10 ms, of 5, 10 and 10 ms a token.
    assert_eq!(got.icl_of_requests_ms.plain(), Distribution::of_sorted(&[10.0, 10.0], 1.0));
    assert_eq!(got.itl_of_requests_ms.unwrap().mean, Some(7.5));
    // Where every request's first token is visible there is nothing to tell.
    assert_eq!(open(&[request(1, 0, 50, 4)], &Asked::default()).ttft_visible_ms, None);
}

#[test]
fn a_closed_loop_is_steady_while_it_is_full() {
    // Three at once, then one after the other ends: full from 0 to the end of the last but two.
    let records = [
        request(0, 0, 90, 2),
        request(1, 10, 90, 2),
        request(2, 20, 190, 2),
        request(3, 100, 190, 2),
        request(4, 110, 290, 2),
    ];
    let got = summary(&records, LoadModel::ClosedLoop, &Asked::default());
    let steady = got.steady.unwrap();
    assert_eq!((got.max_in_flight, steady.from_s, steady.to_s), (3, 0.02, 0.22));
    assert_eq!(summary(&records, LoadModel::AllAtOnce, &Asked::default()).steady, None);
}
