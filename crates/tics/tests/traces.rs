//! Traces through the program: converted, drawn, and replayed with the prompts that they describe.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Output, Run, letter_tokenizer, run, sample, tics};
use tempfile::TempDir;

/// A folder in which the commands run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(TempDir::new().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn tics(&self, args: &[&str]) -> Output {
        run(tics().args(args).current_dir(self.0.path()))
    }

    /// `tics trace args`, which succeeds.
    fn trace(&self, args: &[&str]) -> Output {
        let output = self.tics(&[&["trace"], args].concat());
        assert_eq!(output.code(), 0, "{args:?}: {}", output.stderr);
        output
    }

    /// `tics args` is refused with one line that has every one of `says`.
    fn refuses(&self, args: &[&str], says: &[&str]) {
        let output = self.tics(args);
        assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{args:?}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{args:?}: {}", output.stderr);
        for part in says {
            assert!(output.stderr.contains(part), "does not say {part:?}: {}", output.stderr);
        }
    }

    /// Runs `command` (its arguments) against a simulated server of its own with `sim`, into the folder
    /// `name`.
    fn play(&self, name: &str, command: &[&str], sim: &str) -> Played {
        let (dump, dir) = (format!("{name}.dump"), format!("--run-dir={name}"));
        let sim = format!("--sim={sim} --flood --dump={dump}");
        let args = [command, &[dir.as_str(), &sim, "--no-dashboard", "--progress-every=60s"]].concat();
        let output = self.tics(&args);
        // INVALID is a busy machine's business.
        assert!(matches!(output.code(), 0 | 3), "{args:?}: {}", output.stderr);
        Played {
            run: Run::read(&self.path(name)),
            prompts: prompts(&self.path(&dump), name),
            said: output.stderr,
        }
    }
}

/// A run, and what the server received.
struct Played {
    run: Run,
    /// Texts of the prompts by their number in the run.
    prompts: Vec<String>,
    said: String,
}

impl Played {
    fn source(&self, key: &str) -> &Value {
        &self.run.description["prompts"][key]
    }

    /// What the server counted in each prompt, less what was asked for.
    fn surplus(&self) -> Vec<i64> {
        let input = |record: &Value, key| record["input"][key].as_i64().unwrap();
        self.run.records.values().map(|r| input(r, "usage") - input(r, "asked")).collect()
    }

    /// How the check `id` came out.
    fn outcome(&self, id: &str) -> &str {
        let checks = self.run.summary["validity"]["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap()["outcome"].as_str().unwrap()
    }

    fn words(&self, number: usize) -> Vec<&str> {
        self.prompts[number].split(' ').collect()
    }
}

/// The texts that a simulated server received from the run `name`, without its probes.
fn prompts(dump: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dump).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found: Vec<(usize, String)> = lines
        .filter_map(|line| {
            let number = line["id"].as_str()?.strip_prefix(name)?.strip_prefix('-')?.parse().ok()?;
            Some((number, line["body"]["messages"][0]["content"].as_str()?.to_owned()))
        })
        .collect();
    found.sort_unstable();
    assert!(found.iter().enumerate().all(|(expect, (number, _))| expect == *number));
    found.into_iter().map(|(_, text)| text).collect()
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[test]
fn conversion_and_back_loses_nothing_that_the_format_holds() {
    let place = Place::new();
    for name in ["mooncake.jsonl", "qwen.jsonl"] {
        let there = place.trace(&["convert", &sample(name), "-o", "there.jsonl"]);
        assert!(there.stderr.ends_with("300 rows written as tics\n"), "{}", there.stderr);
        assert_ne!(place.read("there.jsonl"), std::fs::read_to_string(sample(name)).unwrap());
        // The name of the file says the format.
        let back = place.trace(&["convert", "there.jsonl", "-o", name]);
        assert!(!back.stderr.contains("no place"), "{}", back.stderr);
        assert_eq!(place.read(name), std::fs::read_to_string(sample(name)).unwrap());
    }
    let lossy = place.trace(&["convert", "qwen.jsonl", "--to", "mooncake"]);
    assert!(lossy.stderr.contains("mooncake has no place for hash_ids of 300 rows"), "{}", lossy.stderr);
    assert_eq!(rows(&lossy.stdout).len(), 300);
    // Onto itself.
    place.trace(&["convert", "qwen.jsonl", "-o", "qwen.jsonl", "--to", "tics"]);
    assert!(place.read("qwen.jsonl").contains("timestamp_s"));
    place.refuses(
        &["trace", "convert", "mooncake.jsonl", "-o", "mooncake.csv", "--format", "azure"],
        &["TIMESTAMP"],
    );
    place.refuses(&["trace", "convert", "mooncake.jsonl", "-o", "m.csv"], &["m.csv", "--to"]);
}

#[test]
fn files_are_read_as_the_options_say() {
    let place = Place::new();
    place.write(
        "timed.jsonl",
        "{\"arrival_ms\": 0, \"prompt_tokens\": 40, \"output_length\": 2, \"hash_ids\": [1, 2, 3]}\n\
         {\"arrival_ms\": 1500, \"prompt_tokens\": 16, \"output_length\": 2, \"hash_ids\": [1]}\n",
    );
    let args =
        ["--field", "timestamp=arrival_ms", "--field", "input_length=prompt_tokens", "--block-size", "16"];
    let converted = place.trace(&[&["convert", "timed.jsonl"][..], &args].concat());
    let expect = json!({"timestamp_s": 1.5, "input_length": 16, "output_length": 2, "block_size": 16, "hash_ids": [1]});
    assert_eq!(rows(&converted.stdout)[1], expect);
    place.trace(&[&["check", "timed.jsonl"][..], &args].concat());
    place.write(
        "burst.csv",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
         5,ChatGPT,472,18,490,Conversation log\n6,ChatGPT,30,0,30,Conversation log\n",
    );
    let without = place.trace(&["convert", "burst.csv"]);
    assert_eq!(rows(&without.stdout).len(), 1);
    assert!(without.stderr.contains("1 failed in the original"), "{}", without.stderr);
    assert_eq!(rows(&place.trace(&["convert", "burst.csv", "--keep-failed"]).stdout).len(), 2);
    // A text has the length that a tokenizer gives it; without one, Mooncake has no place for it.
    place.write("texts.jsonl", "{\"prompt\": \"one two\", \"output_length\": 2}\n");
    let uncounted = place.trace(&["convert", "texts.jsonl", "--to", "mooncake"]);
    assert!(uncounted.stdout.is_empty() && uncounted.stderr.contains("--tokenizer"), "{}", uncounted.stderr);
    place.refuses(&["trace", "info", "burst.csv", "--seed", "1"], &["--seed", "ServeGen", "burstgpt"]);
}

#[test]
fn servegen_is_drawn_by_window_and_seed() {
    let place = Place::new();
    std::fs::create_dir(place.path("chunks")).unwrap();
    place.write("chunks/chunk-0-trace.csv", "0,0.5,1.0,Gamma,1.0,2.0\n600,0.05,1.0,Gamma,1.0,2.0\n");
    let lengths = r#"{"0": {"input_tokens": "{7: 0.5, 9: 0.5}", "output_tokens": "{3: 1.0}"}}"#;
    place.write("chunks/chunk-0-dataset.json", lengths);
    let drawn = |args: &[&str]| place.trace(&[&["convert", "chunks"][..], args].concat()).stdout;
    assert_eq!(rows(&drawn(&[])).len(), 330);
    assert_eq!(drawn(&[]), drawn(&["--seed", "0"]));
    assert_ne!(drawn(&[]), drawn(&["--seed", "1"]));
    let part = drawn(&["--window", "600..1200"]);
    assert_eq!(rows(&part).len(), 30);
    assert!(drawn(&[]).ends_with(&part));
    let replay = ["replay", "chunks", "--window", "600..1200", "--scale", "0.001", "--seed", "0"];
    let played = place.play("drawn", &replay, "");
    let asked = |r: &Value| r["input"]["asked"].as_u64().unwrap();
    let expect: Vec<u64> = rows(&part).iter().map(|r| r["input_length"].as_u64().unwrap()).collect();
    assert_eq!(played.run.records.values().map(asked).collect::<Vec<_>>(), expect);
}

#[test]
fn a_trace_is_drawn_from_distributions() {
    let place = Place::new();
    let drawn = |seed: &str, more: &[&str]| {
        let args = ["synth", "--rows", "400", "--rate", "20", "--seed", seed];
        place.trace(&[&args[..], more].concat())
    };
    let shape =
        ["--arrivals", "gamma:cv=2", "--input", "lognormal:mean=900,sigma=1", "--output", "uniform:1..9"];
    let tree = ["--turns", "uniform:1..4", "--prefix", "depth=2,branching=3,share=0.5", "--block-size", "64"];
    let shape = [&shape[..], &tree].concat();
    let first = drawn("1", &shape);
    assert_eq!(first.stdout, drawn("1", &shape).stdout);
    assert_ne!(first.stdout, drawn("2", &shape).stdout);
    let all = rows(&first.stdout);
    assert_eq!(all.len(), 400);
    assert!(all.iter().all(|r| (1..=9).contains(&r["output_length"].as_u64().unwrap())));
    assert!(all.iter().any(|r| r["turn"].as_u64().unwrap() > 1) && all.iter().all(|r| r["block_size"] == 64));
    place.write("drawn.jsonl", &first.stdout);
    place.trace(&["check", "drawn.jsonl"]);
    // Lengths of another trace are all lengths of that trace.
    let taken = drawn("1", &["--input", "empirical:drawn.jsonl", "--to", "qwen"]);
    let lengths: Vec<&Value> = all.iter().map(|r| &r["input_length"]).collect();
    assert!(rows(&taken.stdout).iter().all(|r| lengths.contains(&&r["input_length"])));
    // A format has the blocks that it has a place for.
    let named = drawn("1", &[&shape[..], &["-o", "drawn.mooncake.jsonl"]].concat());
    assert!(named.stderr.contains("mooncake has no place for hash_ids of 400 rows"), "{}", named.stderr);
    let refused = |more: &[&str], says: &[&str]| {
        place.refuses(&[&["trace", "synth", "--rows", "9", "--rate", "1"][..], more].concat(), says);
    };
    refused(&["--input", "zipf:a=1"], &["--input", "zipf:a=1", "lognormal:mean=M"]);
    refused(&["--output", "empirical:missing.jsonl"], &["--output", "missing.jsonl", "No such file"]);
    refused(&["--turns", "empirical:drawn.jsonl"], &["--turns", "no such lengths"]);
}

/// The blocks of the trace are the prefixes of the prompts: of every two neighbours, and with the first.
#[test]
fn prompts_share_exactly_the_prefixes_of_the_trace() {
    let place = Place::new();
    let trace = sample("mooncake.jsonl");
    let played = place.play("run", &["replay", &trace, "--scale", "0.005", "--raw-lengths"], "");
    assert_eq!(*played.source("prefixes"), true);
    let rows = rows(&std::fs::read_to_string(&trace).unwrap());
    assert_eq!(rows.len(), played.prompts.len());
    let ids = |row: &Value| -> Vec<u64> {
        row["hash_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
    };
    let length = |row: &Value| usize::try_from(row["input_length"].as_u64().unwrap()).unwrap();
    let words: Vec<Vec<&str>> = (0..rows.len()).map(|number| played.words(number)).collect();
    let mut shared = 0;
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(words[number].len(), length(row), "words of request {number}");
        for other in [number.saturating_sub(1), 0] {
            let blocks = common(&ids(row), &ids(&rows[other]));
            let expect = (512 * blocks).min(length(row)).min(length(&rows[other]));
            let found = common(&words[number], &words[other]);
            assert_eq!(found, expect, "words that requests {number} and {other} share");
            shared += usize::from(other != number && blocks > 0);
        }
    }
    assert!(shared > 300, "{shared}");
    // Without them, prompts have nothing in common.
    let apart = place.play(
        "apart",
        &["replay", &trace, "--scale", "0.005", "--limit", "20", "--prefixes", "none"],
        "",
    );
    assert_eq!(*apart.source("prefixes"), false);
    for number in 1..20 {
        assert!(common(&apart.words(0), &apart.words(number)) < 2);
    }
}

/// Where prefixes cannot be had, that is said, or refused when they were asked for.
#[test]
fn prefixes_that_cannot_be_are_said() {
    let place = Place::new();
    let (traced, mooncake) = (["--prefixes", "traced"], sample("mooncake.jsonl"));
    let azure = sample("azure.csv");
    place.refuses(&[&["replay", &azure][..], &traced].concat(), &["--prefixes traced", "no hash_ids"]);
    place.refuses(&[&["replay", &mooncake, "--dummy"][..], &traced].concat(), &["--dummy", "leave out one"]);
    // One token a letter: no word is a token.
    place.write("tokenizer.json", &letter_tokenizer());
    place.write(
        "trace.jsonl",
        "{\"timestamp\": 0, \"input_length\": 30, \"output_length\": 2, \"hash_ids\": [1]}\n\
         {\"timestamp\": 9, \"input_length\": 20, \"output_length\": 2, \"hash_ids\": [1]}\n",
    );
    let replay = ["replay", "trace.jsonl", "--tokenizer", "tokenizer.json"];
    let says = ["cannot share exactly the prefixes of hash_ids", "--prefixes none", "--tokenizer"];
    place.refuses(&[&replay[..], &traced].concat(), &says);
    let played = place.play("run", &replay, "");
    assert!(says.iter().all(|part| played.said.contains(part)), "{}", played.said);
    assert_eq!(*played.source("prefixes"), false);
    // The simulated server counts words: another tokenizer, so that lengths stay as they are.
    assert!(played.said.contains("its tokenizer is another one"), "{}", played.said);
    assert_eq!(*played.source("template_tokens"), Value::Null);
    assert_eq!(played.prompts[0].len(), 30);
}

#[test]
fn a_cold_cache_knows_no_prompt_of_another_run() {
    let place = Place::new();
    let trace = sample("qwen.jsonl");
    let replay = |name: &str, more: &[&str]| {
        let args = ["replay", &trace, "--scale", "0.001", "--limit", "40"];
        place.play(name, &[&args[..], more].concat(), "")
    };
    let (first, second) = (replay("first", &[]), replay("second", &["--cache", "cold"]));
    let salt = first.source("salt").as_u64().unwrap();
    assert_ne!(first.source("salt"), second.source("salt"));
    for number in 0..40 {
        let (a, b) = (first.words(number), second.words(number));
        assert_eq!(a.len(), b.len());
        // The first block has 16 tokens; nothing of it is known.
        for other in 0..40 {
            assert!(common(&a, &second.words(other)) < 16, "{number} and {other}");
        }
        let shares = |played: &Played| common(&played.words(0), &played.words(number));
        assert_eq!(shares(&first), shares(&second), "what requests 0 and {number} share");
    }
    let again = replay("again", &["--salt", &salt.to_string()]);
    assert_eq!((again.source("salt").as_u64(), &again.prompts), (Some(salt), &first.prompts));
    let (kept, known) = (replay("kept", &["--cache", "keep"]), replay("known", &["--cache", "keep"]));
    assert_eq!((kept.source("salt"), &kept.prompts), (&Value::Null, &known.prompts));
    assert_ne!(kept.prompts, first.prompts);
    place.refuses(&["replay", &trace, "--cache", "keep", "--salt", "7"], &["--salt", "--cache keep"]);
    // The runs of one command, too.
    let scales = format!("--sim=--flood --dump={}", place.path("scales.dump").display());
    let args =
        ["replay", &trace, "--scale", "0.001,0.002", "--limit", "5", "--name", "s", "--quiet", &scales];
    let several = place.tics(&[&args[..], &["--salt", "7"]].concat());
    assert!(matches!(several.code(), 0 | 3), "{}", several.stderr);
    let runs = std::fs::read_dir(place.path("runs")).unwrap().map(|entry| entry.unwrap().path());
    let mut salts: Vec<u64> =
        runs.map(|dir| Run::read(&dir).description["prompts"]["salt"].as_u64().unwrap()).collect();
    salts.sort_unstable();
    assert_eq!(salts, [7, 8]);
    let bench = ["bench", "--requests", "3", "--input-tokens", "9", "--output-tokens", "2"];
    let (one, two) = (place.play("one", &bench, ""), place.play("two", &bench, ""));
    assert_ne!(one.prompts, two.prompts);
}

#[test]
fn the_server_counts_the_lengths_asked_for() {
    let place = Place::new();
    let trace = sample("tics.jsonl");
    let args = ["replay", &trace, "--scale", "0.01"];
    let exact = place.play("exact", &args, "--template-tokens=13");
    assert_eq!(*exact.source("template_tokens"), 13);
    assert_eq!(exact.surplus(), vec![0; 210]);
    assert_eq!(exact.outcome("C3b"), "pass");
    let raw = place.play("raw", &[&args[..], &["--raw-lengths"]].concat(), "--template-tokens=13");
    assert_eq!((raw.source("template_tokens"), raw.surplus()), (&Value::Null, vec![13; 210]));
    assert_eq!((raw.outcome("C3b"), raw.outcome("C3c")), ("not_judged", "not_judged"));
    let bench =
        ["bench", "--requests", "20", "--input-tokens", "5..40", "--output-tokens", "2", "--seed", "3"];
    let bench = place.play("bench", &bench, "--template-tokens=13");
    assert!(bench.said.contains("requests are shorter than a token and the 13"), "{}", bench.said);
    let asked = |r: &Value| r["input"]["asked"].as_i64().unwrap();
    let expect: Vec<i64> = bench.run.records.values().map(|r| (14 - asked(r)).max(0)).collect();
    assert!(expect.iter().any(|n| *n > 0) && expect.contains(&0));
    assert_eq!(bench.surplus(), expect);
    assert_eq!(bench.outcome("C3b"), "pass");
    // A server that says nothing, and texts of the user's.
    let mute = [&args[..], &["--limit", "3", "--extra-body", r#"{"stream_options": null}"#]].concat();
    let mute = place.play("mute", &mute, "--template-tokens=13");
    assert!(mute.said.contains("the server does not say how many tokens a prompt has"), "{}", mute.said);
    assert_eq!(*mute.source("template_tokens"), Value::Null);
    assert_eq!(mute.words(0).len(), 677);
    place.write("texts.jsonl", "{\"prompt\": \"one two three\", \"output_length\": 2}\n");
    let given = place.play("given", &["replay", "texts.jsonl"], "--template-tokens=13");
    assert_eq!(given.outcome("C3b"), "not_judged");
    assert_eq!(
        (given.prompts, given.run.description["prompts"]["mode"].as_str()),
        (vec!["one two three".to_owned()], Some("given"))
    );
}
