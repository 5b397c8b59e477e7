//! Parquet files: read whoever wrote them, written so that nothing is lost, and refused with the row.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod support;

use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use tics_record::Nanos;
use tics_trace::{
    Format, Id, OpenOptions, RawJson, Row, Selection, Trace, WriteFormat, convert, parse_field,
};

/// The values of one column, in the order of its rows.
enum Cells {
    Bool(Vec<Option<bool>>),
    I32(Vec<Option<i32>>),
    I64(Vec<Option<i64>>),
    F64(Vec<Option<f64>>),
    Text(Vec<Option<Vec<u8>>>),
    Lists(Vec<Option<Vec<Option<i64>>>>),
}

fn all<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    values.iter().cloned().map(Some).collect()
}

fn texts(values: &[&str]) -> Cells {
    Cells::Text(values.iter().map(|text| Some(text.as_bytes().to_vec())).collect())
}

/// Values that are there, and the levels of all; every column of these files may be null.
fn levels<T: Clone>(cells: &[Option<T>]) -> (Vec<T>, Vec<i16>) {
    (cells.iter().flatten().cloned().collect(), cells.iter().map(|cell| i16::from(cell.is_some())).collect())
}

/// Lists of elements that may be null, as pyarrow nests them.
fn nested(lists: &[Option<Vec<Option<i64>>>]) -> (Vec<i64>, Vec<i16>, Vec<i16>) {
    let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for list in lists {
        match list.as_deref() {
            None | Some([]) => {
                defined.push(i16::from(list.is_some()));
                repeated.push(0);
            }
            Some(elements) => {
                for (at, element) in elements.iter().enumerate() {
                    values.extend(*element);
                    defined.push(if element.is_some() { 3 } else { 2 });
                    repeated.push(i16::from(at > 0));
                }
            }
        }
    }
    (values, defined, repeated)
}

/// A file of these columns, one row group for each `groups`.
fn file_of(schema: &str, groups: &[&[Cells]], compression: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for cells in *columns {
            let mut column = group.next_column().unwrap().unwrap();
            match (column.untyped(), cells) {
                (ColumnWriter::BoolColumnWriter(w), Cells::Bool(cells)) => {
                    let (values, levels) = levels(cells);
                    w.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::Int32ColumnWriter(w), Cells::I32(cells)) => {
                    let (values, levels) = levels(cells);
                    w.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::Int64ColumnWriter(w), Cells::I64(cells)) => {
                    let (values, levels) = levels(cells);
                    w.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::DoubleColumnWriter(w), Cells::F64(cells)) => {
                    let (values, levels) = levels(cells);
                    w.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::ByteArrayColumnWriter(w), Cells::Text(cells)) => {
                    let (values, levels) = levels(cells);
                    let values: Vec<ByteArray> = values.into_iter().map(ByteArray::from).collect();
                    w.write_batch(&values, Some(&levels), None).unwrap();
                }
                (ColumnWriter::Int64ColumnWriter(w), Cells::Lists(lists)) => {
                    let (values, defined, repeated) = nested(lists);
                    w.write_batch(&values, Some(&defined), Some(&repeated)).unwrap();
                }
                _ => panic!("a column of another type"),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn file(schema: &str, columns: &[Cells]) -> Vec<u8> {
    file_of(schema, &[columns], Compression::SNAPPY)
}

/// Three rows of our own with one column more.
fn with_column(schema: &str, cells: Cells) -> Vec<u8> {
    let schema = format!(
        "optional int64 timestamp_ns; optional int32 input_length; optional int32 output_length; optional {schema}{}",
        if schema.ends_with('}') { "" } else { ";" }
    );
    let ours = [
        Cells::I64(all(&[0, 1_500_000_001, 2_000_000_000])),
        Cells::I32(all(&[40, 50, 60])),
        Cells::I32(all(&[4, 5, 6])),
        cells,
    ];
    file(&schema, &ours)
}

fn open(bytes: &[u8]) -> Trace {
    Trace::read(bytes, "t.parquet", &OpenOptions::default()).unwrap()
}

fn error(bytes: &[u8]) -> String {
    let error = Trace::read(bytes, "t.parquet", &OpenOptions::default()).unwrap_err().to_string();
    assert!(!error.contains('\n') && error.starts_with("t.parquet:"), "{error}");
    error
}

fn rows(trace: &Trace) -> Vec<Row> {
    trace.rows().collect::<Result<_, _>>().unwrap()
}

fn written(rows: &[Row]) -> Vec<u8> {
    support::written(WriteFormat::Parquet, rows)
}

#[test]
fn what_is_written_is_read_back() {
    let made = [
        Row { line: 1, input_length: 40, output_length: 4, ..Row::default() },
        Row {
            line: 2,
            at: Nanos::new(u64::MAX),
            input_length: u32::MAX,
            output_length: 1,
            hash_ids: Some(vec![0, u64::MAX, 1 << 63]),
            block_size: Some(16),
            id: Some(Id::Number(i64::MIN)),
            parent: Some(Id::Text("7".to_owned())),
            session: Some("a \"b\"\n\u{1f600}".to_owned()),
            delay: Some(Nanos::new(1)),
            kind: Some(String::new()),
            turn: Some(0),
            prompt: Some("tab\tand \\".to_owned()),
            messages: RawJson::parse(r#"[{"role": "user",  "content": "a\nb"}]"#.to_owned()),
            payload: RawJson::parse("{\"max_tokens\": 3}".to_owned()),
        },
        Row {
            line: 3,
            hash_ids: Some(Vec::new()),
            block_size: Some(1),
            input_length: 9,
            output_length: 2,
            ..Row::default()
        },
    ];
    let bytes = written(&made);
    let trace = open(&bytes);
    assert_eq!(trace.rows_as_recorded().map(Result::unwrap).collect::<Vec<_>>(), made);
    assert_eq!((trace.index().format, trace.index().bytes), (Format::Tics, bytes.len() as u64));
    let other = open(&written(&made[..1]));
    assert_eq!(trace.index().sha256.len(), 64);
    assert_ne!(trace.index().sha256, other.index().sha256, "the hash is of the file");
}

/// Row groups end by number of rows and by bytes; rows are numbered through.
#[test]
fn many_rows_make_many_groups() {
    let row = |line: u64| Row {
        line,
        at: Nanos::new(line * 1_000_003),
        input_length: (line % 900 + 1) as u32,
        output_length: 7,
        prompt: line.is_multiple_of(10_000).then(|| "x".repeat(3 << 20)),
        ..Row::default()
    };
    let made: Vec<Row> = (1..=70_000).map(row).collect();
    let bytes = written(&made);
    let trace = open(&bytes);
    assert!(trace.rows().map(Result::unwrap).eq(made.iter().cloned()));
    let text = String::from_utf8_lossy(&bytes[bytes.len() - 8_000..]).into_owned();
    assert!(text.matches("timestamp_ns").count() >= 3, "at least two row groups and the schema");
    assert!(bytes.len() < 3_000_000, "{} bytes", bytes.len());
}

/// As pandas writes a Mooncake trace: 64 bits everywhere, fractions where there were gaps.
#[test]
fn columns_may_have_the_names_of_another_format() {
    let schema = "optional int64 timestamp; optional int64 input_length; optional double output_length; \
                  optional group hash_ids (LIST) { repeated group list { optional int64 element; } } \
                  optional binary note (STRING);";
    let columns = [
        Cells::I64(all(&[0, 27_482])),
        Cells::I64(all(&[6758, 15])),
        Cells::F64(all(&[500.0, 7.0])),
        Cells::Lists(vec![Some((0..14).map(Some).collect()), None]),
        texts(&["not", "looked at"]),
    ];
    for packing in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(GzipLevel::default())] {
        let trace = open(&file_of(schema, &[&columns, &columns[..]], packing));
        assert_eq!((trace.index().format, trace.index().rows), (Format::Mooncake, 4));
        let found = rows(&trace);
        assert_eq!(found[2].at, Nanos::from_millis(27_482));
        assert_eq!((found[0].output_length, found[0].block_size), (500, Some(512)));
        assert_eq!(found[0].hash_ids.as_deref(), Some(&(0..14).collect::<Vec<_>>()[..]));
        assert_eq!((found[2].line, found[3].line, found[3].hash_ids.clone()), (2, 4, None));
        let mut lines = Vec::new();
        convert(&trace, WriteFormat::Mooncake, &mut lines).unwrap();
        assert!(
            lines.starts_with(
                b"{\"timestamp\":0,\"input_length\":6758,\"output_length\":500,\"hash_ids\":[0,1,"
            )
        );
    }
    let qwen = file(
        "optional int64 chat_id; optional int64 parent_chat_id; optional double timestamp; \
         optional int64 input_length; optional int64 output_length; optional binary type (STRING);",
        &[
            Cells::I64(all(&[159])),
            Cells::I64(all(&[-1])),
            Cells::F64(all(&[61.114])),
            Cells::I64(all(&[521])),
            Cells::I64(all(&[132])),
            texts(&["text"]),
        ],
    );
    let found = rows(&open(&qwen));
    assert_eq!((found[0].at, &found[0].parent), (Nanos::from_millis(61_114), &None), "no digit is made up");
    let prompts = file(
        "optional binary prompt; optional int32 output_tokens;",
        &[texts(&["Hi"]), Cells::I32(all(&[3]))],
    );
    assert_eq!(open(&prompts).index().format, Format::Prompts);
}

#[test]
fn fields_may_have_other_names() {
    let schema = "optional int64 arrival_ms; optional int64 prompt_tokens; optional int64 output_length; \
                  optional int64 at (DECIMAL(18, 6));";
    let cells = [
        Cells::I64(all(&[5, 1_500])),
        Cells::I64(all(&[40, 50])),
        Cells::I64(all(&[4, 5])),
        Cells::I64(all(&[1_000_001, 2_000_000])),
    ];
    let bytes = file(schema, &cells);
    let renamed = |fields: &[&str]| {
        let fields = fields.iter().map(|field| parse_field(field).unwrap()).collect();
        Trace::read(&bytes[..], "t.parquet", &OpenOptions { fields, ..OpenOptions::default() }).unwrap()
    };
    let trace = renamed(&["timestamp=arrival_ms", "input_length=prompt_tokens"]);
    assert_eq!((trace.index().format, rows(&trace)[1].at), (Format::Mooncake, Nanos::from_millis(1_500)));
    let exact = renamed(&["timestamp_s=at", "input_length=prompt_tokens"]);
    assert_eq!((exact.index().format, rows(&exact)[0].at), (Format::Tics, Nanos::from_micros(1_000_001)));
}

#[test]
fn wrong_values_are_named_with_their_row() {
    let tokens = "expected a whole number of tokens from 1 to 4294967295";
    let check = |schema: &str, cells: Cells, expect: &str| {
        let bytes = with_column(schema, cells);
        assert_eq!(error(&bytes), format!("t.parquet:2: {expect}"));
        let skip = OpenOptions { skip_bad_rows: true, ..OpenOptions::default() };
        let rest = Trace::read(&bytes[..], "t.parquet", &skip).unwrap();
        assert_eq!((rest.index().rows, rest.index().skipped), (2, 1));
        assert_eq!(
            rows(&rest).iter().map(|row| row.line).collect::<Vec<_>>(),
            [1, 3],
            "rows keep their number"
        );
    };
    let turn = "\"turn\": expected a whole number from 0 to 4294967295";
    check("int64 turn", Cells::I64(all(&[1, -1, 2])), &format!("{turn}, found -1"));
    check("int64 turn", Cells::I64(all(&[1, i64::MAX, 2])), &format!("{turn}, found 9223372036854775807"));
    check("double turn", Cells::F64(all(&[1.0, 1.5, 2.0])), &format!("{turn}, found 1.5"));
    check(
        "double turn",
        Cells::F64(all(&[1.0, f64::NAN, 2.0])),
        "\"turn\": expected a JSON value, found NaN",
    );
    check(
        "double turn",
        Cells::F64(all(&[1.0, f64::INFINITY, 2.0])),
        "\"turn\": expected a JSON value, found inf",
    );
    check("boolean turn", Cells::Bool(vec![None, Some(true), None]), &format!("{turn}, found true"));
    check(
        "int64 delay_ns",
        Cells::I64(all(&[0, -7, 2])),
        "\"delay_ns\": expected nanoseconds from 0 to 18446744073709551615, found -7",
    );
    check(
        "binary type (STRING)",
        Cells::Text(vec![None, Some(vec![b'a', 0xFF]), None]),
        "\"type\": expected UTF-8 text, found the byte 0xff",
    );
    let json = |second: &str| Cells::Text(vec![None, Some(second.as_bytes().to_vec()), None]);
    check("binary messages (STRING)", json("[1"), "\"messages\": expected a text with JSON, found [1");
    check(
        "binary messages (STRING)",
        json("[], \"turn\": 5"),
        "\"messages\": expected a text with JSON, found [], \"turn\": 5",
    );
    check("binary payload", json("[]"), "\"payload\": expected an object, found []");
    let blocks = "expected an array of whole numbers from 0 to 18446744073709551615";
    let lists = "group hash_ids (LIST) { repeated group list { optional int64 element; } }";
    let check_list = |second: &[Option<i64>], found: &str| {
        let lists_of = Cells::Lists(vec![None, Some(second.to_vec()), None]);
        let bytes = with_column(lists, lists_of);
        let options = OpenOptions { block_size: Some(16), ..OpenOptions::default() };
        let error = Trace::read(&bytes[..], "t.parquet", &options).unwrap_err();
        assert_eq!(error.to_string(), format!("t.parquet:2: \"hash_ids\": {blocks}, found {found}"));
    };
    check_list(&[Some(1), Some(-2)], "[1,-2]");
    check_list(&[Some(1), None], "[1,null]");
    let without = file(
        "optional int64 timestamp_ns; optional int32 input_length; optional int32 output_length;",
        &[Cells::I64(all(&[0, 5])), Cells::I32(vec![Some(4), None]), Cells::I32(all(&[4, 4]))],
    );
    assert_eq!(error(&without), format!("t.parquet:2: \"input_length\": {tokens}, found nothing"));
    let text = with_column("binary turn", texts(&["1", "2", "x"]));
    assert_eq!(error(&text), format!("t.parquet:1: {turn}, found \"1\""));
}

#[test]
fn files_that_hold_no_trace() {
    let check = |bytes: &[u8], expect: &str| assert_eq!(error(bytes), format!("t.parquet{expect}"));
    check(
        b"PAR1",
        ":1: a Parquet file, damaged or cut short at this row: Parquet file too small. Size is 4 but need 8",
    );
    check(
        &file("optional int64 a; optional binary b;", &[Cells::I64(all(&[1])), texts(&["x"])]),
        ": a Parquet file without a column of a trace: expected timestamp_ns, input_length, output_length and so \
         on, found a, b; --field OURS=THEIRS names others",
    );
    let empty = [Cells::I64(Vec::new()), Cells::I64(Vec::new())];
    let few = "optional int64 timestamp_ns; optional int64 input_length;";
    check(&file(few, &empty), ": empty; expected a trace with one request a row (JSON lines or CSV)");
    check(&written(&[]), ": empty; expected a trace with one request a row (JSON lines or CSV)");
    let instants = "int64 delay_s (TIMESTAMP(MICROS,true))";
    check(
        &with_column(instants, Cells::I64(all(&[1, 2, 3]))),
        ": the column \"delay_s\": expected numbers, texts or lists of numbers, found TIMESTAMP_MICROS",
    );
    let nested = "group messages { optional binary role; }";
    check(
        &with_column(nested, texts(&["a", "b", "c"])),
        ": the column \"messages\": expected numbers, texts or lists of numbers, found columns within a column",
    );
    let azure = OpenOptions { format: Some(Format::Azure), ..OpenOptions::default() };
    let refused = Trace::read(&written(&[])[..], "t.parquet", &azure).unwrap_err().to_string();
    assert!(refused.contains("not of azure"), "{refused}");
    let bad = with_column("double turn", Cells::F64(all(&[-1.0, -1.0, -1.0])));
    let skip = OpenOptions { skip_bad_rows: true, ..OpenOptions::default() };
    let none = Trace::read(&bad[..], "t.parquet", &skip).unwrap_err().to_string();
    assert!(none.starts_with("no valid row among 3; the first: t.parquet:1:"), "{none}");
    let broken = with_column("binary type", Cells::Text(vec![Some(vec![0xFF]); 3]));
    let none = Trace::read(&broken[..], "t.parquet", &skip).unwrap_err().to_string();
    assert!(none.starts_with("no valid row among 3; the first: t.parquet:1: \"type\""), "{none}");
}

/// A good file with a page for every column, of two row groups.
fn good() -> Vec<u8> {
    let row = |line: u64| Row {
        line,
        at: Nanos::from_millis(line),
        input_length: 40,
        output_length: 4,
        hash_ids: Some(vec![line, 2, 3]),
        block_size: Some(16),
        id: Some(Id::Number(line.cast_signed())),
        prompt: Some(format!("prompt {line}")),
        ..Row::default()
    };
    written(&(1..=40).map(row).collect::<Vec<_>>())
}

/// Reads a file in every way; the message if it is no trace.
fn read(bytes: &[u8], skip_bad_rows: bool) -> Option<String> {
    let options = OpenOptions { skip_bad_rows, ..OpenOptions::default() };
    let trace = match Trace::read(bytes, "t.parquet", &options) {
        Ok(trace) => trace,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.contains("t.parquet:"), "{text}");
            return Some(text);
        }
    };
    let rows = trace.index().rows;
    assert_eq!(trace.schedule(&Selection::default()).unwrap().map(Result::unwrap).count() as u64, rows);
    None
}

#[test]
fn truncated_files_are_explained() {
    let bytes = good();
    assert_eq!(read(&bytes, false), None);
    for end in 0..bytes.len() {
        let message = read(&bytes[..end], end % 2 == 0).unwrap();
        let row = message.strip_prefix("t.parquet:").and_then(|rest| rest.split(':').next());
        assert!(message.contains("empty") || row.is_some_and(|row| row.parse::<u64>().is_ok()), "{message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damage_is_a_trace_or_a_line(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), skip: bool) {
        let mut bytes = good();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read(&bytes, skip);
    }
}
