//! What writing the journal costs, a request of a hundred events at a time.
//!
//! `cargo bench -p tics-record --bench journal`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tics_record::{Event, EventClass, Header, JournalReader, JournalWriter, Line, RequestRecord, Stamp};

const EVENTS: u64 = 100;

fn record() -> RequestRecord {
    let at = |ns: u64| Stamp::from_nanos(5_000_000_000 + ns);
    let mut record = RequestRecord::not_sent(7, at(0));
    record.sent = Some(at(12_000));
    record.events = (0..EVENTS).map(|n| Event::new(at(20_000_000 * (n + 1)), EventClass::Content)).collect();
    record.end = Some(at(20_000_000 * EVENTS));
    record
}

fn journal(c: &mut Criterion) {
    let record = record();
    let mut written = JournalWriter::new(Vec::new(), &Header::new("bench")).expect("memory");
    written.ended(&record).expect("memory");
    let bytes = std::mem::take(written.get_mut());

    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("write, events", |b| {
        let mut writer =
            JournalWriter::new(Vec::with_capacity(1 << 16), &Header::new("bench")).expect("memory");
        b.iter(|| {
            writer.get_mut().clear();
            writer.ended(black_box(&record)).expect("memory");
        });
    });
    group.bench_function("read, events", |b| {
        b.iter(|| {
            let lines = JournalReader::new(bytes.as_slice()).expect("a journal");
            let n: usize = lines
                .map(|line| match line {
                    Ok(Line::Ended(record)) => record.events.len(),
                    _ => 0,
                })
                .sum();
            assert_eq!(n as u64, EVENTS);
        });
    });
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
