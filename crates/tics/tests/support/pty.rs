//! The program in a pseudo-terminal, as a person has it: keys in, a screen out.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};

use portable_pty::{CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

use crate::support::{BOUND, FOREIGN, STARTING};

/// What leaves the alternate screen.
const LEAVE: &[u8] = b"\x1b[?1049l";

enum Happened {
    Printed(Vec<u8>),
    Ended(i32),
    TimedOut,
}

/// A program that runs in a terminal of its own.
pub struct Session {
    master: Box<dyn MasterPty + Send>,
    /// Held open, so that the terminal and its settings outlive the program.
    slave: Option<Box<dyn SlavePty + Send>>,
    keys: Box<dyn Write + Send>,
    happened: Receiver<Happened>,
    /// Dropped when the session ends, which stops the watchdog.
    watched: Sender<()>,
    /// Tells the reader to let go of the terminal.
    let_go: Arc<AtomicBool>,
    /// Everything printed so far.
    printed: Vec<u8>,
    screen: vt100::Parser,
    size: (u16, u16),
    settings: String,
}

/// A session that has ended.
pub struct Ended {
    pub status: i32,
    /// Everything it printed.
    pub printed: Vec<u8>,
    /// The terminal's settings are what they were before.
    pub settings_kept: bool,
    size: (u16, u16),
}

impl Session {
    /// Runs the program with `args` in `folder`, in a terminal of `columns` by `rows`.
    pub fn start(
        (columns, rows): (u16, u16),
        folder: &std::path::Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Self {
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_tics"));
        command.args(args);
        command.cwd(folder);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        for (name, value) in env {
            command.env(name, value);
        }
        let settings = settings(&*pair.master);
        let mut child = pair.slave.spawn_command(command).unwrap();
        let (happens, happened) = channel();
        let mut output = pair.master.try_clone_reader().unwrap();
        let printed = happens.clone();
        let let_go = Arc::new(AtomicBool::new(false));
        let going = Arc::clone(&let_go);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                let _over = printed.send(Happened::Printed(buffer[..n].to_vec()));
                if going.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let (watched, watching) = channel::<()>();
        let mut killer = child.clone_killer();
        let timed_out = happens.clone();
        std::thread::spawn(move || {
            if watching.recv_timeout(BOUND) == Err(RecvTimeoutError::Timeout) {
                let _over = timed_out.send(Happened::TimedOut);
                let _ended = killer.kill();
            }
        });
        std::thread::spawn(move || {
            let status = child.wait().map_or(-1, |status| status.exit_code().cast_signed());
            let _over = happens.send(Happened::Ended(status));
        });
        Session {
            keys: pair.master.take_writer().unwrap(),
            master: pair.master,
            slave: Some(pair.slave),
            happened,
            watched,
            let_go,
            printed: Vec::new(),
            screen: vt100::Parser::new(rows, columns, 0),
            size: (columns, rows),
            settings,
        }
    }

    /// Whether the settings are now as they were before the program started.
    pub fn settings_kept(&self) -> bool {
        settings(&*self.master) == self.settings
    }

    /// Waits until the screen satisfies `wanted`.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Screen) -> bool) {
        while !wanted(&Screen::of(self.screen.screen())) {
            match self.happened.recv() {
                Ok(Happened::Printed(bytes)) => {
                    self.screen.process(&bytes);
                    self.printed.extend(bytes);
                }
                Ok(Happened::Ended(status)) => self.give_up(&format!("ended with {status} before: {what}")),
                Ok(Happened::TimedOut) | Err(_) => self.give_up(&format!("too late: {what}")),
            }
        }
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) {
        self.keys.write_all(key.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Another size, as when a window is dragged.
    pub fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
        self.screen.screen_mut().set_size(rows, columns);
        self.size = (columns, rows);
    }

    /// Takes the terminal away, as when a window is closed: once the reader has let go, which it does
    /// after the next frame.
    pub fn hang_up(self) -> HungUp {
        self.let_go.store(true, Ordering::SeqCst);
        HungUp { happened: self.happened, _watched: self.watched }
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Ended {
        let status = loop {
            match self.happened.recv() {
                Ok(Happened::Printed(bytes)) => self.printed.extend(bytes),
                Ok(Happened::Ended(status)) => break status,
                Ok(Happened::TimedOut) | Err(_) => self.give_up("it does not end"),
            }
        };
        let settings_kept = self.settings_kept();
        // What is still on its way is read up to the end that the last handle's closing makes.
        drop(self.slave.take());
        drop(self.watched);
        while let Ok(happened) = self.happened.recv_timeout(BOUND) {
            if let Happened::Printed(bytes) = happened {
                self.printed.extend(bytes);
            }
        }
        // Only now: it says goodbye with an end-of-file key, which would be echoed.
        drop(self.keys);
        Ended { status, printed: self.printed, settings_kept, size: self.size }
    }

    fn give_up(&self, why: &str) -> ! {
        let rest: Vec<u8> = self
            .happened
            .try_iter()
            .flat_map(|happened| if let Happened::Printed(bytes) = happened { bytes } else { Vec::new() })
            .collect();
        panic!(
            "{why}\nscreen:\n{}\nnot yet shown: {}",
            self.screen.screen().contents(),
            String::from_utf8_lossy(&rest)
        );
    }
}

/// A session whose terminal has gone.
pub struct HungUp {
    happened: Receiver<Happened>,
    _watched: Sender<()>,
}

impl HungUp {
    /// Waits for the program's end and returns its status.
    pub fn finish(self) -> i32 {
        loop {
            match self.happened.recv() {
                Ok(Happened::Printed(_)) => {}
                Ok(Happened::Ended(status)) => return status,
                Ok(Happened::TimedOut) | Err(_) => panic!("it does not end"),
            }
        }
    }
}

impl Ended {
    /// The screen right before the dashboard was taken away.
    pub fn last_frame(&self) -> Screen {
        let end = find_last(&self.printed, LEAVE).expect("the alternate screen was never left");
        let frame = self.screen_after(end);
        assert!(frame.alternate, "the dashboard was not on the alternate screen");
        frame
    }

    /// The terminal after the program's end.
    pub fn screen(&self) -> Screen {
        self.screen_after(self.printed.len())
    }

    fn screen_after(&self, n_bytes: usize) -> Screen {
        let mut parser = vt100::Parser::new(self.size.1, self.size.0, 0);
        parser.process(&self.printed[..n_bytes]);
        Screen::of(parser.screen())
    }

    /// What was printed outside the dashboard.
    pub fn text(&self) -> String {
        let from = find_last(&self.printed, LEAVE).map_or(0, |at| at + LEAVE.len());
        String::from_utf8_lossy(&self.printed[from..]).replace("\r\n", "\n")
    }
}

fn find_last(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

/// The terminal's settings, all of them.
fn settings(master: &(dyn MasterPty + Send)) -> String {
    format!("{:?}", master.get_termios().expect("a terminal has settings"))
}

/// What a terminal shows.
#[derive(Debug)]
pub struct Screen {
    pub rows: Vec<String>,
    /// Whether it is the alternate screen.
    pub alternate: bool,
    pub cursor: bool,
}

impl Screen {
    /// What `screen` shows.
    pub fn of(screen: &vt100::Screen) -> Self {
        let columns = screen.size().1;
        Screen {
            rows: screen.rows(0, columns).collect(),
            alternate: screen.alternate_screen(),
            cursor: !screen.hide_cursor(),
        }
    }

    /// Whether a row has this text.
    pub fn shows(&self, text: &str) -> bool {
        self.rows.iter().any(|row| row.contains(text))
    }

    /// The counts `done/total` in the row that names `bar`, if it is there and whole: while the program
    /// runs, half a frame may be on the screen.
    pub fn find_bar(&self, bar: &str) -> Option<(u64, u64)> {
        let row = self.rows.iter().find(|row| row.trim_start_matches(['│', ' ']).starts_with(bar))?;
        row.split_whitespace().find_map(|word| {
            let (done, total) = word.split_once('/')?;
            Some((number(done)?, number(total)?))
        })
    }

    /// As [`Screen::find_bar`], for a frame that is whole.
    pub fn bar(&self, bar: &str) -> (u64, u64) {
        self.find_bar(bar).unwrap_or_else(|| panic!("no bar {bar:?} in {self:#?}"))
    }

    /// The number after the first `name`, if it is there.
    pub fn find_number(&self, name: &str) -> Option<u64> {
        let after =
            self.rows.iter().find_map(|row| row.split_once(name).map(|(_, after)| after.trim_start()))?;
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(after.len());
        number(&after[..end])
    }

    /// As [`Screen::find_number`], for a frame that is whole.
    pub fn number(&self, name: &str) -> u64 {
        self.find_number(name).unwrap_or_else(|| panic!("no number after {name:?} in {self:#?}"))
    }
}

/// A count as the dashboard prints it, thousands separated.
fn number(text: &str) -> Option<u64> {
    text.replace(',', "").parse().ok()
}
