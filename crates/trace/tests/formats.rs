//! Every format, in the shape in which it is published.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod support;

use std::sync::Arc;

use tics_record::Nanos;
use tics_trace::{Format, Id, OpenOptions, RawJson, Row, Selection, Trace, WriteFormat};

fn open(text: &str) -> Trace {
    Trace::read(text.as_bytes(), "fixture", &OpenOptions::default()).unwrap()
}

fn rows(trace: &Trace) -> Vec<Row> {
    trace.rows().collect::<Result<_, _>>().unwrap()
}

fn written(target: WriteFormat, rows: &[Row]) -> String {
    String::from_utf8(support::written(target, rows)).unwrap()
}

const MOONCAKE: &str = "\
{\"timestamp\": 0, \"input_length\": 1025, \"output_length\": 52, \"hash_ids\": [46, 47, 48]}
{\"timestamp\": 27482, \"input_length\": 512, \"output_length\": 1, \"hash_ids\": [46]}
{\"timestamp\": 30535.25, \"input_length\": 20, \"output_length\": 9, \"session_id\": \"abc\", \"delay\": 2}
";

#[test]
fn mooncake_counts_milliseconds() {
    let trace = open(MOONCAKE);
    assert_eq!(trace.index().format, Format::Mooncake);
    let rows = rows(&trace);
    assert_eq!(
        rows[0],
        Row {
            line: 1,
            at: Nanos::ZERO,
            input_length: 1025,
            output_length: 52,
            hash_ids: Some(vec![46, 47, 48]),
            block_size: Some(512),
            ..Row::default()
        }
    );
    assert_eq!(rows[1].at, Nanos::from_millis(27_482));
    assert_eq!(rows[2].at, Nanos::from_micros(30_535_250));
    assert_eq!(rows[2].session.as_deref(), Some("abc"));
    assert_eq!(rows[2].delay, Some(Nanos::from_millis(2)));
    assert_eq!(rows[2].block_size, None);
}

const QWEN: &str = "\
{\"chat_id\": 54, \"parent_chat_id\": -1, \"timestamp\": 0.0, \"input_length\": 30, \"output_length\": 1494, \
\"type\": \"thinking\", \"turn\": 1, \"hash_ids\": [0, 1]}
{\"chat_id\": 159, \"parent_chat_id\": 54, \"timestamp\": 61.114, \"input_length\": 33, \"output_length\": 132, \
\"type\": \"text\", \"turn\": 2, \"hash_ids\": [0, 2, 13148]}
";

#[test]
fn qwen_counts_seconds_and_links_turns() {
    let trace = open(QWEN);
    assert_eq!(trace.index().format, Format::Qwen);
    let rows = rows(&trace);
    assert_eq!((rows[0].id.clone(), rows[0].parent.clone()), (Some(Id::Number(54)), None));
    assert_eq!(
        rows[1],
        Row {
            line: 2,
            at: Nanos::new(61_114_000_000),
            input_length: 33,
            output_length: 132,
            hash_ids: Some(vec![0, 2, 13148]),
            block_size: Some(16),
            id: Some(Id::Number(159)),
            parent: Some(Id::Number(54)),
            kind: Some("text".to_owned()),
            turn: Some(2),
            ..Row::default()
        }
    );
}

const TICS: &str = r#"{"timestamp_s": 0.215729, "input_length": 521, "output_length": 132}
{"timestamp_s": 1, "input_length": 70, "output_length": 5, "id": "a", "session_id": 7, "hash_ids": [1, 2], "block_size": 64}
{"timestamp_s": 1.000000001, "output_length": 5, "id": "b", "parent": "a", "delay_s": 0.5, "type": "code", "turn": 2, "prompt": "Say \"h\u00e9\""}
{"timestamp_s": 2, "output_length": 4, "messages": [{"role": "user",  "content": "Hi"}]}
{"timestamp_s": 3, "output_length": 4, "payload": {"model": "m", "messages": []}, "mine": [null, {"x": 1}]}
"#;

#[test]
fn own_rows_hold_everything() {
    let trace = open(TICS);
    assert_eq!(trace.index().format, Format::Tics);
    assert_eq!(trace.index().uncounted, 3);
    let rows = rows(&trace);
    assert_eq!(rows[0].at, Nanos::new(215_729_000));
    assert_eq!((rows[1].session.as_deref(), rows[1].block_size), (Some("7"), Some(64)));
    assert_eq!(rows[2].at, Nanos::new(1_000_000_001));
    assert_eq!(rows[2].delay, Some(Nanos::from_millis(500)));
    assert_eq!(rows[2].prompt.as_deref(), Some("Say \"h\u{e9}\""));
    assert_eq!(rows[2].parent, Some(Id::Text("a".to_owned())));
    let text = |json: &Option<RawJson>| json.as_ref().map(|json| json.as_str().to_owned());
    assert_eq!(text(&rows[3].messages).unwrap(), r#"[{"role": "user",  "content": "Hi"}]"#, "byte for byte");
    assert_eq!(text(&rows[4].payload).unwrap(), r#"{"model": "m", "messages": []}"#);
    let back = self::rows(&open(&written(WriteFormat::Tics, &rows)));
    assert_eq!(back, rows, "written and read back");
}

#[test]
fn written_rows_are_the_published_shape() {
    let mooncake = written(WriteFormat::Mooncake, &rows(&open(MOONCAKE)));
    assert_eq!(mooncake, MOONCAKE.replace(": ", ":").replace(", ", ","));
    let qwen = written(WriteFormat::Qwen, &rows(&open(QWEN)));
    assert_eq!(qwen, QWEN.replace(": ", ":").replace(", ", ","));
    let moved = written(WriteFormat::Mooncake, &rows(&open(QWEN)));
    assert!(!moved.contains("hash_ids"), "blocks of 16 tokens would be false in a format of 512: {moved}");
}

#[test]
fn azure_2023_has_seven_digits_and_no_last_line_end() {
    let trace = open(
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n\
         2023-11-16 18:15:50.9951690,396,109",
    );
    assert_eq!(trace.index().format, Format::Azure);
    let rows = rows(&trace);
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0].line, rows[0].at, rows[0].input_length, rows[0].output_length),
        (2, Nanos::ZERO, 374, 44)
    );
    assert_eq!(rows[1].at, Nanos::new(4_314_579_000));
}

#[test]
fn azure_2024_has_a_zone_and_whole_seconds() {
    let trace = open(
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,0,2162,5\n\
         2024-05-10 00:00:01+00:00,1,7,8\n",
    );
    assert_eq!(rows(&trace)[1].at, Nanos::new(990_070_000));
}

#[test]
fn dates_out_of_order_count_from_the_earliest() {
    let trace =
        open("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:03,1,5\n2024-05-10 00:00:01,7,8\n");
    assert!(!trace.index().sorted);
    let rows = rows(&trace);
    assert_eq!((rows[0].line, rows[0].at), (3, Nanos::ZERO));
    assert_eq!((rows[1].line, rows[1].at), (2, Nanos::from_secs(2)));
}

#[test]
fn prompts_are_counted_by_whoever_can() {
    let text = "{\"prompt\": \"one two three\", \"output_length\": 7}\n\n{\"prompt\": \"four\"}\n";
    let options = OpenOptions {
        output_length: Some(16),
        count_tokens: Some(Arc::new(|prompt| prompt.split(' ').count() as u32)),
        ..OpenOptions::default()
    };
    let trace = Trace::read(text.as_bytes(), "prompts", &options).unwrap();
    assert_eq!(
        (trace.index().format, trace.index().input_tokens, trace.index().output_tokens),
        (Format::Prompts, 4, 23)
    );
    let schedule = trace.schedule(&Selection::default()).unwrap();
    assert_eq!((schedule.totals().input_tokens, schedule.totals().span), (4, Nanos::ZERO));
    let requests: Vec<_> = schedule.collect::<Result<_, _>>().unwrap();
    assert_eq!(requests[0].row.prompt.as_deref(), Some("one two three"));
    assert_eq!((requests[0].row.input_length, requests[1].row.input_length), (3, 1));
    assert_eq!((requests[1].row.line, requests[1].row.output_length), (3, 16));
}

#[test]
fn a_format_can_be_forced() {
    let text = "{\"timestamp\": 90, \"input_length\": 5, \"output_length\": 5}\n";
    let seconds = OpenOptions { format: Some(Format::Qwen), ..OpenOptions::default() };
    let trace = Trace::read(text.as_bytes(), "forced", &seconds).unwrap();
    assert_eq!(rows(&trace)[0].at, Nanos::from_secs(90));
    let blocks = "{\"timestamp\": 90, \"input_length\": 50, \"output_length\": 5, \"hash_ids\": [1, 2]}\n";
    let options = OpenOptions { block_size: Some(32), ..OpenOptions::default() };
    let trace = Trace::read(blocks.as_bytes(), "blocks", &options).unwrap();
    assert_eq!((trace.index().block_mismatches, rows(&trace)[0].block_size), (0, Some(32)));
}

#[test]
fn marks_line_ends_and_blank_lines_are_no_content() {
    let plain = open(QWEN);
    let dressed = open(&format!("\u{feff}\n  \n{}\n\n", QWEN.replace('\n', "\r\n").trim_end()));
    let dressed: Vec<Row> = rows(&dressed).into_iter().map(|row| Row { line: row.line - 2, ..row }).collect();
    assert_eq!(dressed, rows(&plain));
}
