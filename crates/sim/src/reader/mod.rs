//! The reader thread: accepts, reads, understands, and answers what needs no engine.

mod body;
mod conn;
mod generate;
mod http;
mod invalid;
mod listen;
mod prompt;
mod reply;
mod routes;
mod tokenize;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::IoSliceMut;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::time::TimeSpec;

use self::conn::{Conn, MAX_AHEAD, Next};
use self::http::{Head, Method};
use self::reply::{Length, Reply, connection_lines, head};
use self::routes::{Answer, answer};
use crate::link::{LetterBox, ReaderBox, Taken, ToEngine, ToReader};
use crate::metrics::{self, Metrics};
use crate::order::{Ask, Delivery, Order};
use crate::prefix::{Chain, Found, Lru};
use crate::truth::{Arrival, Ending, Log, TruthLine};
use crate::{HeadTiming, SimOptions, Totals, clock};

pub(crate) use self::listen::{await_stamps, bind, open_epoll};

/// One read takes at most this much.
const SCRATCH: usize = 256 << 10;
/// How long a connection that is being closed waits for the peer to read the last response.
const LINGER_NS: u64 = 2_000_000_000;
/// How long accepting rests when the process has no descriptor left.
const ACCEPT_REST_NS: u64 = 100_000_000;

/// The epoll tokens that are no connection.
const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// What the reader shares with the other threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: SimOptions,
    pub(crate) stop: AtomicBool,
    pub(crate) metrics: Metrics,
    pub(crate) to_engine: LetterBox<ToEngine>,
    pub(crate) to_reader: ReaderBox,
}

/// The reader thread's state.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    listener: TcpListener,
    epoll: Epoll,
    engine: Thread,
    log: Log,
    /// Connections by slot; a slot is used again, its connection's `id` is not.
    conns: Vec<Option<Conn>>,
    free: Vec<u32>,
    /// (instant, slot, id): when to look whether a connection has been idle or lingering for too long.
    timers: BinaryHeap<Reverse<(u64, u32, u64)>>,
    prefixes: Option<Lru>,
    scratch: Vec<u8>,
    control: Vec<u8>,
    next_conn: u64,
    next_serial: u64,
    /// While accepting rests: when it goes on.
    accept_again: Option<u64>,
    told_of_rest: bool,
    totals: Totals,
}

impl Reader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        listener: TcpListener,
        epoll: Epoll,
        engine: Thread,
        log: Log,
    ) -> Self {
        Reader {
            prefixes: shared.options.prefix_cache.map(Lru::new),
            shared,
            listener,
            epoll,
            engine,
            log,
            conns: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            scratch: vec![0; SCRATCH],
            control: nix::cmsg_space!(TimeSpec),
            next_conn: 0,
            next_serial: 0,
            accept_again: None,
            told_of_rest: false,
            totals: Totals::default(),
        }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) -> Totals {
        let mut events = vec![EpollEvent::empty(); 512];
        let mut letters = Vec::new();
        while !self.shared.stop.load(Ordering::Acquire) {
            let n = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(n) => n,
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    (self.shared.options.notice)(&format!("epoll failed, the server stops: {error}"));
                    break;
                }
            };
            for event in &events[..n] {
                match event.data() {
                    LISTENER => self.accept(),
                    WAKE => {
                        // Resets the counter; that it is at zero already is no matter.
                        let _ = self.shared.to_reader.wake.read();
                    }
                    slot => self.on_event(slot as u32, event.events()),
                }
            }
            self.shared.to_reader.letters.take(&mut letters);
            for letter in letters.drain(..) {
                self.on_letter(letter);
            }
            self.on_time();
        }
        self.totals
    }

    fn on_event(&mut self, slot: u32, flags: EpollFlags) {
        let Some(conn) = &mut self.conns[slot as usize] else { return };
        if flags.contains(EpollFlags::EPOLLOUT) {
            if conn.link.is_lent() {
                let id = conn.link.id;
                self.tell_engine(ToEngine::Writable { slot, id });
            } else if !conn.output.is_empty() && !self.send(slot, &[]) {
                return;
            }
        }
        let input =
            EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        if flags.intersects(input) {
            self.read(slot, flags.intersects(input - EpollFlags::EPOLLIN));
        }
    }

    fn on_letter(&mut self, letter: ToReader) {
        let (ToReader::Returned { slot, id } | ToReader::Close { slot, id } | ToReader::Drop { slot, id }) =
            letter;
        let known = self.conns.get(slot as usize).and_then(Option::as_ref);
        if known.is_none_or(|conn| conn.link.id != id) {
            return;
        }
        match letter {
            ToReader::Returned { .. } => _ = self.resume(slot),
            ToReader::Close { .. } => _ = self.close(slot),
            ToReader::Drop { .. } => self.drop_conn(slot),
        }
    }

    /// Reads all there is. `to_the_end`: the peer may have closed, so a short read is not the last.
    fn read(&mut self, slot: u32, to_the_end: bool) {
        loop {
            let Some(conn) = &mut self.conns[slot as usize] else { return };
            let waits = || conn.link.is_lent() && conn.link.await_return() || !conn.output.is_empty();
            if conn.closing.is_none() && conn.input.len() > MAX_AHEAD && waits() {
                conn.held_back = true;
                return;
            }
            conn.held_back = false;
            match receive(&conn.link.socket, &mut self.scratch, &mut self.control) {
                Ok((0, _)) => {
                    self.peer_closed(slot);
                    return;
                }
                Ok((n, kernel_realtime)) => {
                    let received = clock::now();
                    if conn.closing.is_none() {
                        conn.input.extend_from_slice(&self.scratch[..n]);
                        conn.first_byte.get_or_insert(received);
                        conn.kernel_realtime = kernel_realtime;
                        if !self.advance(slot, received) {
                            return;
                        }
                    }
                    if n < SCRATCH && !to_the_end {
                        return;
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.peer_closed(slot);
                    return;
                }
            }
        }
    }

    fn peer_closed(&mut self, slot: u32) {
        let Some(conn) = &self.conns[slot as usize] else { return };
        if conn.link.is_lent() {
            let id = conn.link.id;
            self.tell_engine(ToEngine::Gone { slot, id });
        }
        self.drop_conn(slot);
    }

    /// Goes on after a response, with the input that was read before its end and that which was not;
    /// false if the connection is no more.
    fn resume(&mut self, slot: u32) -> bool {
        if !self.advance(slot, clock::now()) {
            return false;
        }
        if self.conns[slot as usize].as_ref().is_some_and(|conn| conn.held_back) {
            self.read(slot, true);
        }
        self.conns[slot as usize].is_some()
    }

    /// Answers every request in the input; false if the connection is no more.
    fn advance(&mut self, slot: u32, received: u64) -> bool {
        loop {
            let Some(conn) = &mut self.conns[slot as usize] else { return false };
            if conn.closing.is_some() || !conn.is_mid_request() {
                return true;
            }
            // An answer is on its way, the engine's or ours: the rest waits for its end.
            if (conn.link.is_lent() && conn.link.await_return()) || !conn.output.is_empty() {
                return true;
            }
            match conn.next() {
                Ok(Next::Incomplete { send_continue }) => {
                    return !send_continue || self.send(slot, b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Ok(Next::Request(head, body)) => {
                    let alive = self.serve(slot, received, &head, &body);
                    let Some(conn) = &mut self.conns[slot as usize] else { return false };
                    conn.recycle(body);
                    // Whatever is left came in the same read.
                    conn.first_byte = (!conn.input.is_empty()).then_some(received);
                    if !alive {
                        return false;
                    }
                }
                Err(problem) => {
                    let dialect = self.shared.options.dialect;
                    let reply = Reply::error(dialect, problem.status, &problem.what, None);
                    let facts = self.facts(slot, received, None);
                    self.reject(facts, reply.status);
                    return self.send(slot, &reply.to_bytes("connection: close\r\n", false))
                        && self.close(slot);
                }
            }
        }
    }

    /// Answers one request; false if the connection is no more.
    fn serve(&mut self, slot: u32, received: u64, request: &Head, body: &[u8]) -> bool {
        let shared = Arc::clone(&self.shared);
        let options = &shared.options;
        if request.method == Method::Post && request.path != "/tokenize" {
            self.log.body(request.id.as_deref(), body);
        }
        let Some(conn) = &self.conns[slot as usize] else { return false };
        let left = options.max_requests.map(|most| most.saturating_sub(conn.served));
        let close = request.close || left == Some(0);
        let connection = connection_lines(options, close, left);
        let answer = match answer(options, request, body) {
            Answer::Metrics => {
                Answer::Reply(Reply::text(metrics::CONTENT_TYPE, shared.metrics.page(options)))
            }
            other => other,
        };
        match answer {
            Answer::Metrics => true,
            Answer::Reply(reply) => {
                if reply.status >= 400 {
                    let facts = self.facts(slot, received, Some(request));
                    self.reject(facts, reply.status);
                }
                let bytes = reply.to_bytes(&connection, request.method == Method::Head);
                self.send(slot, &bytes) && (!close || self.close(slot))
            }
            Answer::Generate(mut ask, chain) => {
                ask.found = self.look_up(&chain);
                let delivery = Delivery { chunked: !request.http10, close };
                self.generate(slot, received, request, ask, delivery, &connection);
                true
            }
        }
    }

    /// Looks a prompt up in the prefix cache, if there is one, and stores it there.
    fn look_up(&mut self, chain: &Chain) -> Option<Found> {
        let found = self.prefixes.as_mut()?.admit(chain);
        self.shared.metrics.looked_up(chain.tokens, found);
        Some(found)
    }

    /// Hands a request to the engine, its head sent if that is due.
    fn generate(
        &mut self,
        slot: u32,
        received: u64,
        request: &Head,
        ask: Ask,
        delivery: Delivery,
        connection: &str,
    ) {
        let facts = self.facts(slot, received, Some(request));
        let Some(conn) = &self.conns[slot as usize] else { return };
        let mut unsent_head = Vec::new();
        let mut head_at = None;
        if ask.stream {
            let length = if delivery.chunked { Length::Chunked } else { Length::Open };
            unsent_head = head(200, "text/event-stream; charset=utf-8", length, "", connection);
            if self.shared.options.head == HeadTiming::AtOnce {
                // A peer that is gone is found by the engine's first write as well.
                if let Taken::Bytes(n) = conn.link.offer(&unsent_head) {
                    unsent_head.drain(..n);
                }
                head_at = unsent_head.is_empty().then(clock::now);
            }
        }
        conn.link.lend();
        let order = Order {
            link: Arc::clone(&conn.link),
            serial: self.next_serial,
            ask,
            delivery,
            received: facts,
            head_at,
            unsent_head,
            connection: connection.to_owned(),
        };
        self.next_serial += 1;
        self.tell_engine(ToEngine::Start(Box::new(order)));
    }

    fn facts(&mut self, slot: u32, received: u64, request: Option<&Head>) -> Arrival {
        self.totals.requests += 1;
        let Some(conn) = &self.conns[slot as usize] else { return Arrival::default() };
        Arrival {
            id: request.and_then(|head| head.id.clone()),
            conn: conn.link.id,
            path: request.map(|head| head.path.clone()).unwrap_or_default(),
            accepted_ns: conn.accepted,
            first_byte_ns: conn.first_byte.unwrap_or(received),
            received_ns: received,
            kernel_ns: conn.kernel_realtime.map(clock::monotonic_of),
        }
    }

    fn reject(&mut self, received: Arrival, status: u16) {
        self.totals.rejected += 1;
        self.log.ended(|| TruthLine {
            received,
            prompt_tokens: 0,
            found: Found::default(),
            output_tokens: 0,
            stream: false,
            head_ns: None,
            tokens: Vec::new(),
            due_ns: Vec::new(),
            end_ns: clock::now(),
            ended: Ending::Rejected(status),
        });
    }

    /// Sends `bytes` after what is still unsent; false if the connection is no more.
    fn send(&mut self, slot: u32, bytes: &[u8]) -> bool {
        let Some(conn) = &mut self.conns[slot as usize] else { return false };
        conn.output.extend_from_slice(bytes);
        match conn.link.offer(&conn.output) {
            Taken::Bytes(n) => {
                conn.output.drain(..n);
                conn.link.touch();
                if conn.output.is_empty() && bytes.is_empty() {
                    // It had been waiting for this: an end of the connection, or the next request.
                    return if conn.closing.is_some() { self.close(slot) } else { self.resume(slot) };
                }
                true
            }
            Taken::Gone => {
                self.drop_conn(slot);
                false
            }
        }
    }

    /// Ends the connection after the last response: closes for writing once that is sent, and waits for
    /// the peer to do the same. Closing at once, with input unread, would reset the connection, and the
    /// peer could lose the response. False if the connection is no more.
    fn close(&mut self, slot: u32) -> bool {
        let Some(conn) = &mut self.conns[slot as usize] else { return false };
        if conn.closing.is_none() {
            let until = clock::now() + LINGER_NS;
            conn.closing = Some(until);
            self.timers.push(Reverse((until, slot, conn.link.id)));
        }
        if !conn.output.is_empty() {
            return true;
        }
        if conn.link.socket.shutdown(Shutdown::Write).is_err() {
            self.drop_conn(slot);
            return false;
        }
        self.read(slot, true);
        self.conns[slot as usize].is_some()
    }

    fn drop_conn(&mut self, slot: u32) {
        // Closing takes the socket out of epoll, once the engine has let go of it too; an event until
        // then finds an empty slot, or at worst makes the slot's next connection read nothing.
        if self.conns[slot as usize].take().is_some() {
            self.free.push(slot);
        }
    }

    fn tell_engine(&self, letter: ToEngine) {
        self.shared.to_engine.put(letter);
        self.engine.unpark();
    }
}

/// Reads once, without waiting: how many bytes, and the kernel's wall stamp of the last of them, in ns.
fn receive(
    socket: &std::net::TcpStream,
    scratch: &mut [u8],
    control: &mut [u8],
) -> Result<(usize, Option<u64>), Errno> {
    let mut parts = [IoSliceMut::new(scratch)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampns(time) => {
                Some(time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned())
            }
            _ => None,
        })
    });
    Ok((message.bytes, stamp))
}

/// The head of a response that the engine made in one piece.
pub(crate) fn head_of_json(length: usize, connection: &str) -> Vec<u8> {
    head(200, "application/json", Length::Bytes(length), "", connection)
}

/// epoll's timeout until `due`, rounded up, so that it is not woken a fraction of a millisecond early.
fn timeout_until(due: Option<u64>) -> EpollTimeout {
    let Some(due) = due else { return EpollTimeout::NONE };
    let ms = due.saturating_sub(clock::now()).div_ceil(1_000_000).min(60_000);
    EpollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX))
}
