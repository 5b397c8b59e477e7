//! Instructions that a record costs on its way to the journal, under callgrind.
//!
//! `cargo xtask instructions` runs it and compares with `benches/instruction-limits.toml`.

use gungraun::{library_benchmark, library_benchmark_group, main};
use tics_record::{Event, EventClass, Header, JournalWriter, RequestRecord, Stamp};

const EVENTS: u64 = 256;

fn prepared() -> (JournalWriter<Vec<u8>>, RequestRecord) {
    let at = |ns: u64| Stamp::from_nanos(5_000_000_000 + ns);
    let mut record = RequestRecord::not_sent(7, at(0));
    record.sent = Some(at(12_000));
    record.events = (0..EVENTS).map(|n| Event::new(at(20_000_000 * (n + 1)), EventClass::Content)).collect();
    record.end = Some(at(20_000_000 * EVENTS));
    let writer = JournalWriter::new(Vec::with_capacity(1 << 16), &Header::new("bench")).expect("memory");
    (writer, record)
}

#[library_benchmark]
#[bench::of_256_events(args = (), setup = prepared)]
fn ended((mut writer, record): (JournalWriter<Vec<u8>>, RequestRecord)) -> JournalWriter<Vec<u8>> {
    writer.ended(&record).expect("memory");
    writer
}

library_benchmark_group!(name = journal, benchmarks = [ended]);
main!(library_benchmark_groups = journal);
