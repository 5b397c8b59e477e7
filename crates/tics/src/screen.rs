//! The dashboard on a real terminal: draws snapshots, hears keys.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tics_dashboard::draw;

use crate::progress::{Show, view};
use crate::terminal::TakenTerminal;

/// Time between two frames: at most 15 a second.
const FRAME: Duration = Duration::from_millis(67);

/// Draws until the run stops, and once more then.
pub fn run(show: &Show, stopped: &Receiver<()>, interrupt: impl Fn()) -> io::Result<()> {
    let mut screen = TakenTerminal::take()?;
    let mut view = view(show);
    loop {
        let ended = stopped.try_recv() != Err(TryRecvError::Empty);
        let snapshot = show.live.snapshot(show.clock.now());
        view.history.push(&snapshot);
        if !TakenTerminal::is_taken() {
            // Another thread panicked: what it said must not be drawn over.
            return Ok(());
        }
        screen.terminal.draw(|frame| draw(frame, &snapshot, &view))?;
        panic_for_tests(&snapshot);
        if ended {
            return Ok(());
        }
        // Waiting for a key is the pause between frames.
        if key_waiting(FRAME)? {
            while event::poll(Duration::ZERO)? {
                if let Event::Key(key) = event::read()?
                    && interrupts(key)
                {
                    interrupt();
                }
            }
        }
    }
}

/// Waits at most `pause` for something to read from the terminal.
///
/// # Errors
/// If the terminal has gone away: crossterm would go round in circles reading its end.
fn key_waiting(pause: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let pause = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
    match poll(&mut wanted, pause) {
        Err(Errno::EINTR) | Ok(0) => return Ok(false),
        Ok(_) => {}
        Err(errno) => return Err(errno.into()),
    }
    let came = wanted[0].revents().unwrap_or(PollFlags::empty());
    if came.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
        return Err(io::Error::other("the terminal went away"));
    }
    Ok(came.contains(PollFlags::POLLIN))
}

/// `q`, and Ctrl-C, which is no signal while the dashboard has the terminal.
fn interrupts(key: KeyEvent) -> bool {
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (key.code == KeyCode::Char('q') || ctrl_c)
}

/// Lets a test see that a panic gives the terminal back. Not in released programs.
fn panic_for_tests(snapshot: &tics_record::Snapshot) {
    #[cfg(debug_assertions)]
    assert!(
        std::env::var_os("TICS_TEST_PANIC").is_none() || snapshot.sent.done == 0,
        "asked for by TICS_TEST_PANIC"
    );
    #[cfg(not(debug_assertions))]
    let _ = snapshot;
}
