//! The scanner against its oracle, and what the scanner must answer by itself.

use proptest::prelude::*;

use super::{Decoder, by_serde, decode, scan};

/// Both readers on one event.
fn agree(data: &[u8]) -> Result<(), TestCaseError> {
    let shown = || String::from_utf8_lossy(data).into_owned();
    for name in [&b""[..], b"error", b"message"] {
        prop_assert_eq!(decode(name, data), by_serde::decode(name, data), "{}", shown());
    }
    Ok(())
}

#[track_caller]
fn both(data: &str) {
    assert_eq!(decode(b"", data.as_bytes()), by_serde::decode(b"", data.as_bytes()), "{data}");
}

/// Both agree, and serde_json was not needed.
#[track_caller]
fn fast(data: &str) {
    both(data);
    assert!(scan::scan(data.as_bytes()).is_some(), "left to serde_json: {data}");
}

#[track_caller]
fn slow(data: &str) {
    both(data);
    assert!(scan::scan(data.as_bytes()).is_none(), "answered: {data}");
}

/// Events as the servers write them.
const VLLM: &str = r#"{"id":"chatcmpl-7f3a","object":"chat.completion.chunk","created":1700000000,"model":"org/model","choices":[{"index":0,"delta":{"content":" the"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#;
const VLLM_COUNTED: &str = r#"{"id":"chatcmpl-7f3a","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"reasoning":"Hm"},"logprobs":{"content":[{"token":"Hm","logprob":-0.0012,"bytes":[72,109],"top_logprobs":[]}]},"finish_reason":null}],"usage":{"prompt_tokens":12,"total_tokens":15,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8}}}"#;
const SGLANG: &str = r#"{"id":"7c1","object":"chat.completion.chunk","created":1700000000,"model":"default","choices":[{"index":0,"delta":{"role":null,"content":" the","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}"#;
const SGLANG_TOOL: &str = r#"{"id":"7c1","object":"chat.completion.chunk","created":1700000000,"model":"default","choices":[{"index":0,"delta":{"role":null,"content":null,"reasoning_content":null,"tool_calls":[{"id":null,"index":0,"type":"function","function":{"name":null,"arguments":"{\"city\": \"Z\u00fcrich\"}"}}]},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}"#;
const SGLANG_FINISH: &str = r#"{"id":"7c1","object":"chat.completion.chunk","created":1700000000,"model":"default","choices":[{"index":0,"delta":{"role":null,"content":null,"reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"length","matched_stop":151645}],"usage":null}"#;
const MINI_SGLANG: &str = r#"{"id":"cmpl-12","object":"text_completion.chunk","choices":[{"delta":{"content":" the"},"index":0,"finish_reason":null}]}"#;
const LLAMA_CPP: &str = r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"\n的"}}],"created":1700000000,"id":"chatcmpl-x","model":"m.gguf","system_fingerprint":"b6000","object":"chat.completion.chunk","timings":{"cache_n":0,"prompt_n":11,"prompt_ms":46.123,"predicted_per_second":2.1e2}}"#;
const TGI: &str = r#"{"object":"chat.completion.chunk","id":"","created":1700000000,"model":"m","system_fingerprint":"3.0","choices":[{"index":0,"delta":{"role":"assistant","content":" \ud83d\ude00"},"logprobs":null,"finish_reason":null}],"usage":null}"#;
const COMPLETION: &str = r#"{"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"m","choices":[{"index":0,"text":" the","logprobs":null,"finish_reason":null,"stop_reason":null}]}"#;
const PYTHON: &str = r#"{"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": " the"}, "finish_reason": null}]}"#;
const USAGE: &str =
    r#"{"id":"c","choices":[],"usage":{"prompt_tokens":100,"total_tokens":200,"completion_tokens":100}}"#;

const SEEN: [&str; 11] = [
    VLLM,
    VLLM_COUNTED,
    SGLANG,
    SGLANG_TOOL,
    SGLANG_FINISH,
    MINI_SGLANG,
    LLAMA_CPP,
    TGI,
    COMPLETION,
    PYTHON,
    USAGE,
];

#[test]
fn what_servers_send_takes_the_fast_way() {
    for event in SEEN {
        fast(event);
    }
    fast(r#"{"choices":[{"delta":{},"finish_reason":"stop"},{"delta":{"content":"a"}},{}]}"#);
    fast(r#"{"choices":null,"usage":{},"error":null,"object":null}"#);
    fast(" { } \r\n\t");
}

#[test]
fn every_byte_removed_or_replaced() {
    for event in SEEN {
        for at in 0..event.len() {
            both(&String::from_utf8_lossy(&event.as_bytes()[..at]));
            for with in [&b""[..], b" ", b"\"", b"\\", b"0", b"}", b"]", b",", b"n", b"\x00", b"\xc3"] {
                let bytes = [&event.as_bytes()[..at], with, &event.as_bytes()[at + 1..]].concat();
                assert_eq!(decode(b"", &bytes), by_serde::decode(b"", &bytes), "{bytes:?}");
            }
        }
    }
}

#[test]
fn rare_forms_are_left_to_serde_json() {
    slow(r#"{"error":{"message":"no"}}"#);
    slow(r#"{"object":"error"}"#);
    slow(r#"{"\u0063hoices":[{"text":"a"}]}"#);
    slow(r#"{"choices":[{"text":"a"}],"choices":[]}"#);
    slow(r#"{"choices":[{"text":"a","text":null}]}"#);
    slow(r#"{"choices":[{"delta":{"content":5}}]}"#);
    slow(r#"{"choices":[{"delta":{"content":"\ud800"}}]}"#);
    slow(r#"{"choices":[{"finish_reason":"\u0061"}]}"#);
    slow(r#"{"choices":[{"finish_reason":7}]}"#);
    slow(r#"[null,[{"text":"a"}]]"#);
    for count in ["-1", "1.0", "01", "1e2", "4294967296", "\"1\""] {
        slow(&format!(r#"{{"usage":{{"prompt_tokens":{count}}}}}"#));
    }
    let deep = |n: usize| format!(r#"{{"x":{}{},"choices":[]}}"#, "[".repeat(n), "]".repeat(n));
    fast(&deep(63));
    slow(&deep(64));
    slow(&deep(1_000));
}

/// White space, nearly always none; once in a while, what is no white space.
fn white() -> impl Strategy<Value = String> {
    prop_oneof![40 => Just(String::new()), 4 => "[ \n\r\t]{1,9}", 1 => Just("\u{c}".to_owned())]
}

/// The inside of a string, as it is written.
fn inside() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z :,\\[\\]{}]{0,12}",
        2 => "[é的\u{7f}\u{1F600}]{1,3}",
        2 => prop::sample::select(vec![r#"\""#, r"\\", r"\/", r"\n", r"\t", r"\b", r"\f", r"\r", r"\u0041"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            r"\ud83d\ude00", r"\uD83D\uDE00", r"\ud83d", r"\ude00", r"\ud83d\ud83d", r"\ud83dx", r"\ud83d\n",
            r"\u12", r"\uzzzz", r"\x", r"\u00E9", "\n", "\u{0}", "\u{1f}", "\\",
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![2 => Just(String::new()), 8 => prop::collection::vec(piece, 1..3).prop_map(|p| p.concat())]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0u32..5_000).prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => any::<f64>().prop_map(|n| n.to_string()),
        2 => prop::sample::select(vec![
            "0", "-0", "00", "01", "-1", "1.", "1.5", ".5", "1e5", "1E+5", "1e", "1e400", "-", "+1", "4294967295",
            "4294967296", "0x1", "NaN", "0.0e-0", "12 3",
        ])
        .prop_map(str::to_owned),
    ]
}

/// An object with these keys and values, in this order, with white space wherever it may be.
fn object(member: impl Strategy<Value = (String, String)>, most: usize) -> impl Strategy<Value = String> {
    let end = prop_oneof![30 => Just("}"), 1 => Just(",}"), 1 => Just("]"), 1 => Just("")];
    let members = prop::collection::vec((white(), member, white()), 0..=most);
    (members, white(), end).prop_map(|(members, inner, end)| {
        let members: Vec<String> = members
            .into_iter()
            .map(|(before, (key, value), between)| {
                format!("{before}\"{key}\"{between}:{before}{value}{between}")
            })
            .collect();
        format!("{{{inner}{}{end}", members.join(","))
    })
}

fn array(element: impl Strategy<Value = String>, most: usize) -> impl Strategy<Value = String> {
    let end = prop_oneof![30 => Just("]"), 1 => Just(",]"), 1 => Just("}"), 1 => Just("")];
    (prop::collection::vec((white(), element, white()), 0..=most), white(), end).prop_map(
        |(elements, inner, end)| {
            let elements: Vec<String> = elements.into_iter().map(|(a, e, b)| a + &e + &b).collect();
            format!("[{inner}{}{end}", elements.join(","))
        },
    )
}

/// Any value.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        3 => Just("null".to_owned()),
        1 => prop::sample::select(vec!["true", "false", "nul", "nulll", "True", ""]).prop_map(str::to_owned),
        3 => number(),
        6 => inside().prop_map(|text| format!("\"{text}\"")),
    ];
    scalar
        .prop_recursive(4, 24, 4, |inner| prop_oneof![object((inside(), inner.clone()), 3), array(inner, 3)])
}

/// One of `known`, now and then with an escape in it, or another key.
fn key(known: &'static [&'static str]) -> impl Strategy<Value = String> {
    let escaped = prop::sample::select(known)
        .prop_map(|key| format!("\\u{:04x}{}", u32::from(key.as_bytes()[0]), &key[1..]));
    prop_oneof![30 => prop::sample::select(known).prop_map(str::to_owned), 1 => escaped, 4 => inside()]
}

/// A value as it belongs, mostly.
fn or_any(usual: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    prop_oneof![8 => usual, 2 => Just("null".to_owned()), 1 => value()]
}

fn text() -> impl Strategy<Value = String> {
    or_any(inside().prop_map(|text| format!("\"{text}\"")))
}

fn chunk() -> impl Strategy<Value = String> {
    const DELTA: &[&str] = &[
        "content",
        "role",
        "reasoning",
        "reasoning_content",
        "tool_calls",
        "function_call",
        "refusal",
        "other",
    ];
    let delta = object((key(DELTA), prop_oneof![4 => text().boxed(), 1 => value().boxed()]), 4).boxed();
    let reason = or_any(prop::sample::select(vec!["\"stop\"", "\"length\""]).prop_map(str::to_owned));
    let choice = prop_oneof![
        4 => (Just("delta".to_owned()), or_any(delta)),
        2 => (Just("text".to_owned()), text()),
        2 => (Just("finish_reason".to_owned()), reason),
        2 => (key(&["index", "logprobs", "delta", "text"]), value()),
    ];
    let choices = array(or_any(object(choice, 3)), 2);
    let details = object((key(&["cached_tokens", "audio_tokens"]), or_any(number())), 2);
    let count = prop_oneof![4 => or_any(number()).boxed(), 1 => or_any(details).boxed()];
    let usage = object(
        (key(&["prompt_tokens", "completion_tokens", "prompt_tokens_details", "total_tokens"]), count),
        4,
    );
    let called = prop::sample::select(vec![
        "\"chat.completion.chunk\"",
        "\"text_completion.chunk\"",
        "\"error\"",
        "\"\\u0065rror\"",
    ])
    .prop_map(str::to_owned);
    let member = prop_oneof![
        6 => (Just("choices".to_owned()), or_any(choices)),
        3 => (Just("usage".to_owned()), or_any(usage)),
        3 => (Just("object".to_owned()), or_any(called)),
        1 => (Just("error".to_owned()), value()),
        4 => (key(&["id", "created", "model", "error", "choices"]), value()),
    ];
    (white(), object(member, 5), white()).prop_map(|(before, object, after)| before + &object + &after)
}

/// One change to a document's bytes: where, how much is lost there, what is put in.
type Change = (prop::sample::Index, usize, Vec<u8>);

fn change() -> impl Strategy<Value = Change> {
    let put = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3),
        prop::sample::select(vec![
            &b"\""[..],
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"null",
            b" ",
            b"\xff"
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    (any::<prop::sample::Index>(), 0usize..3, put)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (at, lost, put) in changes {
        let at = at.index(bytes.len() + 1);
        let to = bytes.len().min(at + lost);
        bytes.splice(at..to, put.iter().copied());
    }
    bytes
}

/// A stream in which, mostly, only the text changes: each event is a form of one document, the marked
/// places of which are filled anew.
fn stream() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let form = prop_oneof![
        6 => prop::sample::select(&SEEN[..]).prop_map(|event| event.replace(" the", "@")),
        1 => Just(r#"{"choices":[{"text":"@","delta":{"content":"@","role":"x"}}]}"#.to_owned()),
        1 => Just(r#"{"object":"@","choices":[{"delta":{"reasoning":"@"}}],"usage":@}"#.to_owned()),
        1 => chunk(),
    ];
    let text = prop_oneof![
        8 => inside(),
        1 => Just(r#"a","x":""#.to_owned()),
        1 => Just(r#"","role":"a"#.to_owned()),
        1 => Just("null".to_owned()),
    ];
    let changes = prop_oneof![8 => Just(vec![]), 1 => prop::collection::vec(change(), 1..3)];
    (form, prop::collection::vec((text, changes), 1..8)).prop_map(|(form, events)| {
        let event =
            |(text, changes): &(String, Vec<Change>)| changed(form.replace('@', text).into_bytes(), changes);
        events.iter().map(event).collect()
    })
}

#[test]
fn only_the_text_may_change() {
    let event = |text: &str| format!(r#"{{"object":"x","choices":[{{"delta":{{"content":"{text}"}}}}]}}"#);
    let texts = [
        "a",
        "bc",
        "",
        "d",
        r"\n",
        "\\\"",
        "e\\",
        "\u{0}",
        r"\ud800",
        "的",
        r#"","content":""#,
        r#"","y":""#,
    ];
    let mut decoder = Decoder::new();
    for text in texts {
        let event = event(text);
        assert_eq!(decoder.decode(b"", event.as_bytes()), by_serde::decode(b"", event.as_bytes()), "{event}");
    }
    // Before and behind the text there must not be the same bytes twice.
    for event in [
        r#"{"choices":[{"text":"a"},{"text":"a"}]}"#,
        r#"{"choices":[{"text":"a"}]}"#,
        r#"{"choices":[{"text":"}]}"#,
    ] {
        assert_eq!(decoder.decode(b"", event.as_bytes()), by_serde::decode(b"", event.as_bytes()), "{event}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn chunks(chunk in chunk()) {
        agree(chunk.as_bytes())?;
    }

    #[test]
    fn chunks_with_changes(
        chunk in prop_oneof![prop::sample::select(&SEEN[..]).prop_map(str::to_owned), chunk()],
        changes in prop::collection::vec(change(), 1..4),
    ) {
        agree(&changed(chunk.into_bytes(), &changes))?;
    }

    #[test]
    fn chunks_cut_off(chunk in chunk(), at in any::<prop::sample::Index>()) {
        agree(&chunk.as_bytes()[..at.index(chunk.len() + 1)])?;
    }

    #[test]
    fn a_stream_with_a_memory(events in stream()) {
        let mut decoder = Decoder::new();
        for event in &events {
            let shown = String::from_utf8_lossy(event).into_owned();
            prop_assert_eq!(decoder.decode(b"", event), by_serde::decode(b"", event), "{}", shown);
        }
    }

    #[test]
    fn bytes_that_are_no_json(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        agree(&bytes)?;
    }
}
