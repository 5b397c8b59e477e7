//! Connections and requests of every shape, and the errors.

use std::io::Read;
use std::time::Duration;

use serde_json::json;
use tics_sim::{ApiKey, Dialect, SimOptions, Timetable};

use crate::client::{CHAT, Client, chat, chat_body, get, post, post_with, start, truth};

fn at_once() -> SimOptions {
    SimOptions {
        timetable: Timetable::Fixed { ttft: Duration::ZERO, itl: Duration::ZERO },
        ..SimOptions::default()
    }
}

#[test]
fn small_endpoints_on_one_connection() {
    let sim = start(SimOptions { models: vec!["a".to_owned(), "b".to_owned()], ..at_once() });
    let mut client = Client::connect(sim.addr());
    assert_eq!(client.send(get("/health")).receive().status, 200);
    let models = client.send(get("/v1/models")).receive().json();
    assert_eq!((&models["data"][0]["id"], &models["data"][1]["id"]), (&json!("a"), &json!("b")));
    assert_eq!(client.send(get("/nowhere")).receive().status, 404);
    let wrong = client.send(get(CHAT)).receive();
    assert!(wrong.status == 405 && wrong.has_header("allow: POST"));
    let answer = client.send(post(CHAT, &chat_body(1, 2).replace("tics-sim", "b"))).receive();
    assert!(answer.status == 200 && answer.events()[0]["model"] == "b");
    assert_eq!(sim.stop().unwrap().connections, 1);
}

#[test]
fn every_error_has_its_status_and_shape() {
    let key = SimOptions { api_key: Some(ApiKey::new("k")), ..at_once() };
    let sim = start(key);
    let mut client = Client::connect(sim.addr());
    let refused = client.send(get("/v1/models")).receive();
    assert!(refused.status == 401 && refused.has_header("www-authenticate: Bearer"));
    assert_eq!(refused.json()["error"]["code"], 401);
    let allowed = |body: &str| post_with(CHAT, "authorization: Bearer k\r\n", body);
    assert_eq!(client.send(allowed(&chat_body(1, 1))).receive().status, 200);
    for body in ["{", "{}", r#"{"messages":5}"#, r#"{"messages":[{"role":"user","content":{}}]}"#] {
        let refused = client.send(allowed(body)).receive();
        assert_eq!(
            (refused.status, &refused.json()["error"]["type"]),
            (400, &json!("BadRequestError")),
            "{body}"
        );
    }
    let unknown = client.send(allowed(&chat_body(1, 1).replace("tics-sim", "x"))).receive();
    assert_eq!((unknown.status, &unknown.json()["error"]["param"]), (404, &json!("model")));

    let sim = start(SimOptions { dialect: Dialect::MiniSgl, ..at_once() });
    let mut client = Client::connect(sim.addr());
    let list = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}"#;
    let refused = client.send(post(CHAT, list)).receive();
    assert_eq!(
        (refused.status, &refused.json()["detail"][0]["msg"]),
        (422, &json!("Input should be a valid string"))
    );
    let failed = client.send(post(CHAT, r#"{"model":"m"}"#)).receive();
    assert!(failed.status == 500 && failed.has_header("content-type: text/plain; charset=utf-8"));
    assert_eq!(failed.text(), "Internal Server Error");
    assert_eq!(client.send(post("/v1/completions", "{}")).receive().status, 404);
}

#[test]
fn what_is_not_http_is_refused_and_the_connection_ends() {
    let sim = start(at_once());
    for bytes in ["\x16\x03\x01\x00\x01\x01\r\n", "GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n"] {
        let mut client = Client::connect(sim.addr());
        let answer = client.send(bytes).receive();
        assert!(answer.status == 400 || answer.status == 501);
        assert!(answer.has_header("connection: close"));
        assert_eq!(client.rest(), b"");
    }
    let mut client = Client::connect(sim.addr());
    let endless = format!("POST {CHAT} HTTP/1.1\r\ncontent-length: 999999999999\r\n\r\n");
    assert_eq!(client.send(endless).receive().status, 413);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let sim = start(at_once());
    let mut client = Client::connect(sim.addr());
    for byte in chat("x", 2, 2).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.receive().content().split_whitespace().count(), 2);
}

#[test]
fn a_request_body_may_be_chunked() {
    let sim = start(at_once());
    let mut client = Client::connect(sim.addr());
    let body = chat_body(5, 2);
    let (one, two) = body.split_at(30);
    client.send(format!("POST {CHAT} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"));
    client.send(format!("{:x}\r\n{one}\r\n", one.len()));
    client.send(format!("{:x};a=b\r\n{two}\r\n0\r\ntrailer: x\r\n\r\n", two.len()));
    assert_eq!(client.receive().content().split_whitespace().count(), 2);
    assert_eq!(client.send(get("/health")).receive().status, 200);
}

#[test]
fn a_client_that_expects_a_continue_gets_it() {
    let sim = start(at_once());
    let mut client = Client::connect(sim.addr());
    let request = post_with(CHAT, "expect: 100-continue\r\n", &chat_body(1, 1));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(client.send(format!("{head}\r\n\r\n")).head(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.send(body).receive().status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let timetable = Timetable::Fixed { ttft: Duration::from_millis(5), itl: Duration::from_millis(1) };
    let sim = start(SimOptions { timetable, ..SimOptions::default() });
    let mut client = Client::connect(sim.addr());
    let all = [chat("p-0", 1, 3), get("/health"), chat("p-1", 1, 2), get("/nowhere")].concat();
    client.send(all);
    assert!(client.receive().text().contains("chatcmpl-p-0"));
    assert_eq!(client.receive().status, 200);
    assert!(client.receive().text().contains("chatcmpl-p-1"));
    assert_eq!(client.receive().status, 404);
}

#[test]
fn more_input_than_is_kept_ahead_waits_in_the_kernel() {
    let timetable = Timetable::Fixed { ttft: Duration::from_millis(10), itl: Duration::ZERO };
    let sim = start(SimOptions { timetable, ..SimOptions::default() });
    let mut client = Client::connect(sim.addr());
    let mut writer = client.stream.get_ref().try_clone().unwrap();
    let feed = std::thread::spawn(move || {
        for i in 0..40 {
            std::io::Write::write_all(&mut writer, chat(&format!("q-{i}"), 20_000, 1).as_bytes()).unwrap();
        }
    });
    for i in 0..40 {
        assert!(client.receive().text().contains(&format!("chatcmpl-q-{i}\"")), "{i}");
    }
    feed.join().unwrap();
}

#[test]
fn a_client_that_asks_and_does_not_read_is_answered_when_it_does() {
    // Long answers, so that the socket is full long before the last question: 20 MB of model names in all.
    let sim = start(SimOptions { models: vec!["m".repeat(1 << 16); 4], ..at_once() });
    let mut client = Client::connect(sim.addr());
    let mut writer = client.stream.get_ref().try_clone().unwrap();
    let padding = "x".repeat(50_000);
    let feed = std::thread::spawn(move || {
        for _ in 0..40 {
            let get = format!("GET /v1/models HTTP/1.1\r\nx-padding: {padding}\r\n\r\n");
            std::io::Write::write_all(&mut writer, get.as_bytes()).unwrap();
        }
    });
    for _ in 0..40 {
        assert_eq!(client.receive().json()["data"].as_array().unwrap().len(), 4);
    }
    feed.join().unwrap();
}

#[test]
fn a_connection_ends_after_so_many_requests() {
    let sim = start(SimOptions {
        max_requests: Some(2),
        keep_alive: Some(Duration::from_mins(1)),
        announce_keep_alive: true,
        ..at_once()
    });
    let mut client = Client::connect(sim.addr());
    assert!(client.send(get("/health")).receive().has_header("keep-alive: timeout=60, max=1"));
    let last = client.send(chat("x", 1, 1)).receive();
    assert!(last.status == 200 && last.has_header("connection: close"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn an_idle_connection_ends_but_not_one_with_a_response_on_its_way() {
    let timetable = Timetable::Fixed { ttft: Duration::from_millis(120), itl: Duration::ZERO };
    let sim =
        start(SimOptions { timetable, keep_alive: Some(Duration::from_millis(40)), ..SimOptions::default() });
    let mut client = Client::connect(sim.addr());
    assert_eq!(client.send(chat("x", 1, 1)).receive().status, 200);
    assert_eq!(client.rest(), b"");
    let mut unused = Client::connect(sim.addr());
    assert_eq!(unused.rest(), b"");
}

#[test]
fn without_a_limit_nothing_is_announced_and_the_connection_stays() {
    let sim = start(at_once());
    let mut client = Client::connect(sim.addr());
    for _ in 0..200 {
        let answer = client.send(get("/health")).receive();
        assert!(!answer.head.contains("keep-alive") && !answer.head.contains("close"));
    }
}

#[test]
fn a_head_request_has_no_body() {
    let sim = start(at_once());
    let mut client = Client::connect(sim.addr());
    client.send("HEAD /nowhere HTTP/1.1\r\nconnection: close\r\n\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(text.starts_with("HTTP/1.1 404") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn the_dump_is_what_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (dump, log) = (dir.path().join("dump.jsonl"), dir.path().join("truth.jsonl"));
    let sim = start(SimOptions { dump: Some(dump.clone()), truth: Some(log.clone()), ..at_once() });
    let mut client = Client::connect(sim.addr());
    let pretty = "{\n  \"messages\": [ {\"role\": \"user\", \"content\": \"caf\u{e9} \\n \\u0041\"} ],\r\n \"top_k\": 1.50 }";
    client.send(post_with(CHAT, "x-request-id: d-0\r\n", pretty)).receive();
    client.send(post(CHAT, "{\"messages\"")).receive();
    client.send(chat("d-1", 3, 1)).receive();
    drop(client);
    sim.stop().unwrap();
    let text = std::fs::read_to_string(&dump).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let expected = pretty.replace(['\n', '\r'], " ");
    assert_eq!(lines[0], format!("{{\"id\":\"d-0\",\"body\":{expected}}}"));
    assert_eq!(lines[1], "{\"id\":null,\"invalid\":\"{\\\"messages\\\"\"}");
    assert_eq!(lines[2], format!("{{\"id\":\"d-1\",\"body\":{}}}", chat_body(3, 1)));
    let ends: Vec<String> =
        truth(&log).iter().map(|line| line["ended"].as_str().unwrap().to_owned()).collect();
    // The second never reached the engine, so its line may come before that of the first.
    assert!(
        ends.contains(&"rejected:400".to_owned()) && ends.iter().filter(|e| *e == "complete").count() == 2
    );
}

#[test]
fn a_log_that_cannot_be_created_is_known_at_the_start() {
    let options = SimOptions { truth: Some("/nonexistent/truth.jsonl".into()), ..SimOptions::default() };
    let error = tics_sim::Sim::start(options).unwrap_err().to_string();
    assert_eq!(error, "cannot write /nonexistent/truth.jsonl");
}

#[test]
fn stopping_cuts_what_is_in_flight_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("truth.jsonl");
    let timetable = Timetable::Fixed { ttft: Duration::ZERO, itl: Duration::from_hours(1) };
    let sim = start(SimOptions { timetable, truth: Some(log.clone()), ..SimOptions::default() });
    let mut client = Client::connect(sim.addr());
    client.send(chat("s-0", 1, 9)).head();
    let mut first = [0; 1];
    client.stream.read_exact(&mut first).unwrap();
    let stopper = sim.stopper();
    let waiter = std::thread::spawn(move || sim.wait().unwrap());
    stopper.stop();
    assert_eq!(waiter.join().unwrap().shutdown, 1);
    let lines = truth(&log);
    assert_eq!((lines.len(), &lines[0]["ended"]), (1, &json!("shutdown")));
}
