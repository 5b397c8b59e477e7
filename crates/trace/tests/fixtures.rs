//! A file of every shape in which traces are published: read, converted to every format, and back.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use tics_trace::{Format, OpenOptions, Row, Trace, WriteFormat, convert, parse_field};

use support::without;

/// A file, its format, and time in nanoseconds, input and output length of each row in the file's order.
type Fixture = (&'static str, Format, &'static [(u64, u32, u32)]);

const MS: u64 = 1_000_000;

/// Texts are counted in words here.
const FIXTURES: [Fixture; 16] = [
    (
        "tics.jsonl",
        Format::Tics,
        &[(0, 521, 13), (215_729_001, 130, 7), (900 * MS, 190, 5), (1250 * MS, 3, 4)],
    ),
    (
        "mooncake.jsonl",
        Format::Mooncake,
        &[(0, 6758, 50), (0, 7322, 4), (3052 * MS, 891, 19), (6000 * MS, 7600, 2)],
    ),
    (
        "mooncake-sessions.jsonl",
        Format::Mooncake,
        &[(0, 300, 40), (2 * MS, 150, 20), (10 * MS, 90, 8), (25_500_000, 700, 6)],
    ),
    ("mooncake-bodies.jsonl", Format::Mooncake, &[(1000 * MS, 0, 3), (1040 * MS, 0, 4)]),
    ("timed.jsonl", Format::Mooncake, &[(0, 40, 6), (1_500_250_000, 16, 7)]),
    ("qwen.jsonl", Format::Qwen, &[(61_114 * MS, 52, 13), (61_500 * MS, 33, 9), (62_000 * MS, 80, 2)]),
    ("azure-2023.csv", Format::Azure, &[(0, 4808, 10), (52_000_100, 110, 27), (98_163_100, 3180, 8)]),
    ("azure-2024.csv", Format::Azure, &[(0, 2162, 5), (1_000, 70, 8), (9_931_000, 9, 1)]),
    ("azure-multimodal.csv", Format::Azure, &[(0, 1500, 80), (500 * MS, 30, 4), (750 * MS, 640, 12)]),
    // The third row failed in the original.
    (
        "burstgpt-6.csv",
        Format::BurstGpt,
        &[(5_000 * MS, 472, 18), (45_000 * MS, 1087, 23), (185_000 * MS, 1360, 35)],
    ),
    (
        "burstgpt-8.csv",
        Format::BurstGpt,
        &[(19_440_110_000 * MS, 906, 44), (19_440_110_500 * MS, 7, 8), (19_440_117_250 * MS, 950, 16)],
    ),
    ("sharegpt.json", Format::ShareGpt, &[(0, 2, 6), (0, 11, 2), (0, 3, 2)]),
    ("sharegpt-roles.json", Format::ShareGpt, &[(0, 3, 2)]),
    ("prompts.jsonl", Format::Prompts, &[(0, 4, 12), (0, 3, 3)]),
    ("payload.jsonl", Format::Payload, &[(0, 0, 12), (0, 0, 2)]),
    ("servegen", Format::ServeGen, &[]),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn options(name: &str) -> OpenOptions {
    let fields: &[&str] = if name == "timed.jsonl" {
        &[
            "timestamp=arrival_ms",
            "input_length=prompt_tokens",
            "output_length=completion_tokens",
            "hash_ids=blocks",
        ]
    } else {
        &[]
    };
    OpenOptions {
        count_tokens: Some(Arc::new(|text| text.split_whitespace().count() as u32)),
        fields: fields.iter().map(|field| parse_field(field).unwrap()).collect(),
        block_size: (name == "timed.jsonl").then_some(16),
        ..OpenOptions::default()
    }
}

fn rows(trace: &Trace) -> Vec<Row> {
    trace.rows_as_recorded().map(Result::unwrap).collect()
}

fn lengths(rows: &[Row]) -> Vec<(u64, u32, u32)> {
    rows.iter().map(|row| (row.at.as_nanos(), row.input_length, row.output_length)).collect()
}

#[test]
fn every_shape_is_read() {
    for (name, format, expect) in FIXTURES {
        let trace = Trace::open(&path(name), &options(name)).unwrap();
        assert_eq!(trace.index().format, format, "{name}: recognised by its content");
        let found = lengths(&rows(&trace));
        if format == Format::ServeGen {
            // 0.02 and 0.01 a second, 600 s each.
            assert_eq!(found.len(), 18);
            assert!(found[..12].iter().all(|(at, i, o)| *at < 600_000 * MS && matches!(i, 7 | 9) && *o == 3));
            assert!(
                found[12..].iter().all(|(at, i, o)| *at >= 1_200_000 * MS && *i == 11 && matches!(o, 4 | 5))
            );
            continue;
        }
        assert_eq!(found, expect, "{name}");
        // The same bytes under another name, and forced to be what they are.
        if format != Format::ServeGen {
            let bytes = std::fs::read(path(name)).unwrap();
            let forced = OpenOptions { format: Some(format), ..options(name) };
            assert_eq!(lengths(&rows(&Trace::read(&*bytes, "x", &forced).unwrap())), expect, "{name}");
        }
    }
}

/// All files there are, so that none is forgotten.
#[test]
fn every_file_is_in_the_table() {
    let files = std::fs::read_dir(path("")).unwrap().map(|file| file.unwrap().file_name());
    let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    files.retain(|name| name != "README.md");
    files.sort_unstable();
    let mut table = FIXTURES.map(|(name, ..)| name);
    table.sort_unstable();
    assert_eq!(files, table);
}

/// Into every format that can be written, and back to our own rows: nothing is lost that it can hold.
#[test]
fn every_shape_survives_conversion() {
    for (name, format, _) in FIXTURES {
        let trace = Trace::open(&path(name), &options(name)).unwrap();
        let original = rows(&trace);
        for target in WriteFormat::ALL {
            let mut bytes = Vec::new();
            let converted = convert(&trace, target, &mut bytes).unwrap();
            let holds: Vec<Row> = original.iter().filter(|row| target.can_hold(row)).cloned().collect();
            assert_eq!(converted.rows, holds.len() as u64, "{name} to {target}");
            assert_eq!(converted.left_out, original.len() as u64 - converted.rows, "{name} to {target}");
            if holds.is_empty() {
                assert!(matches!(format, Format::Payload | Format::Mooncake) && target == WriteFormat::Qwen);
                continue;
            }
            let there = Trace::read(&*bytes, "there", &OpenOptions::default()).unwrap();
            let mut back = Vec::new();
            let returned = convert(&there, WriteFormat::Tics, &mut back).unwrap();
            assert!(returned.dropped.is_empty() && returned.left_out == 0, "{name} from {target}");
            let back = rows(&Trace::read(&*back, "back", &OpenOptions::default()).unwrap());
            let expect: Vec<Row> = holds
                .iter()
                .map(|row| without(row.clone(), &target.drops(row).collect::<Vec<_>>()))
                .collect();
            let plain = |rows: &[Row]| rows.iter().map(|r| Row { line: 0, ..r.clone() }).collect::<Vec<_>>();
            assert_eq!(plain(&back), plain(&expect), "{name} by {target}");
        }
    }
}
