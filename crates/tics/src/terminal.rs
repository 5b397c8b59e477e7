//! The terminal's state: taken for the dashboard, given back whatever happens.

use std::io::{self, BufWriter, Stderr, Write};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

/// Whether the dashboard has the terminal now; for the panic hook, which has nothing else to go by.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while the dashboard has it. Given back when dropped.
pub struct TakenTerminal {
    /// Where to draw: stderr, as stdout is for results. A frame in one write, where stderr by itself
    /// would make a system call of every letter.
    ///
    /// Never dropped: its own drop reports a terminal that is gone with `eprintln!`, which panics there.
    /// What it would do, the cursor, is done in any case.
    pub terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stderr>>>>,
}

impl TakenTerminal {
    /// Takes it: alternate screen, raw mode, no cursor.
    pub fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let frames = BufWriter::with_capacity(1 << 16, io::stderr());
        let taken = execute!(io::stderr(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(frames)));
        match taken {
            Ok(terminal) => Ok(TakenTerminal { terminal: ManuallyDrop::new(terminal) }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl TakenTerminal {
    /// Whether the dashboard still has it: a panic of any thread gives it back.
    pub fn is_taken() -> bool {
        TAKEN.load(Ordering::SeqCst)
    }
}

impl Drop for TakenTerminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, once. A terminal that is gone cannot be helped.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _gone = execute!(io::stderr(), Show, LeaveAlternateScreen);
        let _gone = disable_raw_mode();
    }
}

/// A panic gives the terminal back before it is printed, and is one line for the user.
pub fn install_panic_hook() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        give_back();
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            default(info);
            return;
        }
        // The same thread's caller says what is wrong with the file.
        if std::thread::current().name() == Some(tics_trace::GUARDED_THREAD) {
            return;
        }
        let message = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        // Not `eprintln`, which panics where stderr is gone.
        let _gone = writeln!(
            io::stderr(),
            "tics: internal error{place}: {message} (RUST_BACKTRACE=1 shows where from)"
        );
    }));
}
