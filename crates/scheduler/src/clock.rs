//! The real clock: the one place that reads it.

use nix::time::{ClockId, clock_gettime};
use tics_record::{Clock, Stamp};

/// CLOCK_MONOTONIC, from an origin fixed when the clock is made.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    origin_ns: u64,
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the system has this clock");
    time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
}

impl RealClock {
    /// A clock whose origin is now, and wall time at that instant, nanoseconds since 1970.
    pub fn start() -> (Self, u64) {
        // Wall time between two readings of the monotonic clock; the tightest of a few tries, since
        // the pair anchors exports to other machines' logs.
        let (_, origin_ns, unix_ns) = (0..8)
            .map(|_| {
                let before = read(ClockId::CLOCK_MONOTONIC);
                let wall = read(ClockId::CLOCK_REALTIME);
                let after = read(ClockId::CLOCK_MONOTONIC);
                (after - before, before + (after - before) / 2, wall)
            })
            .min_by_key(|(width, ..)| *width)
            .expect("eight tries");
        (RealClock { origin_ns }, unix_ns)
    }

    /// CLOCK_MONOTONIC at the origin, nanoseconds.
    pub fn origin_monotonic_ns(&self) -> u64 {
        self.origin_ns
    }
}

impl Clock for RealClock {
    fn now(&self) -> Stamp {
        Stamp::from_nanos(read(ClockId::CLOCK_MONOTONIC).saturating_sub(self.origin_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_forward_from_its_origin() {
        let (clock, unix_ns) = RealClock::start();
        let (a, b) = (clock.now(), clock.now());
        assert!(a <= b && b < Stamp::from_nanos(60_000_000_000));
        assert!(unix_ns > 1_700_000_000_000_000_000, "{unix_ns}");
    }
}
