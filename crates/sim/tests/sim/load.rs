//! Many streams, fast streams, and clients that misbehave.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tics_sim::{BatchOptions, SimOptions, Timetable};

use crate::client::{Client, chat, check_consistent, stamps, start, truth, truth_of};
use crate::timetables::alone;

/// A client that reads nothing takes this much of the server's output, and a bit.
fn set_small_window(stream: &TcpStream) {
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::RcvBuf, &(128 << 10)).unwrap();
}

#[test]
fn a_thousand_streams_at_once() {
    let _alone = alone();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4096).min(hard), hard).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let timetable = Timetable::Batch(BatchOptions {
        slots: 1_000,
        prefill_tokens_per_s: f64::INFINITY,
        decode_step: Duration::from_millis(10),
        ..BatchOptions::default()
    });
    let sim = start(SimOptions { timetable, truth: Some(log.clone()), ..SimOptions::default() });
    let mut clients: Vec<Client> = (0..1_000).map(|_| Client::connect(sim.addr())).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(chat(&format!("k-{i}"), 3, 20));
    }
    for client in &mut clients {
        assert_eq!(client.receive().content().split_whitespace().count(), 20);
    }
    drop(clients);
    let totals = sim.stop().unwrap();
    assert_eq!((totals.complete, totals.tokens, totals.connections), (1_000, 20_000, 1_000));
    let lines = truth(&log);
    assert_eq!(lines.len(), 1_000);
    lines.iter().for_each(check_consistent);
}

#[test]
fn a_flood_is_fast_fair_and_whole() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let options = SimOptions {
        timetable: Timetable::Flood,
        event_padding: 2_000,
        truth: Some(log.clone()),
        ..SimOptions::default()
    };
    let sim = start(options);
    let readers: Vec<_> = (0..4)
        .map(|i| {
            let mut client = Client::connect(sim.addr());
            client.send(chat(&format!("f-{i}"), 1, 10_000));
            std::thread::spawn(move || client.receive().text().len())
        })
        .collect();
    let bytes: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert!(bytes > 4 * 10_000 * 2_000);
    sim.stop().unwrap();
    let lines = truth(&log);
    let mut spans = Vec::new();
    for line in &lines {
        check_consistent(line);
        assert_eq!(line["output_tokens"], 10_000);
        assert_eq!(line["due_ns"], json!([]));
        let tokens = stamps(line);
        spans.push((tokens[0].0, tokens[9_999].1));
    }
    let (first, last) = (spans.iter().map(|s| s.0).min().unwrap(), spans.iter().map(|s| s.1).max().unwrap());
    let mb_per_s = bytes as f64 * 1e3 / (last - first) as f64;
    // A debug build on a busy machine; the release figure is ten times that and more.
    assert!(mb_per_s > 10.0, "{mb_per_s} MB/s");
    // Fair: each stream had begun before any had ended.
    assert!(spans.iter().map(|s| s.0).max().unwrap() < spans.iter().map(|s| s.1).min().unwrap());
}

#[test]
fn a_client_that_leaves_frees_its_slot() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let timetable = Timetable::Batch(BatchOptions {
        slots: 1,
        prefill_tokens_per_s: f64::INFINITY,
        decode_step: Duration::from_millis(1),
        ..BatchOptions::default()
    });
    let sim = start(SimOptions { timetable, truth: Some(log.clone()), ..SimOptions::default() });
    let mut leaver = Client::connect(sim.addr());
    leaver.send(chat("leaver", 1, 1_000_000)).head();
    let mut heir = Client::connect(sim.addr());
    heir.send(chat("heir", 1, 3)).head();
    for _ in 0..5 {
        leaver.chunk().unwrap();
    }
    drop(leaver);
    // Role, three tokens, [DONE]: the slot went over to it.
    assert_eq!(std::iter::from_fn(|| heir.chunk()).count(), 5);
    let totals = sim.stop().unwrap();
    assert_eq!((totals.complete, totals.client_gone), (1, 1));
    let lines = truth(&log);
    lines.iter().for_each(check_consistent);
    let gone = truth_of(&lines, "leaver");
    assert_eq!(gone["ended"], "client_gone");
    assert!((4..1_000_000).contains(&gone["output_tokens"].as_u64().unwrap()));
}

#[test]
fn a_client_that_leaves_before_its_first_token_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let timetable = Timetable::Fixed { ttft: Duration::from_hours(1), itl: Duration::ZERO };
    let sim = start(SimOptions { timetable, truth: Some(log.clone()), ..SimOptions::default() });
    let mut client = Client::connect(sim.addr());
    client.send(chat("x", 1, 1)).head();
    // A half-closed connection counts as left, as it does for uvicorn: the server ends it.
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"");
    assert_eq!(sim.stop().unwrap().client_gone, 1);
    assert_eq!(truth(&log)[0]["output_tokens"], 0);
}

#[test]
fn a_slow_reader_holds_up_no_other_and_loses_nothing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let options = SimOptions {
        timetable: Timetable::Fixed { ttft: Duration::ZERO, itl: Duration::from_micros(500) },
        // 600 events of 20 kB: far beyond what the socket buffers hold.
        event_padding: 20_000,
        truth: Some(log.clone()),
        ..SimOptions::default()
    };
    let sim = start(options);
    let mut slow = Client::connect(sim.addr());
    set_small_window(slow.stream.get_ref());
    slow.send(chat("slow", 1, 600));
    let mut quick = Client::connect(sim.addr());
    let whole = quick.send(chat("quick", 1, 600)).receive();
    assert_eq!(whole.chunks.len(), 602);
    // Only now does the slow one read; all is there, in order.
    let late = slow.receive();
    assert_eq!(late.content(), whole.content());
    sim.stop().unwrap();
    let lines = truth(&log);
    lines.iter().for_each(check_consistent);
    let (slow, quick) = (truth_of(&lines, "slow"), truth_of(&lines, "quick"));
    assert_eq!((&slow["ended"], &slow["output_tokens"]), (&json!("complete"), &json!(600)));
    // Its tokens were taken only when it read, after the other's end.
    assert!(slow["end_ns"].as_u64() > quick["end_ns"].as_u64());
    assert!(stamps(slow)[599].1 > quick["end_ns"].as_u64().unwrap());
}

#[test]
fn a_client_that_never_reads_does_not_fill_the_servers_memory() {
    let _alone = alone();
    // Due at once, all of them: 4 GB if they were made.
    let options = SimOptions {
        timetable: Timetable::Fixed { ttft: Duration::ZERO, itl: Duration::ZERO },
        event_padding: 4_000,
        ..SimOptions::default()
    };
    let sim = start(options);
    let mut silent = Client::connect(sim.addr());
    set_small_window(silent.stream.get_ref());
    silent.send(chat("silent", 1, 1_000_000)).head();
    // The engine still serves the others: it is not busy with that one.
    for i in 0..20 {
        assert_eq!(Client::connect(sim.addr()).send(chat(&format!("o-{i}"), 1, 5)).receive().chunks.len(), 7);
    }
    let totals = sim.stop().unwrap();
    assert!(totals.tokens < 100_000, "{totals:?}");
    let mut first = [0; 1];
    silent.stream.read_exact(&mut first).unwrap();
}
