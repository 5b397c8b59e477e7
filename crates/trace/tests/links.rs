//! The turns of a schedule that wait for another.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod support;

use std::num::NonZeroU64;

use proptest::prelude::*;
use tics_record::Nanos;
use tics_trace::{Follower, Id, Links, Pause, Row, Scale, Selection, Trace, TraceError, TurnFinder};

use support::trace_of;

fn find(trace: &Trace, selection: &Selection, pause: &Pause) -> Links {
    Links::find(trace, selection, pause, |_, _| Ok::<(), TraceError>(())).unwrap()
}

fn turn(at_ms: u64, session: &str, delay_ms: Option<u64>) -> Row {
    Row {
        at: Nanos::from_millis(at_ms),
        input_length: 1 + at_ms as u32,
        output_length: 2,
        session: Some(session.to_owned()),
        delay: delay_ms.map(Nanos::from_millis),
        ..Row::default()
    }
}

/// What follows each of `n` requests.
fn followers(links: &Links, n: u64) -> Vec<Vec<Follower>> {
    (0..n).map(|parent| links.of(parent).map(|link| links.follower(&link)).collect()).collect()
}

#[test]
fn pauses_are_the_row_s_own_or_the_gap_and_scaled() {
    // In the file's order the second row of `a` comes first: the times decide.
    let rows = [turn(900, "a", None), turn(0, "a", None), turn(100, "b", None), turn(300, "b", Some(50))];
    let trace = trace_of(&rows);
    let selection = Selection { scale: Scale::new(2.0).unwrap(), ..Selection::default() };
    let recorded = find(&trace, &selection, &Pause::Recorded);
    assert_eq!(recorded.len(), 2);
    let after =
        |index, pause_ms| Follower { index, turn: 2, pause: Nanos::from_millis(pause_ms), not_before: None };
    assert_eq!(followers(&recorded, 4), [vec![after(3, 1_800)], vec![after(2, 100)], vec![], vec![]]);
    assert_eq!([0, 1, 2, 3].map(|i| recorded.waits(i)), [false, false, true, true]);
    let own = find(&trace, &selection, &Pause::OwnTime);
    let expect = Follower { not_before: Some(Nanos::from_millis(1_800)), ..after(3, 0) };
    assert_eq!(followers(&own, 1), [vec![expect]]);
    let drawn = find(&trace, &selection, &Pause::Drawn("2.5".parse().unwrap()));
    assert_eq!(followers(&drawn, 2), [vec![after(3, 2_500)], vec![after(2, 2_500)]]);
}

#[test]
fn a_turn_whose_parent_is_cut_off_waits_for_nobody() {
    let trace = trace_of(&[turn(0, "a", None), turn(1_000, "a", None), turn(2_000, "a", None)]);
    let window = Some((Nanos::from_millis(500), Nanos::from_secs(9)));
    let links = find(&trace, &Selection { window, ..Selection::default() }, &Pause::OwnTime);
    assert_eq!([0, 1].map(|i| links.waits(i)), [false, true]);
    let limited = Selection { limit: NonZeroU64::new(1), ..Selection::default() };
    assert!(find(&trace, &limited, &Pause::OwnTime).is_empty());
}

#[test]
fn the_first_objection_ends_the_search() {
    #[derive(Debug)]
    enum Stop {
        At(u64),
        Trace,
    }
    impl From<TraceError> for Stop {
        fn from(_: TraceError) -> Self {
            Stop::Trace
        }
    }
    let trace = trace_of(&[turn(0, "a", None), turn(1, "a", None)]);
    let found = Links::find(&trace, &Selection::default(), &Pause::OwnTime, |request, turn| {
        turn.parent.map_or(Ok(()), |_| Err(Stop::At(request.index)))
    });
    assert!(matches!(found.unwrap_err(), Stop::At(1)));
}

proptest! {
    /// Every request that the finder gives a parent is found under it, once, with its own row.
    #[test]
    fn links_are_the_turns_turned_round(
        rows in prop::collection::vec((0u64..40, 0i64..12, 0u8..3), 1..40),
        share in prop_oneof![Just(None), Just(Some(0.5))],
    ) {
        let rows: Vec<Row> = rows
            .into_iter()
            .zip(0..)
            .map(|((at, back, how), i)| Row {
                id: (how > 0).then_some(Id::Number(i)),
                parent: (how == 2).then_some(Id::Number(i - back)),
                session: (how == 0).then(|| (back % 3).to_string()),
                ..Row { session: None, ..turn(at, "", None) }
            })
            .collect();
        let trace = trace_of(&rows);
        let selection = Selection { sample: share, ..Selection::default() };
        let Ok(schedule) = trace.schedule(&selection) else { return Ok(()) };
        let mut finder = TurnFinder::new();
        let requests: Vec<_> = schedule.map(Result::unwrap).collect();
        let turns: Vec<_> = requests.iter().map(|request| finder.next(request)).collect();
        let links = find(&trace, &selection, &Pause::OwnTime);
        let mut found = 0;
        for parent in 0..requests.len() as u64 {
            for link in links.of(parent) {
                let follower = links.follower(&link);
                let index = follower.index as usize;
                prop_assert!(parent < follower.index && links.waits(follower.index));
                prop_assert_eq!(turns[index].parent, Some(parent));
                prop_assert_eq!(follower.not_before, Some(requests[index].due));
                prop_assert_eq!(&links.row(&link).unwrap(), &requests[index].row);
                found += 1;
            }
        }
        prop_assert_eq!(found, links.len());
        prop_assert_eq!(found, turns.iter().filter(|t| t.parent.is_some()).count() as u64);
    }
}
