//! Instructions of the timed path, under callgrind: they repeat on a busy machine, so a limit can gate.
//!
//! `cargo xtask instructions` runs it and compares with `benches/instruction-limits.toml`. The peer is a
//! socket of this very thread, written to one event at a time, so each event is one read, as at a server
//! that streams; what the kernel does is not counted.

use std::cell::Cell;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use gungraun::{library_benchmark, library_benchmark_group, main};
use nix::time::{ClockId, clock_gettime};
use tics_client::{
    BaseUrl, BodyOptions, BodyTemplate, Client, Connector, Content, Decoder, Exchange, Limits, Observer,
    ReusePolicy, SseParser, Target, Trigger, decode,
};
use tics_record::{Clock, Event, RequestRecord, Stamp};
use tokio::runtime::Runtime;

/// Tokens of the measured streams.
const TOKENS: usize = 256;

struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Stamp {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the system has this clock");
        Stamp::from_nanos(time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
    }
}

#[derive(Default)]
struct Count(usize);

impl Observer for Count {
    fn event(&mut self, _: &Event, _: bool) {
        self.0 += 1;
    }
}

/// A client with one open connection that has served before, and the other end of it.
struct Rig {
    runtime: Runtime,
    client: Client,
    peer: TcpStream,
    exchange: Exchange,
    events: Vec<String>,
    /// What the peer reads the request into: made once, as making it would be counted.
    buffer: Cell<Vec<u8>>,
}

fn data(token: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-7f3a5c1e9b2d4f60\",\"object\":\"chat.completion.chunk\",\
         \"created\":1700000000,\"model\":\"some-model\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\" token{token}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

impl Rig {
    /// Everything that happens once a run or once a connection happens here and is not counted.
    fn warm() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let base = BaseUrl::parse(&format!("http://{address}")).expect("an address");
        let target = Arc::new(Target::new(base, vec![address], None, None).expect("no key, no error"));
        let connector = Connector::new(target, None, Limits::default(), Arc::new(Monotonic));
        let client = Client::new(connector, Arc::default(), ReusePolicy::Lifo);
        let template =
            BodyTemplate::chat(&BodyOptions { model: "some-model".into(), ..BodyOptions::default() });
        let body = template.fill(Content::Prompt(&"word ".repeat(1_000)), 1_000, TOKENS as u32);
        let exchange = Exchange { path: Arc::from("/v1/chat/completions"), id: "run-0".to_owned(), body };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut events = vec![head.to_owned()];
        events.extend((0..TOKENS).map(|token| chunk(&data(token))));
        events.push(chunk("data: [DONE]\n\n") + "0\r\n\r\n");
        let buffer = Cell::new(vec![0; 1 << 16]);
        let peer = {
            let (client, exchange, events, buffer) = (&client, &exchange, &events, &buffer);
            runtime.block_on(async move {
                let peer = Cell::new(None);
                let accept = || {
                    let (stream, _) = listener.accept().expect("a connection");
                    stream.set_nodelay(true).expect("TCP");
                    peer.set(Some(stream.try_clone().expect("a descriptor")));
                    stream
                };
                stream(client, exchange, events, buffer, accept).await;
                peer.into_inner()
            })
        };
        let peer = peer.expect("the exchange was armed");
        Rig { runtime, client, peer, exchange, events, buffer }
    }
}

/// Polls `future` until `flag` is set, which only polling it can do.
async fn until<F: Future<Output = ()>>(mut future: Pin<&mut F>, flag: &Cell<bool>) {
    std::future::poll_fn(|cx| {
        let ended = future.as_mut().poll(cx).is_ready();
        if ended || flag.get() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// One exchange, from arming to the end; the peer writes an event whenever the one before was read.
async fn stream(
    client: &Client,
    exchange: &Exchange,
    events: &[String],
    buffer: &Cell<Vec<u8>>,
    peer: impl FnOnce() -> TcpStream,
) -> usize {
    let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
    let mut count = Count::default();
    let fired = Cell::new(false);
    let fire = |trigger: Trigger, _: &mut RequestRecord| {
        trigger.fire(&Monotonic);
        fired.set(true);
    };
    let mut future = Box::pin(client.exchange(exchange, &mut record, &mut count, fire));
    until(future.as_mut(), &fired).await;
    let mut peer = peer();
    // Head and body went out in one `send`, so one read has them.
    let mut request = buffer.take();
    let n = peer.read(&mut request).expect("the request");
    assert!(n > exchange.body.len() && n < request.len());
    buffer.set(request);
    let over = Cell::new(false);
    for event in events {
        peer.write_all(event.as_bytes()).expect("loopback");
        // Gives the runtime a look at its sockets, and the exchange what came.
        std::future::poll_fn(|cx| {
            let _ready = future.as_mut().poll(cx).map(|()| over.set(true));
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
    if !over.get() {
        future.as_mut().await;
    }
    drop(future);
    assert_eq!(count.0, TOKENS + 1, "{:?}", record.detail);
    count.0
}

/// Arms one request and takes it back.
fn arm_once(rig: &Rig) {
    let armed = Cell::new(false);
    rig.runtime.block_on(async {
        let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
        let mut count = Count::default();
        let hold = |_: Trigger, _: &mut RequestRecord| armed.set(true);
        let mut future = Box::pin(rig.client.exchange(&rig.exchange, &mut record, &mut count, hold));
        until(future.as_mut(), &armed).await;
    });
    assert!(armed.get());
}

fn exchange_once(rig: &Rig) -> usize {
    let peer = rig.peer.try_clone().expect("a descriptor");
    rig.runtime.block_on(stream(&rig.client, &rig.exchange, &rig.events, &rig.buffer, || peer))
}

fn recorded() -> Vec<String> {
    (0..TOKENS).map(data).collect()
}

fn parse_and_class_all(pieces: &[String]) {
    let (mut parser, mut decoder) = (SseParser::new(), Decoder::new());
    let mut tics = 0;
    for piece in pieces {
        let class = |name: &[u8], data: &[u8]| tics += usize::from(decoder.decode(name, data).class.is_tic());
        parser.feed(piece.as_bytes(), class).expect("events of ordinary length");
    }
    assert_eq!(tics, TOKENS);
}

/// The data of the events.
fn bare() -> Vec<String> {
    recorded().iter().map(|event| event["data: ".len()..].trim_end().to_owned()).collect()
}

/// Each by itself, as where every event has an identifier of its own.
fn class_all_afresh(events: &[String]) {
    let tics = events.iter().filter(|event| decode(b"", event.as_bytes()).class.is_tic()).count();
    assert_eq!(tics, TOKENS);
}

// Counting is switched on and off by the benches' names, which closures in them would have, too: so
// each calls a function. What it was given is returned, as dropping it is not what is measured.

#[library_benchmark]
#[bench::reused_connection(args = (), setup = Rig::warm)]
fn arm(rig: Rig) -> Rig {
    arm_once(&rig);
    rig
}

#[library_benchmark]
#[bench::an_event_a_read(args = (), setup = Rig::warm)]
fn exchange(rig: Rig) -> Rig {
    black_box(exchange_once(&rig));
    rig
}

#[library_benchmark]
#[bench::an_event_a_piece(args = (), setup = recorded)]
fn parse_and_class(pieces: Vec<String>) -> Vec<String> {
    parse_and_class_all(&pieces);
    pieces
}

#[library_benchmark]
#[bench::unlike_events(args = (), setup = bare)]
fn class_afresh(events: Vec<String>) -> Vec<String> {
    class_all_afresh(&events);
    events
}

library_benchmark_group!(name = timed_path, benchmarks = [arm, exchange, parse_and_class, class_afresh]);
main!(library_benchmark_groups = timed_path);
