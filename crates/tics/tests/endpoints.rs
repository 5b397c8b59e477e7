//! Prompts as texts and as token ids, at every endpoint that takes them.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod support;

use std::path::Path;

use serde_json::Value;
use support::{Run, in_folder, letter_tokenizer, sample};
use tempfile::TempDir;

/// A run, and the bodies that the server received of it, in the order of its requests.
fn play(folder: &Path, name: &str, args: &[&str], sim: &str) -> (Run, Vec<Value>, String) {
    let (dir, dump) = (format!("--run-dir={name}"), format!("{name}.dump"));
    let sim = format!("--sim=--flood --dump={dump} {sim}");
    let output = in_folder(folder, &[args, &[&dir, &sim, "--no-dashboard", "--progress-every=60s"]].concat());
    // INVALID is a busy machine's business.
    assert!(matches!(output.code(), 0 | 3), "{args:?}: {}", output.stderr);
    let text = std::fs::read_to_string(folder.join(dump)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let prefix = format!("{name}-");
    let mut bodies: Vec<(usize, Value)> = lines
        .filter_map(|line| {
            Some((line["id"].as_str()?.strip_prefix(&prefix)?.parse().ok()?, line["body"].clone()))
        })
        .collect();
    bodies.sort_by_key(|(number, _)| *number);
    assert!(bodies.iter().enumerate().all(|(expect, (number, _))| expect == *number));
    (Run::read(&folder.join(name)), bodies.into_iter().map(|(_, body)| body).collect(), output.stderr)
}

fn ids(body: &Value) -> Vec<u64> {
    let ids = if body["prompt"].is_null() { &body["input_ids"] } else { &body["prompt"] };
    ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn surplus(run: &Run) -> Vec<i64> {
    let input = |record: &Value, key| record["input"][key].as_i64().unwrap();
    run.records.values().map(|r| input(r, "usage") - input(r, "asked")).collect()
}

/// Lengths are those of the trace to the token, ids share exactly its blocks, and a server that caches by ids
/// finds exactly what `tics trace info` says it would, whatever its chat template adds elsewhere.
#[test]
fn token_ids_have_the_lengths_and_prefixes_of_the_trace() {
    let folder = TempDir::new().unwrap();
    let trace = sample("mooncake.jsonl");
    let text = std::fs::read_to_string(&trace).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let blocks = |row: &Value| row["hash_ids"].as_array().unwrap().clone();
    let length = |row: &Value| usize::try_from(row["input_length"].as_u64().unwrap()).unwrap();
    let info = in_folder(folder.path(), &["trace", "info", "--json", &trace]).stdout;
    let info: Value = serde_json::from_str(&info).unwrap();
    for endpoint in ["completions", "generate"] {
        // One after the other, so that the server's order is the trace's.
        let args =
            ["replay", &trace, "--scale", "0.02", "--endpoint", endpoint, "--token-ids", "--workers=1"];
        let sim = "--prefix-cache=512 --template-tokens=13";
        let (run, bodies, said) = play(folder.path(), endpoint, &args, sim);
        assert_eq!((bodies.len(), run.count("requests/ok")), (rows.len(), rows.len() as u64), "{said}");
        let prompts: Vec<Vec<u64>> = bodies.iter().map(ids).collect();
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(prompts[number].len(), length(row), "ids of request {number}");
            for other in [number.saturating_sub(1), 0] {
                let shared = 512 * common(&blocks(row), &blocks(&rows[other]));
                let expect = shared.min(length(row)).min(length(&rows[other]));
                assert_eq!(common(&prompts[number], &prompts[other]), expect, "of {number} and {other}");
            }
        }
        assert_eq!(surplus(&run), vec![0; rows.len()], "the server counts what was asked");
        assert_eq!(run.description["prompts"]["template_tokens"], 0);
        assert_eq!(run.description["prompts"]["token_ids"], true);
        // Rows on one timestamp may reach the server in either order, but every one of them does.
        assert_eq!(Some(run.sum("/cached_tokens")), info["prefix"]["hit_tokens"].as_u64());
    }
}

#[test]
fn texts_are_sent_as_they_are() {
    let folder = TempDir::new().unwrap();
    let trace = sample("tics.jsonl");
    for (endpoint, key) in [("completions", "prompt"), ("generate", "text")] {
        let args = ["replay", &trace, "--scale", "0.01", "--endpoint", endpoint];
        let (run, bodies, _) = play(folder.path(), endpoint, &args, "--template-tokens=13");
        assert_eq!((bodies.len(), surplus(&run)), (210, vec![0; 210]));
        for (body, record) in bodies.iter().zip(run.records.values()) {
            let words = body[key].as_str().unwrap().split(' ').count() as u64;
            assert_eq!(Some(words), record["input"]["asked"].as_u64());
            assert_eq!(record["output"]["usage"], record["output"]["asked"]);
            // Every event says how many tokens it brought, or each brought one.
            assert_eq!(record["output"]["tics"], record["output"]["asked"], "{record}");
        }
        assert_eq!(run.count("requests/ok"), 210);
        assert!(run.description["target"]["path"].as_str().unwrap().ends_with(endpoint));
        let body = &run.description["target"]["body"];
        assert!(body.get(key).is_none() && body["stream"] == true, "{body}");
    }
    std::fs::write(
        folder.path().join("texts.jsonl"),
        "{\"prompt\": \"one two three\", \"output_length\": 2}\n",
    )
    .unwrap();
    let args = ["replay", "texts.jsonl", "--endpoint", "generate", "--token-ids"];
    let (_, bodies, _) = play(folder.path(), "given", &args, "");
    assert_eq!(bodies[0]["text"], "one two three", "a text that the trace brings stays one");
    assert_eq!(bodies[0]["sampling_params"]["max_new_tokens"], 2);
}

/// Where no word is one token, text cannot be made of blocks; ids can.
#[test]
fn ids_share_prefixes_with_any_tokenizer() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), letter_tokenizer()).unwrap();
    let row = |at, n, second| {
        format!(
            "{{\"timestamp\": {at}, \"input_length\": {n}, \"output_length\": 2, \"hash_ids\": [1, {second}]}}\n"
        )
    };
    std::fs::write(folder.path().join("trace.jsonl"), row(0, 600, 2) + &row(9, 700, 3)).unwrap();
    let args = ["replay", "trace.jsonl", "--tokenizer", "tokenizer.json", "--prefixes", "traced"];
    let args = [&args[..], &["--endpoint", "completions", "--token-ids"]].concat();
    let (run, bodies, _) = play(folder.path(), "run", &args, "");
    let (one, two) = (ids(&bodies[0]), ids(&bodies[1]));
    assert_eq!((one.len(), two.len(), common(&one, &two)), (600, 700, 512));
    assert!(one.iter().all(|id| *id < 27), "ids of the tokenizer's");
    assert_eq!(surplus(&run), [0, 0]);
}

#[test]
fn bench_and_probe_speak_to_every_endpoint() {
    let folder = TempDir::new().unwrap();
    let bench = ["bench", "--requests", "5", "--input-tokens", "9", "--output-tokens", "3"];
    for more in [&["--endpoint", "completions", "--token-ids"][..], &["--endpoint", "generate"]] {
        let name = more.join("");
        let (run, bodies, _) = play(folder.path(), &name, &[&bench[..], more].concat(), "");
        assert_eq!((run.count("requests/ok"), bodies.len()), (5, 5));
        assert_ne!(bodies[0], bodies[1]);
        let probe = in_folder(folder.path(), &[&["probe", "--sim=--flood"][..], more].concat());
        assert_eq!(probe.code(), 0, "{}", probe.stderr);
        assert!(probe.stdout.contains("outcome: ok") && probe.stdout.contains("32 by the server's count"));
        assert!(probe.stdout.contains(&format!("{} as model", more[1])) || more[1] == "completions");
    }
}

#[test]
fn what_an_endpoint_does_not_take_is_refused() {
    let folder = TempDir::new().unwrap();
    let refuses = |args: &[&str], says: &[&str]| {
        let output = in_folder(folder.path(), args);
        assert_eq!((output.code(), output.stderr.lines().count()), (2, 1), "{args:?}: {}", output.stderr);
        assert!(says.iter().all(|part| output.stderr.contains(part)), "{}", output.stderr);
    };
    refuses(
        &["replay", &sample("tics.jsonl"), "--token-ids"],
        &["--token-ids", "--endpoint chat takes no token ids", "completions or generate"],
    );
    let talk = "[{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}]";
    std::fs::write(folder.path().join("talk.json"), talk).unwrap();
    refuses(
        &["replay", "talk.json", "--endpoint", "completions"],
        &["talk.json: its rows are messages, which --endpoint completions does not take; choose chat"],
    );
    let row = "{\"timestamp\": 0, \"messages\": [], \"output_length\": 2}\n";
    std::fs::write(folder.path().join("mixed.jsonl"), row).unwrap();
    let output = in_folder(folder.path(), &["replay", "mixed.jsonl", "--endpoint", "generate", "--quiet"]);
    assert_eq!(output.code(), 2, "{}", output.stderr);
    assert!(output.stderr.contains("request 0 (line 1) has messages"), "{}", output.stderr);
}
