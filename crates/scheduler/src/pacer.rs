//! The pacer: one thread that fires armed requests at their due instants.
//!
//! It sleeps to an absolute deadline a little before the due instant, then spins. The sleep is a
//! futex wait with an absolute deadline (what `park_timeout` is on Linux) rather than
//! `clock_nanosleep`: as precise, and a request that is armed late for an earlier instant can cut it
//! short. How long to spin is measured: the window follows the sleeps' own lateness, and its share of
//! the processor is bounded.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use tics_record::{Clock, Nanos, Stamp};

use crate::shot::{Armed, Fire, Shooter};

/// Requests armed and not fired, in the order of their due instants; ties in schedule order.
#[derive(Debug)]
pub(crate) struct PacerQueue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T>(Armed<T>);

impl<T> Entry<T> {
    fn key(&self) -> (Stamp, u64) {
        (self.0.due, self.0.index)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> Default for PacerQueue<T> {
    fn default() -> Self {
        PacerQueue { heap: BinaryHeap::new() }
    }
}

impl<T> PacerQueue<T> {
    pub(crate) fn push(&mut self, armed: Armed<T>) {
        self.heap.push(Reverse(Entry(armed)));
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Stamp> {
        self.heap.peek().map(|Reverse(Entry(armed))| armed.due)
    }

    /// The next one.
    fn next(&self) -> Option<&Armed<T>> {
        self.heap.peek().map(|Reverse(Entry(armed))| armed)
    }

    /// The next one, if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Stamp) -> Option<Armed<T>> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(Entry(armed))| armed)
    }

    fn clear(&mut self) {
        self.heap.clear();
    }
}

/// How long before a due instant the sleep ends and the spin begins.
///
/// The window is a little more than sleeps have lately overrun, and shrinks again when they get
/// better. Spinning takes at most a quarter of one processor over any longer time; beyond that the
/// window closes, and lateness is what the sleep's is.
#[derive(Debug)]
pub(crate) struct SpinWindow {
    window: Nanos,
    spun: Nanos,
    since: Stamp,
}

impl SpinWindow {
    const LEAST: Nanos = Nanos::from_micros(15);
    const MOST: Nanos = Nanos::from_micros(200);

    pub(crate) fn new(now: Stamp) -> Self {
        SpinWindow { window: Nanos::from_micros(60), spun: Nanos::ZERO, since: now }
    }

    /// A window that fits this machine now: a few short sleeps are tried, some ten milliseconds in all.
    fn measured(clock: &dyn Clock) -> Self {
        let mut window = SpinWindow::new(clock.now());
        for _ in 0..20 {
            let until = clock.now().plus(Nanos::from_micros(500));
            std::thread::park_timeout(std::time::Duration::from_micros(500));
            // Something handed over meanwhile wakes early, and is no measurement.
            if let Some(over) = clock.now().since(until) {
                window.overslept(over);
            }
        }
        window
    }

    /// The window to use at `now`.
    pub(crate) fn get(&mut self, now: Stamp) -> Nanos {
        let elapsed = now.since(self.since).unwrap_or_default();
        // Old credit does not pay for a later spree.
        if elapsed > Nanos::from_secs(1) {
            self.since = now;
            self.spun = Nanos::ZERO;
            return self.window;
        }
        let allowed = elapsed.as_nanos() / 4 + 2 * Self::MOST.as_nanos();
        if self.spun.as_nanos() > allowed { Nanos::ZERO } else { self.window }
    }

    /// A sleep overran its end by `by`.
    pub(crate) fn overslept(&mut self, by: Nanos) {
        let wanted = Nanos::new(by.as_nanos() + by.as_nanos() / 4);
        let decayed = Nanos::new(self.window.as_nanos() - self.window.as_nanos() / 64);
        self.window = wanted.max(decayed).clamp(Self::LEAST, Self::MOST);
    }

    /// Spun for `span`.
    pub(crate) fn spun(&mut self, span: Nanos) {
        self.spun = self.spun.plus(span);
    }
}

/// The part that others see: hand over what is armed, wake, stop.
#[derive(Debug)]
pub(crate) struct PacerInbox<T> {
    armed: Mutex<Vec<Armed<T>>>,
    /// The instant that the pacer sleeps for; anything due earlier must wake it.
    sleeping_for: AtomicU64,
    dropping: AtomicBool,
    stopping: AtomicBool,
    /// Time spent spinning so far.
    spun: AtomicU64,
    thread: Mutex<Option<Thread>>,
}

impl<T: Fire + 'static> PacerInbox<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(PacerInbox {
            armed: Mutex::default(),
            sleeping_for: AtomicU64::new(0),
            dropping: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            spun: AtomicU64::new(0),
            thread: Mutex::new(None),
        })
    }

    /// Hands over an armed request.
    pub(crate) fn push(&self, armed: Armed<T>) {
        let due = armed.due.as_nanos();
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).push(armed);
        if due < self.sleeping_for.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }

    /// From now on nothing is fired; what is armed is let go.
    pub(crate) fn drop_all(&self) {
        self.dropping.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Time spent spinning.
    pub(crate) fn spun(&self) -> Nanos {
        Nanos::new(self.spun.load(Ordering::Relaxed))
    }

    /// Starts the thread; `settle` is its first act, and it holds `guard` to its end.
    pub(crate) fn start(
        self: &Arc<Self>,
        shooter: Shooter,
        guard: impl Send + 'static,
        settle: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let inbox = Arc::clone(self);
        let handle = std::thread::Builder::new().name("tics-pacer".into()).spawn(move || {
            let _guard = guard;
            settle();
            inbox.run(&shooter);
        })?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.thread().clone());
        Ok(handle)
    }

    fn take(&self, queue: &mut PacerQueue<T>) {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        for armed in armed.drain(..) {
            queue.push(armed);
        }
    }

    fn run(&self, shooter: &Shooter) {
        // Timers of this thread may otherwise ring 50 µs late to save wake-ups. Not essential.
        let _default_slack = nix::sys::prctl::set_timerslack(1);
        let clock = &*shooter.clock;
        let mut queue = PacerQueue::default();
        let mut window = SpinWindow::measured(clock);
        while !self.stopping.load(Ordering::SeqCst) {
            self.take(&mut queue);
            if self.dropping.load(Ordering::SeqCst) {
                queue.clear();
            }
            while let Some(armed) = queue.pop_due(clock.now()) {
                shooter.shoot(&armed, &shooter.live.lateness);
            }
            self.wait(queue.next(), &mut window, clock);
        }
    }

    /// Waits until `next` is due, or for something to be pushed that is due earlier.
    fn wait(&self, next: Option<&Armed<T>>, window: &mut SpinWindow, clock: &dyn Clock) {
        let due = next.map(|armed| armed.due);
        self.sleeping_for.store(due.map_or(u64::MAX, Stamp::as_nanos), Ordering::SeqCst);
        let pushed = !self.armed.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if pushed || self.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Some(due) = due else {
            std::thread::park();
            return;
        };
        let now = clock.now();
        let until = due.minus(window.get(now));
        if let Some(sleep) = until.since(now).filter(|s| *s > Nanos::ZERO) {
            std::thread::park_timeout(sleep.into());
            match clock.now().since(until) {
                Some(over) => window.overslept(over),
                None => return, // woken early: look at the inbox
            }
        }
        if let Some(armed) = next {
            armed.trigger.warm();
        }
        let spin_from = clock.now();
        let mut now = spin_from;
        while now < due {
            std::hint::spin_loop();
            now = clock.now();
        }
        let spun = now.since(spin_from).unwrap_or_default();
        window.spun(spun);
        self.spun.fetch_add(spun.as_nanos(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn armed(due: u64, index: u64) -> Armed<()> {
        Armed { due: Stamp::from_nanos(due), index, trigger: (), state: Arc::default() }
    }

    proptest! {
        #[test]
        fn nothing_is_early_and_ties_keep_their_order(
            dues in prop::collection::vec(0u64..50, 1..60), steps in prop::collection::vec(0u64..10, 0..40),
        ) {
            let mut queue = PacerQueue::default();
            for (index, due) in dues.iter().enumerate() {
                queue.push(armed(*due, index as u64));
            }
            let mut fired = Vec::new();
            let mut now = 0;
            for step in steps.into_iter().chain([100]) {
                now += step;
                while let Some(next) = queue.pop_due(Stamp::from_nanos(now)) {
                    prop_assert!(next.due.as_nanos() <= now);
                    fired.push((next.due.as_nanos(), next.index));
                }
                prop_assert!(queue.next_due().is_none_or(|due| due.as_nanos() > now));
            }
            prop_assert_eq!(fired.len(), dues.len());
            prop_assert!(fired.is_sorted());
        }

        #[test]
        fn the_window_is_bounded_and_so_is_its_share(overruns in prop::collection::vec(0u64..5_000_000, 1..400)) {
            let mut now = Stamp::from_nanos(0);
            let mut window = SpinWindow::new(now);
            let mut spun = 0;
            for over in overruns {
                now = now.plus(Nanos::from_micros(100));
                window.overslept(Nanos::new(over));
                let span = window.get(now);
                prop_assert!(span == Nanos::ZERO || (SpinWindow::LEAST..=SpinWindow::MOST).contains(&span));
                window.spun(span);
                spun += span.as_nanos();
                let allowed = now.as_nanos() / 4 + 3 * SpinWindow::MOST.as_nanos();
                prop_assert!(spun <= allowed, "{spun} of {}", now.as_nanos());
            }
        }
    }
}
