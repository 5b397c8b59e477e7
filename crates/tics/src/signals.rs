//! Signals and keys, as the run understands them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::outcome::{INTERRUPTED, TERMINATED};

/// How the user interrupted: the exit status for it, 0 if not at all.
#[derive(Debug, Clone, Default)]
pub struct Interruption {
    status: Arc<AtomicU8>,
    times: Arc<AtomicU8>,
}

impl Interruption {
    /// Notes an interruption by key or signal. The first decides the status; the first drains, the second
    /// cancels, a third is beyond patience.
    pub fn note(&self, status: u8) -> Wish {
        let _earlier = self.status.compare_exchange(0, status, Ordering::SeqCst, Ordering::SeqCst);
        match self.times.fetch_add(1, Ordering::SeqCst) {
            0 => Wish::Drain,
            1 => Wish::Cancel,
            _ => Wish::Exit(status),
        }
    }

    /// The exit status of the interruption, if there was one.
    pub fn status(&self) -> Option<u8> {
        Some(self.status.load(Ordering::SeqCst)).filter(|s| *s != 0)
    }
}

/// What a signal means to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Stop sending and let what is in flight end.
    Drain,
    /// End everything now.
    Cancel,
    /// End the process with this status, whatever it is doing.
    Exit(u8),
}

/// Listens for SIGINT and SIGTERM: the first drains, the second cancels, the third ends the process.
/// SIGHUP (the terminal went away) is no reason to lose a run: it is noted by whoever draws.
pub struct Listener {
    handle: Handle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listener {
    /// Starts listening; `wish` is called on a thread of its own.
    pub fn start(interruption: Interruption, wish: impl Fn(Wish) + Send + 'static) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = signals.handle();
        let thread = std::thread::Builder::new().name("tics-signals".into()).spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    continue;
                }
                let status = if signal == SIGTERM { TERMINATED } else { INTERRUPTED };
                wish(interruption.note(status));
            }
        })?;
        Ok(Listener { handle, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
