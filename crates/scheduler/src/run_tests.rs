//! The run's loop over exchanges that no network takes part in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use tics_record::{Clock, Event, EventClass, Nanos, Outcome, PromptFacts, RequestRecord, Stamp};
use tokio::sync::oneshot;

use crate::{
    Control, Exchanger, ExchangerFactory, Fire, Follower, Followers, Live, Planned, RealClock, Report, Run,
    RunEnd, RunOptions, Shot, Totals, Tracker, Turn,
};

/// What a pretended server does with a request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// One token after so long.
    After(Nanos),
    /// Fails at once.
    Fails,
    /// Never.
    Never,
    /// The exchange's own code panics.
    Panics,
}

/// Firing the request of this index panics.
const PANICS_IN_PACER: u64 = 77;

#[derive(Debug)]
struct Pull(Mutex<Option<oneshot::Sender<Stamp>>>, u64, Arc<Mutex<Vec<u64>>>);

impl Fire for Pull {
    fn fire(&self, clock: &dyn Clock) -> Shot {
        assert_ne!(self.1, PANICS_IN_PACER, "planted");
        let now = clock.now();
        match self.0.lock().unwrap().take() {
            None => Shot::Gone,
            Some(sender) => {
                self.2.lock().unwrap().push(self.1);
                let _gone = sender.send(now);
                Shot::Sent(now)
            }
        }
    }
}

#[derive(Default)]
struct Factory {
    fired: Arc<Mutex<Vec<u64>>>,
    in_flight: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Pretended {
    clock: Arc<dyn Clock>,
    fired: Arc<Mutex<Vec<u64>>>,
    in_flight: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
}

impl ExchangerFactory for Factory {
    type Exchanger = Pretended;

    fn build(&self, _: usize, clock: Arc<dyn Clock>) -> Pretended {
        Pretended {
            clock,
            fired: Arc::clone(&self.fired),
            in_flight: Arc::clone(&self.in_flight),
            peak: Arc::clone(&self.peak),
        }
    }
}

impl Exchanger for Pretended {
    type Job = Answer;
    type Trigger = Pull;

    async fn run(
        &self,
        job: Answer,
        record: &mut RequestRecord,
        tracker: &mut Tracker,
        mut armed: impl FnMut(Pull, &mut RequestRecord),
    ) {
        tracker.connected();
        let (pull, pulled) = oneshot::channel();
        record.armed = Some(self.clock.now());
        armed(Pull(Mutex::new(Some(pull)), record.i, Arc::clone(&self.fired)), record);
        let Ok(sent) = pulled.await else { return std::future::pending().await };
        record.sent = Some(sent);
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        match job {
            Answer::Never => std::future::pending().await,
            Answer::Panics => panic!("planted"),
            Answer::Fails => record.outcome = Outcome::Reset,
            Answer::After(span) => {
                tokio::time::sleep(span.into()).await;
                let event = Event::new(self.clock.now(), EventClass::Content);
                record.events.push(event);
                record.output.tics = 1;
                tracker.event(&event, true);
                record.outcome = Outcome::Ok;
            }
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        record.end = Some(self.clock.now());
    }
}

/// Turns that wait for others, all known.
struct Listed {
    answers: Vec<(u64, Answer)>,
    turns: Vec<Follower>,
}

impl Listed {
    fn planned(&self, index: u64) -> Planned<Answer> {
        let (due, job) = self.answers[index as usize];
        let own = self.turns.iter().find(|turn| turn.index == index);
        let turn = Turn {
            number: own.map(|turn| turn.number),
            parent: own.map(|turn| turn.parent),
            followers: self.turns.iter().filter(|turn| turn.parent == index).count() as u64,
        };
        let due = Nanos::from_millis(due);
        let (input_tokens, output_tokens, bytes) = (1, 1, 1 << 16);
        Planned {
            index,
            due,
            row: None,
            session: None,
            input_tokens,
            prompt: PromptFacts::default(),
            output_tokens,
            turn,
            bytes,
            job,
        }
    }
}

impl Followers<Answer> for Listed {
    fn of(&mut self, parent: u64) -> Vec<Follower> {
        self.turns.iter().filter(|turn| turn.parent == parent).copied().collect()
    }

    fn can_be_early(&self) -> bool {
        true
    }

    fn make(&mut self, follower: &Follower) -> Result<Planned<Answer>, String> {
        Ok(self.planned(follower.index))
    }

    fn describe(&mut self, _: &Follower, _: &mut RequestRecord) {}

    fn lost(&mut self, _: u64) {}
}

struct Played {
    end: RunEnd,
    sent: Vec<u64>,
    records: Vec<RequestRecord>,
    fired: Vec<u64>,
    peak: u64,
    live: Arc<Live>,
    clock: RealClock,
}

/// Plays requests due at `dues` (milliseconds); `control` may stop the run from a thread of its own.
fn play(
    answers: &[(u64, Answer)],
    concurrency: Option<u64>,
    control: impl FnOnce(&dyn Fn(Control), &Live) + Send + 'static,
) -> Played {
    play_turns(answers, &[], concurrency, control)
}

/// The same where the requests of `turns` wait for others.
fn play_turns(
    answers: &[(u64, Answer)],
    turns: &[Follower],
    concurrency: Option<u64>,
    control: impl FnOnce(&dyn Fn(Control), &Live) + Send + 'static,
) -> Played {
    let (clock, _) = RealClock::start();
    let totals = Totals { scheduled: answers.len() as u64, ..Totals::default() };
    let live = Arc::new(Live::new(totals, 2));
    let (reports, reported) = channel();
    let options = RunOptions {
        scheduled: totals.scheduled,
        concurrency,
        lookahead: 1 << 20,
        lead: Nanos::from_millis(30),
        drain: Nanos::from_millis(150),
        pin: true,
        realtime: false,
    };
    let factory = Factory::default();
    let (fired, peak) = (Arc::clone(&factory.fired), Arc::clone(&factory.peak));
    let run = Run::new(options, Arc::new(clock), factory, Arc::clone(&live), reports);
    let listed = Listed { answers: answers.to_vec(), turns: turns.to_vec() };
    let roots = (0..answers.len() as u64).filter(|i| turns.iter().all(|turn| turn.index != *i));
    let planned: Vec<_> = roots.map(|i| Ok::<_, std::convert::Infallible>(listed.planned(i))).collect();
    let run = if turns.is_empty() { run } else { run.follow(Box::new(listed)) };
    let handle = run.handle();
    let watched = Arc::clone(&live);
    let controller = std::thread::spawn(move || control(&|c| handle.control(c), &watched));
    let end = run.play(planned.into_iter(), |_| {}).unwrap();
    controller.join().unwrap();
    let (mut sent, mut records) = (Vec::new(), Vec::new());
    for report in reported {
        match report {
            Report::Sent(s) => sent.push(s.i),
            Report::Ended(record) => records.push(*record),
        }
    }
    records.sort_by_key(|r| r.i);
    let fired = std::mem::take(&mut *fired.lock().unwrap());
    Played { end, sent, records, fired, peak: peak.load(Ordering::SeqCst), live, clock }
}

mod turns;

const SOON: Answer = Answer::After(Nanos::from_millis(5));

#[test]
fn requests_leave_in_order_and_never_early() {
    let mut answers: Vec<_> = (0..40).map(|i| (i / 8 * 10, SOON)).collect();
    answers[3].1 = Answer::Fails;
    let played = play(&answers, None, |_, _| {});
    assert_eq!(played.fired, (0..40).collect::<Vec<_>>());
    assert_eq!(played.sent, played.fired);
    for (record, (due, _)) in played.records.iter().zip(&answers) {
        assert_eq!(record.due, played.end.epoch.plus(Nanos::from_millis(*due)));
        assert!(record.sent.unwrap() >= record.due, "{record:?}");
    }
    let failed = played.records.iter().filter(|r| r.outcome == Outcome::Reset).count();
    assert_eq!((played.records.len(), failed), (40, 1));
    let snapshot = played.live.snapshot(played.clock.now());
    assert_eq!((snapshot.sent.done, snapshot.done.done), (40, 40));
    assert_eq!((snapshot.in_flight.now, snapshot.queued.now), (0, 0));
    assert_eq!((snapshot.ttft.n, snapshot.lateness.n), (39, 40));
    assert!(!played.end.interrupted);
}

#[test]
fn a_closed_loop_has_just_so_many_in_flight() {
    let answers = vec![(0, SOON); 30];
    let played = play(&answers, Some(3), |_, _| {});
    assert_eq!((played.peak, played.end.max_in_flight), (3, 3));
    assert_eq!(played.records.iter().filter(|r| r.outcome == Outcome::Ok).count(), 30);
    // Each is due when a place became free: at the start or at another one's end.
    for record in &played.records[3..] {
        assert!(played.records.iter().any(|r| r.end == Some(record.due)), "{record:?}");
    }
}

#[test]
fn stopping_lets_go_what_waits_and_drains_what_flies() {
    let mut answers = vec![(0, Answer::After(Nanos::from_millis(60))); 5];
    answers.extend([(0, Answer::Never), (300, SOON), (60_000, SOON)]);
    let played = play(&answers, None, |control, live| {
        while live.snapshot(Stamp::ORIGIN).sent.done < 6 {
            std::thread::yield_now();
        }
        control(Control::Stop);
    });
    assert!(played.end.interrupted);
    let outcomes: Vec<_> = played.records.iter().map(|r| r.outcome).collect();
    assert_eq!(outcomes[..6], [[Outcome::Ok; 5].as_slice(), &[Outcome::Cancelled]].concat());
    assert!(outcomes[6..].iter().all(|o| *o == Outcome::NotSent), "{outcomes:?}");
    let snapshot = played.live.snapshot(played.clock.now());
    assert_eq!((snapshot.in_flight.now, snapshot.done.done), (0, 6));
    assert_eq!(snapshot.count(Outcome::NotSent), 2);
}

#[test]
fn cancelling_ends_at_once() {
    let played = play(&[(0, Answer::Never), (0, Answer::Never)], None, |control, live| {
        while live.snapshot(Stamp::ORIGIN).sent.done < 2 {
            std::thread::yield_now();
        }
        control(Control::Stop);
        control(Control::Cancel);
    });
    assert!(played.records.iter().all(|r| r.outcome == Outcome::Cancelled));
    let stopped = played.end.end.since(played.records[0].sent.unwrap()).unwrap();
    assert!(stopped < Nanos::from_secs(5), "{stopped:?}");
}

#[test]
fn a_panic_in_an_exchange_ends_the_run_and_is_told() {
    let played = play(&[(0, Answer::Panics), (0, Answer::Never)], None, |_, _| {});
    assert!(played.end.broken);
    assert_eq!(played.records.len(), 1);
    assert_eq!(played.records[0].outcome, Outcome::Cancelled);
}

#[test]
fn a_schedule_that_breaks_off_is_told() {
    let (clock, _) = RealClock::start();
    let (reports, _reported) = channel();
    let live = Arc::new(Live::new(Totals { scheduled: 2, ..Totals::default() }, 1));
    let options = RunOptions {
        scheduled: 2,
        concurrency: None,
        lookahead: 1,
        lead: Nanos::from_millis(1),
        drain: Nanos::ZERO,
        pin: false,
        realtime: false,
    };
    let run = Run::new(options, Arc::new(clock), Factory::default(), live, reports);
    let end = run.play(std::iter::once(Err::<Planned<Answer>, _>("line 2: cut")), |_| {}).unwrap();
    assert_eq!(end.feed_error.as_deref(), Some("line 2: cut"));
}

#[test]
fn a_panic_in_the_pacer_ends_the_run_and_is_told() {
    let answers: Vec<_> = (0..80).map(|i| (i, SOON)).collect();
    let played = play(&answers, None, |_, _| {});
    assert!(played.end.broken && played.end.interrupted);
    assert!(played.records.iter().filter(|r| r.outcome == Outcome::Ok).count() > 50);
}
