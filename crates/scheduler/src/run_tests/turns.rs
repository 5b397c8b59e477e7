//! Turns that wait for the ones before them.

use super::*;

/// Turn `index` of `parent`: `pause_ms` after its end, not before `not_before_ms`.
fn turn(index: u64, parent: u64, pause_ms: u64, not_before_ms: Option<u64>) -> Follower {
    let not_before = not_before_ms.map(Nanos::from_millis);
    Follower { index, parent, number: 2, pause: Nanos::from_millis(pause_ms), not_before }
}

fn end_of(played: &Played, index: u64) -> Stamp {
    played.records[index as usize].end.unwrap()
}

#[test]
fn turns_are_due_at_their_parent_s_end_and_pause_to_the_nanosecond() {
    let answers = vec![(0, SOON); 8];
    let turns = [
        turn(1, 0, 0, None),
        turn(2, 1, 40, None),
        turn(3, 2, 0, Some(10)),
        turn(4, 0, 0, Some(150)),
        turn(6, 5, 25, None),
        turn(7, 6, 25, None),
    ];
    let played = play_turns(&answers, &turns, None, |_, _| {});
    assert_eq!(played.records.len(), 8);
    let own = |ms| played.end.epoch.plus(Nanos::from_millis(ms));
    for turn in &turns {
        let record = &played.records[turn.index as usize];
        let end = end_of(&played, turn.parent);
        let earliest = end.plus(turn.pause);
        let scheduled = turn.not_before.map(|at| played.end.epoch.plus(at));
        assert_eq!(record.due, scheduled.map_or(earliest, |at| at.max(earliest)), "{record:?}");
        assert_eq!((record.parent_end, record.parent), (Some(end), Some(turn.parent)));
        assert_eq!((record.scheduled, record.turn), (scheduled, Some(2)));
        assert!(record.sent.unwrap() >= record.due, "{record:?}");
        assert_eq!(record.outcome, Outcome::Ok);
    }
    assert_eq!(played.records[4].due, own(150));
    assert!(played.records[3].held_up().unwrap() > Nanos::from_millis(30));
    let alone = &played.records[5];
    assert_eq!((alone.turn, alone.parent, alone.parent_end, alone.scheduled), (None, None, None, None));
    assert!(!played.end.interrupted && !played.end.broken);
}

#[test]
fn turns_that_wait_do_not_hold_up_those_that_wait_for_nobody() {
    // The look-ahead holds sixteen; what waits for the first takes nothing of it.
    let mut answers = vec![(0, Answer::After(Nanos::from_millis(200)))];
    answers.extend(vec![(0, SOON); 40]);
    answers.extend((0..20).map(|i| (i, SOON)));
    let turns: Vec<_> = (1..=40).map(|index| turn(index, 0, 0, Some(0))).collect();
    let played = play_turns(&answers, &turns, None, |_, _| {});
    assert_eq!(played.records.iter().filter(|r| r.outcome == Outcome::Ok).count(), 61);
    let first_end = end_of(&played, 0);
    assert!(played.records[41..].iter().all(|r| r.sent.unwrap() < first_end));
    assert!(played.records[1..41].iter().all(|r| r.due == first_end));
}

#[test]
fn behind_a_failure_nothing_is_sent_and_all_is_accounted_for() {
    let mut answers = vec![(0, SOON); 7];
    answers[1].1 = Answer::Fails;
    let turns = [
        turn(1, 0, 0, None),
        turn(2, 1, 0, None),
        turn(3, 2, 0, None),
        turn(4, 1, 0, None),
        turn(6, 5, 30, None),
    ];
    let played = play_turns(&answers, &turns, None, |_, _| {});
    let outcomes: Vec<_> = played.records.iter().map(|r| r.outcome).collect();
    let (ok, not_sent) = (Outcome::Ok, Outcome::NotSent);
    assert_eq!(outcomes, [ok, Outcome::Reset, not_sent, not_sent, not_sent, ok, ok]);
    assert_eq!(played.records[3].detail.as_deref(), Some("request 1, 2 turns before it, failed (reset)"));
    let snapshot = played.live.snapshot(played.clock.now());
    assert_eq!((snapshot.count(not_sent), snapshot.done.done, snapshot.in_flight.now), (3, 4, 0));
    assert!(!played.end.interrupted);
}

#[test]
fn stopping_leaves_turns_that_wait_unsent() {
    let mut answers = vec![(0, SOON), (0, SOON), (0, Answer::After(Nanos::from_millis(60))), (0, SOON)];
    answers.push((0, SOON));
    // One is near and perhaps armed, one is far, one waits for what is in flight.
    let turns = [turn(1, 0, 300, None), turn(4, 0, 60_000, None), turn(3, 2, 0, None)];
    let played = play_turns(&answers, &turns, None, |control, live| {
        while live.snapshot(Stamp::ORIGIN).count(Outcome::Ok) < 1 {
            std::thread::yield_now();
        }
        control(Control::Stop);
    });
    assert!(played.end.interrupted);
    let sent: Vec<_> = played.records.iter().filter(|r| r.sent.is_some()).map(|r| r.i).collect();
    assert_eq!(sent, [0, 2]);
    assert!(played.records.iter().filter(|r| r.sent.is_none()).all(|r| r.outcome == Outcome::NotSent));
    let snapshot = played.live.snapshot(played.clock.now());
    assert_eq!((snapshot.count(Outcome::NotSent), snapshot.done.done), (3, 2));
}
