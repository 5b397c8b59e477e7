//! Points and spans of time, and the one way to read a clock.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// An instant: nanoseconds since the process's origin on the monotonic clock.
///
/// `run.json` anchors the origin (`origin_monotonic_ns`, `origin_unix_ns`), so that stamps line up
/// absolutely with other processes on the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(u64);

/// A span of time in nanoseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(u64);

impl Stamp {
    /// The process's origin.
    pub const ORIGIN: Stamp = Stamp(0);

    /// The instant `ns` nanoseconds after the origin.
    pub const fn from_nanos(ns: u64) -> Self {
        Stamp(ns)
    }

    /// Nanoseconds after the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span since `earlier`; `None` if `earlier` is in fact later: a broken stamp is reported,
    /// never rounded to zero.
    pub const fn since(self, earlier: Stamp) -> Option<Nanos> {
        match self.0.checked_sub(earlier.0) {
            Some(ns) => Some(Nanos(ns)),
            None => None,
        }
    }

    /// Signed nanoseconds since `other`; for lateness, which may be negative when something was early.
    pub const fn signed_since(self, other: Stamp) -> i64 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The instant `span` later, at most the largest stamp.
    #[must_use]
    pub const fn plus(self, span: Nanos) -> Stamp {
        Stamp(self.0.saturating_add(span.0))
    }

    /// The instant `span` earlier, at least the origin.
    #[must_use]
    pub const fn minus(self, span: Nanos) -> Stamp {
        Stamp(self.0.saturating_sub(span.0))
    }
}

impl Nanos {
    /// No time at all.
    pub const ZERO: Nanos = Nanos(0);

    /// A span of `ns` nanoseconds.
    pub const fn new(ns: u64) -> Self {
        Nanos(ns)
    }

    /// A span of `us` microseconds, at most the largest span.
    pub const fn from_micros(us: u64) -> Self {
        Nanos(us.saturating_mul(1_000))
    }

    /// A span of `ms` milliseconds, at most the largest span.
    pub const fn from_millis(ms: u64) -> Self {
        Nanos(ms.saturating_mul(1_000_000))
    }

    /// A span of `s` whole seconds, at most the largest span.
    pub const fn from_secs(s: u64) -> Self {
        Nanos(s.saturating_mul(1_000_000_000))
    }

    /// A span of `s` seconds, rounded to the nearest nanosecond; `None` if negative, not finite or
    /// beyond about 584 years.
    pub fn from_secs_f64(s: f64) -> Option<Self> {
        let ns = (s * 1e9).round();
        // 2^64 itself does not fit, and every f64 below it does.
        (0.0..18_446_744_073_709_551_616.0).contains(&ns).then_some(Nanos(ns as u64))
    }

    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds, for printing and for rates.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Milliseconds, for printing.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Microseconds, for printing.
    pub fn as_micros_f64(self) -> f64 {
        self.0 as f64 / 1e3
    }

    /// The sum, at most the largest span.
    #[must_use]
    pub const fn plus(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }

    /// The difference, at least zero.
    #[must_use]
    pub const fn saturating_minus(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(other.0))
    }
}

impl From<Nanos> for std::time::Duration {
    fn from(span: Nanos) -> Self {
        std::time::Duration::from_nanos(span.0)
    }
}

/// Reads the time. The real one lives in `tics-scheduler`; everything else is handed a clock, so that
/// tests can decide what time it is.
pub trait Clock: Send + Sync {
    /// The present instant. Never decreases.
    fn now(&self) -> Stamp;
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Stamp {
        (**self).now()
    }
}

/// A clock that stands still until it is told to move: for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `start`.
    pub const fn new(start: Stamp) -> Self {
        ManualClock(AtomicU64::new(start.as_nanos()))
    }

    /// Moves the clock to `stamp`.
    pub fn set(&self, stamp: Stamp) {
        self.0.store(stamp.as_nanos(), Ordering::SeqCst);
    }

    /// Moves the clock on by `span`.
    pub fn advance(&self, span: Nanos) {
        self.0.fetch_add(span.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Stamp {
        Stamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_origin_is_not_zero() {
        assert_eq!(Stamp(5).since(Stamp(7)), None);
        assert_eq!(Stamp(7).since(Stamp(5)), Some(Nanos(2)));
        assert_eq!(Stamp(5).signed_since(Stamp(7)), -2);
    }

    #[test]
    fn seconds_that_are_no_span_are_refused() {
        assert_eq!(Nanos::from_secs_f64(0.215_729), Some(Nanos(215_729_000)));
        assert_eq!(Nanos::from_secs_f64(-1.0), None);
        assert_eq!(Nanos::from_secs_f64(f64::NAN), None);
        assert_eq!(Nanos::from_secs_f64(1e12), None);
    }
}
