//! Exact quantiles of ten million values, and a whole summary of ten million tics.
//!
//! `cargo bench -p tics-stats`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tics_record::{Event, EventClass, LoadModel, Outcome, RequestRecord, Stamp};
use tics_stats::{Distribution, Limits, Plan, Summariser};

const VALUES: u64 = 10_000_000;
const TICS: u64 = 100;

/// Gaps of about 20 ms, in an order that no sort has an easy time with.
fn gap(n: u64) -> u32 {
    20_000_000 + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as u32
}

fn record(i: u64) -> RequestRecord {
    let mut record = RequestRecord::not_sent(i, Stamp::from_nanos(i * 1_000_000));
    let mut at = i * 1_000_000 + 12_000;
    record.sent = Some(Stamp::from_nanos(at));
    record.events.reserve(TICS as usize);
    for n in 0..TICS {
        at += u64::from(gap(i * TICS + n));
        record.events.push(Event::new(Stamp::from_nanos(at), EventClass::Content));
    }
    record.end = Some(Stamp::from_nanos(at));
    record.outcome = Outcome::Ok;
    record
}

fn quantiles(c: &mut Criterion) {
    let values: Vec<u32> = (0..VALUES).map(gap).collect();
    let mut group = c.benchmark_group("quantiles");
    group.sample_size(10).throughput(Throughput::Elements(VALUES));
    group.bench_function("ten million values", |b| {
        let distribution = |mut values: Vec<u32>| {
            values.sort_unstable();
            Distribution::of_sorted(&values, 1e6)
        };
        b.iter_batched(|| values.clone(), distribution, BatchSize::LargeInput);
    });
    group.bench_function("summary of ten million tics", |b| {
        let records: Vec<RequestRecord> = (0..1_000).map(record).collect();
        let plan = Plan::new(VALUES / TICS, LoadModel::OpenLoop);
        b.iter(|| {
            let mut summariser = Summariser::new();
            for i in 0..VALUES / TICS {
                summariser.record(black_box(&records[(i % 1_000) as usize]));
            }
            summariser.finish(&plan, &Limits::default())
        });
    });
    group.finish();
}

criterion_group!(benches, quantiles);
criterion_main!(benches);
