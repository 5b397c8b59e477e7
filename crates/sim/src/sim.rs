//! The server as a whole: its threads, how they start and how they end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle, Thread};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::SimOptions;
use crate::engine::Engine;
use crate::link::{LetterBox, ReaderBox};
use crate::metrics::Metrics;
use crate::reader::{Reader, Shared, await_stamps, bind, open_epoll};
use crate::truth::{Log, LogFiles};

/// Why a server could not start, or did not end well. Print it with its source: the line is complete then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// An option that cannot be served.
    #[error("option {option}: {problem}")]
    Option {
        /// The field of [`SimOptions`], or of what is in it.
        option: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The truth log or the dump could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused something it should not refuse.
    #[error("cannot start the simulated server: {what}")]
    System {
        /// What was refused.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A thread of the server panicked: a bug.
    #[error("the simulated server's {thread} thread panicked")]
    Panicked {
        /// Which of them.
        thread: &'static str,
    },
}

/// What a server did from its start to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub connections: u64,
    /// Times that accepting had to rest, for want of descriptors or memory.
    pub accept_failures: u64,
    /// Generations and rejected requests; not the plain GETs that were answered.
    pub requests: u64,
    /// Requests answered with an error status.
    pub rejected: u64,
    /// Generations sent in full.
    pub complete: u64,
    /// Generations whose client left before the end.
    pub client_gone: u64,
    /// Generations cut by the server's own end.
    pub shutdown: u64,
    /// Tokens handed to the kernel.
    pub tokens: u64,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    stopper: Stopper,
    threads: Option<Threads>,
}

#[derive(Debug)]
struct Threads {
    engine: JoinHandle<Totals>,
    reader: JoinHandle<Totals>,
    log: JoinHandle<Result<(), SimError>>,
}

/// Tells a server to stop, from anywhere: another thread, a signal's handler thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
    engine: Thread,
}

impl Stopper {
    /// Asks the server to stop; [`Sim::wait`] returns when it has.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.engine.unpark();
        self.shared.to_reader.ring();
    }
}

impl Sim {
    /// Starts a server; it accepts connections when this returns.
    ///
    /// # Errors
    /// [`SimError`] if an option cannot be served, the address cannot be listened on, or a log cannot be
    /// created.
    pub fn start(options: SimOptions) -> Result<Sim, SimError> {
        options.check()?;
        let asked = options.listen;
        let listener = bind(asked)?;
        let addr = listener.local_addr().map_err(|source| SimError::Listen { addr: asked, source })?;
        let files = LogFiles::open(&options, &addr.to_string())?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|source| SimError::System { what: "eventfd", source: source.into() })?;
        if options.truth.is_some() {
            await_stamps().map_err(|source| SimError::System { what: "loopback", source })?;
        }
        let epoll = open_epoll(&listener, &wake)?;

        let (sender, entries) = mpsc::channel();
        let log = Log::new(&options, sender);
        let shared = Arc::new(Shared {
            options,
            stop: AtomicBool::new(false),
            metrics: Metrics::default(),
            to_engine: LetterBox::default(),
            to_reader: ReaderBox { letters: LetterBox::default(), wake },
        });
        let log_thread = spawn("sim-log", move || files.run(&entries))?;
        let engine = Engine::new(Arc::clone(&shared), log.clone());
        let engine_thread = spawn("sim-engine", move || engine.run())?;
        let stopper = Stopper { shared: Arc::clone(&shared), engine: engine_thread.thread().clone() };
        let reader = Reader::new(shared, listener, epoll, stopper.engine.clone(), log);
        let reader_thread = spawn("sim-reader", move || reader.run()).inspect_err(|_| stopper.stop())?;
        let threads = Threads { engine: engine_thread, reader: reader_thread, log: log_thread };
        Ok(Sim { addr, stopper, threads: Some(threads) })
    }

    /// Where it listens, with the port it got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A handle to stop it with.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Stops the server: what is in flight is cut, and logged as `shutdown`; the logs are whole when
    /// this returns.
    ///
    /// # Errors
    /// [`SimError::Write`] if a log could not be written, [`SimError::Panicked`] for a bug.
    pub fn stop(self) -> Result<Totals, SimError> {
        self.stopper.stop();
        self.wait()
    }

    /// Waits until a [`Stopper`] stops the server.
    ///
    /// # Errors
    /// As [`stop`](Sim::stop).
    pub fn wait(mut self) -> Result<Totals, SimError> {
        self.threads.take().map_or(Ok(Totals::default()), Threads::join)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            self.stopper.stop();
            // Who wants to know how it ended calls `stop`.
            let _ = threads.join();
        }
    }
}

impl Threads {
    fn join(self) -> Result<Totals, SimError> {
        let reader = self.reader.join();
        let engine = self.engine.join();
        let log = self.log.join();
        let reader = reader.map_err(|_| SimError::Panicked { thread: "reader" })?;
        let engine = engine.map_err(|_| SimError::Panicked { thread: "engine" })?;
        log.map_err(|_| SimError::Panicked { thread: "log" })??;
        Ok(Totals {
            connections: reader.connections,
            accept_failures: reader.accept_failures,
            requests: reader.requests,
            rejected: reader.rejected,
            complete: engine.complete,
            client_gone: engine.client_gone,
            shutdown: engine.shutdown,
            tokens: engine.tokens,
        })
    }
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SimError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| SimError::System { what: "thread", source })
}
