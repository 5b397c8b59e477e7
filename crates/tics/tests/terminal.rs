//! The program in a terminal: the dashboard tells the truth, keys do what they say, the terminal comes
//! back as it was.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#[path = "support/pty.rs"]
mod pty;
mod support;

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pty::{Ended, Screen, Session};
use support::{Run, Running, closed_port, run, tics, write_trace};
use tempfile::TempDir;

const WIDE: (u16, u16) = (80, 24);
const SMALL: (u16, u16) = (40, 10);

/// A folder with `trace.jsonl`, in which the commands run and leave `run`.
struct Place(TempDir);

impl Place {
    /// With a trace of `n` requests, one every `every_s`, each of 20 tokens in and `output` out.
    fn with(n: u32, every_s: f64, output: u32) -> Self {
        let folder = TempDir::new().unwrap();
        write_trace(folder.path(), n, every_s, output);
        Place(folder)
    }

    fn run(&self) -> Run {
        Run::read(&self.run_dir())
    }

    fn run_dir(&self) -> PathBuf {
        self.0.path().join("run")
    }

    fn session(&self, size: (u16, u16), args: &[&str], env: &[(&str, &str)]) -> Session {
        Session::start(size, self.0.path(), &[&REPLAY[..], args].concat(), env)
    }

    fn replay(&self, args: &[&str]) -> Running {
        Running::start(tics().args(REPLAY).args(args).current_dir(self.0.path()))
    }
}

const REPLAY: [&str; 4] = ["replay", "trace.jsonl", "--run-dir", "run"];

/// A server on which a request of n tokens takes 30 ms + n × 20 ms, however many there are.
const STEADY: [&str; 2] = ["--sim", "--ttft 50ms --itl 20ms"];

fn shows(text: &str) -> impl Fn(&Screen) -> bool {
    move |screen| screen.shows(text)
}

/// Whether the dashboard of a wide terminal has at least `n` in `bar`.
fn at_least(n: u64, bar: &str) -> impl Fn(&Screen) -> bool {
    move |screen| screen.find_bar(bar).is_some_and(|(done, _)| done >= n)
}

/// The terminal is as it was before.
fn assert_given_back(ended: &Ended) {
    assert!(ended.settings_kept, "the terminal's settings were changed");
    let screen = ended.screen();
    assert!(!screen.alternate, "the alternate screen was not left");
    assert!(screen.cursor, "the cursor is hidden");
}

/// The dashboard's last frame, with these names of its bars, says what the run directory says.
fn assert_truthful(frame: &Screen, bars: [&str; 4], run: &Run) {
    let [sent, done, prefill, decode] = bars.map(|bar| frame.bar(bar));
    let scheduled = run.count("requests/scheduled");
    assert_eq!(sent, (run.count("requests/sent"), scheduled));
    let answered: u64 =
        ["ok", "short", "long"].map(|part| run.count(&format!("requests/{part}"))).iter().sum();
    assert_eq!(done, (answered + run.count("requests/failed"), scheduled));
    assert_eq!(prefill.0, run.count("input_tokens/asked"));
    assert_eq!(prefill.1, run.description["load"]["input_tokens"].as_u64().unwrap());
    assert_eq!(decode.0, run.count("output_tokens/used"));
    assert_eq!(decode.0, run.sum("/output/usage"));
    assert_eq!(decode.1, run.description["load"]["output_tokens"].as_u64().unwrap());
    assert_eq!((frame.number("in flight"), frame.number("queued")), (0, 0));
    assert_eq!(frame.number("peak"), run.count("max_in_flight"));
    let row = frame.rows.iter().find(|row| row.contains("failed")).unwrap();
    assert!(row.contains(&format!("ok {}", run.outcome("ok"))), "{row}");
}

#[test]
fn the_last_frame_says_what_the_summary_says() {
    let place = Place::with(40, 0.05, 7);
    let mut session = place.session(WIDE, &STEADY, &[]);
    session.wait_for("the dashboard", shows("requests sent"));
    assert!(!session.settings_kept(), "keys are heard one by one");
    for (n, bar) in
        [(3, "requests sent"), (3, "requests done"), (60, "prefill tokens"), (21, "decode tokens")]
    {
        session.wait_for(bar, at_least(n, bar));
    }
    let ended = session.finish();
    let run = place.run();
    run.assert_balanced(40);
    assert_eq!(ended.status, run.expected_status());
    assert_truthful(
        &ended.last_frame(),
        ["requests sent", "requests done", "prefill tokens", "decode tokens"],
        &run,
    );
    assert_eq!((run.outcome("ok"), run.sum("/output/tics")), (40, 280));
    assert_given_back(&ended);
    let text = ended.text();
    assert!(text.contains("40 scheduled: 40 sent") && text.contains("the run is in run\n"), "{text}");
}

#[test]
fn a_small_terminal_shows_bars_and_counters() {
    let place = Place::with(20, 0.05, 7);
    let mut session = place.session(SMALL, &STEADY, &[]);
    session.wait_for("running", shows("running"));
    for bar in ["sent", "done", "prefill", "decode"] {
        session.wait_for(bar, at_least(1, bar));
    }
    session.wait_for("requests in flight", |screen| {
        let [in_flight, queued] = ["in flight", "queued"].map(|name| screen.find_number(name));
        in_flight.is_some_and(|n| n > 0) && queued.is_some()
    });
    let ended = session.finish();
    let run = place.run();
    assert_eq!(ended.status, run.expected_status());
    assert_truthful(&ended.last_frame(), ["sent", "done", "prefill", "decode"], &run);
    assert_given_back(&ended);
}

#[test]
fn a_window_may_change_its_size() {
    let place = Place::with(30, 0.05, 7);
    let mut session = place.session(WIDE, &STEADY, &[]);
    session.wait_for("requests done", at_least(1, "requests done"));
    session.resize(SMALL);
    session.wait_for("the small dashboard", |screen| {
        !screen.shows("requests sent") && screen.shows("prefill") && screen.shows("TTFT")
    });
    let ended = session.finish();
    assert_truthful(&ended.last_frame(), ["sent", "done", "prefill", "decode"], &place.run());
    assert_given_back(&ended);
}

/// `key` in the middle of a run lets what is in flight end and sends nothing more.
fn drains(key: &str) {
    let place = Place::with(100, 0.05, 50);
    let mut session = place.session(WIDE, &STEADY, &[]);
    session.wait_for("requests done", at_least(1, "requests done"));
    session.press(key);
    session.wait_for("requests to drain", |screen| {
        screen.shows("draining") && screen.find_number("in flight").is_some_and(|n| n > 0)
    });
    let ended = session.finish();
    assert_eq!(ended.status, 130, "{}", ended.text());
    let run = place.run();
    run.assert_balanced(100);
    // What was in flight was answered, the rest never sent.
    let [ok, not_sent] = ["ok", "not_sent"].map(|o| run.outcome(o));
    assert_eq!(ok + not_sent, 100, "{}", run.summary["outcomes"]);
    assert!(ok >= 2 && not_sent >= 1, "{}", run.summary["outcomes"]);
    assert_interrupted(&run);
    assert_truthful(
        &ended.last_frame(),
        ["requests sent", "requests done", "prefill tokens", "decode tokens"],
        &run,
    );
    assert_given_back(&ended);
    assert!(ended.text().contains("interrupted"), "the report does not say so: {}", ended.text());
}

fn assert_interrupted(run: &Run) {
    assert_eq!(run.closing.as_ref().unwrap()["interrupted"], true);
    let checks = run.summary["validity"]["checks"].as_array().unwrap();
    let censored = checks.iter().find(|check| check["id"] == "D3").unwrap();
    assert_eq!(censored["outcome"], "suspect", "{censored}");
}

#[test]
fn q_drains_and_stops() {
    drains("q");
}

#[test]
fn control_c_drains_and_stops() {
    drains("\u{3}");
}

#[test]
fn a_second_q_cancels() {
    // 100 s a request, and as long to drain: only cancelling ends this within the test's bound.
    let place = Place::with(100, 0.05, 5000);
    let mut session = place.session(WIDE, &[&STEADY[..], &["--drain", "10m"]].concat(), &[]);
    session.wait_for("tokens", at_least(1, "decode tokens"));
    session.press("q");
    session.wait_for("draining", shows("draining"));
    session.press("q");
    let ended = session.finish();
    assert_eq!(ended.status, 130, "{}", ended.text());
    let run = place.run();
    run.assert_balanced(100);
    let [cancelled, not_sent] = ["cancelled", "not_sent"].map(|o| run.outcome(o));
    assert_eq!(cancelled + not_sent, 100, "{}", run.summary["outcomes"]);
    assert!(cancelled >= 1, "{}", run.summary["outcomes"]);
    assert_interrupted(&run);
    assert_given_back(&ended);
}

#[test]
fn a_run_may_be_stopped_before_its_first_request() {
    let place = Place::with(5, 0.05, 5);
    let mut session = place.session(WIDE, &[], &[]);
    session.wait_for("the dashboard", shows("preparing"));
    session.press("q");
    let ended = session.finish();
    assert_eq!(ended.status, 130, "{}", ended.text());
    let run = place.run();
    run.assert_balanced(5);
    assert_interrupted(&run);
    assert_given_back(&ended);
}

#[test]
fn an_error_leaves_the_terminal_alone() {
    let place = Place::with(2, 0.05, 5);
    let url = format!("http://127.0.0.1:{}", closed_port());
    let ended = place.session(WIDE, &["--url", &url], &[]).finish();
    assert_eq!(ended.status, 4);
    assert!(ended.text().starts_with("tics: "), "{}", ended.text());
    assert_eq!(ended.text().lines().count(), 1, "{}", ended.text());
    assert!(!ended.printed.contains(&0x1b), "{}", ended.text());
    assert_given_back(&ended);
}

#[test]
fn an_error_after_the_dashboard_is_read_below_it() {
    let place = Place::with(2, 0.05, 5);
    std::fs::create_dir_all(place.run_dir().join("summary.json")).unwrap();
    let ended = place.session(WIDE, &[], &[]).finish();
    assert_eq!(ended.status, 5);
    let text = ended.text();
    assert!(text.contains("tics: run/summary.json: cannot be written"), "{text}");
    assert_given_back(&ended);
}

/// A dashboard that panics gives the terminal back and loses nothing of the run.
#[cfg(debug_assertions)]
#[test]
fn a_panic_gives_the_terminal_back_and_keeps_the_run() {
    let place = Place::with(20, 0.05, 7);
    let panics = ("TICS_TEST_PANIC", "1");
    let mut session = place.session(WIDE, &STEADY, &[panics]);
    session.wait_for("the dashboard", shows("requests sent"));
    session.wait_for("the panic", |screen| !screen.alternate && screen.shows("internal error"));
    let ended = session.finish();
    assert_eq!(ended.status, 101, "{}", ended.text());
    assert_given_back(&ended);
    let text = ended.text();
    assert!(text.starts_with("tics: internal error at "), "{text}");
    assert!(text.contains("asked for by TICS_TEST_PANIC (RUST_BACKTRACE=1 shows where from)"), "{text}");
    assert!(!text.contains("stack backtrace"), "{text}");
    assert!(text.contains("20 scheduled: 20 sent"), "no report: {text}");
    let run = place.run();
    run.assert_balanced(20);
    assert_eq!(run.outcome("ok"), 20, "{}", run.summary["outcomes"]);
    assert_eq!(run.closing.as_ref().unwrap()["complete"], true);
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_with_a_backtrace_gives_the_terminal_back_first() {
    let place = Place::with(5, 0.05, 3);
    let ended = place.session(WIDE, &STEADY, &[("TICS_TEST_PANIC", "1"), ("RUST_BACKTRACE", "1")]).finish();
    assert_eq!(ended.status, 101, "{}", ended.text());
    assert_given_back(&ended);
    assert!(ended.text().contains("stack backtrace"), "{}", ended.text());
    place.run().assert_balanced(5);
}

#[test]
fn a_terminal_that_goes_away_takes_no_run_with_it() {
    let place = Place::with(30, 0.05, 5);
    let mut session = place.session(WIDE, &STEADY, &[]);
    session.wait_for("requests done", at_least(1, "requests done"));
    let status = session.hang_up().finish();
    let run = place.run();
    run.assert_balanced(30);
    assert_eq!(run.outcome("ok"), 30, "{}", run.summary["outcomes"]);
    assert_eq!(run.closing.as_ref().unwrap()["interrupted"], false);
    assert_eq!(status, run.expected_status());
}

#[test]
fn without_a_dashboard_there_are_lines() {
    let place = Place::with(20, 0.05, 7);
    let args = [&STEADY[..], &["--no-dashboard", "--progress-every", "100ms"]].concat();
    let ended = place.session(WIDE, &args, &[]).finish();
    assert!(!ended.printed.contains(&0x1b), "{}", ended.text());
    assert_given_back(&ended);
    assert_progress(&ended.text());
}

#[test]
fn without_a_terminal_there_are_lines() {
    let place = Place::with(20, 0.05, 7);
    let output = place.replay(&[&STEADY[..], &["--progress-every", "100ms"]].concat()).finish();
    assert!(!output.stderr.contains('\u{1b}') && !output.stdout.contains('\u{1b}'), "{}", output.stderr);
    assert_progress(&output.stderr);
    assert_eq!(output.code(), place.run().expected_status());
    assert!(output.stdout.contains("20 scheduled: 20 sent"), "{}", output.stdout);
}

/// Status lines, ten a second, of a run of 20 requests over 2 s; the last has the final counts.
fn assert_progress(text: &str) {
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" sent ")).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| line.contains(" in flight ")).collect();
    assert!(lines.len() >= 5, "{text}");
    assert!(lines.iter().any(|line| line.contains(" running: ")), "{text}");
    let sent = |line: &str| -> u64 {
        let count = line.split_once(" sent ").unwrap().1.split_once('/').unwrap().0;
        count.parse().unwrap_or_else(|_| panic!("no count in {line:?}"))
    };
    assert!(lines.is_sorted_by_key(|line| sent(line)), "{text}");
    let last = lines.last().unwrap();
    assert!(last.contains(" finished: sent 20/20 done 20/20 in flight 0 "), "{last}");
    assert!(last.contains(" failed 0"), "{last}");
}

#[test]
fn lines_come_as_often_as_asked() {
    let place = Place::with(5, 0.05, 3);
    let output = place.replay(&["--progress-every", "1h"]).finish();
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "the last state and where the run is: {}", output.stderr);
    assert!(lines[0].contains(" finished: sent 5/5 done 5/5 "), "{}", output.stderr);
    assert_eq!(lines[1], "tics: the run is in run");
}

#[test]
fn quiet_is_quiet() {
    let place = Place::with(5, 0.05, 3);
    let output = place.replay(&["--quiet"]).finish();
    assert_eq!(output.stderr, "");
    assert!(output.stdout.contains("5 scheduled: 5 sent"), "{}", output.stdout);
    let place = Place::with(5, 0.05, 3);
    let ended = place.session(WIDE, &["--quiet", "--json"], &[]).finish();
    let printed = ended.text();
    // Nothing but the result, on a terminal too.
    let summary: serde_json::Value =
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    assert_eq!(summary, place.run().summary);
    assert_given_back(&ended);
}

#[test]
fn signals_are_heard_without_a_terminal() {
    let check = |signals: &[Signal], status: i32, outcome: &str, output: u32| {
        let place = Place::with(200, 0.02, output);
        let mut replay =
            place.replay(&[&STEADY[..], &["--progress-every", "100ms", "--drain", "10m"]].concat());
        // Somebody has had a token.
        replay.wait_for(|line| line.contains(" running: ") && !line.contains("TTFT p50 -"));
        let pid = Pid::from_raw(replay.id().cast_signed());
        for signal in signals {
            kill(pid, *signal).unwrap();
            replay.wait_for(|line| line.contains(" draining: ") || line.contains(" finished: "));
        }
        let ended = replay.finish();
        assert_eq!(ended.code(), status, "{}", ended.stderr);
        let run = place.run();
        run.assert_balanced(200);
        let [expected, not_sent] = [outcome, "not_sent"].map(|o| run.outcome(o));
        assert_eq!(expected + not_sent, 200, "{signals:?}: {}", run.summary["outcomes"]);
        assert!(expected >= 1 && not_sent >= 1, "{signals:?}: {}", run.summary["outcomes"]);
        assert_interrupted(&run);
    };
    check(&[Signal::SIGTERM], 143, "ok", 40);
    check(&[Signal::SIGINT], 130, "ok", 40);
    // 100 s a request.
    check(&[Signal::SIGINT, Signal::SIGINT], 130, "cancelled", 5000);
}

#[test]
fn help_is_no_error() {
    for args in [&["--help"][..], &["replay", "--help"], &["--version"]] {
        let output = run(tics().args(args));
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{args:?}");
        assert!(output.stdout.contains("tics"), "{}", output.stdout);
    }
}
