//! Timetables as seen from outside, and the truth log's account of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tics_sim::{BatchOptions, SimOptions, Timetable};

use crate::client::{
    Client, chat, chat_body, check_consistent, numbers, post_with, stamps, start, truth, truth_of,
};

/// Tests of time and of load run one by one.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends `requests` (id, words, tokens) at once, each on its own connection, and returns the truth.
fn truth_after(timetable: Timetable, requests: &[(&str, usize, u32)]) -> Vec<serde_json::Value> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let sim = start(SimOptions { timetable, truth: Some(log.clone()), ..SimOptions::default() });
    let mut clients = Vec::new();
    for (id, words, tokens) in requests {
        let mut client = Client::connect(sim.addr());
        client.send(chat(id, *words, *tokens)).head();
        clients.push(client);
    }
    for client in &mut clients {
        while client.chunk().is_some() {}
    }
    sim.stop().unwrap();
    let lines = truth(&log);
    assert_eq!(lines.len(), requests.len());
    for line in &lines {
        check_consistent(line);
        assert_eq!(line["ended"], "complete");
    }
    lines
}

#[test]
fn with_one_slot_the_second_waits_for_the_first() {
    let timetable = Timetable::Batch(BatchOptions {
        slots: 1,
        prefill_tokens_per_s: 10_000.0,
        decode_step: Duration::from_millis(2),
        ..BatchOptions::default()
    });
    let lines = truth_after(timetable, &[("a", 10, 10), ("b", 20, 5)]);
    let (a, b) = (truth_of(&lines, "a"), truth_of(&lines, "b"));
    assert_eq!((&a["prompt_tokens"], &b["prompt_tokens"]), (&10.into(), &20.into()));
    // 1 ms for ten prompt tokens, then nine steps of 2 ms; then the other's 2 ms and four steps.
    let (due_a, due_b) = (numbers(a, "due_ns"), numbers(b, "due_ns"));
    assert_eq!(due_a[0] - a["received_ns"].as_u64().unwrap(), 1_000_000);
    assert_eq!(due_a[9] - due_a[0], 9 * 2_000_000);
    // Should it have come after the first one's end, on a busy machine, it starts when it came.
    let start = due_a[9].max(b["received_ns"].as_u64().unwrap());
    assert_eq!(due_b[0] - start, 2_000_000);
    assert_eq!(due_b[4] - due_b[0], 4 * 2_000_000);
    assert!(stamps(b)[0].0 >= stamps(a)[9].0);
}

#[test]
fn ttft_grows_with_the_prompt_and_nothing_leaves_early() {
    let timetable =
        Timetable::Batch(BatchOptions { prefill_tokens_per_s: 100_000.0, ..BatchOptions::default() });
    let mut last = 0;
    for words in [0, 100, 400, 1_600] {
        let lines = truth_after(timetable, &[("a", words, 1)]);
        let received = lines[0]["received_ns"].as_u64().unwrap();
        let planned = numbers(&lines[0], "due_ns")[0] - received;
        assert_eq!(planned, words as u64 * 10_000);
        assert!(stamps(&lines[0])[0].0 - received >= planned);
        assert!(planned >= last);
        last = planned;
    }
}

#[test]
fn the_fixed_timetable_is_kept() {
    let _alone = alone();
    let timetable = Timetable::Fixed { ttft: Duration::from_millis(3), itl: Duration::from_millis(4) };
    let requests: Vec<(String, usize, u32)> = (0..4).map(|i| (format!("f-{i}"), 5, 50)).collect();
    let borrowed: Vec<(&str, usize, u32)> = requests.iter().map(|(id, w, t)| (id.as_str(), *w, *t)).collect();
    let mut late = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    let canary = canary(Arc::clone(&stop));
    let lines = truth_after(timetable, &borrowed);
    stop.store(true, Ordering::Relaxed);
    for line in lines {
        let received = line["received_ns"].as_u64().unwrap();
        let due = numbers(&line, "due_ns");
        for (k, (due, (before, _))) in due.iter().zip(stamps(&line)).enumerate() {
            assert_eq!(*due, received + 3_000_000 + 4_000_000 * k as u64);
            assert!(before >= *due, "a token left before its time");
            late.push(before - due);
        }
        // The kernel had the request before this process knew of it, and not long before.
        let kernel = line["kernel_ns"].as_u64().expect("Linux stamps loopback packets");
        assert!(kernel <= received + 50_000, "{line}");
    }
    assert_eq!(late.len(), 200);
    // A machine that is busy with others makes every thread late; that is not the server's doing.
    let (median, canary) = (median(late), median(canary.join().unwrap()));
    assert!(median < 1_000_000 + 4 * canary, "median lateness {median} ns, of the canary {canary} ns");
}

/// How late in ns a thread wakes that does nothing but sleep, every 2 ms until it is told to stop.
fn canary(stop: Arc<AtomicBool>) -> JoinHandle<Vec<u64>> {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
    std::thread::spawn(move || {
        let mut late = Vec::new();
        let mut due = now();
        while !stop.load(Ordering::Relaxed) {
            due += Duration::from_millis(2);
            std::thread::sleep(due.saturating_sub(now()));
            late.push(now().saturating_sub(due).as_nanos() as u64);
        }
        late
    })
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn a_whole_response_has_the_stamps_of_its_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let timetable = Timetable::Fixed { ttft: Duration::from_millis(1), itl: Duration::from_millis(1) };
    let sim = start(SimOptions { timetable, truth: Some(log.clone()), ..SimOptions::default() });
    let body = chat_body(2, 4).replace("true", "false");
    let answer = Client::connect(sim.addr())
        .send(post_with(crate::client::CHAT, "x-request-id: w\r\n", &body))
        .receive();
    assert_eq!(answer.status, 200);
    sim.stop().unwrap();
    let lines = truth(&log);
    check_consistent(&lines[0]);
    let tokens = stamps(&lines[0]);
    assert!(tokens.len() == 4 && tokens.iter().all(|token| *token == tokens[0]));
    assert!(tokens[0].0 >= *numbers(&lines[0], "due_ns").last().unwrap());
}

#[test]
fn counting_a_long_prompt_does_not_move_the_timetable() {
    let timetable = Timetable::Fixed { ttft: Duration::from_millis(40), itl: Duration::from_millis(1) };
    let lines = truth_after(timetable, &[("long", 200_000, 2), ("short", 1, 2)]);
    for line in &lines {
        let received = line["received_ns"].as_u64().unwrap();
        assert_eq!(numbers(line, "due_ns"), [received + 40_000_000, received + 41_000_000]);
    }
    assert_eq!(truth_of(&lines, "long")["prompt_tokens"], 200_000);
}
