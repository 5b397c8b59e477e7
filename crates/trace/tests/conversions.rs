//! From one format to another and back.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use tics_record::Nanos;
use tics_trace::{Format, Id, OpenOptions, RawJson, Row, Trace, WriteFormat, convert};

use support::{without, written};

fn open(bytes: &[u8], format: &str) -> Trace {
    let options = OpenOptions { format: format.parse().ok(), ..OpenOptions::default() };
    Trace::read(bytes, "rows", &options).unwrap()
}

fn rows(trace: &Trace) -> Vec<Row> {
    trace.rows_as_recorded().collect::<Result<_, _>>().unwrap()
}

fn some_id() -> impl Strategy<Value = Id> {
    prop_oneof![(0..i64::MAX).prop_map(Id::Number), ".{0,8}".prop_map(Id::Text)]
}

fn json(strategy: impl Strategy<Value = String>) -> impl Strategy<Value = RawJson> {
    strategy.prop_map(|text| RawJson::parse(text).unwrap())
}

prop_compose! {
    fn some_row()(
        at: u64, input_length in 1_u32.., output_length in 1_u32..,
        blocks in prop::option::of((prop::collection::vec(any::<u64>(), 0..4), prop::sample::select(&[16_u32, 64, 512][..]))),
        id in prop::option::of(some_id()), parent in prop::option::of(some_id()),
        session in prop::option::of(".{0,8}"), delay in prop::option::of(any::<u64>()),
        kind in prop::option::of(".{0,8}"), turn in prop::option::of(any::<u32>()),
        (prompt, messages, payload, counted) in (
            prop::option::of(".{0,20}"),
            prop::option::of(json(prop::collection::vec(".{0,5}", 0..3).prop_map(|v| serde_json::to_string(&v).unwrap()))),
            prop::option::of(json(prop::collection::btree_map("[a-z ]{0,5}", ".{0,5}", 0..3).prop_map(|v| serde_json::to_string_pretty(&v).unwrap().replace('\n', " ")))),
            any::<bool>(),
        ),
    ) -> Row {
        let has_text = prompt.is_some() || messages.is_some() || payload.is_some();
        let (hash_ids, block_size) = blocks.unzip();
        Row {
            line: 0, at: Nanos::new(at), input_length: if counted || !has_text { input_length } else { 0 }, output_length,
            hash_ids, block_size, id, parent, session, delay: delay.map(Nanos::new), kind, turn, prompt, messages, payload,
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_that_the_format_can_hold(made in prop::collection::vec(some_row(), 1..6)) {
        let ours = open(&written(WriteFormat::Tics, &made), "tics");
        let plain = |trace: &Trace| rows(trace).into_iter().map(|row| Row { line: 0, ..row }).collect::<Vec<_>>();
        prop_assert_eq!(&plain(&ours), &made);
        for target in WriteFormat::ALL {
            let mut bytes = Vec::new();
            let converted = convert(&ours, target, &mut bytes).unwrap();
            let expect: Vec<Row> = made.iter().filter(|row| target.can_hold(row))
                .map(|row| without(row.clone(), &target.drops(row).collect::<Vec<_>>())).collect();
            prop_assert_eq!(converted.rows as usize, expect.len());
            prop_assert_eq!(converted.rows + converted.left_out, made.len() as u64);
            prop_assert_eq!(converted.dropped.iter().map(|(_, n)| *n as usize).sum::<usize>(),
                made.iter().filter(|row| target.can_hold(row)).map(|row| target.drops(row).count()).sum::<usize>());
            if expect.is_empty() {
                continue;
            }
            let theirs = open(&bytes, target.name());
            prop_assert_eq!(&plain(&theirs), &expect, "{}", target);
            let mut back = Vec::new();
            let returned = convert(&theirs, WriteFormat::Tics, &mut back).unwrap();
            prop_assert!(returned.dropped.is_empty() && returned.left_out == 0);
            prop_assert_eq!(&plain(&open(&back, "tics")), &expect);
        }
    }
}

#[test]
fn what_is_dropped_is_counted() {
    let text = r#"{"chat_id": 1, "parent_chat_id": -1, "timestamp": 5.25, "input_length": 40, "output_length": 5, "type": "text", "turn": 1, "hash_ids": [1, 2, 3]}
{"chat_id": 2, "parent_chat_id": 1, "timestamp": 6, "input_length": 40, "output_length": 5, "type": "text", "turn": 2}
"#;
    let mut bytes = Vec::new();
    let converted = convert(&open(text.as_bytes(), "qwen"), WriteFormat::Mooncake, &mut bytes).unwrap();
    assert_eq!((converted.rows, converted.left_out), (2, 0));
    assert_eq!(converted.dropped, [("hash_ids", 1), ("id", 2), ("type", 2), ("turn", 2), ("parent", 1)]);
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        "{\"timestamp\":5250,\"input_length\":40,\"output_length\":5}\n\
         {\"timestamp\":6000,\"input_length\":40,\"output_length\":5}\n"
    );
}

/// A file of each format that can be read, into each that can be written.
#[test]
fn every_format_converts_to_every_other() {
    let words: tics_trace::TokenCounter = Arc::new(|text| text.split_whitespace().count() as u32);
    let options = OpenOptions { count_tokens: Some(words), ..OpenOptions::default() };
    let files = [
        (Format::Tics, r#"{"timestamp_s": 0.215729001, "input_length": 521, "output_length": 132}"#),
        (
            Format::Mooncake,
            r#"{"timestamp": 30535.25, "input_length": 20, "output_length": 9, "hash_ids": [1]}"#,
        ),
        (Format::Qwen, r#"{"chat_id": 5, "timestamp": 61.114, "input_length": 20, "output_length": 9}"#),
        (
            Format::Azure,
            "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319601,110,27",
        ),
        (
            Format::BurstGpt,
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5.5,ChatGPT,472,18,490,Conversation log",
        ),
        (
            Format::ShareGpt,
            r#"[{"id": "1", "conversations": [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "c"}]}]"#,
        ),
        (Format::Prompts, r#"{"prompt": "a b c", "output_length": 7}"#),
        (Format::Payload, r#"{"model": "m", "messages": [], "max_tokens": 7}"#),
    ];
    for (format, text) in files {
        let trace = Trace::read(text.as_bytes(), "file", &options).unwrap();
        assert_eq!(trace.index().format, format);
        for target in WriteFormat::ALL {
            let mut bytes = Vec::new();
            let converted = convert(&trace, target, &mut bytes).unwrap();
            assert_eq!(converted.rows + converted.left_out, trace.index().rows);
            assert_eq!(converted.left_out > 0, format == Format::Payload && target == WriteFormat::Qwen);
            if converted.left_out > 0 {
                continue;
            }
            // Recognised by its content, too; columns are a way of writing our own rows.
            let back = Trace::read(&*bytes, "converted", &OpenOptions::default()).unwrap();
            let name = if target == WriteFormat::Parquet { "tics" } else { target.name() };
            assert_eq!(back.index().format.name(), name, "{format}");
            let times = |trace: &Trace| {
                rows(trace).iter().map(|r| (r.at, r.input_length, r.output_length)).collect::<Vec<_>>()
            };
            assert_eq!(times(&back), times(&trace), "{format} to {target}");
        }
    }
}
