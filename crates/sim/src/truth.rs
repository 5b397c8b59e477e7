//! The truth log and the dump of bodies: a thread of their own, so that disk never delays a token.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::prefix::Found;
use crate::{SimError, SimOptions, Timetable};

/// Version of the truth log's lines.
const TRUTH_VERSION: u32 = 1;

/// Lines are on their way to the file at most this long after the event.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What is known of a request when its last byte was read; instants in CLOCK_MONOTONIC ns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Arrival {
    /// `X-Request-Id`.
    pub(crate) id: Option<String>,
    /// Number of the connection.
    pub(crate) conn: u64,
    pub(crate) path: String,
    /// When the connection was accepted.
    pub(crate) accepted_ns: u64,
    /// After the read that had the request's first byte.
    pub(crate) first_byte_ns: u64,
    /// After the read that completed it.
    pub(crate) received_ns: u64,
    /// The kernel's own stamp of the last byte of that read.
    pub(crate) kernel_ns: Option<u64>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    ClientGone,
    Rejected(u16),
    Shutdown,
}

impl Serialize for Ending {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Ending::Complete => serializer.serialize_str("complete"),
            Ending::ClientGone => serializer.serialize_str("client_gone"),
            Ending::Rejected(status) => serializer.collect_str(&format_args!("rejected:{status}")),
            Ending::Shutdown => serializer.serialize_str("shutdown"),
        }
    }
}

/// One line of the truth log.
#[derive(Debug, Serialize)]
pub(crate) struct TruthLine {
    #[serde(flatten)]
    pub(crate) received: Arrival,
    pub(crate) prompt_tokens: u64,
    #[serde(flatten)]
    pub(crate) found: Found,
    /// Tokens whose last byte the kernel took.
    pub(crate) output_tokens: u32,
    pub(crate) stream: bool,
    pub(crate) head_ns: Option<u64>,
    /// Before and after the write of each token's event.
    pub(crate) tokens: Vec<(u64, u64)>,
    /// When each of these tokens was planned; empty where there is no plan.
    pub(crate) due_ns: Vec<u64>,
    pub(crate) end_ns: u64,
    pub(crate) ended: Ending,
}

/// What the log thread is sent.
#[derive(Debug)]
pub(crate) enum Entry {
    Truth(Box<TruthLine>),
    Body { id: Option<String>, body: Vec<u8> },
}

/// A hand to the log thread; the thread ends when all are gone.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    sender: Sender<Entry>,
    /// Whether stamps are worth keeping.
    pub(crate) truth: bool,
    /// Whether bodies are.
    pub(crate) dump: bool,
}

impl Log {
    pub(crate) fn new(options: &SimOptions, sender: Sender<Entry>) -> Self {
        Log { sender, truth: options.truth.is_some(), dump: options.dump.is_some() }
    }

    /// A request has ended.
    pub(crate) fn ended(&self, ended: impl FnOnce() -> TruthLine) {
        if self.truth {
            // The thread outlives every sender unless it panicked, which `Sim::stop` reports.
            let _ = self.sender.send(Entry::Truth(Box::new(ended())));
        }
    }

    /// A body was received.
    pub(crate) fn body(&self, id: Option<&str>, body: &[u8]) {
        if self.dump {
            let _ = self.sender.send(Entry::Body { id: id.map(str::to_owned), body: body.to_vec() });
        }
    }
}

#[derive(Serialize)]
struct TruthHeader<'a> {
    format: &'static str,
    version: u32,
    clock: &'static str,
    timetable: &'static str,
    addr: &'a str,
    pid: u32,
}

/// The open files of the log thread.
#[derive(Debug)]
pub(crate) struct LogFiles {
    truth: Option<Output>,
    dump: Option<Output>,
    notice: fn(&str),
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    /// The first failure; nothing is written after it.
    failed: Option<io::Error>,
}

impl LogFiles {
    /// Opens the files before the server answers anything, so that a bad path is known at once.
    pub(crate) fn open(options: &SimOptions, addr: &str) -> Result<Self, SimError> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(Output::create).transpose();
        let mut files =
            LogFiles { truth: open(&options.truth)?, dump: open(&options.dump)?, notice: options.notice };
        if let Some(truth) = &mut files.truth {
            let timetable = match options.timetable {
                Timetable::Batch(_) => "batch",
                Timetable::Fixed { .. } => "fixed",
                Timetable::Flood => "flood",
            };
            let header = TruthHeader {
                format: "tics-truth",
                version: TRUTH_VERSION,
                clock: "CLOCK_MONOTONIC",
                timetable,
                addr,
                pid: std::process::id(),
            };
            truth.line(&header, options.notice);
            truth.flush(options.notice);
        }
        Ok(files)
    }

    /// The thread: writes what arrives, flushes each second, ends with the last sender.
    pub(crate) fn run(mut self, entries: &Receiver<Entry>) -> Result<(), SimError> {
        let mut flushed = clock::now();
        loop {
            let wait = FLUSH_EVERY.saturating_sub(Duration::from_nanos(clock::now() - flushed));
            match entries.recv_timeout(wait) {
                Ok(entry) => self.write(&entry),
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    flushed = clock::now();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush();
        for output in [self.truth, self.dump].into_iter().flatten() {
            if let Some(source) = output.failed {
                return Err(SimError::Write { path: output.path, source });
            }
        }
        Ok(())
    }

    fn write(&mut self, entry: &Entry) {
        match entry {
            Entry::Truth(ended) => {
                if let Some(truth) = &mut self.truth {
                    truth.line(ended, self.notice);
                }
            }
            Entry::Body { id, body } => {
                if let Some(dump) = &mut self.dump {
                    dump.body(id.as_deref(), body, self.notice);
                }
            }
        }
    }

    fn flush(&mut self) {
        for output in [&mut self.truth, &mut self.dump].into_iter().flatten() {
            output.flush(self.notice);
        }
    }
}

impl Output {
    fn create(path: &Path) -> Result<Self, SimError> {
        let file = File::create(path).map_err(|source| SimError::Write { path: path.to_owned(), source })?;
        Ok(Output { path: path.to_owned(), file: BufWriter::with_capacity(1 << 18, file), failed: None })
    }

    fn line(&mut self, line: &impl Serialize, notice: fn(&str)) {
        self.attempt(notice, |file| {
            serde_json::to_writer(&mut *file, line)?;
            file.write_all(b"\n")
        });
    }

    /// `{"id":…,"body":…}` with the body as it came, so that a script checks what was really sent; one
    /// that is not JSON goes in as a string under `invalid`.
    fn body(&mut self, id: Option<&str>, body: &[u8], notice: fn(&str)) {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        self.attempt(notice, |file| {
            file.write_all(b"{\"id\":")?;
            serde_json::to_writer(&mut *file, &id)?;
            if is_json {
                file.write_all(b",\"body\":")?;
                // In valid JSON a line break can only stand between two tokens: a space does as well.
                for part in body.split_inclusive(|&byte| byte == b'\n' || byte == b'\r') {
                    match part.split_last() {
                        Some((b'\n' | b'\r', line)) => {
                            file.write_all(line)?;
                            file.write_all(b" ")?;
                        }
                        _ => file.write_all(part)?,
                    }
                }
            } else {
                file.write_all(b",\"invalid\":")?;
                serde_json::to_writer(&mut *file, &String::from_utf8_lossy(body))?;
            }
            file.write_all(b"}\n")
        });
    }

    fn flush(&mut self, notice: fn(&str)) {
        self.attempt(notice, BufWriter::flush);
    }

    fn attempt(&mut self, notice: fn(&str), write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = write(&mut self.file) {
            notice(&format!("cannot write {}: {error}; nothing more is logged there", self.path.display()));
            self.failed = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_over_several_lines_is_one_line_of_the_dump() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.jsonl");
        let mut output = Output::create(&path).unwrap();
        output.body(Some("a\"b"), b"{\n  \"x\": \"1\\n2\"\r\n}", |_| {});
        output.body(None, b"{\"x\":", |_| {});
        output.flush(|_| {});
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"id\":\"a\\\"b\",\"body\":{   \"x\": \"1\\n2\"  }}\n{\"id\":null,\"invalid\":\"{\\\"x\\\":\"}\n"
        );
    }
}
