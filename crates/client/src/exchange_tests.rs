//! Exchanges against a scripted peer on loopback: the test plays the server, byte by byte, in the same
//! thread, so that which read brings what is the test's own decision.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};
use tics_record::{Clock, Event, EventClass, Nanos, Outcome, RequestRecord, Stamp};

use crate::wire::{Fired, Trigger};
use crate::{BaseUrl, Client, Connector, Exchange, Limits, Observer, ReusePolicy, Target};

struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Stamp {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
        Stamp::from_nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    }
}

/// What the exchange has shown so far, seen by the test while it goes on.
#[derive(Default, Clone)]
struct Seen {
    events: Rc<RefCell<Vec<Event>>>,
}

impl Observer for Seen {
    fn event(&mut self, event: &Event, _: bool) {
        self.events.borrow_mut().push(*event);
    }
}

struct Peer {
    listener: TcpListener,
    client: Client,
}

impl Peer {
    fn new(limits: Limits) -> Self {
        Self::with_policy(limits, ReusePolicy::Lifo)
    }

    fn with_policy(limits: Limits, reuse: ReusePolicy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let base = BaseUrl::parse(&format!("http://{address}")).unwrap();
        let target = Arc::new(Target::new(base, vec![address], None, None).unwrap());
        let connector = Connector::new(target, None, limits, Arc::new(Monotonic));
        Peer { listener, client: Client::new(connector, Arc::default(), reuse) }
    }

    fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        stream
    }
}

fn exchange(asked: u32) -> (Exchange, RequestRecord) {
    let exchange = Exchange {
        path: Arc::from("/v1/chat/completions"),
        id: "run-7".to_owned(),
        body: Bytes::from_static(b"{\"model\":\"m\"}"),
    };
    let mut record = RequestRecord::not_sent(7, Monotonic.now());
    record.output.asked = asked;
    (exchange, record)
}

/// Runs a test body on a runtime that polls its futures one after the other.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

/// Polls `future` until `until` holds or it is ready; panics after ten seconds.
async fn drive<F: Future>(
    mut future: std::pin::Pin<&mut F>,
    mut until: impl FnMut() -> bool,
) -> Option<F::Output> {
    // What `until` looks at wakes nobody, so it is asked every millisecond.
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(1));
    for _ in 0..10_000 {
        tokio::select! {
            biased;
            output = future.as_mut() => return Some(output),
            _ = tick.tick() => if until() { return None },
        }
    }
    panic!("the exchange hangs");
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "closed inside the request");
        request.extend_from_slice(&piece[..n]);
        if request.ends_with(b"{\"model\":\"m\"}") {
            return String::from_utf8(request).unwrap();
        }
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

fn token(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n")
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const END: &str = "0\r\n\r\n";

/// One whole exchange against `serve`, which gets the connection once the request was fired.
fn outcome_of(limits: Limits, asked: u32, serve: impl FnOnce(&mut TcpStream)) -> RequestRecord {
    let result = Rc::new(RefCell::new(None));
    let out = Rc::clone(&result);
    run(move || async move {
        let peer = Peer::new(limits);
        let (exchange, mut record) = exchange(asked);
        let mut seen = Seen::default();
        {
            let fired = RefCell::new(false);
            let fire = |trigger: Trigger, _: &mut RequestRecord| {
                assert!(matches!(trigger.fire(&Monotonic), Fired::Sent(_)));
                *fired.borrow_mut() = true;
            };
            let mut future = Box::pin(peer.client.exchange(&exchange, &mut record, &mut seen, fire));
            drive(future.as_mut(), || *fired.borrow()).await;
            let mut stream = peer.accept();
            read_request(&mut stream);
            serve(&mut stream);
            drive(future.as_mut(), || false).await;
            drop(future);
        }
        *out.borrow_mut() = Some(record);
    });
    Rc::into_inner(result).unwrap().into_inner().unwrap()
}

#[test]
fn an_armed_request_reaches_nobody_until_it_is_fired() {
    run(|| async {
        let peer = Peer::new(Limits::default());
        let (exchange, mut record) = exchange(1);
        let trigger = RefCell::new(None);
        let mut seen = Seen::default();
        let mut future = Box::pin(peer.client.exchange(&exchange, &mut record, &mut seen, |t, _| {
            *trigger.borrow_mut() = Some(t);
        }));
        drive(future.as_mut(), || trigger.borrow().is_some()).await;
        let mut stream = peer.accept();
        trigger.borrow().as_ref().unwrap().warm();
        stream.set_nonblocking(true).unwrap();
        let nothing = stream.read(&mut [0; 16]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
        // Any thread may fire it, once.
        let trigger = trigger.borrow_mut().take().unwrap();
        let before = Monotonic.now();
        let fired = std::thread::scope(|s| s.spawn(|| trigger.fire(&Monotonic)).join().unwrap());
        let Fired::Sent(sent) = fired else { panic!("{fired:?}") };
        assert!(sent >= before);
        assert_eq!(trigger.fire(&Monotonic), Fired::Withdrawn);
        let request = read_request(&mut stream);
        assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("x-request-id: run-7\r\n") && request.contains("content-length: 13\r\n"));
        let answer = [HEAD, &chunk(&token("a")), &chunk(FINISH), &chunk(DONE), END].concat();
        stream.write_all(answer.as_bytes()).unwrap();
        drive(future.as_mut(), || false).await;
        drop(future);
        assert_eq!((record.outcome, record.sent), (Outcome::Ok, Some(sent)));
        assert_eq!(peer.client.idle(), 1);
    });
}

/// For every way to cut a stream of three events into two reads: an event is stamped by the read that
/// completed it, and is marked if a later one was completed by the same read.
#[test]
fn an_event_belongs_to_the_read_that_completed_it() {
    run(|| async {
        let peer = Peer::new(Limits::default());
        let events = [token("a"), token("b"), FINISH.to_owned()];
        // All in one HTTP chunk and each in its own: where HTTP cuts must not matter.
        let in_one = [chunk(&events.concat()), END.to_owned()].concat();
        let in_three = [chunk(&events[0]), chunk(&events[1]), chunk(&events[2]), END.to_owned()].concat();
        for body in [in_one, in_three] {
            // Where each event's last byte is in the body.
            let ends: Vec<usize> = events
                .iter()
                .scan(0, |from, event| {
                    let at = *from + body[*from..].find(event.trim_end()).unwrap_or(0) + event.len();
                    *from = at;
                    Some(at)
                })
                .collect();
            for cut in 1..body.len() {
                check_cut(&peer, &body, cut, &ends).await;
            }
        }
    });
}

async fn check_cut(peer: &Peer, body: &str, cut: usize, ends: &[usize]) {
    let (exchange, mut record) = exchange(2);
    let mut seen = Seen::default();
    let events = Rc::clone(&seen.events);
    let fired = RefCell::new(false);
    let reused = peer.client.idle() > 0;
    let fire = |trigger: Trigger, _: &mut RequestRecord| {
        trigger.fire(&Monotonic);
        *fired.borrow_mut() = true;
    };
    let mut future = Box::pin(peer.client.exchange(&exchange, &mut record, &mut seen, fire));
    drive(future.as_mut(), || *fired.borrow()).await;
    thread_local!(static STREAM: RefCell<Option<TcpStream>> = const { RefCell::new(None) });
    let mut stream = if reused { STREAM.take().unwrap() } else { peer.accept() };
    read_request(&mut stream);
    let early = ends.iter().filter(|end| **end <= cut).count();
    stream.write_all(HEAD.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..cut]).unwrap();
    // The first part is read whole before the second is sent; two more ticks let reads that complete no
    // event happen too.
    drive(future.as_mut(), || events.borrow().len() >= early).await;
    let mut ticks = 0;
    drive(future.as_mut(), || {
        ticks += 1;
        ticks > 2
    })
    .await;
    assert_eq!(events.borrow().len(), early, "cut {cut}");
    let between = Monotonic.now();
    stream.write_all(&body.as_bytes()[cut..]).unwrap();
    drive(future.as_mut(), || false).await;
    drop(future);
    assert_eq!(record.outcome, Outcome::Ok, "cut {cut}: {record:?}");
    for (k, event) in record.events.iter().enumerate() {
        assert_eq!(event.at < between, k < early, "cut {cut}, event {k}");
        let with_later = k + 1 != early && k + 1 != record.events.len();
        assert_eq!(event.shared, with_later, "cut {cut}, event {k}: shared");
    }
    STREAM.set(Some(stream));
}

#[test]
fn outcomes_of_streams() {
    let answer = |pieces: &[&str]| [&[HEAD], pieces].concat().concat();
    let check = |asked: u32, bytes: String, close: bool, outcome: Outcome, detail: &str| {
        let limits = Limits { after_done: Nanos::from_millis(20), ..Limits::default() };
        let record = outcome_of(limits, asked, |stream| {
            stream.write_all(bytes.as_bytes()).unwrap();
            if close {
                stream.shutdown(std::net::Shutdown::Both).unwrap();
            }
        });
        assert_eq!(record.outcome, outcome, "{bytes}\n{record:?}");
        let said = record.detail.unwrap_or_default();
        assert!(said.contains(detail), "{said:?} lacks {detail:?}");
    };
    let t = chunk(&token("a"));
    let (finish, done) = (chunk(FINISH), chunk(DONE));
    let stop = chunk("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    let usage =
        |n: u32| chunk(&format!("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{n}}}}}\n\n"));
    check(1, answer(&[&t, &finish, &done, END]), false, Outcome::Ok, "");
    check(2, answer(&[&t, &finish, &usage(2), &done, END]), false, Outcome::Ok, "");
    check(5, answer(&[&t, &finish, &done, END]), false, Outcome::Ok, "");
    check(5, answer(&[&t, &stop, &done, END]), false, Outcome::Short, "");
    check(5, answer(&[&t, &finish, &usage(3), &done, END]), false, Outcome::Short, "");
    check(1, answer(&[&t, &t, &stop, &done, END]), false, Outcome::Long, "");
    check(1, answer(&[&finish, &done, END]), false, Outcome::Empty, "");
    check(1, answer(&[&t, END]), false, Outcome::Truncated, "without finish_reason");
    check(1, answer(&[&t, &done, END]), false, Outcome::Ok, "");
    // A body that never ends after its marker, or is cut behind it, has lost nothing.
    check(1, answer(&[&t, &finish, &done]), false, Outcome::Ok, "");
    check(1, answer(&[&t, &finish, &done]), true, Outcome::Ok, "");
    check(2, answer(&[&t]), true, Outcome::Truncated, "cut");
    check(2, answer(&[&t, "zz\r\n"]), false, Outcome::Truncated, "cannot be read");
    let error = chunk("data: {\"error\":{\"message\":\"engine died\"}}\n\n");
    check(2, answer(&[&t, &error, &done, END]), false, Outcome::InBandError, "engine died");
    check(1, answer(&[&chunk("{\"id\":1}"), END]), false, Outcome::Truncated, "no event stream: {\"id\":1}");
    let status =
        |s: &str, body: &str| format!("HTTP/1.1 {s}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    check(1, status("429 Too Many", "<html>busy</html>"), false, Outcome::HttpStatus, "429: <html>busy");
    check(
        1,
        status("400 Bad", r#"{"error":{"message":"too long"}}"#),
        false,
        Outcome::HttpStatus,
        "400: too long",
    );
    check(1, "HTTP/1.1 200 OK\r\n".to_owned(), true, Outcome::Reset, "before the response");
    check(1, "SSH-2.0-x\r\n\r\n".to_owned(), false, Outcome::Truncated, "not HTTP/1.1");
}

#[test]
fn silence_has_its_limits_and_names_its_phase() {
    let limits =
        Limits { first_byte: Nanos::from_millis(30), silence: Nanos::from_millis(30), ..Limits::default() };
    let record = outcome_of(limits, 1, |_| {});
    assert_eq!(record.outcome, Outcome::Timeout);
    assert!(record.detail.unwrap().starts_with("first_byte"));
    let record = outcome_of(limits, 2, |stream| {
        stream.write_all([HEAD, &chunk(&token("a"))].concat().as_bytes()).unwrap();
    });
    assert_eq!((record.outcome, record.output.tics), (Outcome::Timeout, 1));
    assert!(record.detail.unwrap().starts_with("silence"));
    let total = Limits { total: Nanos::from_millis(30), ..Limits::default() };
    let record = outcome_of(total, 1, |_| {});
    assert!(record.detail.unwrap().starts_with("total"));
}

/// A server that closes a kept connection just as the next request is fired: one more attempt, on a
/// fresh connection, and the record says so.
#[test]
fn a_stale_connection_costs_one_recorded_attempt() {
    run(|| async {
        let peer = Peer::new(Limits::default());
        let answer = [HEAD, &chunk(&token("a")), &chunk(FINISH), &chunk(DONE), END].concat();
        let serve_one = async |keep: Option<TcpStream>| {
            let (exchange, mut record) = exchange(1);
            let mut seen = Seen::default();
            let trigger = RefCell::new(None);
            let mut future = Box::pin(peer.client.exchange(&exchange, &mut record, &mut seen, |t, _| {
                *trigger.borrow_mut() = Some(t);
            }));
            drive(future.as_mut(), || trigger.borrow().is_some()).await;
            let mut first_sent = None;
            let mut stream = match keep {
                None => {
                    trigger.borrow_mut().take().unwrap().fire(&Monotonic);
                    peer.accept()
                }
                Some(kept) => {
                    // The close is under way when the request goes out.
                    drop(kept);
                    let fired = trigger.borrow_mut().take().unwrap().fire(&Monotonic);
                    let Fired::Sent(at) = fired else { panic!("{fired:?}") };
                    first_sent = Some(at);
                    peer.listener.set_nonblocking(true).unwrap();
                    let mut accepted = None;
                    drive(future.as_mut(), || {
                        accepted = accepted.take().or_else(|| peer.listener.accept().ok());
                        accepted.is_some()
                    })
                    .await;
                    let stream = accepted.unwrap().0;
                    stream.set_nonblocking(false).unwrap();
                    stream
                }
            };
            // On a fresh connection the request may still be on its way: somebody must poll.
            stream.set_nonblocking(true).unwrap();
            let mut request = Vec::new();
            drive(future.as_mut(), || {
                let mut piece = [0; 4096];
                let n = stream.read(&mut piece).unwrap_or(0);
                request.extend_from_slice(&piece[..n]);
                request.ends_with(b"}")
            })
            .await;
            stream.write_all(answer.as_bytes()).unwrap();
            drive(future.as_mut(), || false).await;
            drop(future);
            (record, first_sent, stream)
        };
        let (record, _, kept) = serve_one(None).await;
        assert_eq!(record.outcome, Outcome::Ok);
        let (record, first_sent, _) = serve_one(Some(kept)).await;
        assert_eq!(record.outcome, Outcome::Ok, "{record:?}");
        let connection = record.connection.unwrap();
        assert!(connection.reconnected && !connection.reused);
        assert_eq!(record.sent, first_sent);
    });
}

/// A kept connection that the server closes while a request waits on it, unfired: it is armed again
/// elsewhere, and nothing of that is a reconnect.
#[test]
fn a_connection_lost_while_armed_is_replaced() {
    run(|| async {
        let peer = Peer::new(Limits::default());
        let (exchange, mut record) = exchange(1);
        let mut seen = Seen::default();
        let triggers = RefCell::new(Vec::new());
        let mut future = Box::pin(peer.client.exchange(&exchange, &mut record, &mut seen, |t, _| {
            triggers.borrow_mut().push(t);
        }));
        drive(future.as_mut(), || triggers.borrow().len() == 1).await;
        drop(peer.accept());
        drive(future.as_mut(), || triggers.borrow().len() == 2).await;
        let stale = triggers.borrow_mut().remove(0);
        assert_eq!(stale.fire(&Monotonic), Fired::Withdrawn);
        let fresh = triggers.borrow_mut().remove(0);
        assert!(matches!(fresh.fire(&Monotonic), Fired::Sent(_)));
        let mut stream = peer.accept();
        read_request(&mut stream);
        let answer = [HEAD, &chunk(&token("a")), &chunk(FINISH), &chunk(DONE), END].concat();
        stream.write_all(answer.as_bytes()).unwrap();
        drive(future.as_mut(), || false).await;
        drop(future);
        assert_eq!(record.outcome, Outcome::Ok);
        assert!(!record.connection.unwrap().reconnected);
    });
}

#[test]
fn a_large_request_is_finished_by_the_connection_s_own_task() {
    run(|| async {
        let peer = Peer::new(Limits::default());
        let (mut exchange, mut record) = exchange(1);
        let mut body = vec![b' '; 8 << 20];
        body.extend_from_slice(b"{\"model\":\"m\"}");
        exchange.body = Bytes::from(body);
        let mut seen = Seen::default();
        let trigger = RefCell::new(None);
        let mut future = Box::pin(peer.client.exchange(&exchange, &mut record, &mut seen, |t, _| {
            *trigger.borrow_mut() = Some(t);
        }));
        drive(future.as_mut(), || trigger.borrow().is_some()).await;
        let mut stream = peer.accept();
        let reader = std::thread::spawn(move || {
            let request = read_request(&mut stream);
            let answer = [HEAD, &chunk(&token("a")), &chunk(FINISH), &chunk(DONE), END].concat();
            stream.write_all(answer.as_bytes()).unwrap();
            (request.len(), stream)
        });
        let fired = trigger.borrow_mut().take().unwrap().fire(&Monotonic);
        assert!(matches!(fired, Fired::Sent(_)));
        drive(future.as_mut(), || false).await;
        drop(future);
        let (length, _stream) = reader.join().unwrap();
        assert!(length > 8 << 20);
        assert_eq!(record.outcome, Outcome::Ok);
        assert!(record.sent_last.unwrap() > record.sent.unwrap());
    });
}

#[test]
fn usage_as_it_goes_gives_tokens_an_event() {
    let event = |text: &str, total: u32| {
        chunk(&format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{total}}}}}\n\n"
        ))
    };
    let answer =
        [HEAD, &event("a", 1), &event("bcd", 4), &event("", 5), &chunk(FINISH), &chunk(DONE), END].concat();
    let record = outcome_of(Limits::default(), 5, |s| s.write_all(answer.as_bytes()).unwrap());
    let tokens: Vec<_> = record.tics().map(|e| (e.class, e.tokens())).collect();
    let class = EventClass::Content;
    assert_eq!(tokens, [(class, Some(1)), (class, Some(3)), (EventClass::Token, Some(1))]);
    assert_eq!((record.outcome, record.input.usage), (Outcome::Ok, Some(5)));
}

/// Which of the connections kept after two requests at once the next ones take.
async fn kept_after_two(reuse: ReusePolicy, head: &str) -> (Peer, usize, Vec<u64>) {
    let peer = Peer::with_policy(Limits::default(), reuse);
    let answer = [head, &chunk(&token("a")), &chunk(FINISH), &chunk(DONE), END].concat();
    let mut streams = Vec::new();
    {
        let [(one, mut first), (two, mut second)] = [exchange(1), exchange(1)];
        let fired = RefCell::new(0);
        let fire = |trigger: Trigger, _: &mut RequestRecord| {
            trigger.fire(&Monotonic);
            *fired.borrow_mut() += 1;
        };
        let (mut seen, mut seen_too) = (Seen::default(), Seen::default());
        let first = peer.client.exchange(&one, &mut first, &mut seen, fire);
        let second = peer.client.exchange(&two, &mut second, &mut seen_too, fire);
        let mut both = Box::pin(async { tokio::join!(first, second) });
        drive(both.as_mut(), || *fired.borrow() == 2).await;
        for _ in 0..2 {
            let mut stream = peer.accept();
            read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            streams.push(stream);
        }
        drive(both.as_mut(), || false).await;
    }
    let idle = peer.client.idle();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (exchange, mut record) = exchange(1);
        let armed = RefCell::new(None);
        {
            let mut seen = Seen::default();
            let mut future =
                Box::pin(peer.client.exchange(&exchange, &mut record, &mut seen, |trigger, _| {
                    trigger.fire(&Monotonic);
                    *armed.borrow_mut() = Some(());
                }));
            drive(future.as_mut(), || armed.borrow().is_some()).await;
            peer.listener.set_nonblocking(true).unwrap();
            if let Ok((stream, _)) = peer.listener.accept() {
                streams.push(stream);
            }
            let mut got = false;
            let mut answer_whoever_was_asked = || {
                for stream in &mut streams {
                    stream.set_nonblocking(true).unwrap();
                    if stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                        stream.write_all(answer.as_bytes()).unwrap();
                        got = true;
                    }
                }
                got
            };
            drive(future.as_mut(), &mut answer_whoever_was_asked).await;
            drive(future.as_mut(), || false).await;
        }
        ids.push(record.connection.unwrap().id);
    }
    (peer, idle, ids)
}

#[test]
fn the_policy_chooses_the_connection() {
    run(|| async {
        let (_, idle, ids) = kept_after_two(ReusePolicy::Lifo, HEAD).await;
        assert!(idle == 2 && ids[0] == ids[1] && ids[1] == ids[2], "{idle} {ids:?}");
        let (_, idle, ids) = kept_after_two(ReusePolicy::RoundRobin, HEAD).await;
        assert!(idle == 2 && ids[0] != ids[1] && ids[0] == ids[2], "{idle} {ids:?}");
        let (peer, idle, ids) = kept_after_two(ReusePolicy::PerRequest, HEAD).await;
        assert!(idle == 0 && ids == [2, 3, 4] && peer.client.idle() == 0, "{idle} {ids:?}");
    });
}

#[test]
fn what_the_server_says_of_its_connections_is_heeded() {
    let head = |line: &str| HEAD.replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
    run(|| async move {
        // Two requests in all on a connection, whether the server counts down or repeats itself.
        let (_, idle, ids) = kept_after_two(ReusePolicy::Lifo, &head("keep-alive: timeout=5, max=2")).await;
        assert!(idle == 2 && ids[0] != ids[1] && ids[2] == 2, "{idle} {ids:?}");
        let (_, idle, _) = kept_after_two(ReusePolicy::Lifo, &head("connection: close")).await;
        assert_eq!(idle, 0);
        let (_, _, ids) = kept_after_two(ReusePolicy::Lifo, &head("keep-alive: timeout=0")).await;
        assert_eq!(ids, [2, 3, 4]);
    });
}

/// A server that closes each connection while a request waits on it gets a few tries, not a storm.
#[test]
fn connections_that_are_always_lost_while_armed_end_the_request() {
    run(|| async {
        let peer = Peer::new(Limits::default());
        let (exchange, mut record) = exchange(1);
        let mut seen = Seen::default();
        let triggers = RefCell::new(0);
        let mut future = Box::pin(
            peer.client.exchange(&exchange, &mut record, &mut seen, |_, _| *triggers.borrow_mut() += 1),
        );
        for attempt in 1..=4 {
            drive(future.as_mut(), || *triggers.borrow() == attempt).await;
            drop(peer.accept());
        }
        drive(future.as_mut(), || false).await;
        drop(future);
        assert_eq!((record.outcome, record.sent, *triggers.borrow()), (Outcome::Reset, None, 4));
        assert!(record.detail.unwrap().contains("closes every connection"));
    });
}

#[test]
fn an_error_without_end_is_given_up() {
    let record = outcome_of(Limits::default(), 1, |stream| {
        let head = "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut stream = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let piece = chunk(&"x".repeat(50_000));
            let mut going = stream.write_all(head.as_bytes());
            while going.is_ok() {
                going = stream.write_all(piece.as_bytes());
            }
        });
    });
    assert_eq!(record.outcome, Outcome::HttpStatus);
    assert!(record.detail.unwrap().starts_with("500: xxx"));
}
