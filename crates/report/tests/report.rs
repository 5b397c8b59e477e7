//! What the reports look like.

use insta::assert_snapshot;
use serde_json::json;
use tics_record::{
    Closing, Event, EventClass, InputTokens, LateCause, LoadModel, Nanos, Outcome, OutputTokens, ReadDelay,
    RequestRecord, RunDescription, Stamp,
};
use tics_report::{render, render_minisgl, render_runs, to_json};
use tics_stats::definitions::minisgl::Collector;
use tics_stats::{Limits, Plan, Summariser, Summary};

const MS: u64 = 1_000_000;

const fn at(ns: u64) -> Stamp {
    Stamp::from_nanos(ns)
}

// The allowance for tests in clippy.toml does not reach helpers of an integration test.
#[expect(clippy::unwrap_used)]
fn run(scheduled: u64) -> RunDescription {
    serde_json::from_value(json!({
        "format": 1, "tics_version": "0.1.0", "name": "20260102T030405-sample", "started": "2026-01-02T03:04:05Z",
        "origin_monotonic_ns": 0, "origin_unix_ns": 0, "command": ["tics", "replay", "sample.jsonl"],
        "prompts": {"tokenizer": "embedded", "mode": "random", "seed": 0},
        "target": {"url": "http://127.0.0.1:8000", "path": "/v1/chat/completions", "model": "sim",
                   "simulated": true, "addresses": ["127.0.0.1:8000"], "insecure": false, "body": {}},
        "load": {"model": "open_loop", "scheduled": scheduled, "input_tokens": 100, "output_tokens": 30,
                 "span_ns": 1_900_000_000u64, "epoch_ns": 0, "scale": 0.5, "limit": 20},
        "trace": {"path": "sample.jsonl", "format": "tics", "sha256": "", "rows": 40, "skipped": 0},
        "host": {"name": "box", "system": "Linux 6.1", "cores": 2, "cpu": "", "workers": 1},
    }))
    .unwrap()
}

/// Request `i`: due every 100 ms, sent 20 µs + i µs late, four tokens 10 ms apart from 50 + i ms on,
/// role, finish, usage and `[DONE]` as servers frame them.
fn answered(i: u64) -> RequestRecord {
    let due = i * 100 * MS;
    let sent = due + 20_000 + i * 1_000;
    let first = sent + (50 + i) * MS;
    let mut record = RequestRecord::not_sent(i, at(due));
    record.row = Some(i + 1);
    record.sent = Some(at(sent));
    record.head = Some(at(sent + MS));
    record.events.push(Event::new(at(first - MS / 4), EventClass::RoleOnly));
    for k in 0..4 {
        record.events.push(Event::new(at(first + k * 10 * MS), EventClass::Content));
    }
    let last = at(first + 30 * MS + 40_000);
    for class in [EventClass::Finish, EventClass::Usage, EventClass::Done] {
        record.events.push(Event::new(last, class));
    }
    record.end = Some(last);
    record.outcome = Outcome::Ok;
    record.status = Some(200);
    record.input =
        InputTokens { asked: 100 + i as u32, usage: Some(100 + i as u32), ..InputTokens::default() };
    record.output = OutputTokens { asked: 4, tics: 4, usage: Some(4) };
    record.read_delay = Some(ReadDelay {
        p50: Nanos::from_micros(9),
        p99: Nanos::from_micros(15 + i),
        max: Nanos::from_micros(40),
    });
    record
}

fn failed(i: u64, outcome: Outcome, status: Option<u16>, detail: &str) -> RequestRecord {
    let mut record = answered(i);
    record.events.clear();
    record.read_delay = None;
    record.end = record.sent.map(|sent| sent.plus(Nanos::from_millis(5)));
    record.outcome = outcome;
    record.status = status;
    record.detail = Some(detail.to_owned());
    record
}

fn closing(interrupted: bool) -> Closing {
    Closing {
        complete: true,
        interrupted,
        end: at(3_000 * MS),
        max_in_flight: 1,
        max_queued: 1,
        pacer_spun: Nanos::from_millis(50),
    }
}

fn summary(records: &[RequestRecord], scheduled: u64, closing: Option<Closing>) -> Summary {
    let mut summariser = Summariser::new();
    for record in records {
        summariser.record(record);
    }
    if let Some(closing) = closing {
        summariser.closing(&closing);
    }
    summariser.finish(&Plan::new(scheduled, LoadModel::OpenLoop), &Limits::default())
}

fn good() -> Summary {
    let records: Vec<_> = (0..20).map(answered).collect();
    summary(&records, 20, Some(closing(false)))
}

#[test]
fn a_good_run() {
    let text = render(&good(), &run(20));
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    assert_snapshot!(text);
}

#[test]
fn a_request_without_a_connection_is_not_shown_as_one_that_left() {
    let mut refused = failed(1, Outcome::Refused, None, "cannot connect");
    refused.sent = None;
    let text = render(&summary(&[answered(0), refused], 2, Some(closing(false))), &run(2));
    // As the layout may have broken the line anywhere.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("2 sent, 0 not sent") && text.contains("1 of the sent never got a"), "{text}");
    assert!(!render(&good(), &run(20)).contains("never got a"));
}

#[test]
fn a_run_with_failures() {
    let mut records: Vec<_> = (0..12).map(answered).collect();
    // No usage, so ITL is known for a part; one that was cut short; a tester that was busy.
    records[3].output.usage = None;
    records[4].outcome = Outcome::Short;
    records[4].output = OutputTokens { asked: 9, tics: 4, usage: Some(6) };
    for late in &mut records[5..9] {
        late.sent = late.sent.map(|sent| sent.plus(Nanos::from_millis(3)));
        late.late_cause = Some(LateCause::PromptNotReady);
    }
    records[6].events[2] = Event::new(records[6].events[2].at, EventClass::Content).with_shared(true);
    let body = "{\"error\":\n{\"message\":\"the model\u{1b}[2J is overloaded, try again later\"}}";
    records.push(failed(12, Outcome::HttpStatus, Some(503), body));
    records.push(failed(13, Outcome::HttpStatus, Some(500), "not the first"));
    records.push(failed(14, Outcome::InBandError, Some(200), &"a very long message ".repeat(20)));
    records.push(failed(15, Outcome::Timeout, None, "no byte of the response within 30 s"));
    let got = summary(&records, 20, Some(closing(true)));
    let text = render(&got, &run(20));
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    assert_snapshot!(text);
}

#[test]
fn an_empty_run() {
    assert_snapshot!(render(&summary(&[], 0, Some(closing(false))), &run(0)));
}

#[test]
fn a_run_that_was_killed() {
    let text = render(&summary(&[answered(0)], 3, None), &run(3));
    assert_snapshot!(text.lines().take(14).collect::<Vec<_>>().join("\n"));
}

#[test]
fn runs_side_by_side() {
    let scaled = |scale: f64| {
        let mut run = run(20);
        run.load.scale = Some(scale);
        run.name = format!("20260102T030405-sample-x{scale}");
        run
    };
    let (a, b, good) = (scaled(0.4), scaled(0.5), good());
    let late = summary(&[failed(0, Outcome::Refused, None, "")], 2, Some(closing(false)));
    let text = render_runs([(&a, &good), (&b, &late)]);
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    assert_snapshot!(text);
}

#[test]
fn the_definitions_of_mini_sglang() {
    let mut collector = Collector::default();
    (0..20).for_each(|i| collector.record(&answered(i)));
    collector.record(&failed(20, Outcome::Reset, None, ""));
    let figures = collector.finish();
    assert_snapshot!(render_minisgl(&figures));
    assert_snapshot!("the_definitions_of_mini_sglang_as_json", to_json(&figures).unwrap());
    assert_snapshot!(
        "the_definitions_of_mini_sglang_of_nothing",
        render_minisgl(&Collector::default().finish())
    );
}

#[test]
fn json_reads_back_as_the_same_report() {
    let got = good();
    let again: Summary = serde_json::from_str(&to_json(&got).unwrap()).unwrap();
    assert_eq!(render(&again, &run(20)), render(&got, &run(20)));
}
