//! From the kernel's receive stamps (wall time) to the run's clock (monotonic).

use std::cell::Cell;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use tics_record::{Clock, Nanos, Stamp};

/// How long a measured offset is used. Wall time may be slewed by up to 500 ppm, that is 1 µs in 2 ms.
const KEEP: Nanos = Nanos::from_millis(2);

/// A pair of clock readings wider than this was interrupted half-way.
const TIGHT: Nanos = Nanos::from_micros(1);

/// A kernel stamp further than this from the present means that wall time was stepped just now.
const PLAUSIBLE: Nanos = Nanos::from_secs(10);

/// The offset between wall time and the run's clock, measured anew every two milliseconds of use.
#[derive(Debug, Default)]
pub(crate) struct RealtimeOffset {
    /// When it was measured, and wall nanoseconds minus run nanoseconds.
    measured: Cell<Option<(Stamp, i64)>>,
}

fn nanos(time: TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// Reads wall time between two readings of the run's clock; the tightest of three tries.
fn measure(clock: &dyn Clock) -> Option<(Stamp, i64)> {
    let mut best: Option<(Nanos, Stamp, i64)> = None;
    for _ in 0..3 {
        let before = clock.now();
        let wall = nanos(clock_gettime(ClockId::CLOCK_REALTIME).ok()?);
        let after = clock.now();
        let width = after.since(before).unwrap_or_default();
        if best.is_none_or(|(w, ..)| width < w) {
            let middle = before.plus(Nanos::new(width.as_nanos() / 2));
            best = Some((width, after, wall - middle.as_nanos().cast_signed()));
        }
        if width < TIGHT {
            break;
        }
    }
    best.map(|(_, at, offset)| (at, offset))
}

impl RealtimeOffset {
    /// The instant of a kernel stamp on the run's clock; `None` where that makes no sense (no stamp, or
    /// wall time was stepped in between). `now` is a reading of `clock` made after the stamp.
    pub(crate) fn to_stamp(&self, clock: &dyn Clock, now: Stamp, kernel: TimeSpec) -> Option<Stamp> {
        let kernel = nanos(kernel);
        if kernel == 0 {
            return None;
        }
        let (_, offset) = match self.measured.get() {
            Some((at, offset)) if now.since(at).is_some_and(|age| age < KEEP) => (at, offset),
            _ => {
                let fresh = measure(clock)?;
                self.measured.set(Some(fresh));
                fresh
            }
        };
        let stamp = Stamp::from_nanos(u64::try_from(kernel - offset).ok()?);
        let far = now.signed_since(stamp).unsigned_abs() > PLAUSIBLE.as_nanos();
        (!far).then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use tics_record::ManualClock;

    use super::*;

    #[test]
    fn wall_time_now_is_the_clock_s_present() {
        let clock = ManualClock::new(Stamp::from_nanos(5_000_000_000));
        let offset = RealtimeOffset::default();
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
        let stamp = offset.to_stamp(&clock, clock.now(), wall).unwrap();
        // The clock stands still, so the offset was measured a moment after `wall` was read.
        let early = Stamp::from_nanos(5_000_000_000).signed_since(stamp);
        assert!((0..1_000_000_000).contains(&early), "{early}");
    }

    #[test]
    fn nonsense_is_no_stamp() {
        let clock = ManualClock::new(Stamp::from_nanos(5_000_000_000));
        let offset = RealtimeOffset::default();
        assert_eq!(offset.to_stamp(&clock, clock.now(), TimeSpec::new(0, 0)), None);
        assert_eq!(offset.to_stamp(&clock, clock.now(), TimeSpec::new(1_000_000, 0)), None);
    }
}
