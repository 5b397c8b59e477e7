//! What is measured, against what the simulated server knows: its truth log, on the same clock.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const TICS: &str = env!("CARGO_BIN_EXE_tics");

/// A simulated server with a truth log; killed when dropped.
struct Sim {
    child: Child,
    url: String,
}

impl Sim {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(TICS)
            .arg("sim")
            .args(args)
            .arg("--until-stdin-ends")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("its first line").to_owned();
        Sim { child, url }
    }

    /// Ends it, so that its logs are whole.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ended = self.child.kill();
    }
}

fn json_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn replay(url: &str, trace: &Path, dir: &Path, more: &[&str]) -> Value {
    let output = Command::new(TICS)
        .args(["replay", trace.to_str().unwrap(), "--url", url, "--quiet", "--json"])
        .args(["--run-dir", dir.to_str().unwrap()])
        .args(more)
        .env_remove("OPENAI_API_KEY")
        .output()
        .unwrap();
    // INVALID is the busy machine's business here, not this test's.
    let status = output.status.code();
    assert!(matches!(status, Some(0 | 3)), "{status:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A trace of `n` requests, `gap_ms` apart, of `output` tokens.
fn trace(dir: &Path, n: u32, gap_ms: u32, output: u32) -> PathBuf {
    let mut text = String::new();
    for i in 0..n {
        let at = f64::from(i * gap_ms) / 1e3;
        let input = 20 + (i * 37) % 200;
        writeln!(text, r#"{{"timestamp_s": {at}, "input_length": {input}, "output_length": {output}}}"#)
            .unwrap();
    }
    let path = dir.join("trace.jsonl");
    std::fs::write(&path, text).unwrap();
    path
}

struct Compared {
    run: Value,
    summary: Value,
    records: Vec<Value>,
    truth: HashMap<String, Value>,
    name: String,
}

fn compare(sim_args: &[&str], n: u32, output: u32, more: &[&str]) -> Compared {
    let dir = tempfile::tempdir().unwrap();
    let (log, run_dir) = (dir.path().join("truth.jsonl"), dir.path().join("run"));
    let mut args = vec!["--truth", log.to_str().unwrap()];
    args.extend(sim_args);
    let sim = Sim::start(&args);
    let summary = replay(&sim.url, &trace(dir.path(), n, 20, output), &run_dir, more);
    sim.finish();
    let run: Value = serde_json::from_slice(&std::fs::read(run_dir.join("run.json")).unwrap()).unwrap();
    let records = json_lines(&run_dir.join("requests.jsonl"))
        .into_iter()
        .filter(|line| line.get("outcome").is_some())
        .collect();
    let truth = json_lines(&log)
        .into_iter()
        .filter_map(|line| Some((line.get("id")?.as_str()?.to_owned(), line)))
        .collect();
    let name = run["name"].as_str().unwrap().to_owned();
    Compared { run, summary, records, truth, name }
}

fn ns(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number of nanoseconds"))
}

/// The value below which `share` of `values` are.
fn quantile(values: &mut [i64], share: f64) -> i64 {
    values.sort_unstable();
    values[((values.len() - 1) as f64 * share) as usize]
}

fn check_errors(what: &str, mut errors: Vec<i64>) {
    assert!(errors.len() >= 100, "{what}: {} values", errors.len());
    let (median, p95) = (quantile(&mut errors, 0.5), quantile(&mut errors, 0.95));
    assert!(median < 200_000 && p95 < 1_000_000, "{what}: median error {median} ns, 95 % {p95} ns");
}

const TICS_CLASSES: [&str; 4] = ["content", "reasoning", "tool_call", "token"];

#[test]
fn every_stamp_agrees_with_the_truth_log() {
    let compared = compare(&["--ttft", "40ms", "--itl", "12ms"], 150, 30, &[]);
    let origin = ns(&compared.run["origin_monotonic_ns"]);
    assert_eq!(compared.records.len(), 150);
    let (mut ttft, mut gaps, mut stamps, mut sends) = (vec![], vec![], vec![], vec![]);
    let mut tokens = 0;
    for record in &compared.records {
        assert_eq!(record["outcome"], "ok", "{record}");
        let truth = &compared.truth[&format!("{}-{}", compared.name, record["i"])];
        let written = truth["tokens"].as_array().unwrap();
        let tics: Vec<i64> = record["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| TICS_CLASSES.contains(&e[1].as_str().unwrap()))
            .map(|e| origin + ns(&e[0]))
            .collect();
        assert_eq!(tics.len(), written.len());
        tokens += tics.len();
        let sent = origin + ns(&record["sent_ns"]);
        let received = truth["kernel_ns"].as_i64().unwrap_or_else(|| ns(&truth["received_ns"]));
        sends.push((received - sent).abs());
        ttft.push(((tics[0] - sent) - (ns(&written[0][0]) - received)).abs());
        for (tic, token) in tics.iter().zip(written) {
            let (before, after) = (ns(&token[0]), ns(&token[1]));
            stamps.push((before - tic).max(tic - after).max(0));
        }
        for (pair, truth) in tics.windows(2).zip(written.windows(2)) {
            gaps.push(((pair[1] - pair[0]) - (ns(&truth[1][0]) - ns(&truth[0][0]))).abs());
        }
    }
    check_errors("sent", sends);
    check_errors("TTFT", ttft);
    check_errors("stamps, absolutely", stamps);
    check_errors("gaps", gaps);
    assert_eq!(tokens, 150 * 30);
    assert_eq!(compared.summary["output_tokens"]["usage"], 150 * 30);
    assert_eq!(compared.summary["output_tokens"]["tics"], 150 * 30);
}

/// Batching makes requests queue, and the figures show the queue that the server had.
#[test]
fn queueing_is_seen_as_the_server_had_it() {
    let sim = ["--slots", "4", "--decode-step", "5ms", "--prefill-rate", "20000"];
    let compared = compare(&sim, 60, 10, &["--scale", "0.5"]);
    let origin = ns(&compared.run["origin_monotonic_ns"]);
    let mut waits = vec![];
    for record in &compared.records {
        let truth = &compared.truth[&format!("{}-{}", compared.name, record["i"])];
        let received = truth["kernel_ns"].as_i64().unwrap_or_else(|| ns(&truth["received_ns"]));
        let first = ns(&truth["tokens"][0][0]) - received;
        waits.push(first);
        let due = origin + ns(&record["due_ns"]);
        assert!(received >= due, "request {} arrived before it was due", record["i"]);
    }
    // Four slots of 10 tokens at 5 ms serve 80 requests a second; 100 arrive.
    let (first, last) = (waits[0], *waits.last().unwrap());
    assert!(last > first + 30_000_000, "no queue: {first} … {last} ns");
    assert!(compared.summary["max_queued"].as_u64().unwrap() > 4);
    assert_eq!(compared.summary["requests"]["ok"], 60);
}

/// mini-sglang's dialect end to end: no usage, merged role, tokens without text.
#[test]
fn mini_sglang_is_driven_and_counted() {
    let sim = ["--dialect", "minisgl", "--textless-every", "3", "--ttft", "5ms", "--itl", "2ms"];
    let compared = compare(&sim, 20, 10, &["--input-length-override"]);
    assert_eq!(compared.summary["requests"]["ok"], 20);
    assert_eq!(compared.summary["output_tokens"]["tics"], 200);
    assert_eq!(compared.summary["output_tokens"]["usage"], Value::Null);
    let classes: Vec<&str> =
        compared.records[0]["events"].as_array().unwrap().iter().map(|e| e[1].as_str().unwrap()).collect();
    assert_eq!(classes.iter().filter(|c| **c == "token").count(), 3, "{classes:?}");
    assert_eq!(classes[classes.len() - 2..], ["finish", "done"]);
    // `max_completion_tokens` is ignored there, so 16 tokens come for 10 asked.
    let body = r#"{"max_tokens": null, "max_completion_tokens": 10}"#;
    let compared = compare(&sim, 5, 10, &["--extra-body", body, "--no-probe"]);
    assert_eq!(compared.summary["requests"]["long"], 5);
    assert_eq!(compared.summary["output_tokens"]["tics"], 80);
}
