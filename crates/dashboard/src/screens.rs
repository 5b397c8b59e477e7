//! Whole screens, compared cell by cell with those committed under `snapshots/`.

use proptest::prelude::*;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    style::{Color, Modifier},
};
use tics_record::{Gauge, LivePercentiles, Nanos, Outcome, Phase, Progress, Snapshot, Stamp};

use crate::{ColourMode, History, View, draw, fixtures, status_line};

fn screen(width: u16, height: u16, snapshot: &Snapshot, view: &View) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, snapshot, view)).unwrap();
    terminal.backend().clone()
}

fn check(name: &str, snapshot: &Snapshot, course: fn(u64) -> Snapshot) {
    let view = fixtures::view_of(snapshot, course);
    for (width, height) in [(40, 10), (80, 24), (120, 40), (250, 80)] {
        insta::assert_snapshot!(format!("{name}-{width}x{height}"), screen(width, height, snapshot, &view));
    }
}

#[test]
fn preparing() {
    check("preparing", &fixtures::preparing(), fixtures::queueing);
}

#[test]
fn running_with_a_queue() {
    check("queueing", &fixtures::queueing(14_300), fixtures::queueing);
}

#[test]
fn failures() {
    check("failing", &fixtures::failing(14_300), fixtures::queueing);
}

#[test]
fn draining() {
    check("draining", &fixtures::draining(), fixtures::queueing);
}

#[test]
fn finished() {
    check("finished", &fixtures::finished(), fixtures::queueing);
}

#[test]
fn sizes_between() {
    let snapshot = fixtures::failing(14_300);
    let view = fixtures::view_of(&snapshot, fixtures::queueing);
    for (width, height) in [(19, 3), (20, 4), (40, 7), (60, 24), (100, 12), (80, 22)] {
        insta::assert_snapshot!(format!("between-{width}x{height}"), screen(width, height, &snapshot, &view));
    }
}

#[test]
fn status_lines() {
    let line = |snapshot: &Snapshot| {
        let view = fixtures::view_of(snapshot, fixtures::queueing);
        status_line(snapshot, &view.history)
    };
    insta::assert_snapshot!(
        [
            line(&fixtures::preparing()),
            line(&fixtures::queueing(14_300)),
            line(&fixtures::failing(14_300)),
            line(&fixtures::draining()),
            line(&fixtures::finished()),
        ]
        .join("\n")
    );
}

/// The cells of the first place where `text` stands.
fn cells_of<'b>(buffer: &'b Buffer, text: &str) -> &'b [ratatui::buffer::Cell] {
    let width = usize::from(buffer.area.width);
    let rows: Vec<String> = buffer
        .content
        .chunks(width)
        .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
        .collect();
    let (y, row) = rows.iter().enumerate().find(|(_, row)| row.contains(text)).unwrap();
    let x = row.split(text).next().unwrap().chars().count();
    &buffer.content[y * width + x..y * width + x + text.chars().count()]
}

#[test]
fn failures_are_red_and_said_in_capitals() {
    let snapshot = fixtures::failing(14_300);
    let mut view = fixtures::view_of(&snapshot, fixtures::queueing);
    for (width, height) in [(40, 10), (80, 24)] {
        view.colour = ColourMode::Sixteen;
        let colourful = screen(width, height, &snapshot, &view);
        assert!(cells_of(colourful.buffer(), "FAILED 53").iter().all(|cell| cell.fg == Color::Red));
        view.colour = ColourMode::Plain;
        let plain = screen(width, height, &snapshot, &view);
        assert!(
            cells_of(plain.buffer(), "FAILED 53").iter().all(|cell| cell.modifier.contains(Modifier::BOLD))
        );
        assert!(plain.buffer().content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
}

#[test]
fn sixteen_colours_are_enough() {
    let snapshot = fixtures::failing(14_300);
    let buffer =
        screen(120, 40, &snapshot, &fixtures::view_of(&snapshot, fixtures::queueing)).buffer().clone();
    let beyond = |colour: Color| matches!(colour, Color::Rgb(..) | Color::Indexed(_));
    assert!(!buffer.content.iter().any(|cell| beyond(cell.fg) || beyond(cell.bg)));
}

#[test]
fn a_name_from_the_server_cannot_steer_the_terminal() {
    let mut view = View::default();
    view.title.model = "m\u{1b}[2J\u{7}odel".into();
    let buffer = screen(80, 24, &fixtures::preparing(), &view).buffer().clone();
    assert!(!buffer.content.iter().any(|cell| cell.symbol().contains(char::is_control)));
}

/// Small values, whose relations are as in a run, and any at all.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..1_000, any::<u64>(), Just(0), Just(u64::MAX)]
}

fn percentiles() -> impl Strategy<Value = LivePercentiles> {
    [number(), number(), number(), number(), number()].prop_map(|[n, p50, p90, p99, max]| {
        let [p50, p90, p99, max] = [p50, p90, p99, max].map(Nanos::new);
        LivePercentiles { n, p50, p90, p99, max }
    })
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let phase = prop_oneof![
        Just(Phase::Preparing),
        Just(Phase::Running),
        Just(Phase::Draining),
        Just(Phase::Finished)
    ];
    let progress = || [number(), number()].prop_map(|[done, total]| Progress { done, total });
    let gauge = || [number(), number()].prop_map(|[now, peak]| Gauge { now, peak });
    let stamp = || number().prop_map(Stamp::from_nanos);
    (
        (stamp(), stamp(), phase, prop::option::of(stamp())),
        [progress(), progress(), progress(), progress()],
        [gauge(), gauge()],
        [percentiles(), percentiles(), percentiles()],
        prop::array::uniform14(number()),
    )
        .prop_map(|(head, [sent, done, prefill_tokens, decode_tokens], gauges, spans, outcomes)| {
            let ((at, epoch, phase, drain_until), [in_flight, queued], [ttft, icl, lateness]) =
                (head, gauges, spans);
            let outcomes: [u64; Outcome::COUNT] = outcomes;
            Snapshot {
                at,
                epoch,
                phase,
                sent,
                done,
                prefill_tokens,
                decode_tokens,
                in_flight,
                queued,
                ttft,
                icl,
                lateness,
                outcomes,
                drain_until,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn any_size_and_any_snapshot_is_drawn(
        (width, height) in prop_oneof![(0u16..=300, 0u16..=300), (0u16..=90, 0u16..=30)],
        snapshots in prop::collection::vec(any_snapshot(), 1..4),
        span in prop::option::of(number()),
        run in ".{0,40}",
    ) {
        let mut view = View { schedule_span: span.map(Nanos::new), ..View::default() };
        view.title.run = run;
        for snapshot in &snapshots {
            view.history.push(snapshot);
        }
        screen(width, height, &snapshots[0], &view);
    }

    #[test]
    fn a_status_line_is_one_short_line(snapshot in any_snapshot()) {
        let mut history = History::new();
        history.push(&snapshot);
        let line = status_line(&snapshot, &history);
        prop_assert!(line.chars().count() <= 160, "{} characters: {line}", line.chars().count());
        prop_assert!(!line.contains(char::is_control));
    }

    /// The one promise of a small terminal: all four bars and both counters.
    #[test]
    fn forty_by_ten_shows_what_matters(ms in 100u64..30_000) {
        let snapshot = fixtures::queueing(ms);
        let text = screen(40, 10, &snapshot, &fixtures::view_of(&snapshot, fixtures::queueing)).to_string();
        for word in ["sent", "done", "prefill", "decode"] {
            prop_assert!(text.contains(word));
        }
        let counters = [
            format!("in flight {} ({}{})", snapshot.in_flight.now, "peak ", snapshot.in_flight.peak),
            format!("queued {} (", snapshot.queued.now),
        ];
        for counter in counters {
            prop_assert!(text.contains(&counter) || text.contains(&counter.replace("peak ", "^")), "{counter}\n{text}");
        }
    }
}
