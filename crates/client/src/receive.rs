//! Reading one response: head, stream, end; stamps, classes, outcome.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tics_record::{Clock, Event, EventClass, Nanos, Outcome, RequestRecord, Stamp};
use tokio::time::{Instant, Sleep};

use crate::connection::Connection;
use crate::decode::{Decoder, error_text, excerpt};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::generate::{self, Counts};
use crate::limits::Limits;
use crate::sse::SseParser;
use crate::wire::Wire;

/// Is told what happens during an exchange, as it happens, on the worker's thread.
pub trait Observer {
    /// A connection is there; the request will be armed on it.
    fn connected(&mut self) {}
    /// An event was completed. `first` if it is the first tic.
    fn event(&mut self, event: &Event, first: bool);
    /// The data of the event that [`Observer::event`] was just told of, for whoever explains a stream.
    fn data(&mut self, _data: &[u8]) {}
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The exchange is over; the record is complete.
    Ended,
    /// The connection closed before the request was fired.
    Withdrawn,
    /// A reused connection turned out closed before any byte of the response.
    Stale(Failure),
}

/// Bytes kept of a body that is no stream, for the error line.
const KEPT: usize = 8 << 10;

/// An error's body is read so far, so that its connection can be kept; one that goes on is given up.
const LONGEST_ERROR: usize = 1 << 20;

/// The state of one response being read.
struct Reader<'a, O> {
    wire: Arc<Wire>,
    record: &'a mut RequestRecord,
    observer: &'a mut O,
    endpoint: Endpoint,
    limits: Limits,
    parser: SseParser,
    decoder: Decoder,
    body: Option<Incoming>,
    /// The number of the read that completed the last event.
    last_read: u64,
    /// When the last read of the response came, for the silence limit.
    active: Stamp,
    /// `completion_tokens` of the last event with usage.
    counted: u32,
    seen_done: bool,
    error: Option<String>,
    kept: Vec<u8>,
    /// Bytes of a body that is no stream.
    error_bytes: usize,
}

impl Connection {
    /// Reads the response of the armed request into `record`, from before it is fired to its end.
    pub(crate) async fn receive<O: Observer>(
        &mut self,
        record: &mut RequestRecord,
        observer: &mut O,
        endpoint: Endpoint,
        limits: Limits,
        clock: &dyn Clock,
    ) -> Received {
        let mut reader = Reader {
            wire: Arc::clone(&self.wire),
            record,
            observer,
            endpoint,
            limits,
            parser: SseParser::new(),
            decoder: Decoder::new(),
            body: None,
            last_read: 0,
            active: Stamp::ORIGIN,
            counted: 0,
            seen_done: false,
            error: None,
            kept: Vec::new(),
            error_bytes: 0,
        };
        let wait = limits.first_byte.min(limits.total);
        let mut alarm = std::pin::pin!(tokio::time::sleep(wait.into()));
        let gate = Arc::clone(&self.gate);
        let gated = Waker::from(Arc::clone(&gate));
        let result = poll_fn(|cx| {
            gate.close(cx);
            let (before, done) = (self.reads.count(), reader.seen_done);
            let polled = reader.poll(self, &mut Context::from_waker(&gated));
            gate.open(cx);
            if polled.is_ready() {
                return polled;
            }
            // The alarm wakes this task by itself, so it is only asked when nothing else explains the
            // wake-up, or when its time is to be changed. One that has rung never rings again by itself.
            if self.reads.count() != before && reader.seen_done == done && !alarm.is_elapsed() {
                return Poll::Pending;
            }
            reader.poll_limits(self, cx, alarm.as_mut(), clock).map(Err)
        })
        .await;
        reader.note_sent();
        if result.is_err() && self.wire.withdraw() {
            return Received::Withdrawn;
        }
        if let Err(failure) = &result
            && self.info.reused
            && self.is_silent()
            && matches!(failure.outcome, Outcome::Reset)
        {
            return Received::Stale(failure.clone());
        }
        reader.conclude(self, result, clock);
        Received::Ended
    }
}

impl<O> Reader<'_, O> {
    fn note_sent(&mut self) {
        let (sent, sent_last) = self.wire.sent();
        // A request that went twice keeps the first attempt's instant.
        self.record.sent = self.record.sent.or(sent);
        self.record.sent_last = self.record.sent_last.or(sent_last);
    }
}

/// A request that is given up half-way was sent all the same.
impl<O> Drop for Reader<'_, O> {
    fn drop(&mut self) {
        self.note_sent();
    }
}

impl<O: Observer> Reader<'_, O> {
    /// Makes all the progress there is. `Ok` at the end of the body.
    fn poll(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        // hyper hands things over only while its connection is polled, which happens right here, so
        // these two need no wake-up of their own.
        let mut quiet = Context::from_waker(Waker::noop());
        loop {
            connection.gate.take_woken();
            let ended = connection.poll_conn(cx);
            let progress = match &mut self.body {
                None => self.poll_head(connection, &mut quiet)?,
                Some(body) => match Pin::new(body).poll_frame(&mut quiet) {
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Ok(data) = frame.into_data() {
                            self.take(&data, connection)?;
                        }
                        true
                    }
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Failure::from_hyper(&error, true)));
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => false,
                },
            };
            if !progress {
                if connection.gate.take_woken() {
                    continue;
                }
                if ended {
                    let failure = connection.end_failure(self.body.is_some()).unwrap_or_else(|| {
                        Failure::new(Outcome::Reset, "the connection closed before the response")
                    });
                    return Poll::Ready(Err(failure));
                }
                return Poll::Pending;
            }
        }
    }

    fn poll_head(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let Some(response) = &mut connection.response else { return Ok(false) };
        let Poll::Ready(result) = response.as_mut().poll(cx) else { return Ok(false) };
        connection.response = None;
        let response = result.map_err(|error| Failure::from_hyper(&error, false))?;
        self.active = connection.reads.last();
        self.record.head = Some(connection.reads.last());
        self.record.status = Some(response.status().as_u16());
        connection.heed(response.headers());
        self.body = Some(response.into_body());
        Ok(true)
    }

    /// Takes a piece of the body, the last byte of which came with the last read.
    fn take(&mut self, data: &Bytes, connection: &Connection) -> Result<(), Failure> {
        let (at, read) = (connection.reads.last(), connection.reads.count());
        self.active = at;
        if self.kept.len() < KEPT && self.record.events.is_empty() {
            let room = KEPT - self.kept.len();
            self.kept.extend_from_slice(&data[..data.len().min(room)]);
        }
        if self.record.status != Some(200) {
            self.error_bytes += data.len();
            return if self.error_bytes <= LONGEST_ERROR {
                Ok(())
            } else {
                Err(Failure::new(Outcome::HttpStatus, "an error whose body does not end"))
            };
        }
        let mut parser = std::mem::take(&mut self.parser);
        let result = parser.feed(data, |name, data| self.event(name, data, at, read));
        self.parser = parser;
        result.map_err(|e| Failure::new(Outcome::Truncated, e.to_string()))
    }

    /// Takes one event.
    fn event(&mut self, name: &[u8], data: &[u8], at: Stamp, read: u64) {
        let (decoded, counts) = match self.endpoint {
            Endpoint::Generate => generate::decode(name, data, self.counted),
            Endpoint::Chat | Endpoint::Completions => {
                let decoded = self.decoder.decode(name, data);
                let counts = decoded.usage.map(|usage| Counts {
                    prompt: usage.prompt_tokens,
                    completion: usage.completion_tokens,
                    cached: usage.cached_tokens(),
                });
                (decoded, counts)
            }
        };
        let mut class = decoded.class;
        let mut tokens = None;
        if let Some(counts) = counts {
            self.record.input.usage = counts.prompt.or(self.record.input.usage);
            self.record.output.usage = counts.completion.or(self.record.output.usage);
            self.record.cached_tokens = counts.cached.or(self.record.cached_tokens);
            if let Some(total) = counts.completion {
                // Usage in an event with a choice counts as it goes; alone, it is the closing account.
                let new = total.saturating_sub(self.counted);
                self.counted = total;
                if class != EventClass::Usage && class != EventClass::Finish {
                    tokens = Some(new);
                    if class == EventClass::Empty && new > 0 {
                        class = EventClass::Token;
                    }
                }
            }
        }
        if let Some(reason) = decoded.finish_reason {
            self.record.finish_reason = Some(reason.into_owned());
        }
        self.seen_done |= class == EventClass::Done;
        self.error = self.error.take().or(decoded.error);
        if self.last_read == read
            && let Some(earlier) = self.record.events.last_mut()
        {
            earlier.shared = true;
        }
        self.last_read = read;
        let event = Event::new(at, class).with_tokens(tokens);
        let first = event.is_tic() && self.record.output.tics == 0;
        self.record.output.tics += u32::from(event.is_tic());
        self.record.events.push(event);
        self.observer.event(&event, first);
        self.observer.data(data);
    }

    /// Checks the time limits when the alarm rings, and sets it again.
    fn poll_limits(
        &mut self,
        connection: &Connection,
        cx: &mut Context<'_>,
        mut alarm: Pin<&mut Sleep>,
        clock: &dyn Clock,
    ) -> Poll<Failure> {
        if self.seen_done {
            // The answer is there; only the connection's reuse is still open.
            let now = clock.now();
            let left = self.active.plus(self.limits.after_done).since(now).unwrap_or_default();
            if left == Nanos::ZERO {
                return Poll::Ready(Failure::new(Outcome::Ok, "the body did not end after [DONE]"));
            }
            alarm.as_mut().reset(Instant::from_std(deadline(left)));
        }
        while alarm.as_mut().poll(cx).is_ready() {
            let now = clock.now();
            let left = match connection.wire.sent().0 {
                None => Nanos::from_secs(1), // still armed: nothing to time yet
                Some(sent) => match self.left(sent, now) {
                    Ok(left) => left,
                    Err(failure) => return Poll::Ready(failure),
                },
            };
            alarm.as_mut().reset(Instant::from_std(deadline(left)));
        }
        Poll::Pending
    }

    /// Time left until the nearest limit.
    fn left(&self, sent: Stamp, now: Stamp) -> Result<Nanos, Failure> {
        let (phase, from, limit) = if self.record.events.is_empty() {
            ("first_byte", sent, self.limits.first_byte)
        } else {
            ("silence", self.active, self.limits.silence)
        };
        let timeout = |phase: &str, limit: Nanos| {
            Failure::new(Outcome::Timeout, format!("{phase}: nothing within {} s", limit.as_secs_f64()))
        };
        let phase_left = from.plus(limit).since(now).filter(|l| *l > Nanos::ZERO);
        let total_left = sent.plus(self.limits.total).since(now).filter(|l| *l > Nanos::ZERO);
        match (phase_left, total_left) {
            (None, _) => Err(timeout(phase, limit)),
            (_, None) => Err(timeout("total", self.limits.total)),
            (Some(a), Some(b)) => Ok(a.min(b)),
        }
    }

    /// Writes the outcome.
    fn conclude(&mut self, connection: &mut Connection, result: Result<(), Failure>, clock: &dyn Clock) {
        if result.is_ok() {
            let (at, read) = (connection.reads.last(), connection.reads.count());
            let mut parser = std::mem::take(&mut self.parser);
            parser.finish(|name, data| self.event(name, data, at, read));
        } else {
            connection.closing = true;
        }
        let broken = result.err().filter(|f| f.outcome != Outcome::Ok);
        let (outcome, detail) = self.judge(broken);
        let record = &mut *self.record;
        record.outcome = outcome;
        record.detail = detail;
        record.connection = Some(connection.info);
        record.read_delay = connection.reads.delay();
        record.end = match record.events.last() {
            Some(last) if outcome.is_answered() => Some(last.at),
            _ => Some(clock.now()),
        };
    }

    fn judge(&self, broken: Option<Failure>) -> (Outcome, Option<String>) {
        let record = &*self.record;
        if let Some(status) = record.status.filter(|s| *s != 200) {
            return (Outcome::HttpStatus, Some(format!("{status}: {}", error_text(&self.kept))));
        }
        if let Some(error) = &self.error {
            return (Outcome::InBandError, Some(error.clone()));
        }
        // A body cut behind `[DONE]` has lost nothing.
        if let Some(failure) = broken.filter(|_| !self.seen_done) {
            return (failure.outcome, Some(failure.detail));
        }
        if record.finish_reason.is_none() && !self.seen_done {
            let detail = if record.events.is_empty() {
                format!("the response is no event stream: {}", excerpt(&self.kept))
            } else {
                "the stream ended without finish_reason and without [DONE]".to_owned()
            };
            return (Outcome::Truncated, Some(detail));
        }
        (length_outcome(record), None)
    }
}

/// Ok, short, long or empty: by usage, then by finish reason `length`, then by tics.
fn length_outcome(record: &RequestRecord) -> Outcome {
    let output = record.output;
    if output.tics == 0 {
        return Outcome::Empty;
    }
    let got = match output.usage {
        Some(tokens) => tokens,
        None if record.finish_reason.as_deref() == Some("length") => return Outcome::Ok,
        None => output.tics,
    };
    match got.cmp(&output.asked) {
        std::cmp::Ordering::Less => Outcome::Short,
        std::cmp::Ordering::Equal => Outcome::Ok,
        std::cmp::Ordering::Greater => Outcome::Long,
    }
}

/// tokio's timers want its own instant; only limits, never stamps, are measured with it.
#[expect(clippy::disallowed_methods, reason = "tokio's timer takes no other clock")]
fn deadline(left: Nanos) -> std::time::Instant {
    std::time::Instant::now() + std::time::Duration::from(left)
}
