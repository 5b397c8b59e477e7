//! A waker that keeps quiet while its task is being polled anyway.
//!
//! hyper's halves wake each other: taking a piece of body wakes the connection that the very same poll is
//! about to poll again. Without the gate each event would cost its task a second, empty poll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// Passes wake-ups on, except while it is closed: then it only remembers them.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Gate {
    /// From now on wake-ups are remembered instead of passed to the task of `cx`.
    pub(crate) fn close(&self, cx: &Context<'_>) {
        self.closed.store(true, Ordering::SeqCst);
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|t| t.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    /// Whether there was a wake-up since the last call.
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// From now on wake-ups are passed on; one that came just now is, too.
    pub(crate) fn open(&self, cx: &Context<'_>) {
        self.closed.store(false, Ordering::SeqCst);
        if self.take_woken() {
            cx.waker().wake_by_ref();
        }
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The order matters where another thread wakes: `open` looks at `woken` after it has opened.
        self.woken.store(true, Ordering::SeqCst);
        if !self.closed.load(Ordering::SeqCst) && self.take_woken() {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(task) = &*task {
                task.wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_wake_up_is_kept_while_closed_and_never_lost() {
        let count = Arc::new(Count::default());
        let task = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&task);
        let gate = Arc::new(Gate::default());
        let waker = Waker::from(Arc::clone(&gate));
        let woken = || count.0.load(Ordering::SeqCst);
        gate.close(&cx);
        waker.wake_by_ref();
        assert!(woken() == 0 && gate.take_woken() && !gate.take_woken());
        gate.open(&cx);
        assert_eq!(woken(), 0);
        gate.close(&cx);
        waker.wake_by_ref();
        gate.open(&cx);
        assert_eq!(woken(), 1);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(), 3);
    }

    #[test]
    fn a_wake_up_of_another_thread_is_never_lost() {
        for _ in 0..2_000 {
            let count = Arc::new(Count::default());
            let task = Waker::from(Arc::clone(&count));
            let cx = Context::from_waker(&task);
            let gate = Arc::new(Gate::default());
            let waker = Waker::from(Arc::clone(&gate));
            gate.close(&cx);
            let other = std::thread::spawn(move || waker.wake());
            let seen = gate.take_woken();
            gate.open(&cx);
            other.join().unwrap();
            assert!(seen || count.0.load(Ordering::SeqCst) > 0);
        }
    }
}
