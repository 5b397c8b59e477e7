//! Conversations through the program: when turns leave, what they carry, what becomes of them.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Output, Run, Running, run, tics};
use tempfile::TempDir;

const MS: i64 = 1_000_000;

/// A folder in which the commands run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(TempDir::new().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, rows: &[Value]) {
        let text = rows.iter().fold(String::new(), |mut text, row| {
            writeln!(text, "{row}").unwrap();
            text
        });
        std::fs::write(self.path(file), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = tics();
        command.args(args).args(["--run-dir=run", "--no-dashboard", "--quiet"]).current_dir(self.0.path());
        command
    }

    /// `tics replay FILE args` against a simulated server with `sim`, which logs its truth and what it gets.
    fn replay(&self, file: &str, args: &[&str], sim: &str) -> (Output, Run) {
        let sim = format!("--sim={sim} --truth=truth.jsonl --dump=dump.jsonl");
        let output = run(&mut self.command(&[&["replay", file, &sim], args].concat()));
        // INVALID is a busy machine's business.
        assert!(matches!(output.code(), 0 | 1 | 3), "{args:?}: {}", output.stderr);
        let run = Run::read(&self.path("run"));
        (output, run)
    }

    /// `tics replay args` is refused with one line that has every one of `says`.
    fn refuses(&self, args: &[&str], says: &[&str]) {
        let output = run(&mut self.command(&[&["replay"], args].concat()));
        assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{args:?}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{args:?}: {}", output.stderr);
        for part in says {
            assert!(output.stderr.contains(part), "does not say {part:?}: {}", output.stderr);
        }
        assert!(!self.path("run").exists());
    }

    /// What the server logged of the run's requests, by their number.
    fn logged(&self, file: &str) -> HashMap<u64, Value> {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter_map(|line| Some((line["id"].as_str()?.strip_prefix("run-")?.parse().ok()?, line)))
            .collect()
    }
}

fn ns(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number of nanoseconds"))
}

/// The value that half of the others are below.
fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// `chats` conversations of three turns of Tics' rows, 5 ms apart, the turns `gap_ms` apart and with
/// `delay_ms`.
fn chats(chats: u32, gap_ms: u32, delay_ms: u32) -> Vec<Value> {
    let mut rows: Vec<(u32, Value)> = Vec::new();
    for chat in 0..chats {
        for turn in 0..3 {
            let at = chat * 5 + turn * gap_ms;
            let (timestamp, delay) = (f64::from(at) / 1e3, f64::from(delay_ms) / 1e3);
            let row = json!({"timestamp_s": timestamp, "input_length": 20 + 30 * turn, "output_length": 3,
                             "session_id": format!("s{chat}"), "delay_s": delay});
            rows.push((at, row));
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Turns leave at their parent's end and think time: exactly by the record, and within 1 ms by the server's
/// own log on the same clock.
#[test]
fn a_turn_leaves_its_think_time_after_the_end_of_the_one_before() {
    let place = Place::new();
    place.write("chats.jsonl", &chats(20, 40, 60));
    let (_, run) = place.replay("chats.jsonl", &["--sessions=think"], "--ttft 20ms --itl 3ms");
    run.assert_balanced(60);
    assert_eq!(run.outcome("ok"), 60);
    let truth = place.logged("truth.jsonl");
    let origin = ns(&run.description["origin_monotonic_ns"]);
    let (mut late, mut arrived) = (Vec::new(), Vec::new());
    let mut turns = [0; 3];
    for (index, record) in &run.records {
        let turn = record["turn"].as_u64().unwrap();
        turns[turn as usize - 1] += 1;
        assert_eq!(record["parent"].is_null(), turn == 1, "{record}");
        let Some(parent) = record["parent"].as_u64() else { continue };
        let before = &run.records[&parent];
        assert_eq!((&before["session"], &before["turn"]), (&record["session"], &json!(turn - 1)));
        assert_eq!(record["parent_end_ns"], before["end_ns"]);
        assert_eq!(ns(&record["due_ns"]), ns(&before["end_ns"]) + 60 * MS);
        assert!(record["scheduled_ns"].is_null(), "the schedule has no instant of its own for it");
        late.push(ns(&record["sent_ns"]) - ns(&record["due_ns"]));
        let (here, there) = (&truth[index], &truth[&parent]);
        let received = here["kernel_ns"].as_i64().unwrap_or_else(|| ns(&here["received_ns"]));
        assert!(received - origin >= ns(&record["due_ns"]), "arrived before it was due: {record}");
        arrived.push((received - ns(&there["end_ns"]) - 60 * MS).abs());
    }
    assert_eq!(turns, [20; 3]);
    assert!(late.iter().all(|late| *late >= 0));
    let (late, arrived) = (median(late), median(arrived));
    assert!(late < MS, "half of the turns left {late} ns late");
    assert!(arrived < MS, "half of the turns arrived {arrived} ns from the server's end and 60 ms");
    assert_eq!(
        run.description["sessions"],
        json!({"mode": "think", "think_time": "recorded", "history": "trace", "followers": 40})
    );
    let rows = &run.summary["turns"]["by_turn"];
    assert_eq!(
        (&rows[2]["turn"], &rows[2]["n"], &rows[2]["input_tokens"]),
        (&json!("3"), &json!(20), &json!(1600))
    );
}

#[test]
fn drawn_think_times_are_those_of_the_distribution_and_of_the_seed() {
    let place = Place::new();
    place.write("chats.jsonl", &chats(10, 40, 60));
    let pauses = |run: &Run| -> Vec<i64> {
        let turns = run.records.values().filter(|record| !record["parent"].is_null());
        turns.map(|record| ns(&record["due_ns"]) - ns(&record["parent_end_ns"])).collect()
    };
    // A distribution alone says the mode.
    let args = ["--think-time=uniform:0.01..0.09"];
    let (_, one) = place.replay("chats.jsonl", &args, "--flood");
    std::fs::rename(place.path("run"), place.path("one")).unwrap();
    let (_, two) = place.replay("chats.jsonl", &args, "--ttft 20ms --itl 1ms");
    assert_eq!(pauses(&one), pauses(&two));
    assert!(pauses(&one).iter().all(|pause| (10 * MS..=90 * MS).contains(pause)));
    assert!(pauses(&one).windows(2).any(|pair| pair[0] != pair[1]));
    assert_eq!(one.description["sessions"]["think_time"], "uniform:0.01..0.09");
}

#[test]
fn a_turn_that_waits_leaves_at_its_own_time_or_at_the_end_if_that_is_later() {
    let place = Place::new();
    // The second turn comes while the first runs, the third long after.
    let mut rows = chats(12, 10, 500);
    for row in &mut rows {
        let at = row["timestamp_s"].as_f64().unwrap();
        if row["input_length"] == 80 {
            row["timestamp_s"] = json!(at + 0.4);
        }
    }
    place.write("chats.jsonl", &rows);
    let (output, run) = place.replay("chats.jsonl", &["--sessions=wait"], "--ttft 60ms --itl 2ms");
    run.assert_balanced(36);
    let epoch = ns(&run.description["load"]["epoch_ns"]);
    let (mut held, mut late) = (0, Vec::new());
    for record in run.records.values().filter(|record| !record["parent"].is_null()) {
        let row = &rows[record["row"].as_u64().unwrap() as usize - 1];
        let own = epoch + (row["timestamp_s"].as_f64().unwrap() * 1e9).round() as i64;
        let end = ns(&run.records[&record["parent"].as_u64().unwrap()]["end_ns"]);
        assert_eq!((ns(&record["scheduled_ns"]), ns(&record["parent_end_ns"])), (own, end));
        assert_eq!(ns(&record["due_ns"]), own.max(end));
        held += u64::from(end > own);
        late.push(ns(&record["sent_ns"]) - ns(&record["due_ns"]));
    }
    // The server takes 64 ms, the turns come after 10 and 410.
    assert_eq!(held, 12);
    let late = median(late);
    assert!((0..5 * MS).contains(&late), "half of the turns left {late} ns late");
    let turns = &run.summary["turns"];
    assert_eq!(turns["held_up_ms"]["n"], 24);
    assert!(turns["held_up_ms"]["max"].as_f64().unwrap() > 50.0);
    for part in ["Sessions ", "24 of 36", "Turn 3 ", "Held up by it", "Tester late"] {
        assert!(output.stdout.contains(part), "{part}: {}", output.stdout);
    }
}

#[test]
fn at_their_own_times_turns_wait_for_nobody_and_are_counted_all_the_same() {
    let place = Place::new();
    place.write("chats.jsonl", &chats(4, 10, 500));
    let (_, run) = place.replay("chats.jsonl", &[], "--ttft 80ms --itl 1ms");
    let epoch = ns(&run.description["load"]["epoch_ns"]);
    for record in run.records.values() {
        let turn = record["turn"].as_i64().unwrap();
        assert!(record["parent_end_ns"].is_null() && record["parent"].is_null() == (turn == 1));
        let chat: i64 = record["session"].as_str().unwrap()[1..].parse().unwrap();
        assert_eq!(ns(&record["due_ns"]), epoch + (chat * 5 + (turn - 1) * 10) * MS);
    }
    assert_eq!(run.description["sessions"]["mode"], "recorded");
    let turns = &run.summary["turns"];
    assert_eq!((turns["by_turn"].as_array().unwrap().len(), &turns["held_up_ms"]["n"]), (3, &json!(0)));
}

/// A parent that the server refuses: its model is not there.
#[test]
fn behind_a_turn_that_failed_nothing_is_sent() {
    let place = Place::new();
    let row = |id: u32, parent: Option<u32>, model: Option<&str>| {
        let payload =
            model.map(|model| json!({"model": model, "messages": [], "max_tokens": 2, "stream": true}));
        json!({"timestamp_s": f64::from(id) / 100.0, "input_length": 9, "output_length": 2, "id": id,
               "parent": parent, "payload": payload})
    };
    let rows = [
        row(0, None, None),
        row(1, Some(0), Some("nobody")),
        row(2, Some(1), None),
        row(3, Some(2), None),
        row(4, Some(0), None),
    ];
    place.write("tree.jsonl", &rows);
    for mode in ["--sessions=wait", "--sessions=think"] {
        let (output, run) = place.replay("tree.jsonl", &[mode], "--ttft 5ms --itl 1ms");
        run.assert_balanced(5);
        let outcome = |i: u64| run.records[&i]["outcome"].as_str().unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(outcome), ["ok", "http_status", "not_sent", "not_sent", "ok"]);
        let third = &run.records[&3];
        assert_eq!(third["detail"], "request 1, 2 turns before it, failed (http_status)");
        assert_eq!((&third["dropped_by"], &third["row"], &third["turn"]), (&json!(1), &json!(4), &json!(4)));
        assert_eq!((run.count("requests/not_sent"), run.count("turns/dropped")), (2, 2));
        assert!(output.stdout.contains("2 requests, as an earlier turn failed"), "{}", output.stdout);
        // What the server failed says nothing against the measurement.
        assert_eq!(output.code(), run.expected_status());
        std::fs::remove_dir_all(place.path("run")).unwrap();
    }
    let (_, run) = place.replay("tree.jsonl", &[], "--ttft 5ms --itl 1ms");
    assert_eq!((run.outcome("ok"), run.outcome("not_sent")), (4, 0));
}

/// The text of an answer of `tokens` tokens, as the simulated server says it to whoever asks without a
/// stream.
fn said(url: &str, tokens: u32) -> String {
    let body = json!({"model": "tics-sim", "max_tokens": tokens, "ignore_eos": true,
                      "messages": [{"role": "user", "content": "hi"}]})
    .to_string();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let json = &answer[answer.find("\r\n\r\n").unwrap()..];
    let json = &json[json.find('{').unwrap()..=json.rfind('}').unwrap()];
    let answer: Value = serde_json::from_str(json).unwrap();
    answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn sharegpt(path: &Path) {
    let say = |from: &str, value: &str| json!({"from": from, "value": value});
    let conversations = json!([
        {"id": "long", "conversations": [
            say("system", "be brief"), say("human", "one"), say("gpt", "recorded one"), say("human", "two"),
            say("gpt", "recorded two, longer"), say("human", "three"), say("gpt", "recorded three")]},
        {"id": "short", "conversations": [say("human", "eins \"1\""), say("gpt", "recorded"), say("human", "zwei"),
            say("gpt", "recorded too")]},
    ]);
    std::fs::write(path, conversations.to_string()).unwrap();
}

#[test]
fn live_history_has_the_server_s_own_answers_in_the_places_of_the_recorded_ones() {
    let place = Place::new();
    sharegpt(&place.path("chats.json"));
    let (output, run) = place.replay("chats.json", &["--history=live"], "--ttft 5ms --itl 1ms");
    run.assert_balanced(5);
    assert_eq!(run.outcome("ok"), 5);
    // Conversations without times follow each other's ends; that need not be asked for.
    assert_eq!(
        run.description["sessions"],
        json!({"mode": "think", "think_time": "recorded", "history": "live", "followers": 3})
    );
    assert!(output.stdout.contains("history from the server's own answers"), "{}", output.stdout);
    let bodies = place.logged("dump.jsonl");
    let sim = support::Sim::start("--flood");
    let asked = |i: u64| run.records[&i]["output"]["asked"].as_u64().unwrap() as u32;
    let own = |i: u64| json!({"role": "assistant", "content": said(&sim.url, asked(i))});
    let user = |text: &str| json!({"role": "user", "content": text});
    let system = json!({"role": "system", "content": "be brief"});
    let messages = |i: u64| &bodies[&i]["body"]["messages"];
    assert!(asked(0) != asked(1), "answers of two lengths, to be told apart");
    assert_eq!(messages(0), &json!([system, user("one")]));
    assert_eq!(messages(1), &json!([system, user("one"), own(0), user("two")]));
    assert_eq!(messages(2), &json!([system, user("one"), own(0), user("two"), own(1), user("three")]));
    assert_eq!(messages(3), &json!([user("eins \"1\"")]));
    assert_eq!(messages(4), &json!([user("eins \"1\""), own(3), user("zwei")]));
    // Without it, the bodies are the trace's.
    std::fs::remove_dir_all(place.path("run")).unwrap();
    let (_, recorded) = place.replay("chats.json", &[], "--flood");
    assert_eq!(recorded.description["sessions"]["history"], "trace");
    let bodies = place.logged("dump.jsonl");
    let answer = json!({"role": "assistant", "content": "recorded one"});
    assert_eq!(bodies[&1]["body"]["messages"], json!([system, user("one"), answer, user("two")]));
}

#[test]
fn what_cannot_be_played_so_is_refused_before_anything_is_sent() {
    let place = Place::new();
    place.write("chats.jsonl", &chats(2, 10, 5));
    place.write("alone.jsonl", &[json!({"timestamp_s": 0, "input_length": 5, "output_length": 1})]);
    place.refuses(&["alone.jsonl", "--sessions=wait"], &["alone.jsonl", "none of these requests continues"]);
    place.refuses(&["alone.jsonl", "--think-time=5"], &["none of these requests continues"]);
    place.refuses(
        &["chats.jsonl", "--sessions=wait", "--think-time=5"],
        &["--think-time is for --sessions think"],
    );
    place.refuses(&["chats.jsonl", "--history=live"], &["--history live", "--sessions wait or think"]);
    place.refuses(&["chats.jsonl", "--sessions=wait", "--history=live"], &["chats.jsonl:3: ", "has none"]);
    let output = run(&mut place.command(&["replay", "chats.jsonl", "--think-time=zipf"]));
    assert!(output.code() == 2 && output.stderr.contains("exponential:mean=M"), "{}", output.stderr);
}

/// The next turns of the conversations are minutes away when the run is stopped.
#[test]
fn a_run_that_is_stopped_leaves_turns_that_wait_unsent() {
    let place = Place::new();
    place.write("chats.jsonl", &chats(5, 10, 300_000));
    let mut command = tics();
    command
        .args(["replay", "chats.jsonl", "--sessions=think", "--run-dir=run", "--progress-every=50ms"])
        .args(["--no-dashboard", "--sim=--ttft 5ms --itl 1ms"])
        .current_dir(place.0.path());
    let mut running = Running::start(&mut command);
    running.wait_for(|line| line.contains("done 5/15"));
    kill(Pid::from_raw(running.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = running.finish();
    assert_eq!(output.code(), 130, "{}", output.stderr);
    let run = Run::read(&place.path("run"));
    run.assert_balanced(15);
    assert_eq!((run.outcome("ok"), run.outcome("not_sent")), (5, 10));
}

/// Turns that say how long they wait and no time, as aiperf's variant of Mooncake has them; milliseconds.
#[test]
fn turns_without_times_wait_for_each_other_by_default() {
    let place = Place::new();
    let row = |session: &str, delay: Option<u32>| json!({"session_id": session, "delay": delay, "input_length": 12, "output_length": 2});
    let rows = [row("a", None), row("b", None), row("a", Some(40)), row("b", Some(10)), row("b", Some(0))];
    place.write("turns.jsonl", &rows);
    let (_, run) = place.replay("turns.jsonl", &[], "--ttft 10ms --itl 1ms");
    assert_eq!(run.outcome("ok"), 5);
    let mut waits: Vec<_> = run
        .records
        .values()
        .filter(|record| !record["parent"].is_null())
        .map(|record| (record["row"].as_u64().unwrap(), ns(&record["due_ns"]) - ns(&record["parent_end_ns"])))
        .collect();
    waits.sort_unstable();
    assert_eq!(waits, [(3, 40 * MS), (4, 10 * MS), (5, 0)]);
    assert_eq!(run.description["sessions"]["mode"], "think");
}
