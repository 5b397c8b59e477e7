//! What each dialect looks like on the wire.

use std::time::Duration;

use serde_json::json;
use tics_sim::{Dialect, HeadTiming, SimOptions, Timetable};

use crate::client::{CHAT, Client, chat, chat_body, post, start};

fn at_once() -> SimOptions {
    SimOptions {
        timetable: Timetable::Fixed { ttft: Duration::ZERO, itl: Duration::ZERO },
        ..SimOptions::default()
    }
}

fn as_chunk(event: &str) -> String {
    format!("{:x}\r\n{event}\r\n", event.len())
}

/// All bytes of the response, up to the end of the connection.
fn wire(options: SimOptions, request: &str) -> String {
    let sim = start(options);
    let mut client = Client::connect(sim.addr());
    let bytes = client.send(request).rest();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn vllm_chat_byte_for_byte() {
    let body = chat_body(3, 2).replace("true}", r#"true,"stream_options":{"include_usage":true}}"#);
    let headers = "x-request-id: r-9\r\nconnection: close\r\n";
    let text = wire(at_once(), &crate::client::post_with(CHAT, headers, &body));
    let created = text.split("\"created\":").nth(1).unwrap().split(',').next().unwrap();
    let base = format!(
        "data: {{\"id\":\"chatcmpl-r-9\",\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":\"tics-sim\",\"choices\":["
    );
    let mut expected = "HTTP/1.1 200 OK\r\nserver: tics-sim\r\n\
        content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        .to_owned();
    let words: Vec<&str> =
        text.split("{\"content\":\"").skip(1).map(|s| s.split('"').next().unwrap()).collect();
    let [first, last] = words[..] else { panic!("{text}") };
    for event in [
        format!(
            "{base}{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        ),
        format!(
            "{base}{{\"index\":0,\"delta\":{{\"content\":\"{first}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        ),
        format!(
            "{base}{{\"index\":0,\"delta\":{{\"content\":\"{last}\"}},\"logprobs\":null,\"finish_reason\":\"length\",\"stop_reason\":null}}]}}\n\n"
        ),
        format!("{base}],\"usage\":{{\"prompt_tokens\":3,\"total_tokens\":5,\"completion_tokens\":2}}}}\n\n"),
        "data: [DONE]\n\n".to_owned(),
    ] {
        expected += &as_chunk(&event);
    }
    expected += "0\r\n\r\n";
    assert_eq!(text, expected);
    assert!(first.len() > 1 && first.starts_with(' ') && last.len() > 1 && last.starts_with(' '));
}

#[test]
fn minisgl_byte_for_byte() {
    let options = SimOptions { dialect: Dialect::MiniSgl, textless_every: 2, ..at_once() };
    // Streamed though not asked to be, and limited by `max_tokens` alone.
    let body = r#"{"model":"any","messages":[{"role":"user","content":"a b"}],"max_tokens":3,"max_completion_tokens":9}"#;
    let request = crate::client::post_with(CHAT, "connection: close\r\n", body);
    let text = wire(options, &request);
    let words: Vec<&str> =
        text.split("\"content\": \"").skip(1).map(|s| s.split('"').next().unwrap()).collect();
    let [first, third] = words[..] else { panic!("{text}") };
    let event = |delta: String, reason: &str| {
        as_chunk(&format!(
            "data: {{\"id\": \"cmpl-0\", \"object\": \"text_completion.chunk\", \"choices\": \
             [{{\"delta\": {{{delta}}}, \"index\": 0, \"finish_reason\": {reason}}}]}}\n\n"
        ))
    };
    let expected = [
        "HTTP/1.1 200 OK\r\nserver: tics-sim\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            .to_owned(),
        event(format!("\"role\": \"assistant\", \"content\": \"{first}\""), "null"),
        event(String::new(), "null"),
        event(format!("\"content\": \"{third}\""), "null"),
        event(String::new(), "\"stop\""),
        as_chunk("data: [DONE]\n\n"),
        "0\r\n\r\n".to_owned(),
    ]
    .concat();
    assert_eq!(text, expected);
}

#[test]
fn http_1_0_is_ended_by_the_connection() {
    let body = chat_body(1, 2);
    let request = format!("POST {CHAT} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let text = wire(at_once(), &request);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked") && head.contains("connection: close"), "{head}");
    assert!(body.starts_with("data: {") && body.ends_with("\n\ndata: [DONE]\n\n"), "{body}");
}

#[test]
fn every_event_is_its_own_chunk_and_the_same_request_has_the_same_text() {
    let sim = start(at_once());
    let mut client = Client::connect(sim.addr());
    let first = client.send(chat("a", 4, 20)).receive();
    // Role, 20 tokens (the last with the finish reason), [DONE].
    assert_eq!(first.chunks.len(), 22);
    for chunk in &first.chunks {
        assert!(chunk.starts_with(b"data: ") && chunk.ends_with(b"\n\n"));
        assert_eq!(chunk.windows(2).filter(|pair| pair == b"\n\n").count(), 1);
    }
    let second = client.send(chat("b", 4, 20)).receive();
    assert_eq!(first.content(), second.content());
    assert_eq!(first.content().split_whitespace().count(), 20);
}

#[test]
fn a_response_in_one_piece() {
    let sim = start(at_once());
    let mut client = Client::connect(sim.addr());
    let streamed = client.send(chat("a", 4, 3)).receive().content();
    let whole = client.send(post(CHAT, &chat_body(4, 3).replace("true", "false"))).receive();
    assert_eq!(whole.status, 200);
    let body = whole.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["message"], json!({"role": "assistant", "content": streamed}));
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["usage"], json!({"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}));
    let text = r#"{"model":"tics-sim","prompt":"a b","max_tokens":3}"#;
    let body = client.send(post("/v1/completions", text)).receive().json();
    assert_eq!((&body["object"], &body["choices"][0]["text"]), (&json!("text_completion"), &json!(streamed)));
}

#[test]
fn usage_in_each_event_if_asked_for() {
    let sim = start(at_once());
    let options = r#"true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#;
    let body = chat_body(4, 3).replace("true}", options);
    let response = Client::connect(sim.addr()).send(post(CHAT, &body)).receive();
    let counted: Vec<u64> =
        response.events().iter().map(|event| event["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(counted, [0, 1, 2, 3, 3]);
}

#[test]
fn the_head_may_wait_for_the_first_token() {
    // The first token is due in an hour: a head that is read was sent before it.
    let timetable = Timetable::Fixed { ttft: Duration::from_hours(1), itl: Duration::ZERO };
    let sim = start(SimOptions { timetable, ..SimOptions::default() });
    let mut client = Client::connect(sim.addr());
    assert!(client.send(chat("a", 1, 1)).head().starts_with("HTTP/1.1 200 OK\r\n"));

    let late = SimOptions { timetable, head: HeadTiming::WithFirstToken, ..SimOptions::default() };
    let sim = start(late);
    let mut client = Client::connect(sim.addr());
    client.send(chat("a", 1, 1));
    let again = Client::connect(sim.addr()).send(crate::client::get("/health")).receive();
    assert_eq!(again.status, 200);
    drop(sim);
    // The server is gone, and had said nothing.
    assert_eq!(client.rest(), b"");

    let sim = start(SimOptions { head: HeadTiming::WithFirstToken, ..at_once() });
    assert_eq!(Client::connect(sim.addr()).send(chat("a", 1, 2)).receive().chunks.len(), 4);
}
