//! What is wrong, and where, in one line.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use tics_trace::{OpenOptions, Selection, Trace, TraceError};

fn error_of(content: &[u8]) -> String {
    error_with(content, &OpenOptions::default())
}

fn error_with(content: &[u8], options: &OpenOptions) -> String {
    let error = Trace::read(content, "trace.jsonl", options).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

/// A good row, then `row`: the error must be about line 2.
fn second_row(good: &str, row: &str, expect: &str) {
    assert_eq!(
        error_of(format!("{good}\n{row}\n{good}").as_bytes()),
        format!("trace.jsonl:2: {expect}"),
        "{row}"
    );
}

#[test]
fn mooncake_fields() {
    let good = r#"{"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [1]}"#;
    let tokens = "expected a whole number of tokens from 1 to 4294967295";
    let ms = "expected milliseconds from 0 to 18446744073709";
    let check = |from: &str, to: &str, expect: &str| second_row(good, &good.replacen(from, to, 1), expect);
    check(
        "\"input_length\": 5",
        "\"input_length\": \"abc\"",
        &format!("\"input_length\": {tokens}, found \"abc\""),
    );
    check("\"input_length\": 5", "\"input_length\": 0", &format!("\"input_length\": {tokens}, found 0"));
    check("\"input_length\": 5", "\"input_length\": -3", &format!("\"input_length\": {tokens}, found -3"));
    check("\"input_length\": 5", "\"input_length\": 1.5", &format!("\"input_length\": {tokens}, found 1.5"));
    check(
        "\"input_length\": 5",
        "\"input_length\": 1e300",
        &format!("\"input_length\": {tokens}, found 1e300"),
    );
    check(
        "\"input_length\": 5",
        "\"input_length\": NaN",
        "\"input_length\": expected a JSON value, found NaN",
    );
    check("\"input_length\": 5, ", "", &format!("\"input_length\": {tokens}, found nothing"));
    check(
        "\"output_length\": 5",
        "\"output_length\": null",
        &format!("\"output_length\": {tokens}, found nothing"),
    );
    check("\"timestamp\": 0", "\"timestamp\": \"0\"", &format!("\"timestamp\": {ms}, found \"0\""));
    check("\"timestamp\": 0", "\"timestamp\": -1", &format!("\"timestamp\": {ms}, found -1"));
    check("\"timestamp\": 0", "\"timestamp\": 1e20", &format!("\"timestamp\": {ms}, found 1e20"));
    check(
        "\"timestamp\": 0",
        "\"timestamp\": Infinity",
        "\"timestamp\": expected a JSON value, found Infinity",
    );
    check("\"timestamp\": 0, ", "", &format!("\"timestamp\": {ms}, found nothing"));
    check(
        "\"timestamp\"",
        "\"timestamp\": 1, \"timestamp\"",
        "\"timestamp\": expected it once, found it twice",
    );
    let blocks = "expected an array of whole numbers from 0 to 18446744073709551615";
    check("[1]", "[1, -2]", &format!("\"hash_ids\": {blocks}, found [1, -2]"));
    check("[1]", "7", &format!("\"hash_ids\": {blocks}, found 7"));
    check("[1]", "[18446744073709551616]", &format!("\"hash_ids\": {blocks}, found [18446744073709551616]"));
    check(
        "[1]",
        "[[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]]",
        &format!("\"hash_ids\": {blocks}, found [[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16…"),
    );
}

#[test]
fn rows_that_are_no_rows() {
    let good = r#"{"timestamp": 0, "input_length": 5, "output_length": 5}"#;
    let check = |row: &str, expect: &str| {
        second_row(
            good,
            row,
            &format!("expected a row as one JSON object, found an error at column {expect}"),
        );
    };
    check(r#"{"timestamp": 0, "input_le"#, "26: EOF while parsing a string");
    check("7", "1: invalid type: integer `7`, expected a JSON object");
    check("[1, 2]", "1: invalid type: sequence, expected a JSON object");
    check("hello", "1: expected value");
    check(&format!("{good} {good}"), "57: trailing characters");
    second_row(good, r#"{"timestamp":"#, "\"timestamp\": expected a JSON value, found the end of the line");
    let mut bytes = format!("{good}\n").into_bytes();
    bytes.extend_from_slice(b"{\"timestamp\": \xFF}");
    assert_eq!(error_of(&bytes), "trace.jsonl:2: expected UTF-8 text, found the byte 0xff at column 15");
}

#[test]
fn fields_of_the_other_formats() {
    let seconds = "expected seconds from 0 to 18446744073";
    let good = r#"{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 5, "output_length": 5, "type": "text", "turn": 1}"#;
    let check = |from: &str, to: &str, expect: &str| second_row(good, &good.replacen(from, to, 1), expect);
    check("0.5", "-0.5", &format!("\"timestamp\": {seconds}, found -0.5"));
    check("\"chat_id\": 1", "\"chat_id\": 1.5", "\"chat_id\": expected a text or a whole number, found 1.5");
    check("-1", "[]", "\"parent_chat_id\": expected a text or a whole number, found []");
    check("\"text\"", "7", "\"type\": expected a text, found 7");
    check("\"turn\": 1", "\"turn\": -1", "\"turn\": expected a whole number from 0 to 4294967295, found -1");

    let good = r#"{"timestamp_s": 1, "input_length": 5, "output_length": 5}"#;
    let check = |to: &str, expect: &str| second_row(good, &good.replacen('}', to, 1), expect);
    check(r#", "delay_s": "x"}"#, &format!("\"delay_s\": {seconds}, found \"x\""));
    check(
        r#", "hash_ids": [1]}"#,
        "\"block_size\": expected the tokens in a block, beside \"hash_ids\", found nothing",
    );
    check(r#", "prompt": 1}"#, "\"prompt\": expected a text, found 1");
    check(r#", "prompt": "\ud800"}"#, "\"prompt\": expected a text, found \"\\ud800\"");
    check(r#", "messages": {}}"#, "\"messages\": expected an array, found {}");
    check(r#", "payload": []}"#, "\"payload\": expected an object, found []");
    second_row(
        good,
        r#"{"timestamp_s": 1, "prompt": "Hi"}"#,
        "\"output_length\": expected a number of tokens, or a default on the command line, found nothing",
    );

    let good = r#"{"prompt": "Hi", "output_length": 5}"#;
    second_row(good, r#"{"output_length": 5}"#, "\"prompt\": expected a text, found nothing");
    let counted = OpenOptions { count_tokens: Some(std::sync::Arc::new(|_| 0)), ..OpenOptions::default() };
    let error = error_with(good.as_bytes(), &counted);
    assert_eq!(error, "trace.jsonl:1: \"prompt\": expected a text of at least one token, found none in it");
}

#[test]
fn columns() {
    let head = "TIMESTAMP,ContextTokens,GeneratedTokens";
    let check = |row: &str, expect: &str| second_row(head, row, expect);
    check("2024-05-10 00:00:00,5", "expected 3 columns, found 2");
    check(
        "yesterday,5,5",
        "\"TIMESTAMP\": expected a date such as 2023-11-16 18:15:46.6805900, found \"yesterday\"",
    );
    let tokens = "expected a whole number of tokens from 1 to 4294967295";
    check("2024-05-10 00:00:00,nan,5", &format!("\"ContextTokens\": {tokens}, found \"nan\""));
    check("2024-05-10 00:00:00,5,", &format!("\"GeneratedTokens\": {tokens}, found nothing"));
    let forced = OpenOptions { format: "azure".parse().ok(), ..OpenOptions::default() };
    assert_eq!(
        error_with(b"\nWhen,ContextTokens,GeneratedTokens\n", &forced),
        "trace.jsonl:2: \"TIMESTAMP\": expected a column of this name in the header, found \
         When,ContextTokens,GeneratedTokens"
    );
}

#[test]
fn files_that_are_no_trace() {
    let empty = "trace.jsonl: empty; expected a trace with one request a row (JSON lines or CSV)";
    assert_eq!(error_of(b""), empty);
    assert_eq!(error_of(b"\n \r\n\n"), empty);
    assert_eq!(error_of(b"\xEF\xBB\xBF"), empty);
    assert_eq!(error_of(b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"), empty);
    assert_eq!(
        error_of(b"\x7FELF\x02\x01\x01\x00\x00"),
        "trace.jsonl:1: binary data; expected a trace as UTF-8 text (JSON lines or CSV)"
    );
    assert_eq!(
        error_of(&"{\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        "trace.jsonl:1: binary data; expected a trace as UTF-8 text (JSON lines or CSV)"
    );
    assert_eq!(
        error_of(b"BZh91AY&SY"),
        "trace.jsonl: compressed with bzip2; decompress it first: bzip2 -dc FILE | tics replay -"
    );
    for packed in [&b"\x1F\x8B\x08\x00"[..], b"\x28\xB5\x2F\xFD\x04"] {
        assert!(error_of(packed).ends_with("but damaged or cut short"));
    }
    assert_eq!(
        error_of(b"\n{\"text\": \"Hello, this is a long text that goes on\"}"),
        "trace.jsonl:2: not a row of a known trace format (tics, mooncake, qwen, azure, burstgpt, \
         sharegpt, servegen, prompts, payload): {\"text\": \"Hello, this is a long text tha…; --format NAME forces one"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| match Trace::open(path, &OpenOptions::default()) {
        Err(TraceError::Read { path: named, source }) => {
            assert_eq!(named, path.display().to_string());
            source.kind()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(error(&dir.path().join("none.jsonl")), std::io::ErrorKind::NotFound);
    let folder = Trace::open(dir.path(), &OpenOptions::default()).unwrap_err();
    assert!(matches!(folder, TraceError::NoChunk { .. }), "{folder}");
    assert_eq!(error(&dir.path().join("chunk-3-trace.csv")), std::io::ErrorKind::NotFound);
}

#[test]
fn bad_rows_are_skipped_and_counted_on_request() {
    let good = r#"{"timestamp": 1, "input_length": 5, "output_length": 5}"#;
    let text = format!("oops\n{good}\n{{\"timestamp\": 2}}\n{good}\n\u{0}bin\n");
    let skip = OpenOptions { skip_bad_rows: true, ..OpenOptions::default() };
    let trace = Trace::read(text.as_bytes(), "trace.jsonl", &skip).unwrap();
    assert_eq!((trace.index().rows, trace.index().skipped), (2, 3));
    insta::assert_snapshot!(trace.index().first_skipped.join("\n"), @r#"
    trace.jsonl:1: expected a row as one JSON object, found an error at column 1: expected value
    trace.jsonl:3: "input_length": expected a whole number of tokens from 1 to 4294967295, found nothing
    trace.jsonl:5: expected a row as one JSON object, found an error at column 1: expected value
    "#);
    let lines: Vec<u64> = trace.rows().map(|row| row.unwrap().line).collect();
    assert_eq!(lines, [2, 4]);
    assert!(
        trace
            .check()
            .unwrap()
            .render()
            .starts_with("trace.jsonl: mooncake, 2 valid rows\nerror    rows: 3 rows")
    );

    let forced = OpenOptions { format: "mooncake".parse().ok(), ..skip };
    assert_eq!(
        error_with(b"{}\n[]\n", &forced),
        "no valid row among 2; the first: trace.jsonl:1: \"timestamp\": expected milliseconds from 0 to \
         18446744073709, found nothing"
    );
}

#[test]
fn a_file_that_changes_during_the_run_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    let good = r#"{"timestamp": 1, "input_length": 5, "output_length": 5}"#;
    fs::write(&path, format!("{good}\n{good}\n{good}\n")).unwrap();
    let trace = Trace::open(&path, &OpenOptions::default()).unwrap();
    let cut = fs::OpenOptions::new().write(true).open(&path).unwrap();
    cut.set_len(good.len() as u64 + 1).unwrap();
    let results: Vec<_> = trace.schedule(&Selection::default()).unwrap().collect();
    assert_eq!(results.len(), 2, "one request, one error, then the end");
    let error = results[1].as_ref().unwrap_err().to_string();
    assert!(error.ends_with("the file changed while it was in use: 3 requests before, 1 now"), "{error}");
}

#[test]
fn a_file_that_is_replaced_stays_the_one_that_was_validated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    let good = r#"{"timestamp": 1, "input_length": 5, "output_length": 5}"#;
    fs::write(&path, good).unwrap();
    let trace = Trace::open(&path, &OpenOptions::default()).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "something else").unwrap();
    assert_eq!(trace.rows().map(Result::unwrap).count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_spooled() {
    use std::os::fd::AsRawFd as _;
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(br#"{"timestamp": 1, "input_length": 5, "output_length": 5}"#).unwrap();
    drop(writer);
    let path = format!("/dev/fd/{}", reader.as_raw_fd());
    let trace = Trace::open(Path::new(&path), &OpenOptions::default()).unwrap();
    assert_eq!((trace.path(), trace.rows().count(), trace.rows().count()), (&*path, 1, 1));
}
