//! The byte layer below hyper and below TLS: it stamps what comes in and holds back what goes out.
//!
//! Reading: `recvmsg` with the kernel's own receive time (`SO_TIMESTAMPING`), converted to the run's
//! clock. The stamp belongs to the last byte of the read.
//!
//! Writing: while a request is being armed, hyper's bytes are taken and kept; whoever holds the
//! [`Trigger`] hands them to the kernel later, from any thread, with one `send`. What the kernel does
//! not take at once is left to the connection's own task.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::ReadBufCursor;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, Shutdown, TimestampingFlag, recvmsg, send, setsockopt, shutdown, sockopt,
};
use tics_record::{Clock, Nanos, ReadDelay, Stamp};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::offset::RealtimeOffset;

/// A socket and what waits to be sent on it. Shared by the connection's task and its [`Trigger`].
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    out: Mutex<Outbound>,
    /// Nothing is held back or left to send, so `out` need not be locked to find that out. Only the
    /// connection's own thread reads and writes it.
    idle: AtomicBool,
}

#[derive(Debug, Default)]
struct Outbound {
    /// Bytes are kept back until the trigger is pulled.
    withheld: bool,
    /// hyper has handed over the whole request and asked for a flush.
    complete: bool,
    bytes: Vec<u8>,
    /// How many of `bytes` the kernel has taken.
    taken: usize,
    /// Counts arms, so that a trigger of an earlier request cannot fire a later one.
    generation: u64,
    sent: Option<Stamp>,
    sent_last: Option<Stamp>,
    error: Option<ErrorKind>,
    /// The connection's task, to be woken when it has something left to send.
    waker: Option<Waker>,
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Wire {
    fn out(&self) -> MutexGuard<'_, Outbound> {
        // A panic while holding it leaves plain data behind; the request then fails by itself.
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on bytes are kept back, for a new request.
    pub(crate) fn withhold(&self) {
        let mut out = self.out();
        *out = Outbound { withheld: true, generation: out.generation + 1, ..Outbound::default() };
        self.idle.store(false, Ordering::Relaxed);
    }

    /// Whether a whole request is waiting for its trigger.
    pub(crate) fn is_armed(&self) -> bool {
        let out = self.out();
        out.withheld && out.complete
    }

    /// Takes the request back if it has not been fired; whether it was still there.
    pub(crate) fn withdraw(&self) -> bool {
        let mut out = self.out();
        let was = out.withheld;
        out.withheld = false;
        if was {
            out.bytes = Vec::new();
            out.error = Some(ErrorKind::ConnectionAborted);
        }
        was
    }

    /// When the first and the last byte were handed to the kernel.
    pub(crate) fn sent(&self) -> (Option<Stamp>, Option<Stamp>) {
        let out = self.out();
        (out.sent, out.sent_last)
    }

    /// The trigger of the request that is armed now.
    pub(crate) fn trigger(self: &Arc<Self>) -> Trigger {
        Trigger { generation: self.out().generation, wire: Arc::clone(self) }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(self.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }
}

impl Outbound {
    /// Hands over as much as the kernel takes. `Ok(true)` when nothing is left.
    fn push(&mut self, wire: &Wire, clock: &dyn Clock) -> io::Result<bool> {
        while self.taken < self.bytes.len() {
            match wire.send(&self.bytes[self.taken..]) {
                Ok(n) => self.taken += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => {
                    self.error = Some(error.kind());
                    return Err(error);
                }
            }
        }
        self.sent_last = Some(clock.now());
        Ok(true)
    }
}

/// What pulling a trigger did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// The request's first byte was handed to the kernel at this instant.
    Sent(Stamp),
    /// The connection had been lost before; its task arms the request again.
    Withdrawn,
    /// The kernel refused the bytes at this instant; the connection's task reports the failure.
    Broken(Stamp),
}

/// Sends an armed request. Any thread may pull it; the first pull counts.
#[derive(Debug)]
pub struct Trigger {
    wire: Arc<Wire>,
    generation: u64,
}

impl Trigger {
    /// Brings the request's bytes and its socket into this core's cache.
    pub fn warm(&self) {
        let out = self.wire.out();
        // A cache line is 64 bytes; more than a page and a half is not worth the time.
        let touched: u8 = out.bytes.iter().take(6 << 10).step_by(64).fold(0, |sum, byte| sum ^ byte);
        std::hint::black_box(touched);
        // Sending nothing walks the kernel's path to this socket without a byte leaving.
        let _nothing = self.wire.send(&[]);
    }

    /// Hands the request's bytes to the kernel, now.
    pub fn fire(&self, clock: &dyn Clock) -> Fired {
        let mut out = self.wire.out();
        if !out.withheld || out.generation != self.generation {
            return Fired::Withdrawn;
        }
        out.withheld = false;
        let now = clock.now();
        out.sent = Some(now);
        let result = out.push(&self.wire, clock);
        if !matches!(result, Ok(true))
            && let Some(waker) = out.waker.take()
        {
            waker.wake();
        }
        if result.is_err() { Fired::Broken(now) } else { Fired::Sent(now) }
    }
}

/// The reads of one connection: the last one's stamp, and the reader's own delays.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    count: Cell<u64>,
    at: Cell<Stamp>,
    delays: RefCell<Vec<u32>>,
}

impl Reads {
    /// How many reads returned bytes so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// The stamp of the last read.
    pub(crate) fn last(&self) -> Stamp {
        self.at.get()
    }

    /// Forgets the delays of the request before.
    pub(crate) fn start_request(&self) {
        self.delays.borrow_mut().clear();
    }

    /// The delays of this request's reads; `None` where the kernel does not stamp.
    pub(crate) fn delay(&self) -> Option<ReadDelay> {
        let mut delays = self.delays.borrow_mut();
        if delays.is_empty() {
            return None;
        }
        delays.sort_unstable();
        // Nearest rank: a small sample of a diagnostic, not a reported latency.
        let at = |per_cent: usize| {
            let rank = (delays.len() * per_cent).div_ceil(100).max(1);
            Nanos::new(u64::from(delays[rank - 1]))
        };
        Some(ReadDelay { p50: at(50), p99: at(99), max: at(100) })
    }

    fn note(&self, user: Stamp, kernel: Option<Stamp>) {
        let previous = self.at.get();
        // The conversion may be off by a fraction of a microsecond: a byte is neither read before it
        // arrived nor received before the one in front of it.
        let at = kernel.map_or(user, |k| k.min(user).max(previous));
        self.count.set(self.count.get() + 1);
        self.at.set(at);
        if kernel.is_some() {
            let delay = user.since(at).unwrap_or_default().as_nanos();
            self.delays.borrow_mut().push(u32::try_from(delay).unwrap_or(u32::MAX));
        }
    }
}

/// What all connections of a worker share: a scratch buffer, the clock and its offset.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    scratch: RefCell<Vec<u8>>,
    offset: RealtimeOffset,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Rc<Self> {
        Rc::new(Shared { clock, scratch: RefCell::new(vec![0; SCRATCH]), offset: RealtimeOffset::default() })
    }
}

/// Largest read. Large enough that a flooding stream is read in few calls.
const SCRATCH: usize = 256 << 10;

/// Room for the one control message asked for, at a control message's alignment.
#[repr(align(8))]
struct Control([u8; 128]);

/// hyper's view of the socket.
pub(crate) struct Io {
    wire: Arc<Wire>,
    reads: Rc<Reads>,
    shared: Rc<Shared>,
}

impl Io {
    /// Takes over a connected stream.
    pub(crate) fn new(stream: TcpStream, shared: Rc<Shared>) -> Self {
        // Without kernel stamps the user's time is used, and the record has no read delay.
        let _unsupported = setsockopt(
            &stream,
            sockopt::Timestamping,
            &(TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE),
        );
        let wire = Arc::new(Wire { stream, out: Mutex::default(), idle: AtomicBool::new(false) });
        Io { wire, reads: Rc::default(), shared }
    }

    pub(crate) fn wire(&self) -> Arc<Wire> {
        Arc::clone(&self.wire)
    }

    pub(crate) fn reads(&self) -> Rc<Reads> {
        Rc::clone(&self.reads)
    }

    /// One `recvmsg`: the bytes into the scratch buffer, the stamps into the log.
    fn receive(&self, scratch: &mut [u8]) -> Result<usize, Errno> {
        let mut control = Control([0; 128]);
        let mut iov = [IoSliceMut::new(scratch)];
        let message =
            recvmsg::<()>(self.wire.as_raw_fd(), &mut iov, Some(&mut control.0), MsgFlags::MSG_DONTWAIT)?;
        let user = self.shared.clock.now();
        let stamps = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|c| match c {
                ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps),
                _ => None,
            })
        });
        let kernel = stamps.and_then(|s| self.shared.offset.to_stamp(&*self.shared.clock, user, s.system));
        if message.bytes > 0 {
            self.reads.note(user, kernel);
        }
        Ok(message.bytes)
    }
}

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut scratch = self.shared.scratch.borrow_mut();
        let asked = buf.remaining().min(scratch.len());
        loop {
            ready!(self.wire.stream.poll_read_ready(cx))?;
            let mut taken = None;
            let result = self.wire.stream.try_io(Interest::READABLE, || {
                let n = self.receive(&mut scratch[..asked])?;
                taken = Some(n);
                // A short read has emptied the socket. Telling tokio so, by the only word it has for
                // it, saves the read that would only find that out. The end of the stream stays.
                if n > 0 && n < asked { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if let Some(n) = taken {
                buf.put_slice(&scratch[..n]);
                return Poll::Ready(Ok(()));
            }
            match result {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

impl Io {
    /// Sends what was fired and not taken; pending while the request is still held back.
    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &*self.wire;
        let mut out = wire.out();
        if let Some(kind) = out.error {
            return Poll::Ready(Err(kind.into()));
        }
        if out.withheld {
            if !out.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                out.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        while out.taken < out.bytes.len() {
            ready!(wire.stream.poll_write_ready(cx))?;
            let pushed = wire.stream.try_io(Interest::WRITABLE, || {
                if out.push(wire, &*self.shared.clock)? { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
            });
            match pushed {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => other?,
            }
        }
        if !out.bytes.is_empty() {
            // Given back here rather than by whoever fired: that thread has other requests to fire.
            out.bytes = Vec::new();
            out.taken = 0;
        }
        wire.idle.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        {
            let mut out = self.wire.out();
            if out.withheld {
                out.bytes.extend_from_slice(buf);
                return Poll::Ready(Ok(buf.len()));
            }
        }
        ready!(self.poll_drain(cx))?;
        loop {
            ready!(self.wire.stream.poll_write_ready(cx))?;
            match self.wire.stream.try_io(Interest::WRITABLE, || self.wire.send(buf)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        {
            let mut out = self.wire.out();
            if out.withheld {
                for buf in bufs {
                    out.bytes.extend_from_slice(buf);
                }
                return Poll::Ready(Ok(bufs.iter().map(|b| b.len()).sum()));
            }
        }
        // Only while a handshake or an end of stream is written; not worth a second path.
        let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| &**b);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes twice an event.
        if self.wire.idle.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        {
            let mut out = self.wire.out();
            if out.withheld && !out.bytes.is_empty() {
                out.complete = true;
            }
        }
        self.poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The peer may have gone first; there is nothing left to say to it then.
        let _gone = shutdown(self.wire.as_raw_fd(), Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
