//! What the tests of the real binary share: bounded children, a simulated server, traces, run directories.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// Longest life of any child. Far above what any needs, so that a busy machine fails no test.
pub const BOUND: Duration = Duration::from_mins(1);

/// The program, with nothing of this machine's settings in its environment.
pub fn tics() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tics"));
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Held while a child is started: descriptors that another thread is just making would be inherited, and
/// a pipe or terminal that such a child holds does not end.
pub static STARTING: Mutex<()> = Mutex::new(());

/// Variables that would change what the program does.
pub const FOREIGN: [&str; 8] = [
    "OPENAI_API_KEY",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "NO_COLOR",
    "TICS_TEST_PANIC",
    "HF_HOME",
    "HF_HUB_CACHE",
    "SSL_CERT_FILE",
];

/// What a child left.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The exit status; panics if a signal ended the child.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{}: {}", self.status, self.stderr))
    }
}

/// Runs `command` to its end, and to the end of everything it started: a grandchild that outlives it
/// holds the pipes. Panics after [`BOUND`].
pub fn run(command: &mut Command) -> Output {
    Running::start(command).finish()
}

/// A child that is watched while it runs.
pub struct Running {
    child: Child,
    what: String,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// What was read from stderr so far.
    said: String,
}

impl Running {
    /// Starts `command` and reads what it says, line by line.
    pub fn start(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command);
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Running { child, what, stdout, stderr, said: String::new() }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads stderr up to the first line that `wanted` accepts.
    pub fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = match self.stderr.recv_timeout(BOUND) {
                Ok(line) => line,
                Err(why) => self.give_up(&format!("the line never came ({why})")),
            };
            self.said += &line;
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Output {
        let mut stdout = String::new();
        loop {
            match self.stdout.recv_timeout(BOUND) {
                Ok(line) => stdout += &line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.give_up("it does not end"),
            }
        }
        loop {
            match self.stderr.recv_timeout(BOUND) {
                Ok(line) => self.said += &line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.give_up("something it started does not end"),
            }
        }
        // It has closed both pipes: it is ending.
        let status = self.child.wait().unwrap();
        Output { status, stdout, stderr: std::mem::take(&mut self.said) }
    }

    fn give_up(&mut self, why: &str) -> ! {
        let _ended = self.child.kill();
        panic!("{}: {why}; stderr so far:\n{}", self.what, self.said);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn spawn(command: &mut Command) -> Child {
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// Lines of `pipe` as they come, each with its end; disconnected at the end of the pipe.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

/// A `tics sim` of the test's own. Killed when dropped.
pub struct Sim {
    child: Child,
    /// Its base address.
    pub url: String,
}

impl Sim {
    /// Starts it with `args`, blank-separated.
    pub fn start(args: &str) -> Self {
        let mut command = tics();
        command.arg("sim").args(args.split_whitespace()).stdout(Stdio::piped());
        let mut child = spawn(&mut command);
        let lines = lines(child.stdout.take().unwrap());
        let line = lines.recv_timeout(BOUND).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Sim { child, url }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A loopback port where nobody listens: one that the system has just given and taken back.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Writes a trace of `n` requests, one every `every_s`, each of 20 tokens in and `output` out.
pub fn write_trace(folder: &Path, n: u32, every_s: f64, output: u32) -> PathBuf {
    let mut text = String::new();
    for i in 0..n {
        let at = f64::from(i) * every_s;
        let row = format!(r#"{{"timestamp_s": {at:.6}, "input_length": 20, "output_length": {output}}}"#);
        writeln!(text, "{row}").unwrap();
    }
    let path = folder.join("trace.jsonl");
    std::fs::write(&path, text).unwrap();
    path
}

/// What a run left.
pub struct Run {
    pub summary: Value,
    pub description: Value,
    /// The journal's ended lines, by index in the schedule.
    pub records: BTreeMap<u64, Value>,
    /// The journal's last line, if it was closed.
    pub closing: Option<Value>,
}

impl Run {
    /// Reads the run directory at `path`; a request that ended twice fails the test.
    pub fn read(path: &Path) -> Self {
        let text = |file: &str| {
            let path = path.join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let mut records = BTreeMap::new();
        let mut closing = None;
        for line in text("requests.jsonl").lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line.get("complete").is_some() {
                closing = Some(line);
            } else if line.get("outcome").is_some() {
                let index = line["i"].as_u64().unwrap();
                assert!(records.insert(index, line).is_none(), "request {index} ended twice");
            }
        }
        Run {
            summary: serde_json::from_str(&text("summary.json")).unwrap(),
            description: serde_json::from_str(&text("run.json")).unwrap(),
            records,
            closing,
        }
    }

    /// A count of the summary by its path: `requests/sent`.
    pub fn count(&self, path: &str) -> u64 {
        let value = self.summary.pointer(&format!("/{path}"));
        value.and_then(Value::as_u64).unwrap_or_else(|| panic!("no count {path} in {}", self.summary))
    }

    /// Requests of the outcome.
    pub fn outcome(&self, name: &str) -> u64 {
        self.count(&format!("outcomes/{name}"))
    }

    /// Sum over the records of the number at `path`, without those where it is null.
    pub fn sum(&self, path: &str) -> u64 {
        self.records.values().filter_map(|r| r.pointer(path)?.as_u64()).sum()
    }

    /// Fails unless every request of the schedule is accounted for exactly once.
    pub fn assert_balanced(&self, scheduled: u64) {
        let outcomes = self.summary["outcomes"].as_object().unwrap();
        let sum: u64 = outcomes.values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(sum, scheduled, "outcomes do not add up: {outcomes:?}");
        assert_eq!(self.count("requests/scheduled"), scheduled);
        assert_eq!(self.count("requests/lost"), 0, "the journal lost requests");
        assert!(self.closing.is_some(), "the journal has no closing line");
    }

    /// The exit status that the summary stands for without an interruption, `--max-failed 0`.
    ///
    /// A machine too busy to send in time makes any run INVALID, which is right and no bug of what the
    /// tests here are about.
    pub fn expected_status(&self) -> i32 {
        match (self.summary["validity"]["verdict"].as_str(), self.count("requests/failed")) {
            (Some("INVALID"), _) => 3,
            (_, 0) => 0,
            _ => 1,
        }
    }
}

/// A sample trace of the project.
pub fn sample(name: &str) -> String {
    format!("{}/../../traces/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The program in a folder.
pub fn in_folder(folder: &Path, args: &[&str]) -> Output {
    run(tics().args(args).current_dir(folder))
}

/// A tokenizer with one token a letter: no word is a token.
pub fn letter_tokenizer() -> String {
    let vocab: serde_json::Map<String, serde_json::Value> = "▁abcdefghijklmnopqrstuvwxyz"
        .chars()
        .zip(0..)
        .map(|(c, id)| (c.to_string(), serde_json::json!(id)))
        .collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "pre_tokenizer": null,
        "post_processor": null,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "decoder": {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [],
        },
    });
    tokenizer.to_string()
}
