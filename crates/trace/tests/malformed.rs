//! Whatever is in a file, the answer is a trace or one line with the file and the line.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::sync::Arc;

use proptest::prelude::*;
use tics_trace::{Format, OpenOptions, Row, Selection, Spread, Trace, WriteFormat, convert};

/// A good file of each format, and its values that can be damaged.
const FILES: [(Format, &str, &[&str]); 8] = [
    (
        Format::Tics,
        "{\"timestamp_s\": 0.5, \"input_length\": 40, \"output_length\": 6, \"block_size\": 16, \"hash_ids\": [1, 2, 3], \"id\": 7, \"delay_s\": 1.5, \"turn\": 2, \"prompt\": \"Hi\"}\n{\"timestamp_s\": 0.75, \"input_length\": 40, \"output_length\": 6}\n",
        &["0.5", "40", "6", "16", "[1, 2, 3]", "7", "1.5", "2", "\"Hi\""],
    ),
    (
        Format::Mooncake,
        "{\"timestamp\": 27482, \"input_length\": 6758, \"output_length\": 50, \"hash_ids\": [0, 1], \"session_id\": \"a\", \"delay\": 25}\n{\"session_id\": \"a\", \"delay\": 3, \"input_length\": 15, \"output_length\": 20}\n",
        &["27482", "6758", "50", "[0, 1]", "\"a\"", "25"],
    ),
    (
        Format::Qwen,
        "{\"chat_id\": 159, \"parent_chat_id\": -1, \"timestamp\": 61.114, \"input_length\": 21, \"output_length\": 132, \"type\": \"text\", \"turn\": 2, \"hash_ids\": [1089, 13148]}\n{\"chat_id\": 160, \"parent_chat_id\": 159, \"timestamp\": 62, \"input_length\": 33, \"output_length\": 5}\n",
        &["159", "-1", "61.114", "21", "132", "\"text\"", "2", "[1089, 13148]"],
    ),
    (
        Format::Azure,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-12 00:00:00+00:00,7,8\n",
        &["2024-05-10 00:00:00.009930+00:00", "2162", "5"],
    ),
    (
        Format::BurstGpt,
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n45.5,ChatGPT,472,18,490,API log\n50,GPT-4,7,0,7,API log\n",
        &["45.5", "472", "18"],
    ),
    (
        Format::ShareGpt,
        "[\n{\"id\": \"x\", \"conversations\": [{\"from\": \"human\", \"value\": \"a b\"}, {\"from\": \"gpt\", \"value\": \"c\"}]},\n{\"conversations\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n]\n",
        &["\"human\"", "\"a b\"", "\"gpt\"", "\"c\""],
    ),
    (
        Format::Prompts,
        "{\"prompt\": \"one two\", \"output_length\": 9}\n{\"prompt\": \"three\", \"output_tokens\": 8}\n",
        &["\"one two\"", "9"],
    ),
    (
        Format::Payload,
        "{\"model\": \"m\", \"messages\": [], \"max_tokens\": 12}\n{\"model\": \"m\", \"messages\": [], \"max_tokens\": 13}\n",
        &["12"],
    ),
];

/// What never belongs in the place of a value.
const WRONG: [&str; 8] =
    ["NaN", "-3", "1e400", "99999999999999999999999", "[{}]", "{\"a\": 1}", "Infinity", "true"];

fn options(format: Option<Format>, skip_bad_rows: bool) -> OpenOptions {
    OpenOptions {
        format,
        skip_bad_rows,
        count_tokens: Some(Arc::new(|text| text.split_whitespace().count() as u32)),
        ..OpenOptions::default()
    }
}

/// Reads a file in every way; the message if it is no trace.
fn read(content: &[u8], options: &OpenOptions) -> Option<String> {
    let trace = match Trace::read(content, "trace", options) {
        Ok(trace) => trace,
        Err(error) => {
            let text = error.to_string();
            assert!(
                !text.contains('\n') && (text.starts_with("trace:") || text.contains("trace:")),
                "{text}"
            );
            return Some(text);
        }
    };
    let rows = trace.index().rows;
    assert!(rows > 0);
    assert_eq!(trace.rows().map(Result::unwrap).count() as u64, rows);
    trace.info().unwrap().render();
    trace.check().unwrap().render();
    let selection = Selection { spread: Some(Spread::Poisson), sample: Some(1.0), ..Selection::default() };
    let schedule = trace.schedule(&selection).unwrap();
    assert_eq!(schedule.map(Result::unwrap).count() as u64, rows);
    for target in WriteFormat::ALL {
        let converted = convert(&trace, target, Vec::new()).unwrap();
        assert_eq!(converted.rows + converted.left_out, rows);
    }
    None
}

/// Whether a message says where in the file.
fn names_a_line(message: &str) -> bool {
    let rest = message.split("trace:").nth(1).unwrap_or("");
    rest.split(':').next().is_some_and(|line| line.parse::<u64>().is_ok_and(|line| line > 0))
}

#[test]
fn the_files_are_good() {
    for (format, text, _) in FILES {
        let trace = Trace::read(text.as_bytes(), "trace", &options(None, false)).unwrap();
        assert_eq!(trace.index().format, format);
        assert_eq!(read(text.as_bytes(), &options(Some(format), false)), None);
    }
}

#[test]
fn wrong_values_are_named_with_their_line() {
    for (format, text, values) in FILES {
        for value in values {
            for wrong in WRONG {
                // A request body may be anything but what Tics reads of it, and an id may be any number.
                let is_id = matches!(*value, "7" | "159" | "-1" | "\"a\"") && wrong == "-3";
                if is_id || text.matches(value).next().is_none() {
                    continue;
                }
                let damaged = text.replacen(value, wrong, 1);
                let message = read(damaged.as_bytes(), &options(Some(format), false));
                let message = message.unwrap_or_else(|| panic!("{format}: {damaged} was taken"));
                assert!(names_a_line(&message), "{format}, {value} as {wrong}: {message}");
                // Left out, the rest is a trace.
                assert_eq!(
                    read(damaged.as_bytes(), &options(Some(format), true)).is_some(),
                    format == Format::BurstGpt
                );
            }
        }
    }
}

#[test]
fn dressed_files_are_the_same_trace() {
    for (format, text, _) in FILES {
        let plain = Trace::read(text.as_bytes(), "trace", &options(None, false)).unwrap();
        let rows = |trace: &Trace| trace.rows().map(Result::unwrap).collect::<Vec<_>>();
        let crlf = text.replace('\n', "\r\n");
        let marked = format!("\u{feff}{text}");
        for dressed in [crlf, marked, text.trim_end().to_owned()] {
            let trace = Trace::read(dressed.as_bytes(), "trace", &options(None, false)).unwrap();
            assert_eq!(trace.index().format, format);
            assert_eq!(rows(&trace), rows(&plain), "{dressed:?}");
        }
    }
}

#[test]
fn nothing_and_binary_are_no_trace() {
    for format in Format::ALL.into_iter().map(Some).chain([None]) {
        for content in [
            &b""[..],
            b"\n\r\n",
            b"\xEF\xBB\xBF",
            b"\0\0\0\0",
            b"\x7FELF\x02\x01\0",
            b"\xFF\xFE{\0}\0",
            b"PAR1\x15\0",
        ] {
            let message = read(content, &options(format, false)).unwrap();
            let is_empty = message.contains("empty") || message.contains("no request");
            assert!(
                is_empty
                    || names_a_line(&message)
                    || message.contains("ServeGen")
                    || message.contains("a Parquet file"),
                "{format:?} {content:?}: {message}"
            );
        }
    }
}

#[test]
fn truncated_files_are_explained() {
    for (format, text, _) in FILES {
        for end in 0..text.len() {
            if let Some(message) = read(&text.as_bytes()[..end], &options(Some(format), false)) {
                assert!(
                    names_a_line(&message)
                        || message.contains("trace: empty")
                        || message.contains("no request to send"),
                    "{message}"
                );
            }
        }
    }
}

/// Parameters of ServeGen: two files, and what of each is read.
const CHUNK: &str = "0,0.05,2.0,Gamma,0.25,0.38\n600,0.02,1.5,Weibull,0.7,0.4\n";
const DATASET: &str =
    "{\"0\": {\"input_tokens\": \"{22: 0.25, 50: 0.75}\",\n\"output_tokens\": \"{40: 0.5, 41: 0.5}\"}}";

/// Opens a folder with these two files; the message, the folder's name left out, if it is no trace.
fn parameters(csv: &[u8], json: &[u8]) -> Result<Vec<Row>, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("chunk-0-trace.csv"), csv).unwrap();
    fs::write(dir.path().join("chunk-0-dataset.json"), json).unwrap();
    match Trace::open(dir.path(), &OpenOptions::default()) {
        Ok(trace) => Ok(trace.rows().map(Result::unwrap).collect()),
        Err(error) => {
            let text = error.to_string();
            let name = dir.path().display().to_string();
            assert!(!text.contains('\n') && text.starts_with(&name), "{text}");
            Err(text[name.len()..].to_owned())
        }
    }
}

/// Whether a message names one of the two files and a line of it.
fn names_a_line_of(file: &str, message: &str) -> bool {
    let rest = message.strip_prefix('/').and_then(|rest| rest.strip_prefix(file)?.strip_prefix(':'));
    rest.and_then(|rest| rest.split(':').next()).is_some_and(|line| line.parse::<u64>().is_ok_and(|n| n > 0))
}

#[test]
fn wrong_parameters_are_named_with_their_line() {
    let plain = parameters(CHUNK.as_bytes(), DATASET.as_bytes()).unwrap();
    assert_eq!(plain.len(), 42);
    let check_csv = |csv: &str| {
        let message = parameters(csv.as_bytes(), DATASET.as_bytes()).expect_err(csv);
        // Rates and times that are numbers may come to more requests than anybody means.
        let too_many = message.contains("no request to send");
        assert!(names_a_line_of("chunk-0-trace.csv", &message) || too_many, "{csv}: {message}");
    };
    for value in ["0.05", "Gamma", "0.25", "0.38", "600", "0.02", "Weibull", "0.7", "0.4"] {
        for wrong in WRONG {
            // As a shape or a scale, any number above 0 will do.
            let is_fit = matches!(value, "0.25" | "0.38" | "0.7" | "0.4") && wrong.starts_with('9');
            if !is_fit {
                check_csv(&CHUNK.replacen(value, wrong, 1));
            }
        }
    }
    for value in ["22", "0.25", "0.75", "40", "0.5", "\"{22: 0.25, 50: 0.75}\"", "\"0\""] {
        for wrong in WRONG {
            let wrong = wrong.replace('"', "");
            let json = DATASET.replacen(value, &wrong, 1);
            let message = parameters(CHUNK.as_bytes(), json.as_bytes()).expect_err(&json);
            assert!(names_a_line_of("chunk-0-dataset.json", &message), "{json}: {message}");
        }
    }
    for binary in [&b"\0\0\0"[..], b"\x7FELF\x02\xFF", b"PAR1\x15\0"] {
        let message = parameters(binary, DATASET.as_bytes()).unwrap_err();
        assert!(names_a_line_of("chunk-0-trace.csv", &message), "{message}");
        let message = parameters(CHUNK.as_bytes(), binary).unwrap_err();
        assert!(names_a_line_of("chunk-0-dataset.json", &message), "{message}");
    }
    let message = parameters(b"", DATASET.as_bytes()).unwrap_err();
    assert!(message.contains("no request"), "{message}");
    assert!(names_a_line_of("chunk-0-dataset.json", &parameters(CHUNK.as_bytes(), b"").unwrap_err()));
    for end in 1..DATASET.len() {
        let message = parameters(CHUNK.as_bytes(), &DATASET.as_bytes()[..end]).unwrap_err();
        assert!(names_a_line_of("chunk-0-dataset.json", &message), "{message}");
    }
    for end in 1..CHUNK.len() {
        if let Err(message) = parameters(&CHUNK.as_bytes()[..end], DATASET.as_bytes()) {
            assert!(
                names_a_line_of("chunk-0-trace.csv", &message) || message.contains("no request"),
                "{message}"
            );
        }
    }
    // In other clothes it is the same.
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let marked = |text: &str| format!("\u{feff}{text}");
    assert_eq!(parameters(crlf(CHUNK).as_bytes(), crlf(DATASET).as_bytes()).as_ref(), Ok(&plain));
    assert_eq!(parameters(marked(CHUNK).as_bytes(), marked(DATASET).as_bytes()).as_ref(), Ok(&plain));
}

fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    // Bytes that mean something more often than others.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\"{}[],:0-e.\n\r\\nN".to_vec())];
    prop::collection::vec((any::<usize>(), byte), 1..5)
}

proptest! {
    #[test]
    fn damage_is_a_trace_or_a_line(file in 0..FILES.len(), edits in edits(), forced: bool, skip: bool, cut in prop::option::of(any::<usize>())) {
        let (format, text, _) = FILES[file];
        let mut bytes = text.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut % bytes.len());
        }
        read(&bytes, &options(forced.then_some(format), skip));
    }

    #[test]
    fn noise_is_a_trace_or_a_line(bytes in prop::collection::vec(any::<u8>(), 0..80), format in 0..=Format::ALL.len(), head in 0..10_usize) {
        // Behind the first bytes of every sort of file.
        let heads: [&[u8]; 10] = [b"", b"{\"", b"[{", b"\x1F\x8B\x08", b"\x28\xB5\x2F\xFD", b"TIMESTAMP,ContextTokens,GeneratedTokens\n",
            b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n", b"0,1,1,Gamma,", b"\xEF\xBB\xBF{", b"PAR1"];
        let content = [heads[head], &bytes].concat();
        for skip in [false, true] {
            read(&content, &options(Format::ALL.get(format).copied(), skip));
        }
    }

    /// Parameters of ServeGen, damaged.
    #[test]
    fn damaged_parameters_are_a_trace_or_a_line(edits in edits(), in_csv: bool) {
        let dir = tempfile::tempdir().unwrap();
        let mut csv = b"0,0.05,2.0,Gamma,0.25,0.38\n600,0,0,,0,0\n1200,0.02,1.5,Weibull,0.7,0.4\n".to_vec();
        let mut json = b"{\"0\": {\"input_tokens\": \"{22: 0.25, 50: 0.75}\",\n\"output_tokens\": \"{40: 0.5, 41: 0.5}\"}}".to_vec();
        let target = if in_csv { &mut csv } else { &mut json };
        for (at, byte) in edits {
            let at = at % target.len();
            target[at] = byte;
        }
        fs::write(dir.path().join("chunk-0-trace.csv"), &csv).unwrap();
        fs::write(dir.path().join("chunk-0-dataset.json"), &json).unwrap();
        if csv.split(|b| *b == b'\n').any(|line| line.split(|b| *b == b',').nth(1).is_some_and(|rate| rate.len() > 4 || rate.contains(&b'e'))) {
            // Damage that multiplies the requests is refused or takes long.
            return Ok(());
        }
        if let Err(error) = Trace::open(dir.path(), &OpenOptions::default()) {
            let text = error.to_string();
            prop_assert!(!text.contains('\n') && text.contains(&*dir.path().to_string_lossy()), "{}", text);
        }
    }
}
