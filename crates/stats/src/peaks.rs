//! Peaks of requests in flight and queued, and lateness beyond one's place, from what was sent.

use tics_record::Stamp;

/// What one request that was handed to the kernel contributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) due: Stamp,
    pub(crate) sent: Stamp,
    /// First tic, or the end where there was none.
    pub(crate) first: Stamp,
    pub(crate) end: Stamp,
    /// It was answered, with a tic: `first` is one.
    pub(crate) has_ttft: bool,
    /// Its wait was asked for (a cap on requests in flight, the turn before), not a failure to keep time.
    pub(crate) excused: bool,
}

/// Largest number of intervals `[start, end)` that overlap.
///
/// An end counts before a start at the same instant: in a closed loop the next request takes the
/// place of the one that ended.
pub(crate) fn max_overlap(intervals: impl Iterator<Item = (Stamp, Stamp)> + Clone) -> u64 {
    let mut starts: Vec<u64> = intervals.clone().map(|(start, _)| start.as_nanos()).collect();
    // A request is in flight for at least an instant, even where its stamps are equal or broken.
    let mut ends: Vec<u64> =
        intervals.map(|(start, end)| end.as_nanos().max(start.as_nanos().saturating_add(1))).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut ended, mut max) = (0, 0);
    for (started, start) in starts.iter().enumerate() {
        while ends.get(ended).is_some_and(|end| end <= start) {
            ended += 1;
        }
        max = max.max((started + 1).saturating_sub(ended));
    }
    max as u64
}

/// sent - due of each request that is not excused, in nanoseconds, negative if early, in the order of due
/// and sent, into which `flights` is brought. A late one is less late by `per_place_ns` for each request
/// due at the same instant that left before it, down to not late at all: the n-th of a burst cannot leave
/// before the others have.
pub(crate) fn lateness_beyond_place(flights: &mut [Flight], per_place_ns: u64) -> Vec<i64> {
    flights.sort_unstable_by_key(|f| (f.due, f.sent));
    let mut place = 0;
    let mut before: Option<Stamp> = None;
    let mut late = Vec::with_capacity(flights.len());
    for flight in flights.iter() {
        place = if before == Some(flight.due) { place + 1 } else { 0 };
        before = Some(flight.due);
        if !flight.excused {
            let by = flight.sent.signed_since(flight.due);
            let allowed = i64::try_from(place * per_place_ns).unwrap_or(i64::MAX);
            late.push(if by > 0 { by.saturating_sub(allowed).max(0) } else { by });
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn overlap(intervals: &[(u64, u64)]) -> u64 {
        max_overlap(intervals.iter().map(|(a, b)| (Stamp::from_nanos(*a), Stamp::from_nanos(*b))))
    }

    #[test]
    fn a_closed_loop_of_one_has_one_in_flight() {
        assert_eq!(overlap(&[(0, 10), (10, 20), (20, 30)]), 1);
        assert_eq!(overlap(&[(0, 10), (9, 20), (20, 20)]), 2);
        assert_eq!(overlap(&[(5, 5), (5, 5)]), 2);
        assert_eq!(overlap(&[]), 0);
    }

    proptest! {
        #[test]
        fn equals_counting_at_every_start(
            spans in prop::collection::vec((0u64..100, 1u64..50), 0..40),
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(start, length)| (start, start + length)).collect();
            let at = |t: u64| spans.iter().filter(|(a, b)| (*a..*b).contains(&t)).count() as u64;
            let expect = spans.iter().map(|(start, _)| at(*start)).max().unwrap_or(0);
            prop_assert_eq!(overlap(&spans), expect);
        }
    }

    #[test]
    fn only_what_is_due_together_has_places() {
        let flight = |due, sent| Flight {
            due: Stamp::from_nanos(due),
            sent: Stamp::from_nanos(sent),
            first: Stamp::ORIGIN,
            end: Stamp::ORIGIN,
            has_ttft: false,
            excused: false,
        };
        let mut flights = [flight(100, 171), flight(100, 110), flight(100, 140), flight(500, 450)];
        assert_eq!(lateness_beyond_place(&mut flights, 30), [10, 10, 11, -50]);
        let mut excused = [Flight { excused: true, ..flight(100, 900) }, flight(100, 140)];
        assert_eq!(lateness_beyond_place(&mut excused, 0), [40]);
    }
}
