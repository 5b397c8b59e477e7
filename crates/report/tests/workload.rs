//! What the report says of lengths and of the server's prefix cache.

// The allowance for tests in clippy.toml does not reach helpers of an integration test.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use insta::assert_snapshot;
use serde_json::{Value, json};
use tics_record::{
    BlockHits, Event, EventClass, ExpectedHits, InputTokens, LoadModel, Outcome, RequestRecord,
    RunDescription, Stamp,
};
use tics_report::render;
use tics_stats::{Limits, Plan, ServerCache, Summariser, Summary};

fn run(prompts: &Value) -> RunDescription {
    let mut source = json!({"tokenizer": "embedded", "mode": "random", "seed": 0});
    source.as_object_mut().unwrap().extend(prompts.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "format": 1, "tics_version": "0.1.0", "name": "sample", "started": "2026-01-02T03:04:05Z",
        "origin_monotonic_ns": 0, "origin_unix_ns": 0, "command": [], "prompts": source,
        "target": {"url": "http://127.0.0.1:8000", "path": "/v1/chat/completions", "model": "sim",
                   "simulated": false, "addresses": [], "insecure": false, "body": {}},
        "load": {"model": "open_loop", "scheduled": 3, "input_tokens": 120, "output_tokens": 3,
                 "span_ns": 0, "epoch_ns": 0},
        "host": {"name": "box", "system": "Linux", "cores": 2, "cpu": "", "workers": 1},
    }))
    .unwrap()
}

/// A request of 40 tokens in blocks of 16, `found` of which are expected; the server counts `extra` more,
/// and says `cached`.
fn answered(i: u64, found: u32, extra: u32, cached: Option<u32>) -> RequestRecord {
    let mut record = RequestRecord::not_sent(i, Stamp::ORIGIN);
    record.row = Some(i + 1);
    record.sent = Some(Stamp::from_nanos(1_000));
    record.events = vec![Event::new(Stamp::from_nanos(5_000_000), EventClass::Content)];
    record.end = Some(Stamp::from_nanos(5_000_000));
    record.outcome = Outcome::Ok;
    let blocks = Some(BlockHits { size: 16, n: 3, found });
    let expected = Some(ExpectedHits { cached_tokens: (found * 16).min(36), blocks });
    record.input = InputTokens { asked: 40, usage: Some(40 + extra), sent: Some(36), expected };
    record.cached_tokens = cached;
    record
}

fn summary(records: &[RequestRecord]) -> Summary {
    let mut summariser = Summariser::new();
    for record in records {
        summariser.record(record);
    }
    summariser.finish(&Plan::new(3, LoadModel::OpenLoop), &Limits::default())
}

/// What the report says between the load and the latencies, of lengths and cache alone.
fn shown(summary: &Summary, prompts: &Value) -> String {
    let text = render(summary, &run(prompts));
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let wanted = |line: &&str| {
        !["Outcomes", "Time", "Peaks", "Output", "Rates", "              tokens/s"]
            .iter()
            .any(|l| line.starts_with(l))
    };
    let lines = text.lines().skip_while(|line| !line.starts_with("Input"));
    lines.take_while(|line| !line.starts_with("Latency")).filter(wanted).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_policy_says_what_its_hits_mean() {
    let cold = json!({"cache": "cold", "salt": 7, "template_tokens": 4});
    let warm = json!({"cache": "warm", "salt": 7, "warmed": {"prefixes": 2, "blocks": 5}});
    let keep = json!({"cache": "keep"});
    let of = |cached: [u32; 3]| {
        let found = [0, 1, 3];
        let records =
            (0..3).zip(found).zip(cached).map(|((i, found), cached)| answered(i, found, 0, Some(cached)));
        summary(&records.collect::<Vec<_>>())
    };
    let just = of([0, 16, 36]);
    let mut counted = just.clone();
    counted.cache.server = Some(ServerCache {
        counter: "vllm:prefix_cache_hits_total".to_owned(),
        hits: 52.0,
        queries: 120.0,
        rate: Some(52.0 / 120.0),
    });
    let unsaid = summary(&[answered(0, 0, 0, None), answered(1, 1, 0, None)]);
    let all = [
        shown(&counted, &cold),
        shown(&of([4, 20, 40]), &cold),
        shown(&of([4, 20, 41]), &cold),
        shown(&of([0, 16, 32]), &warm),
        shown(&of([4, 20, 40]), &warm),
        shown(&of([40, 40, 40]), &keep),
        shown(&just, &keep),
        shown(&unsaid, &cold),
        shown(&just, &json!({})),
    ];
    assert_snapshot!(all.join("\n---\n"));
}

#[test]
fn lengths_that_differ_are_named() {
    let prompts = json!({"cache": "keep"});
    let records: Vec<_> = (0..3).map(|i| answered(i, 0, i as u32, None)).collect();
    let mut own = answered(0, 0, 2, Some(5));
    own.input = InputTokens { asked: 40, usage: Some(38), ..InputTokens::default() };
    own.row = None;
    let text = [shown(&summary(&records), &prompts), shown(&summary(&[own]), &json!({}))].join("\n---\n");
    assert_snapshot!(text);
}
