use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use tics_record::{ManualClock, PromptFacts};

use super::*;
use crate::exchange::Turn;

/// Requests `0..n`, some of which wait for an earlier one.
#[derive(Debug, Clone, Default)]
struct Forest {
    parents: Vec<Option<u64>>,
    pauses_ms: Vec<u64>,
    not_before_ms: Vec<Option<u64>>,
    early: bool,
    /// Made, in order.
    made: Arc<Mutex<Vec<u64>>>,
    /// Bytes of each.
    bytes: usize,
}

impl Forest {
    fn follower(&self, index: u64) -> Follower {
        let i = index as usize;
        Follower {
            index,
            parent: self.parents[i].unwrap(),
            number: 2,
            pause: Nanos::from_millis(self.pauses_ms[i]),
            not_before: self.not_before_ms[i].map(Nanos::from_millis),
        }
    }

    fn children(&self, parent: u64) -> Vec<u64> {
        (0..self.parents.len() as u64).filter(|i| self.parents[*i as usize] == Some(parent)).collect()
    }

    fn subtree(&self, root: u64) -> Vec<u64> {
        let below = self.children(root).into_iter().flat_map(|child| {
            let mut all = self.subtree(child);
            all.push(child);
            all
        });
        below.collect()
    }
}

impl Followers<u64> for Forest {
    fn of(&mut self, parent: u64) -> Vec<Follower> {
        self.children(parent).into_iter().map(|index| self.follower(index)).collect()
    }

    fn can_be_early(&self) -> bool {
        self.early
    }

    fn make(&mut self, follower: &Follower) -> Result<Planned<u64>, String> {
        self.made.lock().unwrap().push(follower.index);
        if self.bytes == usize::MAX {
            return Err("line 7: cut".to_owned());
        }
        let turn = Turn {
            number: Some(follower.number),
            parent: Some(follower.parent),
            followers: self.children(follower.index).len() as u64,
        };
        Ok(Planned {
            index: follower.index,
            due: Nanos::ZERO,
            row: None,
            session: None,
            input_tokens: 1,
            prompt: PromptFacts::default(),
            output_tokens: 1,
            turn,
            bytes: self.bytes,
            job: follower.index,
        })
    }

    fn describe(&mut self, follower: &Follower, record: &mut RequestRecord) {
        record.row = Some(follower.index + 1);
    }

    fn lost(&mut self, _: u64) {}
}

const EPOCH: Stamp = Stamp::from_nanos(1_000_000_000);

/// The thread's work without the thread.
struct Place {
    turns: Turns<u64>,
    clock: Arc<ManualClock>,
    out: Receiver<Message<u64>>,
    reports: Receiver<Report>,
}

impl Place {
    fn new(forest: &Forest, budget: usize) -> Self {
        let clock = Arc::new(ManualClock::new(EPOCH));
        let ((out, told), (reports, reported)) = (channel(), channel());
        let teller = Teller {
            epoch: EPOCH,
            clock: Arc::clone(&clock) as _,
            early: Budget::new(budget / 2),
            budget: Budget::new(budget / 2),
            out,
            reports,
        };
        Place { turns: Turns::new(Box::new(forest.clone()), teller), clock, out: told, reports: reported }
    }

    /// Works until there is nothing to do now.
    fn settle(&mut self) -> Option<Duration> {
        loop {
            match self.turns.step() {
                Ok(Some(Duration::ZERO)) => {}
                Ok(wait) => return wait,
                Err(Over) => return None,
            }
        }
    }

    fn ends(&mut self, forest: &Forest, index: u64, outcome: Outcome) {
        let followers = forest.children(index).len() as u64;
        if followers > 0 {
            let end = self.clock.now();
            self.turns.hear(ToFollow::Ended(Ended { index, end, outcome, followers }));
        }
    }

    fn ready(&self) -> Vec<Ready<u64>> {
        let heard = self.out.try_iter();
        heard
            .filter_map(|message| match message {
                Message::Ready(ready) => Some(*ready),
                _ => None,
            })
            .collect()
    }
}

fn at_ms(ms: u64) -> Stamp {
    EPOCH.plus(Nanos::from_millis(ms))
}

fn chain(pause_ms: u64, not_before_ms: Option<u64>) -> Forest {
    Forest {
        parents: vec![None, Some(0), Some(1)],
        pauses_ms: vec![0, pause_ms, pause_ms],
        not_before_ms: vec![None, not_before_ms, not_before_ms],
        bytes: 10,
        ..Forest::default()
    }
}

#[test]
fn a_turn_is_due_its_pause_after_the_end_and_never_before_its_own_time() {
    let check = |pause_ms, not_before_ms, end_ms, due_ms| {
        let forest = chain(pause_ms, not_before_ms);
        let mut place = Place::new(&forest, 1_000);
        place.clock.set(at_ms(end_ms));
        place.ends(&forest, 0, Outcome::Short);
        place.settle();
        let ready = place.ready();
        let released = ready[0].released.unwrap();
        assert_eq!((ready.len(), ready[0].planned.index), (1, 1));
        assert_eq!((ready[0].due(EPOCH), released.parent_end), (at_ms(due_ms), at_ms(end_ms)));
        assert_eq!(released.scheduled, not_before_ms.map(at_ms));
    };
    check(0, None, 700, 700);
    check(250, None, 700, 950);
    check(0, Some(400), 700, 700);
    check(0, Some(900), 700, 900);
}

#[test]
fn a_turn_is_made_when_its_time_is_near_and_the_nearest_first() {
    let forest = Forest {
        parents: vec![None, Some(0), Some(0)],
        pauses_ms: vec![0, 60_000, 10_000],
        not_before_ms: vec![None; 3],
        bytes: 10,
        ..Forest::default()
    };
    let mut place = Place::new(&forest, 1_000);
    place.ends(&forest, 0, Outcome::Ok);
    assert_eq!(place.settle(), Some(Duration::from_secs(7)));
    assert!(place.ready().is_empty());
    place.clock.set(at_ms(7_000));
    assert_eq!(place.settle(), Some(Duration::from_secs(50)));
    assert_eq!(place.ready().iter().map(|r| r.planned.index).collect::<Vec<_>>(), [2]);
    place.clock.set(at_ms(57_001));
    assert_eq!(place.settle(), None);
    assert_eq!(place.ready().iter().map(|r| r.planned.index).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_may_leave_at_once_is_made_before_as_far_as_half_of_the_budget_goes() {
    let forest = Forest {
        parents: vec![None, Some(0), Some(0), Some(0), None, Some(4)],
        pauses_ms: vec![0, 0, 0, 5_000, 0, 0],
        not_before_ms: vec![None; 6],
        early: true,
        bytes: 10,
        ..Forest::default()
    };
    let mut place = Place::new(&forest, 20);
    place.turns.hear(ToFollow::Started(0));
    place.settle();
    // There is no room for the second, the third has time.
    assert_eq!(*forest.made.lock().unwrap(), [1]);
    assert!(place.ready().is_empty());
    place.clock.set(at_ms(100));
    place.ends(&forest, 0, Outcome::Ok);
    place.settle();
    let ready = place.ready();
    assert_eq!(ready.iter().map(|r| r.planned.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((ready[0].at, ready[1].at), (at_ms(0), at_ms(100)));
    assert_eq!(*forest.made.lock().unwrap(), [1, 2], "once each");
    drop(ready);
    // What failed gives its place back.
    place.turns.hear(ToFollow::Started(4));
    place.settle();
    assert_eq!(place.turns.in_flight.len(), 1);
    place.ends(&forest, 4, Outcome::Reset);
    assert!(place.turns.in_flight.is_empty() && place.turns.teller.early.has_room());
}

#[test]
fn behind_a_failure_everything_is_reported_and_nothing_is_made() {
    let forest = Forest {
        parents: vec![None, Some(0), Some(1), Some(1)],
        pauses_ms: vec![0; 4],
        not_before_ms: vec![None, Some(5), None, None],
        bytes: 10,
        ..Forest::default()
    };
    let mut place = Place::new(&forest, 1_000);
    place.clock.set(at_ms(50));
    place.ends(&forest, 0, Outcome::Timeout);
    place.settle();
    let dropped = place.out.try_recv().ok();
    assert!(matches!(dropped, Some(Message::Dropped(Dropped { followers: 1, all: 3 }))));
    let records: Vec<_> = place
        .reports
        .try_iter()
        .map(|report| match report {
            Report::Ended(record) => *record,
            Report::Sent(sent) => panic!("{sent:?}"),
        })
        .collect();
    assert_eq!(
        records.iter().map(|r| (r.i, r.parent)).collect::<Vec<_>>(),
        [(1, Some(0)), (2, Some(1)), (3, Some(1))]
    );
    assert!(records.iter().all(|r| r.dropped_by == Some(0) && r.row == Some(r.i + 1)));
    assert_eq!(records[0].detail.as_deref(), Some("request 0, the turn before it, failed (timeout)"));
    assert_eq!(records[2].detail.as_deref(), Some("request 0, 2 turns before it, failed (timeout)"));
    assert!(forest.made.lock().unwrap().is_empty());
}

#[test]
fn a_turn_that_cannot_be_made_ends_the_feed() {
    let forest = Forest { bytes: usize::MAX, ..chain(0, None) };
    let mut place = Place::new(&forest, 1_000);
    place.ends(&forest, 0, Outcome::Ok);
    assert_eq!(place.settle(), None);
    let told = place.out.try_recv().ok();
    assert!(matches!(told, Some(Message::Fed(Some(line))) if line == "line 7: cut"));
}

fn forests() -> impl Strategy<Value = Forest> {
    let node = (any::<prop::sample::Index>(), 0u8..4, 0u64..9_000, prop::option::of(0u64..20_000));
    (prop::collection::vec(node, 1..24), any::<bool>()).prop_map(|(nodes, early)| {
        let mut forest = Forest { early, bytes: 10, ..Forest::default() };
        for (i, (parent, root, pause_ms, not_before_ms)) in nodes.into_iter().enumerate() {
            forest.parents.push((i > 0 && root > 0).then(|| parent.index(i) as u64));
            forest.pauses_ms.push(pause_ms);
            forest.not_before_ms.push(not_before_ms);
        }
        forest
    })
}

proptest! {
    /// Whatever ends when and how, each request is handed over once or dropped once, a turn never before
    /// its parent was answered, and its instant is the one that the end sets.
    #[test]
    fn every_turn_is_handed_over_or_dropped_once(
        forest in forests(),
        course in prop::collection::vec((any::<prop::sample::Index>(), 0u64..4_000, 0u8..5), 24),
        budget in prop_oneof![Just(1_000usize), Just(250)],
    ) {
        let mut place = Place::new(&forest, budget);
        let mut flying: Vec<u64> = (0..forest.parents.len() as u64)
            .filter(|i| forest.parents[*i as usize].is_none())
            .collect();
        for root in &flying {
            if !forest.children(*root).is_empty() {
                place.turns.hear(ToFollow::Started(*root));
            }
        }
        let (mut ends, mut handed, mut dropped) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (mut expected_drops, mut drops_told, mut outstanding) = (0, 0, 0);
        let mut course = course.into_iter();
        loop {
            let wait = place.settle();
            let mut started = false;
            for message in place.out.try_iter() {
                match message {
                    Message::Ready(ready) => {
                        let released = ready.released.unwrap();
                        let index = ready.planned.index;
                        let end = ends.get(&ready.planned.turn.parent.unwrap()).copied();
                        prop_assert_eq!(end, Some((released.parent_end, true)));
                        let i = index as usize;
                        let earliest = released.parent_end.plus(Nanos::from_millis(forest.pauses_ms[i]));
                        let own = forest.not_before_ms[i].map_or(earliest, at_ms);
                        prop_assert_eq!(ready.due(EPOCH), earliest.max(own));
                        handed.push(index);
                        flying.push(index);
                        outstanding -= 1;
                        if ready.planned.turn.followers > 0 {
                            place.turns.hear(ToFollow::Started(index));
                            started = true;
                        }
                    }
                    Message::Dropped(told) => {
                        drops_told += told.all;
                        outstanding -= told.followers;
                    }
                    _ => prop_assert!(false, "neither ready nor dropped"),
                }
            }
            dropped.extend(place.reports.try_iter().map(|report| match report {
                Report::Ended(record) => record.i,
                Report::Sent(sent) => sent.i,
            }));
            // What was just handed over may have readied more.
            if started {
                continue;
            }
            if flying.is_empty() {
                match wait {
                    Some(wait) => place.clock.advance(Nanos::new(wait.as_nanos() as u64)),
                    None => break,
                }
                continue;
            }
            let (which, later_ms, fate) = course.next().unwrap();
            place.clock.advance(Nanos::from_millis(later_ms));
            let index = flying.swap_remove(which.index(flying.len()));
            let outcome = if fate == 0 { Outcome::Reset } else { Outcome::Ok };
            ends.insert(index, (place.clock.now(), outcome == Outcome::Ok));
            outstanding += forest.children(index).len() as u64;
            if outcome == Outcome::Reset {
                expected_drops += forest.subtree(index).len();
            }
            place.ends(&forest, index, outcome);
        }
        prop_assert_eq!(outstanding, 0);
        prop_assert_eq!((dropped.len(), drops_told), (expected_drops, expected_drops as u64));
        let turns = (0..forest.parents.len() as u64).filter(|i| forest.parents[*i as usize].is_some());
        let mut all = [handed, dropped].concat();
        all.sort_unstable();
        prop_assert_eq!(all, turns.collect::<Vec<_>>());
        prop_assert!(place.turns.in_flight.is_empty() && place.turns.released.is_empty());
        prop_assert!(place.turns.wanted.is_empty());
        let mut made = forest.made.lock().unwrap().clone();
        let times = made.len();
        made.sort_unstable();
        made.dedup();
        prop_assert_eq!(made.len(), times, "something was made twice");
    }
}
