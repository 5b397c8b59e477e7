//! Look-ahead: requests are made on a thread of their own, bounded in bytes.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use tics_record::Clock;

use crate::exchange::{Planned, Ready};
use crate::run::Message;

/// How much may be made ahead.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: usize,
    closed: bool,
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Budget { limit, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Waits until `bytes` fit. One request always fits, however large. `None` once closed.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.closed && state.held > 0 && state.held + bytes > self.limit {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        state.held += bytes;
        Some(Held { budget: Arc::clone(self), bytes })
    }

    /// Whether some of it is left.
    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held < self.limit
    }

    /// Takes `bytes` without waiting, whether they fit or not: for whoever asks [`Budget::has_room`] before
    /// a request is made, and so goes beyond it by one request at most.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Held {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held += bytes;
        Held { budget: Arc::clone(self), bytes }
    }

    /// Lets the feeder go.
    pub(crate) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_all();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.state.lock().unwrap_or_else(PoisonError::into_inner).held -= self.bytes;
        self.budget.changed.notify_all();
    }
}

/// Starts the thread that makes requests and sends them to the run's loop.
pub(crate) fn start<J, E, I>(
    requests: I,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    out: Sender<Message<J>>,
) -> std::io::Result<JoinHandle<()>>
where
    J: Send + 'static,
    E: std::fmt::Display,
    I: Iterator<Item = Result<Planned<J>, E>> + Send + 'static,
{
    std::thread::Builder::new().name("tics-feeder".into()).spawn(move || {
        for request in requests {
            let message = match request {
                Ok(planned) => {
                    // Its memory is taken before the budget is asked: one request more than the limit.
                    let Some(budget) = budget.hold(planned.bytes) else { return };
                    Message::Ready(Box::new(Ready { planned, at: clock.now(), budget, released: None }))
                }
                Err(error) => {
                    let _run_over = out.send(Message::Fed(Some(error.to_string())));
                    return;
                }
            };
            if out.send(message).is_err() {
                return;
            }
        }
        let _run_over = out.send(Message::Fed(None));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_always_fits_and_closing_frees_who_waits() {
        let budget = Budget::new(10);
        let first = budget.hold(100).unwrap();
        let waiting = Arc::clone(&budget);
        let thread = std::thread::spawn(move || waiting.hold(1).is_some());
        drop(first);
        assert!(thread.join().unwrap());
        let _full = budget.hold(10).unwrap();
        let waiting = Arc::clone(&budget);
        let thread = std::thread::spawn(move || waiting.hold(1).is_none());
        budget.close();
        assert!(thread.join().unwrap());
    }
}
