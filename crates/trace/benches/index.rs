//! Rows a second through the index pass: every row read and validated, the file hashed.
//!
//! `cargo bench -p tics-trace`. Aim: 800,000 Mooncake rows a second on one core.

use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use tempfile::NamedTempFile;
use tics_trace::{Format, OpenOptions, Selection, Trace};

const ROWS: u64 = 1_000_000;

/// A row as somebody in a hurry would read it.
#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "read and thrown away")]
struct PlainRow {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// A file of [`ROWS`] rows in the spelling of the published traces, inputs uniform up to twice `mean`.
fn mooncake(mean: u64) -> NamedTempFile {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut file = NamedTempFile::new().expect("a temporary file");
    let mut text = String::new();
    let mut next_block = 0;
    for row in 0..ROWS {
        let input = 1 + random.next_u64() % (2 * mean);
        let output = 1 + random.next_u64() % 2_000;
        let _ = write!(
            text,
            "{{\"timestamp\": {}, \"input_length\": {input}, \"output_length\": {output}, \"hash_ids\": [0",
            row * 3
        );
        for _ in 1..input.div_ceil(512) {
            next_block += 1;
            let _ = write!(text, ", {next_block}");
        }
        text.push_str("]}\n");
        if text.len() > 1 << 20 {
            file.write_all(text.as_bytes()).expect("a writable file");
            text.clear();
        }
    }
    file.write_all(text.as_bytes()).expect("a writable file");
    file
}

fn azure() -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    for row in 0..ROWS {
        let _ = writeln!(
            text,
            "2024-05-10 {:02}:{:02}:{:02}.{:06}+00:00,{},{}",
            row / 3600 % 24,
            row / 60 % 60,
            row % 60,
            row % 1_000_000,
            1 + row % 5_000,
            1 + row % 700
        );
    }
    file.write_all(text.as_bytes()).expect("a writable file");
    file
}

fn index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index");
    group.sample_size(10).throughput(Throughput::Elements(ROWS));
    let files = [
        ("mooncake, mean 2,000 tokens", Format::Mooncake, mooncake(2_000)),
        ("mooncake, mean 12,000 tokens", Format::Mooncake, mooncake(12_000)),
        ("azure 2024", Format::Azure, azure()),
    ];
    for (name, format, file) in &files {
        let options = OpenOptions { format: Some(*format), ..OpenOptions::default() };
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let trace = Trace::open(file.path(), &options).expect("a valid trace");
                assert_eq!(black_box(trace.index().rows), ROWS);
            });
        });
    }
    // What the same file costs without validation, hash and order.
    let path = files[0].2.path();
    group.bench_function("plain serde_json, mooncake, mean 2,000 tokens", |bencher| {
        bencher.iter(|| {
            let lines = BufReader::new(File::open(path).expect("a file")).lines();
            let rows =
                lines.map(|line| serde_json::from_str::<PlainRow>(&line.expect("a line")).expect("a row"));
            let blocks: usize = rows.map(|row| black_box(row).hash_ids.len()).sum();
            assert!(blocks > 0);
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("schedule");
    group.sample_size(10).throughput(Throughput::Elements(ROWS));
    let trace = Trace::open(files[0].2.path(), &OpenOptions::default()).expect("a valid trace");
    group.bench_function("mooncake, mean 2,000 tokens", |bencher| {
        bencher.iter(|| {
            let schedule = trace.schedule(&Selection::default()).expect("a schedule");
            let totals = schedule.totals();
            let read: u64 = schedule.map(|request| u64::from(request.expect("a row").row.input_length)).sum();
            assert_eq!(read, totals.input_tokens);
        });
    });
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
