//! What the report of a run with conversations looks like.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tics_record::RequestRecord;
use tics_report::render;
use tics_stats::{Limits, Plan, Summariser};

const MS: u64 = 1_000_000;

// The allowance for tests in clippy.toml does not reach helpers of an integration test.
#[expect(clippy::unwrap_used)]
fn read<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// Turn `turn` of one conversation: due at `due`, 0.3 ms late, its first token after 40 ms less 8 for each
/// turn before it.
fn turn(i: u64, turn: u64, due: u64) -> RequestRecord {
    let sent = due + MS * 3 / 10;
    let first = sent + (40 - 8 * turn) * MS;
    let waited = turn > 1;
    read(json!({
        "i": i, "row": i + 1, "session": "a", "due_ns": due, "sent_ns": sent, "end_ns": first + 20 * MS,
        "events": [[first, "content", null, false], [first + 20 * MS, "done", null, false]],
        "outcome": "ok", "turn": turn,
        "input": {"asked": 100 * turn, "usage": 100 * turn}, "output": {"asked": 1, "tics": 1, "usage": 1},
        "cached_tokens": 100 * (turn - 1),
        "parent": waited.then(|| i.saturating_sub(1)),
        "parent_end_ns": waited.then_some(due), "scheduled_ns": waited.then(|| due - turn * MS),
    }))
}

#[test]
fn a_run_of_conversations() {
    let run = read(json!({
        "format": 1, "tics_version": "0.1.0", "name": "20260102T030405-chats", "started": "2026-01-02T03:04:05Z",
        "origin_monotonic_ns": 0, "origin_unix_ns": 0, "command": ["tics", "replay", "chats.jsonl"],
        "prompts": {"tokenizer": "embedded", "mode": "given", "seed": 0},
        "sessions": {"mode": "wait", "history": "live", "followers": 6},
        "target": {"url": "http://127.0.0.1:8000", "path": "/v1/chat/completions", "model": "sim",
                   "simulated": true, "addresses": ["127.0.0.1:8000"], "insecure": false, "body": {}},
        "load": {"model": "open_loop", "scheduled": 8, "input_tokens": 100, "output_tokens": 30,
                 "span_ns": 1_900_000_000u64, "epoch_ns": 0, "scale": 1.0},
        "host": {"name": "box", "system": "Linux 6.1", "cores": 2, "cpu": "", "workers": 1},
    }));
    let mut records: Vec<_> = (0..5).map(|i| turn(i, i + 1, (i + 1) * 1_000 * MS)).collect();
    records.push(turn(5, 1, 500 * MS));
    let mut failed = turn(6, 2, 700 * MS);
    (failed.outcome, failed.detail) = (tics_record::Outcome::Reset, Some("reset by the server".to_owned()));
    let mut dropped = RequestRecord::not_sent(7, failed.due);
    (dropped.turn, dropped.parent, dropped.dropped_by) = (Some(3), Some(6), Some(6));
    dropped.detail = Some("request 6, the turn before it, failed (reset)".to_owned());
    records.extend([failed, dropped]);
    let mut summariser = Summariser::new();
    for record in &records {
        summariser.record(record);
    }
    let closing =
        json!({"complete": true, "interrupted": false, "end_ns": 0, "max_in_flight": 1, "max_queued": 1});
    summariser.closing(&read(closing));
    let summary = summariser.finish(&Plan::from(&run), &Limits::default());
    assert!(render(&summary, &run).lines().all(|line| line.chars().count() <= 100));
    assert_snapshot!(render(&summary, &run));
}
