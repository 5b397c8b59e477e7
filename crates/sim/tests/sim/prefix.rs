//! The prefix cache, `/tokenize` and `/metrics`, as seen from outside.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tics_sim::{BatchOptions, PrefixCache, SimOptions, Timetable};

use crate::client::{CHAT, Client, get, numbers, post, post_with, start, truth, truth_of};

fn cached(block_tokens: u32, capacity_blocks: u64) -> SimOptions {
    SimOptions {
        timetable: Timetable::Batch(BatchOptions {
            prefill_tokens_per_s: 100_000.0,
            decode_step: Duration::from_millis(1),
            ..BatchOptions::default()
        }),
        prefix_cache: Some(PrefixCache { block_tokens, capacity_blocks }),
        ..SimOptions::default()
    }
}

fn words(range: std::ops::Range<u32>) -> String {
    range.map(|k| format!("w{k}")).collect::<Vec<_>>().join(" ")
}

fn ask(client: &mut Client, id: &str, path: &str, body: &Value) -> Value {
    let headers = format!("x-request-id: {id}\r\n");
    let answer = client.send(post_with(path, &headers, &body.to_string())).receive();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn chat(content: &str) -> Value {
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": 2})
}

#[test]
fn a_prefix_that_was_seen_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let sim = start(SimOptions { truth: Some(log.clone()), ..cached(16, 1000) });
    let mut client = Client::connect(sim.addr());
    let first = words(0..100);
    let second = format!("{} {}", words(0..70), words(200..230));
    let split = json!({"messages": [{"role": "system", "content": words(0..50)},
        {"role": "user", "content": [{"type": "text", "text": words(50..100)}]}], "max_tokens": 2});
    let text = json!({"prompt": first, "max_tokens": 2});
    let ids = json!({"prompt": (0..40).collect::<Vec<u32>>(), "max_tokens": 2});
    // (prompt tokens, cached tokens, blocks, cached blocks, tokens read)
    let expected = [
        ("cold", CHAT, chat(&first), [100, 0, 7, 0, 100]),
        ("again", CHAT, chat(&first), [100, 100, 7, 7, 1]),
        ("prefix", CHAT, chat(&second), [100, 64, 7, 4, 36]),
        ("split", CHAT, split, [100, 100, 7, 7, 1]),
        ("text", "/v1/completions", text, [100, 100, 7, 7, 1]),
        ("ids", "/v1/completions", ids.clone(), [40, 0, 3, 0, 40]),
        ("ids again", "/v1/completions", ids, [40, 40, 3, 3, 1]),
    ];
    for (id, path, body, [prompt, cached, ..]) in &expected {
        let usage = ask(&mut client, id, path, body)["usage"].clone();
        assert_eq!(usage["prompt_tokens"], *prompt, "{id}");
        assert_eq!(usage["prompt_tokens_details"], json!({"cached_tokens": cached}), "{id}");
    }
    sim.stop().unwrap();
    let lines = truth(&log);
    for (id, _, _, [prompt, cached, blocks, cached_blocks, read]) in expected {
        let line = truth_of(&lines, id);
        let fields = ["prompt_tokens", "cached_tokens", "prompt_blocks", "cached_blocks"];
        assert_eq!(
            fields.map(|key| line[key].as_u64().unwrap()),
            [prompt, cached, blocks, cached_blocks],
            "{id}"
        );
        // 10 µs for each token that is read.
        let received = line["received_ns"].as_u64().unwrap();
        assert_eq!(numbers(line, "due_ns")[0] - received, read * 10_000, "{id}");
    }
}

#[test]
fn without_a_cache_nothing_is_found_and_usage_is_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let options = SimOptions { prefix_cache: None, truth: Some(log.clone()), ..cached(1, 1) };
    let sim = start(options);
    let mut client = Client::connect(sim.addr());
    for id in ["a", "b"] {
        let answer = ask(&mut client, id, CHAT, &chat("one two three"));
        assert_eq!(answer["usage"], json!({"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}));
    }
    sim.stop().unwrap();
    for line in truth(&log) {
        assert_eq!((&line["cached_tokens"], &line["prompt_blocks"]), (&json!(0), &json!(0)));
    }
}

/// Many prompts with shared beginnings, as a trace with block hashes has them: what is found is what a
/// set of all chains of words says.
#[test]
fn what_is_found_is_what_a_set_of_chains_says() {
    const BLOCK: usize = 8;
    let sim = start(cached(BLOCK as u32, 100_000));
    let mut client = Client::connect(sim.addr());
    let (mut chains, mut state) = (HashSet::new(), 1_u64);
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for i in 0..200 {
        let blocks: Vec<u64> = (0..=draw(4)).map(|_| draw(3)).collect();
        let all: Vec<String> =
            blocks.iter().flat_map(|b| (0..BLOCK).map(move |k| format!("b{b}x{k}"))).collect();
        let prompt = &all[..all.len() - draw(BLOCK as u64) as usize];
        let mut expected = 0;
        let mut is_hit = true;
        for end in (0..prompt.len()).step_by(BLOCK).map(|start| (start + BLOCK).min(prompt.len())) {
            is_hit &= !chains.insert(prompt[..end].to_vec());
            if is_hit {
                expected = end;
            }
        }
        let answer = ask(&mut client, &format!("s-{i}"), CHAT, &chat(&prompt.join(" ")));
        assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], expected, "{blocks:?}");
    }
}

#[test]
fn a_small_cache_forgets() {
    let sim = start(cached(10, 5));
    let mut client = Client::connect(sim.addr());
    let (a, b) = (chat(&words(0..40)), chat(&words(100..140)));
    let mut found =
        |body| ask(&mut client, "x", CHAT, body)["usage"]["prompt_tokens_details"]["cached_tokens"].clone();
    assert_eq!([found(&a), found(&a), found(&b), found(&a)], [0, 40, 0, 10]);
}

#[test]
fn tokenize_agrees_with_usage_and_is_not_dumped() {
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("dump.jsonl");
    let sim = start(SimOptions { template_tokens: 5, dump: Some(dump.clone()), ..cached(16, 100) });
    let mut client = Client::connect(sim.addr());
    let body = chat("one two\nthree");
    let answer = ask(&mut client, "t", "/tokenize", &body);
    assert_eq!(answer["count"], ask(&mut client, "c", CHAT, &body)["usage"]["prompt_tokens"]);
    assert_eq!((&answer["count"], answer["tokens"].as_array().unwrap().len()), (&json!(8), 8));
    let prompt = ask(&mut client, "p", "/tokenize", &json!({"model": "tics-sim", "prompt": "one two"}));
    assert_eq!((&prompt["count"], &prompt["max_model_len"]), (&json!(2), &json!(1 << 20)));
    let refused = client.send(post("/tokenize", r#"{"prompt": 5}"#)).receive();
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!(400)));
    assert_eq!(client.send(get("/tokenize")).receive().status, 405);
    sim.stop().unwrap();
    assert_eq!(std::fs::read_to_string(dump).unwrap().lines().count(), 1);
}

/// The value of the line that begins with `name` and has `label`.
fn metric<'a>(page: &'a str, name: &str, label: &str) -> &'a str {
    let start = format!("vllm:{name}{{");
    let line = page.lines().find(|line| line.starts_with(&start) && line.contains(label));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).rsplit(' ').next().unwrap()
}

#[test]
fn metrics_count_what_was_served() {
    let sim = start(SimOptions { eos_after: Some(3), ..cached(16, 100) });
    let mut client = Client::connect(sim.addr());
    for max_tokens in [2, 9] {
        let mut body = chat(&words(0..40));
        body["max_tokens"] = max_tokens.into();
        ask(&mut client, "m", CHAT, &body);
    }
    let answer = client.send(get("/metrics")).receive();
    assert!(answer.has_header("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", answer.head);
    let page = answer.text();
    for (name, label, value) in [
        ("prompt_tokens_total", "", "80"),
        ("generation_tokens_total", "", "5"),
        ("request_success_total", "finished_reason=\"length\"", "1"),
        ("request_success_total", "finished_reason=\"stop\"", "1"),
        ("request_success_total", "finished_reason=\"abort\"", "0"),
        ("prefix_cache_queries_total", "", "80"),
        ("prefix_cache_hits_total", "", "40"),
        ("kv_cache_usage_perc", "", "0"),
        ("time_to_first_token_seconds_count", "", "2"),
        ("time_to_first_token_seconds_bucket", "le=\"+Inf\"", "2"),
    ] {
        assert_eq!(metric(&page, name, label), value, "{name} {label}\n{page}");
    }
    assert_eq!(client.send(post("/metrics", "")).receive().status, 405);
}

#[test]
fn metrics_show_who_runs_and_who_waits() {
    let mut options = cached(1, 100);
    options.timetable = Timetable::Batch(BatchOptions {
        slots: 1,
        prefill_tokens_per_s: f64::INFINITY,
        decode_step: Duration::from_hours(1),
        ..BatchOptions::default()
    });
    let sim = start(options);
    let mut watch = Client::connect(sim.addr());
    let mut page = |expected: [&str; 4]| {
        let names =
            ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "request_success_total"];
        let mut last = String::new();
        // The engine is another thread: it has seen the requests soon, not at once.
        for _ in 0..2_000 {
            last = watch.send(get("/metrics")).receive().text();
            let found =
                names.map(|name| metric(&last, name, if name.starts_with("req") { "abort" } else { "" }));
            if found == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("{expected:?} never came:\n{last}");
    };
    page(["0", "0", "0", "0"]);
    let body = chat(&words(0..19)).to_string();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(sim.addr())).collect();
    for client in &mut clients {
        client.send(post(CHAT, &body));
    }
    // 19 tokens and the first one made, of 100.
    page(["1", "2", "0.2", "0"]);
    drop(clients);
    page(["0", "0", "0", "3"]);
}
