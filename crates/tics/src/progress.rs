//! Who shows the run: the dashboard, a line every few seconds, or nobody.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tics_dashboard::{ColourMode, History, Title, View, status_line};
use tics_record::{Clock, Nanos};
use tics_scheduler::Live;

use crate::cli::RunArgs;
use crate::screen;

/// What is shown, and how it finds out.
pub struct Show {
    pub live: Arc<Live>,
    pub clock: Arc<dyn Clock>,
    pub title: Title,
    /// From the schedule's zero to its last due instant, in an open loop.
    pub span: Option<Nanos>,
}

/// The thread that shows a run. It reads snapshots; the run never waits for it.
pub struct Progress {
    stop: Sender<()>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// How long the last frame may take: a terminal that nobody reads blocks whoever writes to it.
const LAST_FRAME: Duration = Duration::from_secs(2);

impl Progress {
    /// Starts showing. `interrupt` is called for the keys that stop a run.
    pub fn start(show: Show, args: &RunArgs, interrupt: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let (ending, ended) = channel::<()>();
        let every = args.progress_every.max(Duration::from_millis(100));
        let terminal = std::io::stderr().is_terminal() && std::io::stdin().is_terminal();
        let dashboard = terminal && !args.no_dashboard;
        let work = move || {
            // Dropped when the thread ends, by return or by panic.
            let _ending = ending;
            if dashboard {
                match screen::run(&show, &stopped, interrupt) {
                    Ok(()) => return,
                    // A terminal that cannot be drawn on is no reason to show nothing.
                    Err(error) => say(format_args!("no dashboard: {error}")),
                }
            }
            lines(&show, &stopped, every);
        };
        let thread = if args.quiet {
            None
        } else {
            Some(std::thread::Builder::new().name("tics-screen".into()).spawn(work)?)
        };
        Ok(Progress { stop, ended, thread })
    }

    /// Shows the last state and ends; false if the thread panicked. One that is stuck is left behind.
    pub fn finish(mut self) -> bool {
        drop(self.stop);
        let Some(thread) = self.thread.take() else { return true };
        match self.ended.recv_timeout(LAST_FRAME) {
            Err(RecvTimeoutError::Timeout) => true,
            _ => thread.join().is_ok(),
        }
    }
}

/// A line on stderr, where somebody may listen or not.
pub fn say(line: impl std::fmt::Display) {
    print_line(&format!("tics: {line}"));
}

fn print_line(line: &str) {
    // In one piece, as two threads may have something to say. Whoever read stderr may be gone; the run
    // goes on.
    let _gone = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn lines(show: &Show, stopped: &Receiver<()>, every: Duration) {
    let mut history = History::new();
    loop {
        let ended = stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout);
        let snapshot = show.live.snapshot(show.clock.now());
        history.push(&snapshot);
        print_line(&status_line(&snapshot, &history));
        if ended {
            return;
        }
    }
}

/// The view of a run at its start.
pub fn view(show: &Show) -> View {
    let colour = ColourMode::for_no_color(std::env::var_os("NO_COLOR").as_deref());
    let mut view = View::new(show.title.clone(), colour);
    view.schedule_span = show.span;
    view
}
