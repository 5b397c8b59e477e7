//! Formats with more than lines and lengths: sessions, texts, bodies, compression, other names.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::io::Write as _;
use std::sync::Arc;

use tics_record::Nanos;
use tics_trace::{Format, Id, OpenOptions, Row, Selection, Trace, parse_field};

fn open_with(text: &str, options: &OpenOptions) -> Trace {
    Trace::read(text.as_bytes(), "fixture", options).unwrap()
}

fn open(text: &str) -> Trace {
    open_with(text, &OpenOptions::default())
}

fn error_with(text: &str, options: &OpenOptions) -> String {
    Trace::read(text.as_bytes(), "fixture", options).unwrap_err().to_string()
}

fn rows(trace: &Trace) -> Vec<Row> {
    trace.rows().collect::<Result<_, _>>().unwrap()
}

/// Words are tokens.
fn counting() -> OpenOptions {
    OpenOptions {
        count_tokens: Some(Arc::new(|text| text.split_whitespace().count() as u32)),
        ..OpenOptions::default()
    }
}

const BURSTGPT: &str = "\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,API log
118,GPT-4,417,0,417,Conversation log
";

#[test]
fn burstgpt_with_six_columns_leaves_out_what_failed() {
    let trace = open(BURSTGPT);
    assert_eq!((trace.index().format, trace.index().rows, trace.index().failed), (Format::BurstGpt, 2, 1));
    let found = rows(&trace);
    assert_eq!(
        found[0],
        Row {
            line: 2,
            at: Nanos::from_secs(5),
            input_length: 472,
            output_length: 18,
            kind: Some("Conversation log".to_owned()),
            ..Row::default()
        }
    );
    let totals = trace.schedule(&Selection::default()).unwrap().totals();
    assert_eq!((totals.scheduled, totals.input_tokens, totals.output_tokens), (2, 1559, 248));
    let keep = OpenOptions { keep_failed: true, ..OpenOptions::default() };
    let kept = open_with(BURSTGPT, &keep);
    assert_eq!((kept.index().rows, kept.index().failed), (3, 0));
    assert_eq!(rows(&kept)[2].output_length, 1, "the fewest tokens that can be asked for");
}

#[test]
fn burstgpt_with_eight_columns_has_sessions() {
    let trace = open(
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\r\n\
         19440110.0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4,906,446,1352,Conversation log\r\n\
         19440110.5,,3,ChatGPT,7,8,15,API log\r\n\
         19440109.25,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4,906,0,906,Conversation log",
    );
    let found = rows(&trace);
    assert_eq!(found[0].at, Nanos::from_secs(19_440_110), "times stay as recorded");
    assert_eq!(found[0].session.as_deref(), Some("1722ac82-0a46-4bf0-aa08-89794e7a2b3f"));
    assert_eq!((found[1].at, found[1].session.as_deref()), (Nanos::from_millis(19_440_110_500), None));
    assert_eq!((found.len(), trace.index().failed), (2, 1));
    assert!(trace.index().sorted, "rows that are left out do not count");
}

#[test]
fn a_trace_of_failures_is_no_trace() {
    let text = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,472,0,472,x\n";
    assert_eq!(
        error_with(text, &OpenOptions::default()),
        "fixture: no request to send: all of its 1 requests failed in the original"
    );
}

#[test]
fn azure_in_all_variants() {
    let check = |text: &str, expect: &[(u64, u32, u32)]| {
        let found: Vec<_> =
            rows(&open(text)).iter().map(|r| (r.at.as_nanos(), r.input_length, r.output_length)).collect();
        assert_eq!(found, expect, "{text}");
    };
    check(
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n\
         2023-11-16 18:17:04.0319601,110,27",
        &[(0, 4808, 10), (52_000_100, 110, 27)],
    );
    check(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-11 23:59:59.999999+00:00,2162,5\n\
         2024-05-12 00:00:00+00:00,7,8\n2024-05-12 00:00:00.009930+00:00,9,1\n",
        &[(0, 2162, 5), (1_000, 7, 8), (9_931_000, 9, 1)],
    );
    check(
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15 00:00:00.500000+00:00,2,1500,80\n\
         2024-10-15 00:00:01+00:00,0,30,4\n",
        &[(0, 1500, 80), (500_000_000, 30, 4)],
    );
}

const SHAREGPT: &str = r#"[
  {"id": "QWJhYvA_0", "conversations": [
    {"from": "human", "value": "Hello there!"},
    {"from": "gpt", "value": "Hi! How can I help you?"},
    {"from": "human", "value": "Say \"one\" \u00e9"},
    {"from": "gpt", "value": "one é"},
    {"from": "human", "value": "unanswered"}]},
  {"id": "i6IyJda_0", "conversations": [
    {"from": "gpt", "value": "left out"},
    {"from": "human", "value": "a b c"},
    {"from": "gpt", "value": "d"}]},
  {"id": "empty", "conversations": []},
  {"id": 7, "conversations": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": ""}, {"role": "user", "content": "Hm"},
    {"role": "assistant", "content": "Yes no"}]}
]
"#;

#[test]
fn sharegpt_is_one_request_a_turn() {
    let trace = open_with(SHAREGPT, &counting());
    let index = trace.index();
    assert_eq!((index.format, index.rows, index.empty_conversations), (Format::ShareGpt, 4, 1));
    assert_eq!((index.bytes, index.uncounted), (SHAREGPT.len() as u64, 0));
    let found = rows(&trace);
    let text = |row: &Row| row.messages.as_ref().unwrap().as_str().to_owned();
    let lengths: Vec<_> = found
        .iter()
        .map(|r| (r.session.clone().unwrap(), r.turn.unwrap(), r.input_length, r.output_length))
        .collect();
    let expect = [("QWJhYvA_0", 1, 2, 6), ("QWJhYvA_0", 2, 11, 2), ("i6IyJda_0", 1, 3, 1), ("7", 1, 4, 2)];
    assert_eq!(lengths, expect.map(|(s, t, i, o)| (s.to_owned(), t, i, o)));
    assert_eq!(text(&found[0]), r#"[{"role":"user","content":"Hello there!"}]"#);
    assert_eq!(
        text(&found[1]),
        r#"[{"role":"user","content":"Hello there!"},{"role":"assistant","content":"Hi! How can I help you?"},{"role":"user","content":"Say \"one\" é"}]"#
    );
    assert_eq!(
        text(&found[2]),
        r#"[{"role":"user","content":"a b c"}]"#,
        "templates refuse an assistant first"
    );
    assert_eq!((found[0].parent.clone(), found[1].parent.clone()), (None, found[0].id.clone()));
    assert_eq!(found[3].id, Some(Id::Number(3)));
    assert!(found.iter().all(|row| row.at == Nanos::ZERO));
    assert!(trace.check().unwrap().is_sound());
    assert_eq!(trace.info().unwrap().sessions.unwrap().sessions, 3);
    // sha256sum of the file.
    assert_eq!(trace.source().sha256, open_with(SHAREGPT, &counting()).index().sha256);
    assert_ne!(trace.source().sha256, open_with(&format!("{SHAREGPT} "), &counting()).index().sha256);
}

#[test]
fn sharegpt_may_have_a_conversation_a_line_and_no_names() {
    let line = r#"{"conversations": [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "c"}]}"#;
    let trace = open_with(&format!("{line}\n{line}\n"), &counting());
    let names: Vec<_> = rows(&trace).into_iter().map(|row| row.session.unwrap()).collect();
    assert_eq!(names, ["1", "2"]);
    let twice = line.replace("{\"conv", "{\"id\": \"x\", \"conv");
    let trace = open_with(&format!("[{twice},{twice}]"), &counting());
    let names: Vec<_> = rows(&trace).into_iter().map(|row| row.session.unwrap()).collect();
    assert_eq!(names, ["x", "x#2"], "two conversations are never one session");
}

#[test]
fn sharegpt_needs_something_to_tell_the_length_of_an_answer() {
    assert_eq!(
        error_with(SHAREGPT, &OpenOptions::default()),
        "fixture:2: \"value\": expected a tokenizer that counts the answers, or a default on the command line, \
         found neither"
    );
    let fixed = OpenOptions { output_length: Some(9), ..OpenOptions::default() };
    let trace = open_with(SHAREGPT, &fixed);
    assert_eq!((trace.index().output_tokens, trace.index().uncounted), (36, 4));
}

#[test]
fn conversations_that_are_none_are_named_with_their_line() {
    let check = |text: &str, expect: &str| {
        assert_eq!(error_with(text, &counting()), format!("fixture:{expect}"), "{text}");
    };
    let shape = r#"expected a conversation ("conversations": a list of "from" and "value"), found an error at column"#;
    check("[\n{}]", &format!("2: {shape} 2: missing field `conversations`"));
    check("[{},\n\n  {\"conversations\": 7}]", &format!("1: {shape} 3: missing field `conversations`"));
    check(
        "[\n {\"conversations\":\n [{\"from\": \"human\",\n\"value\": null}]}]",
        &format!("4: {shape} 13: invalid type: null, expected a string"),
    );
    check(
        "[\n\n{\"conversations\": [{\"from\": \"dog\", \"value\": \"x\"}]}]",
        "3: \"from\": expected system, human or user, gpt or assistant (or chatgpt, bing, bard, model), found \"dog\"",
    );
    check(
        "[\n{\"conversations\": [{\"from\": \"human\", \"value\": \"x",
        "2: expected a whole conversation, found the end of the file inside one",
    );
    check(
        "[{\"conversations\": []}]",
        " no request to send: none of its 1 conversations has a user's message that is answered",
    );
    let skip = OpenOptions { skip_bad_rows: true, ..counting() };
    let trace = open_with(&SHAREGPT.replace("\"empty\", \"conversations\": []", "\"empty\""), &skip);
    assert_eq!((trace.index().rows, trace.index().skipped, trace.index().empty_conversations), (4, 1, 0));
    assert!(trace.index().first_skipped[0].starts_with("fixture:12: expected a conversation"));
}

#[test]
fn bodies_are_sent_as_they_are() {
    let body = r#"{"model": "m",  "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 12}"#;
    let trace = open(&format!("{body}\n{}\n", body.replace("max_tokens", "max_completion_tokens")));
    assert_eq!(trace.index().format, Format::Payload);
    let found = rows(&trace);
    assert_eq!(found[0].payload.as_ref().unwrap().as_str(), body, "byte for byte");
    assert_eq!((found[0].output_length, found[1].output_length, found[1].at), (12, 12, Nanos::ZERO));
    let endless = body.replace(", \"max_tokens\": 12", "");
    assert_eq!(
        error_with(&endless, &OpenOptions::default()),
        "fixture:1: \"max_tokens\": expected a number of tokens, or a default on the command line, found nothing"
    );
    assert_eq!(
        error_with(&body.replace("12", "\"12\""), &OpenOptions::default()),
        "fixture:1: \"max_tokens\": expected a whole number of tokens from 1 to 4294967295, found \"12\""
    );
}

#[test]
fn mooncake_rows_may_carry_bodies_and_messages() {
    let trace = open(
        "{\"timestamp\": 1000, \"payload\": {\"model\": \"m\", \"messages\": [], \"max_tokens\": 3}}\n\
         {\"timestamp\": 2000, \"messages\": [{\"role\": \"user\",  \"content\": \"Hi\"}], \"output_length\": 4}\n",
    );
    assert_eq!(trace.index().format, Format::Mooncake);
    let found = rows(&trace);
    assert_eq!(
        found[0].payload.as_ref().unwrap().as_str(),
        r#"{"model": "m", "messages": [], "max_tokens": 3}"#
    );
    assert_eq!((found[0].output_length, found[1].output_length), (3, 4));
    assert_eq!(found[1].messages.as_ref().unwrap().as_str(), r#"[{"role": "user",  "content": "Hi"}]"#);
    let untimed = open("{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"output_length\": 4}\n");
    assert_eq!((untimed.index().format, untimed.index().end), (Format::Mooncake, Nanos::ZERO));
}

#[test]
fn a_turn_without_a_time_follows_the_one_before() {
    let trace = open(
        r#"{"session_id": "a", "timestamp": 1000, "input_length": 100, "output_length": 20}
{"session_id": "b", "delay": 9, "input_length": 10, "output_length": 2}
{"session_id": "a", "delay": 2.5, "input_length": 150, "output_length": 20}
{"session_id": "a", "input_length": 200, "output_length": 20}
{"timestamp": 500, "input_length": 7, "output_length": 1}
"#,
    );
    assert_eq!((trace.index().untimed, trace.index().sorted), (3, false));
    let found: Vec<_> = rows(&trace).iter().map(|r| (r.line, r.at.as_nanos() / 1_000)).collect();
    assert_eq!(found, [(2, 0), (5, 500_000), (1, 1_000_000), (3, 1_002_500), (4, 1_002_500)]);
    let delays: Vec<_> = trace.rows_as_recorded().map(|r| r.unwrap().delay).collect();
    assert_eq!(delays[2], Some(Nanos::from_micros(2_500)));
}

#[test]
fn fields_may_have_other_names() {
    let text = r#"{"arrival_s": 1.5, "prompt_tokens": 40, "output_length": 5, "blocks": [1, 2, 3], "timestamp": "x"}
{"arrival_s": 2, "prompt_tokens": 8, "output_length": 6, "blocks": [1]}
"#;
    let fields = ["timestamp=arrival_s", "input_length=prompt_tokens", "hash_ids=blocks"]
        .map(|field| parse_field(field).unwrap())
        .to_vec();
    let options = OpenOptions { fields, block_size: Some(16), ..OpenOptions::default() };
    let trace = open_with(text, &options);
    assert_eq!((trace.index().format, trace.index().block_mismatches), (Format::Mooncake, 0));
    let found = rows(&trace);
    assert_eq!((found[0].at, found[0].input_length), (Nanos::from_millis(1_500), 40));
    assert_eq!(found[0].hash_ids.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(
        error_with(&text.replace("1.5", "-1"), &options),
        "fixture:1: \"arrival_s\": expected seconds from 0 to 18446744073, found -1"
    );
    let unknown =
        OpenOptions { fields: vec![parse_field("when=arrival").unwrap()], ..OpenOptions::default() };
    assert_eq!(
        error_with("{\"timestamp\": 5, \"input_length\": 8, \"output_length\": 6}", &unknown),
        "fixture: the format mooncake has no field \"when\" that could have another name; it has timestamp, \
         input_length, output_length, hash_ids, session_id, delay, messages, payload"
    );
    let prompts = OpenOptions { fields: vec![parse_field("prompt=text").unwrap()], ..counting() };
    let trace = open_with("{\"text\": \"What is this?\", \"output_tokens\": 5}", &prompts);
    assert_eq!((trace.index().format, trace.index().input_tokens), (Format::Prompts, 3));
    let csv =
        OpenOptions { fields: vec![parse_field("ContextTokens=Input").unwrap()], ..OpenOptions::default() };
    let trace = open_with("TIMESTAMP,Input,GeneratedTokens\n2024-05-12 00:00:00,70,9\n", &csv);
    assert_eq!((trace.index().format, trace.index().input_tokens), (Format::Azure, 70));
}

#[test]
fn compressed_files_and_streams_are_read() {
    let text = BURSTGPT.to_owned();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd =
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let plain = open(&text);
    for packed in [gzip, zstd] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&packed).unwrap();
        let streamed = Trace::read(&*packed, "fixture", &OpenOptions::default()).unwrap();
        let opened = Trace::open(file.path(), &OpenOptions::default()).unwrap();
        for trace in [streamed, opened] {
            assert_eq!(trace.index(), plain.index(), "the hash is of the trace, however it is packed");
            assert_eq!(rows(&trace), rows(&plain));
        }
        let cut = Trace::read(&packed[..packed.len() - 9], "cut.gz", &OpenOptions::default()).unwrap_err();
        assert!(cut.to_string().ends_with("but damaged or cut short"), "{cut}");
    }
}
