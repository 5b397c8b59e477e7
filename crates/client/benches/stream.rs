//! What an event costs once its bytes are here: the SSE parser alone, classing alone, both together;
//! classing with the stream's memory, afresh, and by serde_json, so that a run shows the ratios.
//!
//! `cargo bench -p tics-client --bench stream`. Aim: 1 GB/s of token-sized events for the parser alone.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use tics_client::{Decoder, SseParser, decode, decode_by_serde};
use tics_record::EventClass;

/// Events of a stream as vLLM writes them, about 200 bytes each.
const EVENTS: usize = 5_000;

/// What one read of a busy stream brings.
const READ: usize = 16 << 10;

fn data(token: usize) -> String {
    format!(
        "{{\"id\":\"chatcmpl-7f3a5c1e9b2d4f60\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
         \"model\":\"some-model\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" token{token}\"}},\
         \"logprobs\":null,\"finish_reason\":null}}]}}"
    )
}

fn stream() -> String {
    (0..EVENTS).flat_map(|token| ["data: ".to_owned(), data(token), "\n\n".to_owned()]).collect()
}

fn parser(c: &mut Criterion) {
    let stream = stream();
    let mut group = c.benchmark_group("sse");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("feed", |b| {
        b.iter(|| {
            let mut parser = SseParser::new();
            let mut events = 0;
            for read in stream.as_bytes().chunks(READ) {
                let fed = parser.feed(read, |_, data| {
                    black_box(data);
                    events += 1;
                });
                fed.expect("events of ordinary length");
            }
            assert_eq!(events, EVENTS);
        });
    });
    feed_and_decode(&mut group, "feed and decode", &stream, || {
        let mut decoder = Decoder::new();
        move |name, data| decoder.decode(name, data).class
    });
    feed_and_decode(&mut group, "feed and decode afresh", &stream, || |name, data| decode(name, data).class);
    feed_and_decode(&mut group, "feed and decode by serde_json", &stream, || {
        |name, data| decode_by_serde(name, data).class
    });
    group.finish();
}

/// `start` makes what classes the events of one stream.
fn feed_and_decode<C: FnMut(&[u8], &[u8]) -> EventClass>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    stream: &str,
    start: impl Fn() -> C,
) {
    group.bench_function(name, |b| {
        b.iter(|| {
            let (mut parser, mut class) = (SseParser::new(), start());
            let mut tics = 0;
            for read in stream.as_bytes().chunks(READ) {
                let fed = parser.feed(read, |name, data| tics += usize::from(class(name, data).is_tic()));
                fed.expect("events of ordinary length");
            }
            assert_eq!(tics, EVENTS);
        });
    });
}

fn classing(c: &mut Criterion) {
    let events =
        [("content", data(7)), ("mini-sglang", minisgl()), ("usage", usage()), ("done", "[DONE]".to_owned())];
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for (name, event) in events {
        group.bench_function(name, |b| b.iter(|| decode(b"", black_box(event.as_bytes()))));
        let name = format!("{name} by serde_json");
        group.bench_function(name, |b| b.iter(|| decode_by_serde(b"", black_box(event.as_bytes()))));
    }
    group.finish();
}

fn minisgl() -> String {
    "{\"id\":\"cmpl-12\",\"object\":\"text_completion.chunk\",\"choices\":[{\"delta\":{\"content\":\" token\"},\
     \"index\":0,\"finish_reason\":null}]}"
        .to_owned()
}

fn usage() -> String {
    "{\"id\":\"chatcmpl-7f3a\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\
     \"choices\":[],\"usage\":{\"prompt_tokens\":100,\"total_tokens\":200,\"completion_tokens\":100}}"
        .to_owned()
}

criterion_group!(benches, parser, classing);
criterion_main!(benches);
