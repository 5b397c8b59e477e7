//! The traces in `traces/`, and what `info` and `check` say about them and about bad ones.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::path::{Path, PathBuf};

use tics_trace::{OpenOptions, Selection, Severity, Trace, samples};

fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces")
}

fn open(name: &str) -> Trace {
    Trace::open(&traces().join(name), &OpenOptions::default()).unwrap()
}

#[test]
fn committed_files_are_what_the_generator_makes() {
    for (name, bytes) in samples() {
        let committed = std::fs::read(traces().join(name)).unwrap();
        assert!(committed == bytes, "traces/{name} differs from tics_trace::samples()");
    }
}

#[test]
fn samples_are_sound_and_share_prefixes() {
    for (name, bytes) in samples() {
        let trace = Trace::read(&*bytes, name, &OpenOptions::default()).unwrap();
        assert!(name.starts_with(trace.index().format.name()), "{name} is recognised");
        let report = trace.check().unwrap();
        assert!(report.findings.is_empty(), "{}", report.render());
        if let Some(prefix) = trace.info().unwrap().prefix {
            assert_eq!(trace.index().rows_with_blocks, trace.index().rows);
            assert!((0.2..0.8).contains(&prefix.token_hit_rate), "{name}: {prefix:?}");
        }
    }
}

/// A server with 16 slots, 20 ms a token and 50,000 prompt tokens a second, first come first served.
#[test]
fn the_sample_for_replay_queues_and_takes_twenty_seconds() {
    let schedule = open("tics.jsonl").schedule(&Selection::default()).unwrap();
    let mut slots = [0.0_f64; 16];
    let (mut prefill_free, mut end, mut longest_wait, mut waited) = (0.0_f64, 0.0_f64, 0.0_f64, 0);
    for request in schedule {
        let request = request.unwrap();
        let due = request.due.as_secs_f64();
        let slot = slots.iter_mut().min_by(|a, b| a.total_cmp(b)).unwrap();
        let start = slot.max(due);
        prefill_free = start.max(prefill_free) + f64::from(request.row.input_length) / 50_000.0;
        *slot = prefill_free + f64::from(request.row.output_length) * 0.02;
        end = end.max(*slot);
        longest_wait = longest_wait.max(start - due);
        waited += i32::from(start > due);
    }
    assert!((17.0..23.0).contains(&end), "{end} s");
    assert!((2.0..8.0).contains(&longest_wait) && waited > 50, "{waited} waited, at most {longest_wait} s");
}

#[test]
fn info_describes_a_trace() {
    let bytes = samples().into_iter().find(|(name, _)| *name == "qwen.jsonl").unwrap().1;
    let trace = Trace::read(&*bytes, "qwen.jsonl", &OpenOptions::default()).unwrap();
    let info = trace.info().unwrap();
    let text = info.render();
    let (lines, plots) = text.split_once("\n\n").unwrap();
    insta::assert_snapshot!(lines, @"
    trace     qwen.jsonl (qwen, 79,213 bytes)
    sha256    f4321832e131f0a1580cff438e8d4b0d8bd0153e283b8fef430cdb02a66a5fb2
    rows      300
    time      0 s to 119.778 s, 2.505 requests/s, in time order
    bursts    299 distinct times, at most 2 rows on one (at 74.756 s)
    input     143,192 tokens; a row: mean 477.3, min 10, p50 359.5, p90 1116.3, p99 1475.2, max 1727
    output    46,473 tokens; a row: mean 154.9, min 5, p50 81.0, p90 449.5, p99 559.1, max 585
    sessions  147, 88 with several requests; requests each: mean 2.04, max 5; 0 continue one that is not in the file
    prefixes  9,091 blocks of 16 tokens, 4,856 distinct; an unbounded cache finds 46.58 % of blocks, 47.32 % of tokens
    ");
    insta::assert_snapshot!(plots, @r"
    requests/s over time
    6.512 │                 ▅                 ▂            █
          │▁    ▁           █                ▁█     ▁      █
          │█  ▆▆█▆    ▂  ▂▂▆█ ▆      ▆   ▆   ██▆  ▂▆█   ▆▆ █     ▂
          │█▇▄████▄▁▇▄█▄ ████▁█▄ ▇▁▄▄█ ▄ █▄▇ ███▄▇███ ▇▇██ █▁ ▄  █▇ ▄▁▇
          │█████████████▃███████▆█████▆█▃███▆████████▆████▃██▃█▃▆██▆███
        0 └────────────────────────────────────────────────────────────
           0 s                                                119.778 s

    instants by rows on them
      1  298 ████████████████████████████████████████
    2–3    1 ▏

    rows by input tokens
           8–15   7 ███▍
          16–31   5 ██▍
          32–63  24 ███████████▋
         64–127  31 ███████████████
        128–255  46 ██████████████████████▏
        256–511  65 ███████████████████████████████▍
      512–1,023  83 ████████████████████████████████████████
    1,024–2,047  39 ██████████████████▊

    rows by output tokens
          4–7  46 ██████████████████████████████▏
         8–15  32 █████████████████████
        16–31  23 ███████████████▏
        32–63  34 ██████████████████████▎
       64–127  44 ████████████████████████████▉
      128–255  43 ████████████████████████████▎
      256–511  61 ████████████████████████████████████████
    512–1,023  17 ███████████▏
    ");
    let json = serde_json::to_value(&info).unwrap();
    let parts = json["over_time"]["requests"].as_array().unwrap();
    assert_eq!(parts.iter().map(|n| n.as_u64().unwrap()).sum::<u64>(), 300);
    assert_eq!(
        (json["looks_batched"].as_bool(), json["burst_sizes"][1]["n"].as_u64()),
        (Some(false), Some(1))
    );
    assert_eq!(json["format"], "qwen");
    assert_eq!(json["rows"], 300);
    assert_eq!(json["prefix"]["block_size"], 16);
    assert_eq!(json["largest_burst"], 2);
}

#[test]
fn info_says_when_a_trace_looks_batched() {
    let info = open("mooncake.jsonl").info().unwrap();
    assert!(info.looks_batched && info.mean_burst > 4.0);
    let text = info.render();
    let line = text.lines().find(|line| line.starts_with("batched")).unwrap();
    assert!(line.contains("--spread uniform or poisson distributes each batch"), "{line}");
    for name in ["tics.jsonl", "qwen.jsonl", "azure.csv"] {
        assert!(!open(name).info().unwrap().looks_batched, "{name}");
    }
    // All at once is not batches.
    let at_once = "{\"prompt\": \"a\", \"output_length\": 7}\n".repeat(50);
    let info = Trace::read(at_once.as_bytes(), "at once", &OpenOptions::default()).unwrap().info().unwrap();
    assert!(!info.looks_batched && info.over_time.is_none());
}

#[test]
fn check_finds_contradictions() {
    let text = r#"{"chat_id": 1, "parent_chat_id": -1, "timestamp": 5, "input_length": 40, "output_length": 5, "turn": 1, "hash_ids": [1, 2, 3]}
{"chat_id": 2, "parent_chat_id": 99, "timestamp": 6, "input_length": 40, "output_length": 5, "turn": 2, "hash_ids": [1, 2]}
{"chat_id": 2, "parent_chat_id": 1, "timestamp": 4, "input_length": 40, "output_length": 5, "turn": 2, "hash_ids": [1, 2, 4]}
{"chat_id": 3, "parent_chat_id": 4, "timestamp": 6, "input_length": 40, "output_length": 2000000, "turn": 2}
{"chat_id": 4, "parent_chat_id": -1, "timestamp": 7, "input_length": 40, "output_length": 5, "turn": 3}
"#;
    let trace = Trace::read(text.as_bytes(), "bad.jsonl", &OpenOptions::default()).unwrap();
    assert_eq!(trace.index().block_mismatches, 1);
    let report = trace.check().unwrap();
    assert!(!report.is_sound());
    insta::assert_snapshot!(report.render(), @"
    bad.jsonl: qwen, 5 valid rows
    ok       rows
    error    blocks: 1 row: the number of hash_ids is not ceil(input_length / block size) (line 2)
    ok       prefixes
    error    ids: 1 row: the id was used before (line 3)
    error    parents: 2 rows: the parent arrives after the request that continues it (line 3, 4)
    warning  order: 1 row: earlier than the row before; a replay sorts by time (line 3)
    warning  lengths: 1 row: longer than any model takes: over 10,000,000 in or 1,000,000 out (line 4)
    warning  turns: 1 row: the turn is 0, or above 1 in a row that continues nothing (line 5)
    ok       turn order
    note     missing parents: 1 row: the parent is not in the file: it began before the trace (line 2)
    ok       unit: seconds
    ");
}

#[test]
fn check_looks_into_blocks_and_sessions() {
    let text = r#"{"timestamp_s": 1, "input_length": 40, "output_length": 5, "session_id": "a", "turn": 1, "block_size": 16, "hash_ids": [1, 2, 3]}
{"timestamp_s": 2, "input_length": 40, "output_length": 5, "session_id": "a", "turn": 2, "block_size": 16, "hash_ids": [1, 2, 4]}
{"timestamp_s": 3, "input_length": 40, "output_length": 5, "session_id": "a", "turn": 2, "block_size": 16, "hash_ids": [5, 2, 4]}
"#;
    let trace = Trace::read(text.as_bytes(), "bad.jsonl", &OpenOptions::default()).unwrap();
    let report = trace.check().unwrap();
    let found: Vec<_> =
        report.findings.iter().map(|f| (f.check, f.severity, f.first_lines.clone())).collect();
    assert_eq!(found, [("prefixes", Severity::Warning, vec![3]), ("turn order", Severity::Warning, vec![3])]);
    let failed =
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,m,1,1,2,x\n6,m,1,0,1,x\n";
    let report = Trace::read(failed.as_bytes(), "b.csv", &OpenOptions::default()).unwrap().check().unwrap();
    assert!(report.is_sound());
    assert!(report.render().contains("note     failed: 1 row: failed in the original, and left out\n"));
}

#[test]
fn check_doubts_a_unit_that_makes_no_sense() {
    let file = |step: u64| -> String {
        let row = |at| format!("{{\"timestamp\": {at}, \"input_length\": 9, \"output_length\": 9}}\n");
        (0..50).map(|i| row(i * step)).collect()
    };
    let render = |text: &str, format: &str| {
        let options = OpenOptions { format: format.parse().ok(), ..OpenOptions::default() };
        Trace::read(text.as_bytes(), "unit.jsonl", &options).unwrap().check().unwrap().render()
    };
    assert!(render(&file(300), "mooncake").ends_with("ok       unit: milliseconds\n"));
    assert!(render(&file(1), "qwen").ends_with("ok       unit: seconds\n"));
    insta::assert_snapshot!(render(&file(1), "mooncake").lines().last().unwrap(), @"warning  unit: 50 rows: 1020.408 requests/s with times in milliseconds, as the format has them; in seconds it would be 1.020");
    insta::assert_snapshot!(render(&file(300), "qwen").lines().last().unwrap(), @"warning  unit: 50 rows: 0.003 requests/s with times in seconds, as the format has them; in milliseconds it would be 3.401");
}
