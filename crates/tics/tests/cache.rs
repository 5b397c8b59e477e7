//! What a prefix cache is expected to find, what the server's found, and what the report says of it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod support;

use std::path::Path;

use serde_json::Value;
use support::{Output, Run, Sim, run, tics};
use tempfile::TempDir;

/// Tokens in a block of the trace, and of the server's cache.
const BLOCK: &str = "32";

/// A folder with a trace whose requests share prefixes.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(TempDir::new().unwrap());
        let synth = [
            "trace",
            "synth",
            "--rows",
            "300",
            "--rate",
            "600",
            "--input",
            "lognormal:mean=150,sigma=1",
            "--output",
            "uniform:1..3",
            "--turns",
            "uniform:1..4",
            "--prefix",
            "depth=3,branching=3,share=0.5",
            "--block-size",
            BLOCK,
            "--seed",
            "5",
            "-o",
            "trace.jsonl",
        ];
        assert_eq!(place.tics(&synth).code(), 0);
        place
    }

    fn tics(&self, args: &[&str]) -> Output {
        run(tics().args(args).current_dir(self.0.path()))
    }

    /// Replays the trace against `sim` into the folder `name`.
    fn replay(&self, sim: &Sim, name: &str, more: &[&str]) -> Played {
        let args = ["replay", "trace.jsonl", "--url", &sim.url, "--run-dir", name, "--quiet"];
        let output = self.tics(&[&args[..], more].concat());
        // INVALID is a busy machine's business.
        assert!(matches!(output.code(), 0 | 3), "{more:?}: {}", output.stderr);
        let again = self.tics(&["report", name]);
        assert_eq!(again.stdout, output.stdout, "the report is a function of the folder");
        Played { run: Run::read(&self.0.path().join(name)), report: plain(&output.stdout) }
    }
}

/// Without line breaks, which may be anywhere.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Played {
    run: Run,
    report: String,
}

impl Played {
    fn cache(&self) -> &Value {
        &self.run.summary["cache"]
    }

    /// How the check `id` came out.
    fn outcome(&self, id: &str) -> &str {
        let checks = self.run.summary["validity"]["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap()["outcome"].as_str().unwrap()
    }

    fn tokens(&self, what: &str) -> u64 {
        self.cache()[what]["cached_tokens"].as_u64().unwrap()
    }

    fn says(&self, what: &str) {
        assert!(self.report.contains(what), "does not say {what:?}: {}", self.report);
    }
}

fn sim() -> Sim {
    Sim::start(&format!("--flood --prefix-cache {BLOCK} --cache-blocks 100000"))
}

#[test]
fn the_server_finds_what_the_info_of_the_trace_says() {
    let place = Place::new();
    let played = place.replay(&sim(), "run", &["--raw-lengths"]);
    let info = place.tics(&["trace", "info", "trace.jsonl", "--json"]);
    let info: Value = serde_json::from_str(&info.stdout).unwrap();
    let prefixes = &info["prefix"];
    assert!(prefixes["hit_blocks"].as_u64().unwrap() > 300, "{prefixes}");
    for side in ["expected", "observed"] {
        let found = &played.cache()[side];
        assert_eq!(found["requests"], 300);
        for (ours, theirs) in [
            ("blocks", "blocks"),
            ("cached_blocks", "hit_blocks"),
            ("block_rate", "block_hit_rate"),
            ("prompt_tokens", "tokens"),
            ("cached_tokens", "hit_tokens"),
            ("token_rate", "token_hit_rate"),
        ] {
            assert_eq!(found[ours], prefixes[theirs], "{side} {ours}");
        }
    }
    // The server's own counters say the same: the probe was before they were read.
    let server = &played.cache()["server"];
    assert_eq!(server["counter"], "vllm:prefix_cache_hits_total");
    assert_eq!(server["hits"].as_f64(), prefixes["hit_tokens"].as_f64());
    assert_eq!(server["queries"].as_f64(), prefixes["tokens"].as_f64());
    played.says("cold: all prompts are this run's own");
    played.says("found just what was expected");
    assert!(!played.report.contains("Lengths"), "{}", played.report);
}

#[test]
fn a_cold_run_finds_nothing_of_the_one_before_and_a_kept_one_does() {
    let place = Place::new();
    let sim = sim();
    let mut found = Vec::new();
    for name in ["cold-1", "cold-2"] {
        let played = place.replay(&sim, name, &["--raw-lengths", "--cache", "cold"]);
        assert_eq!(played.tokens("observed"), played.tokens("expected"));
        assert_eq!(played.run.description["prompts"]["cache"], "cold");
        played.says("found just what was expected");
        found.push(played.tokens("observed"));
    }
    assert_eq!(found[0], found[1]);
    let keep = ["--raw-lengths", "--cache", "keep"];
    let first = place.replay(&sim, "keep-1", &keep);
    assert_eq!(first.tokens("observed"), found[0]);
    first.says("keep: prompts are those of every run with this seed");
    first.says("found just what was expected");
    let second = place.replay(&sim, "keep-2", &keep);
    let all = second.run.summary["input_tokens"]["usage"].as_u64().unwrap();
    assert_eq!((second.tokens("expected"), second.tokens("observed")), (found[0], all));
    let more = all - found[0];
    second.says(&format!(
        "found {more} tokens more than this run's own prompts explain: the server knew them from before"
    ));
}

/// Each request finds what it shares with any other one, from the first on, and reads its own end.
#[test]
fn a_warm_run_finds_what_its_requests_share() {
    let place = Place::new();
    let (sim, args) = (sim(), ["--raw-lengths", "--cache", "warm"]);
    let warm = place.replay(&sim, "warm", &args);
    let cold = place.replay(&sim, "cold", &["--raw-lengths"]);
    assert_eq!(warm.tokens("observed"), warm.tokens("expected"));
    warm.says("warm: what two or more requests share was sent before the run");
    let prompts = &warm.run.description["prompts"];
    let (prefixes, blocks) = (&prompts["warmed"]["prefixes"], prompts["warmed"]["blocks"].as_u64().unwrap());
    assert!(prefixes.as_u64().unwrap() > 10, "{prefixes}");
    let cached_blocks = |played: &Played| played.cache()["observed"]["cached_blocks"].as_u64().unwrap();
    // What was sent before is just what a cold run misses the first time.
    assert_eq!(cached_blocks(&warm), cached_blocks(&cold) + blocks);
    for (i, record) in &warm.run.records {
        assert_eq!(record["cached_tokens"], record["input"]["expected"]["cached_tokens"], "request {i}");
    }
    // Requests that warm the cache are in no figure.
    assert_eq!((warm.run.records.len(), &warm.run.summary["requests"]["sent"]), (300, &Value::from(300)));
    // Again, with a salt of its own: nothing is left from before.
    assert_eq!(place.replay(&sim, "again", &args).tokens("observed"), warm.tokens("observed"));
    // The template of a server takes its part of every prompt, and of the blocks.
    let other = Sim::start(&format!("--flood --prefix-cache {BLOCK} --template-tokens 9"));
    let template = place.replay(&other, "template", &["--cache", "warm"]);
    assert_eq!(
        template.run.summary["input_lengths"]["differ"],
        count_short(&place.0.path().join("trace.jsonl"), 300, 9)
    );
    template.says("left to the server's chat template");
    let cold = place.replay(&other, "template-cold", &[]);
    for played in [&template, &cold] {
        assert_eq!((played.outcome("C3b"), played.outcome("C3c")), ("pass", "pass"));
    }
}

/// Those of the first `n` rows that are no longer than a template.
fn count_short(trace: &Path, n: usize, template: u64) -> u64 {
    let text = std::fs::read_to_string(trace).unwrap();
    let rows = text.lines().take(n).map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.filter(|row| row["input_length"].as_u64().unwrap() <= template).count() as u64
}

#[test]
fn a_cache_that_cannot_be_warmed_is_refused() {
    let place = Place::new();
    let refuses = |args: &[&str], code: i32, says: &[&str]| {
        let output = place.tics(&[args, &["--run-dir", "refused", "--quiet"]].concat());
        assert_eq!((output.code(), output.stdout.as_str()), (code, ""), "{args:?}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(says.iter().all(|part| output.stderr.contains(part)), "{}", output.stderr);
    };
    let warm = ["replay", "trace.jsonl", "--cache", "warm"];
    refuses(&[&warm[..], &["--prefixes", "none"]].concat(), 2, &["nothing to warm the cache with"]);
    refuses(&[&warm[..], &["--limit", "1"]].concat(), 2, &["--cache warm", "no two requests share"]);
    refuses(&["bench", "--requests", "2", "--cache", "warm"], 2, &["--cache warm", "bench"]);
    // The server refuses what is to warm it: the run is not begun.
    let sim = Sim::start("--flood");
    let bodies = r#"{"max_tokens": "many"}"#;
    let args = ["--url", &sim.url, "--no-probe", "--extra-body", bodies];
    refuses(
        &[&warm[..], &args].concat(),
        4,
        &["--cache warm: what row", "the run was not begun", "http_status"],
    );
    assert!(!place.0.path().join("refused/run.json").exists());
}

#[test]
fn lengths_that_differ_are_shown() {
    let place = Place::new();
    let sim = Sim::start("--flood --template-tokens 13");
    let played = place.replay(&sim, "raw", &["--raw-lengths", "--limit", "20"]);
    let lengths = &played.run.summary["input_lengths"];
    assert_eq!((&lengths["asked"], &lengths["sent"]), (&lengths["sent"], &lengths["asked"]));
    assert_eq!((&lengths["differ"], &lengths["made"]), (&Value::from(20), &Value::from(20)));
    assert_eq!(lengths["difference"], serde_json::json!({"min": 13, "p50": 13.0, "max": 13}));
    played.says("counted - asked in the 20 requests that differ: +13 to +13, median +13; request 0 (row 1)");
    assert_eq!((played.outcome("C3b"), played.outcome("C3c")), ("not_judged", "not_judged"));
    // A server without a cache says nothing of one.
    played.says("observed not said in the answers");
    let exact = place.replay(&sim, "exact", &["--limit", "20"]);
    assert_eq!(
        exact.run.summary["input_lengths"]["differ"],
        count_short(&place.0.path().join("trace.jsonl"), 20, 13)
    );
}
