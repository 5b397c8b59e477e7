//! A file of every shape in which traces are published, replayed as it is and as each format that it converts to.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod support;

use std::path::Path;

use serde_json::Value;
use support::{Run, in_folder};
use tempfile::TempDir;

const SHAPES: [&str; 16] = [
    "tics.jsonl",
    "mooncake.jsonl",
    "mooncake-sessions.jsonl",
    "mooncake-bodies.jsonl",
    "timed.jsonl",
    "qwen.jsonl",
    "azure-2023.csv",
    "azure-2024.csv",
    "azure-multimodal.csv",
    "burstgpt-6.csv",
    "burstgpt-8.csv",
    "sharegpt.json",
    "sharegpt-roles.json",
    "prompts.jsonl",
    "payload.jsonl",
    "servegen",
];

/// How long a replay takes, nanoseconds: long enough to tell its requests apart.
const SPAN: f64 = 2e8;

/// How far a due time may be from the scaled time of its row: each is rounded to a nanosecond.
const ROUNDING: f64 = 2.0;

/// What must be said of a shape so that it is read.
fn options(name: &str) -> Vec<&'static str> {
    if name != "timed.jsonl" {
        return Vec::new();
    }
    let fields = [
        "timestamp=arrival_ms",
        "input_length=prompt_tokens",
        "output_length=completion_tokens",
        "hash_ids=blocks",
    ];
    fields.iter().flat_map(|field| ["--field", field]).chain(["--block-size", "16"]).collect()
}

/// A time in nanoseconds and an output length of each row, as `trace` is converted to our own rows.
fn rows(folder: &Path, trace: &str, options: &[&str]) -> Vec<(u64, u64)> {
    let output =
        in_folder(folder, &[&["trace", "convert", trace, "--tokenizer", "tokenizer.json"], options].concat());
    assert_eq!(output.code(), 0, "{trace}: {}", output.stderr);
    let row = |line: &str| {
        // By its digits: as a fraction it would not be exact.
        let seconds = line.split("\"timestamp_s\":").nth(1).unwrap().split(',').next().unwrap();
        let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
        let ns = format!("{whole}{part:0<9}").parse().unwrap();
        let row: Value = serde_json::from_str(line).unwrap();
        (ns, row["output_length"].as_u64().unwrap())
    };
    output.stdout.lines().map(row).collect()
}

/// Replays `trace` and compares every request with its row.
///
/// - `made`: all of its prompts are made here, so that the server counts what was asked for.
fn replays(folder: &Path, trace: &str, options: &[&str], made: bool) {
    let rows = rows(folder, trace, options);
    let span = rows.iter().map(|(at, _)| at).max().unwrap() - rows.iter().map(|(at, _)| at).min().unwrap();
    let scale = if span == 0 { 1.0 } else { SPAN / span as f64 };
    let scale_text = format!("{scale:.12}");
    let scale: f64 = scale_text.parse().unwrap();
    let name = format!("run-{}", trace.replace(['/', '.'], "-"));
    // Turns of conversations without times would wait for each other; it is their own instants that are looked at.
    let fixed = [
        "--no-dashboard",
        "--sim=--flood",
        "--cache=keep",
        "--sessions=recorded",
        "--run-dir",
        &name,
        "--scale",
        &scale_text,
    ];
    let output = in_folder(folder, &[&["replay", trace], options, &fixed].concat());
    // INVALID is a busy machine's business.
    assert!(matches!(output.code(), 0 | 3), "{trace}: {}", output.stderr);
    let run = Run::read(&folder.join(&name));
    run.assert_balanced(rows.len() as u64);
    assert_eq!(run.count("requests/ok"), rows.len() as u64, "{trace}: {}", output.stderr);
    let first = (rows[0].0, run.records[&0]["due_ns"].as_u64().unwrap());
    for ((at, tokens), record) in rows.iter().zip(run.records.values()) {
        let due = record["due_ns"].as_u64().unwrap() - first.1;
        let expect = (at - first.0) as f64 * scale;
        assert!((due as f64 - expect).abs() <= ROUNDING, "{trace}: due {due} for {expect}");
        assert_eq!(record["output"]["asked"].as_u64(), Some(*tokens));
        assert_eq!(record["output"]["usage"].as_u64().unwrap_or(*tokens), *tokens);
        let asked = record["input"]["asked"].as_u64().unwrap();
        if made {
            assert_eq!(record["input"]["usage"].as_u64(), Some(asked), "{trace}: {record}");
        }
    }
}

/// Replays these shapes, and each as one of the formats that it converts to.
fn replay_all(shapes: &[&str]) {
    let folder = TempDir::new().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trace/tests/fixtures");
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prompt/assets/tokenizer.json");
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    for name in shapes {
        let (from, options) = (fixtures.join(name), options(name));
        if *name == "servegen" {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            for file in ["chunk-0-trace.csv", "chunk-0-dataset.json"] {
                std::fs::copy(from.join(file), folder.path().join(name).join(file)).unwrap();
            }
        } else {
            std::fs::copy(&from, folder.path().join(name)).unwrap();
        }
        let made =
            !["tics.", "-bodies", "sharegpt", "prompts", "payload"].iter().any(|text| name.contains(text));
        replays(folder.path(), name, &options, made);
        for (number, target) in ["tics", "mooncake", "parquet"].into_iter().enumerate() {
            let out = format!("{}-as-{target}", name.replace('.', "-"));
            let convert =
                ["trace", "convert", name, "-o", &out, "--tokenizer", "tokenizer.json", "--to", target];
            let output = in_folder(folder.path(), &[&convert, &options[..]].concat());
            assert_eq!(output.code(), 0, "{name} to {target}: {}", output.stderr);
            // Each of them by a third of the shapes: a replay takes more than a second.
            if SHAPES.iter().position(|shape| shape == name).unwrap() % 3 == number {
                replays(folder.path(), &out, &[], made);
            }
        }
    }
}

#[test]
fn rows_of_lines_are_replayed_at_their_times() {
    replay_all(&SHAPES[..6]);
}

#[test]
fn tables_are_replayed_at_their_times() {
    replay_all(&SHAPES[6..11]);
}

#[test]
fn texts_and_parameters_are_replayed_at_their_times() {
    replay_all(&SHAPES[11..]);
}
