//! The two clocks of the machine, in nanoseconds.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// The present instant of CLOCK_MONOTONIC, in ns; the clock of every stamp in the truth log.
pub(crate) fn now() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Whole seconds since 1970, for the `created` field of the responses.
pub(crate) fn wall_seconds() -> u64 {
    read(ClockId::CLOCK_REALTIME) / SECOND
}

/// A stamp of CLOCK_REALTIME (what the kernel puts on received packets) on CLOCK_MONOTONIC.
///
/// The offset between the clocks is sampled here and now, so a clock that was stepped since the last
/// request cannot shift the stamp of this one by more than the age of the packet.
pub(crate) fn monotonic_of(realtime_ns: u64) -> u64 {
    let before = now();
    let real = read(ClockId::CLOCK_REALTIME);
    let after = now();
    let monotonic = before.midpoint(after);
    // Both orders are possible in principle; the difference fits as the clocks move together.
    (monotonic + realtime_ns).saturating_sub(real)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("Linux always has CLOCK_MONOTONIC and CLOCK_REALTIME");
    time.tv_sec().cast_unsigned() * SECOND + time.tv_nsec().cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_stamp_of_now_is_now() {
        let before = now();
        let converted = monotonic_of(read(ClockId::CLOCK_REALTIME));
        let after = now();
        // Half the width of the sample is the error of the offset.
        let slack = after - before;
        assert!(converted + slack >= before && converted <= after + slack);
    }
}
