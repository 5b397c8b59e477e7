//! A connection as both threads see it, and the two letter boxes between them.
//!
//! The reader thread owns a connection except while a response is on its way; then the engine may
//! write, and only it. Who owns it is one atomic, so a request that was pipelined behind a response is
//! neither lost nor started early.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{MsgFlags, send};

use crate::clock;
use crate::order::Order;

/// No response is on its way: the reader may start the next request.
const IDLE: u8 = 0;
/// The engine is answering.
const BUSY: u8 = 1;
/// The engine is answering, and the reader wants to be told when it has.
const AWAITED: u8 = 2;

/// A connection shared by the reader and the engine; closed when both have let go of it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: TcpStream,
    /// Connections are numbered from 0 in the order of their acceptance.
    pub(crate) id: u64,
    /// Its place in the reader's table; used again after the connection's end, so `id` decides.
    pub(crate) slot: u32,
    state: AtomicU8,
    /// When the last response ended, in monotonic ns.
    idle_since: AtomicU64,
}

/// What became of bytes offered to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// That many of them, perhaps 0, were taken.
    Bytes(usize),
    /// The peer is gone.
    Gone,
}

impl Link {
    pub(crate) fn new(socket: TcpStream, id: u64, slot: u32, now: u64) -> Self {
        Link { socket, id, slot, state: AtomicU8::new(IDLE), idle_since: AtomicU64::new(now) }
    }

    /// Offers `bytes` to the kernel, without ever waiting.
    pub(crate) fn offer(&self, bytes: &[u8]) -> Taken {
        loop {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
                Ok(n) => return Taken::Bytes(n),
                Err(Errno::EINTR) => {}
                // ENOBUFS: the kernel is short of memory; writability will be reported as for a full socket.
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return Taken::Bytes(0),
                Err(_) => return Taken::Gone,
            }
        }
    }

    /// Reader: hands the connection to the engine.
    pub(crate) fn lend(&self) {
        self.state.store(BUSY, Ordering::SeqCst);
    }

    /// Whether the engine has it.
    pub(crate) fn is_lent(&self) -> bool {
        self.state.load(Ordering::SeqCst) != IDLE
    }

    /// Reader: asks to be told of the response's end; false if it has ended already.
    pub(crate) fn await_return(&self) -> bool {
        self.state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |s| (s != IDLE).then_some(AWAITED))
            .is_ok()
    }

    /// Engine: gives it back; true if the reader asked to be told.
    pub(crate) fn give_back(&self, now: u64) -> bool {
        self.idle_since.store(now, Ordering::SeqCst);
        self.state.swap(IDLE, Ordering::SeqCst) == AWAITED
    }

    /// Since when it has been idle, if it is.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        (!self.is_lent()).then(|| self.idle_since.load(Ordering::SeqCst))
    }

    /// Reader: it answered by itself.
    pub(crate) fn touch(&self) {
        self.idle_since.store(clock::now(), Ordering::SeqCst);
    }
}

/// From the reader to the engine.
#[derive(Debug)]
pub(crate) enum ToEngine {
    /// A request that was understood.
    Start(Box<Order>),
    /// The socket takes bytes again.
    Writable { slot: u32, id: u64 },
    /// The peer has closed the connection.
    Gone { slot: u32, id: u64 },
}

/// From the engine to the reader.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ToReader {
    /// The response has ended, and more input was waiting.
    Returned { slot: u32, id: u64 },
    /// The response has ended, and was the last on this connection.
    Close { slot: u32, id: u64 },
    /// The peer is gone.
    Drop { slot: u32, id: u64 },
}

/// A letter box that is one load to look into when empty.
#[derive(Debug)]
pub(crate) struct LetterBox<T> {
    filled: AtomicBool,
    letters: Mutex<Vec<T>>,
}

impl<T> Default for LetterBox<T> {
    fn default() -> Self {
        LetterBox { filled: AtomicBool::new(false), letters: Mutex::new(Vec::new()) }
    }
}

impl<T> LetterBox<T> {
    /// Puts one in; the caller wakes the other side.
    pub(crate) fn put(&self, letter: T) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        self.filled.store(true, Ordering::Release);
    }

    /// Whether there is something to take.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Moves all letters to `to`, which is empty.
    pub(crate) fn take(&self, to: &mut Vec<T>) {
        if self.is_filled() {
            let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
            // Cleared under the lock: a letter put after this sets it again.
            self.filled.store(false, Ordering::Release);
            std::mem::swap(&mut *letters, to);
        }
    }
}

/// The reader's letter box with the descriptor that wakes it out of epoll.
#[derive(Debug)]
pub(crate) struct ReaderBox {
    pub(crate) letters: LetterBox<ToReader>,
    pub(crate) wake: EventFd,
}

impl ReaderBox {
    pub(crate) fn put(&self, letter: ToReader) {
        self.letters.put(letter);
        self.ring();
    }

    /// Wakes the reader.
    pub(crate) fn ring(&self) {
        // The counter cannot overflow and the descriptor is ours: nothing can go wrong here.
        let _ = self.wake.write(1);
    }
}
