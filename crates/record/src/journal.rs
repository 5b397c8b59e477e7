//! The journal's codec: JSON lines over any `Write` and `BufRead`.
//!
//! The first line describes the file, then come a `sent` line when a request is sent and an `ended`
//! line when it ends, in the order in which that happens, and last a closing line. A file without
//! the closing line is a run that was cut off; a torn last line is the instant of the cut.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::{Nanos, RequestRecord, Stamp};

/// Version of the line format; a reader refuses a newer one.
pub const JOURNAL_FORMAT: u32 = 1;

/// The first line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`JOURNAL_FORMAT`] of the writer.
    pub tics_journal: u32,
    /// Name of the run.
    pub run: String,
    /// What the elements of an event are.
    pub event: Vec<String>,
    /// Where zero is.
    pub zero: String,
}

impl Header {
    /// The header that this version writes.
    pub fn new(run: impl Into<String>) -> Self {
        Header {
            tics_journal: JOURNAL_FORMAT,
            run: run.into(),
            event: ["t_ns", "class", "tokens", "shared"].map(String::from).to_vec(),
            zero: "origin_monotonic_ns of run.json".to_owned(),
        }
    }
}

/// A request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Index in the schedule.
    pub i: u64,
    /// When the schedule wanted it sent.
    #[serde(rename = "due_ns")]
    pub due: Stamp,
    /// When its first byte was handed to the kernel.
    #[serde(rename = "sent_ns")]
    pub sent: Stamp,
}

/// The last line of a complete journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Always true: its presence is the message.
    pub complete: bool,
    /// Whether the run was interrupted and drained, rather than having played its whole schedule.
    pub interrupted: bool,
    /// When the run ended.
    #[serde(rename = "end_ns")]
    pub end: Stamp,
    /// Largest number of requests in flight, counted as they happened.
    pub max_in_flight: u64,
    /// Largest number of requests sent and without a token, counted as they happened.
    pub max_queued: u64,
    /// Time that the pacer spent spinning, of one processor.
    #[serde(rename = "pacer_spun_ns", default)]
    pub pacer_spun: Nanos,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The file's own description.
    Header(Header),
    /// A request was sent.
    Sent(Sent),
    /// A request ended.
    Ended(Box<RequestRecord>),
    /// The run ended in order.
    Closing(Closing),
}

/// Writes journal lines. Buffering and flushing are the caller's.
#[derive(Debug)]
pub struct JournalWriter<W: Write> {
    out: W,
}

impl<W: Write> JournalWriter<W> {
    /// Starts a journal: writes its header.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = JournalWriter { out };
        writer.line(header)?;
        Ok(writer)
    }

    /// Notes that a request was sent.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn sent(&mut self, sent: &Sent) -> io::Result<()> {
        self.line(sent)
    }

    /// Notes that a request ended.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn ended(&mut self, record: &RequestRecord) -> io::Result<()> {
        self.line(record)
    }

    /// Writes the closing line.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn close(&mut self, closing: &Closing) -> io::Result<()> {
        self.line(closing)?;
        self.out.flush()
    }

    /// Flushes the underlying writer.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The underlying writer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    fn line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }
}

/// Why a journal could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Reading failed.
    #[error("line {line}: cannot be read")]
    Read {
        /// Line number, from 1.
        line: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is not what a journal holds.
    #[error("line {line}: not a journal line")]
    BadLine {
        /// Line number, from 1.
        line: u64,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The first line is not a header.
    #[error("line 1: no journal header (expected an object with \"tics_journal\")")]
    NoHeader,
    /// A newer version wrote the file.
    #[error("line 1: journal format {found}, this version reads up to {JOURNAL_FORMAT}")]
    TooNew {
        /// The format of the file.
        found: u32,
    },
}

/// Reads journal lines one by one; memory does not grow with the file.
///
/// A last line without its newline is a torn write of a killed run: it ends the iteration and sets
/// [`JournalReader::torn`].
#[derive(Debug)]
pub struct JournalReader<R: BufRead> {
    input: R,
    header: Header,
    buffer: Vec<u8>,
    line: u64,
    torn: bool,
}

/// The union of the `sent`, `ended` and closing keys, enough to tell which line it is.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    outcome: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    complete: Option<serde::de::IgnoredAny>,
}

/// The part of a header that every version has.
#[derive(Deserialize)]
struct Version {
    tics_journal: u32,
}

impl<R: BufRead> JournalReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`JournalError::NoHeader`] and [`JournalError::TooNew`], and reading errors.
    pub fn new(mut input: R) -> Result<Self, JournalError> {
        let mut buffer = Vec::new();
        input.read_until(b'\n', &mut buffer).map_err(|source| JournalError::Read { line: 1, source })?;
        // The version first: a newer header may have another shape.
        let version: Version = serde_json::from_slice(&buffer).map_err(|_| JournalError::NoHeader)?;
        if version.tics_journal > JOURNAL_FORMAT {
            return Err(JournalError::TooNew { found: version.tics_journal });
        }
        let header = serde_json::from_slice(&buffer).map_err(|_| JournalError::NoHeader)?;
        Ok(JournalReader { input, header, buffer, line: 1, torn: false })
    }

    /// The file's description.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the file ended in the middle of a line.
    pub fn torn(&self) -> bool {
        self.torn
    }

    fn parse(&self) -> Result<Line, serde_json::Error> {
        // An ended line is by far the most common and the longest: it is told apart without parsing
        // it twice. Its `outcome` key cannot be inside an earlier string: quotes there are escaped.
        if memmem(&self.buffer, b"\"outcome\":") {
            return serde_json::from_slice(&self.buffer).map(|r| Line::Ended(Box::new(r)));
        }
        let kind: Kind = serde_json::from_slice(&self.buffer)?;
        Ok(match kind {
            Kind { complete: Some(_), .. } => Line::Closing(serde_json::from_slice(&self.buffer)?),
            Kind { outcome: Some(_), .. } => Line::Ended(serde_json::from_slice(&self.buffer)?),
            Kind { .. } => Line::Sent(serde_json::from_slice(&self.buffer)?),
        })
    }
}

/// Whether `needle` occurs in `haystack`; the lines that lack it are short.
fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    // Keys come in a fixed order and `outcome` follows the events, so look from the back.
    haystack.windows(needle.len()).rev().any(|w| w == needle)
}

impl<R: BufRead> Iterator for JournalReader<R> {
    type Item = Result<Line, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.torn {
            return None;
        }
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        match self.input.read_until(b'\n', &mut self.buffer) {
            Err(source) => return Some(Err(JournalError::Read { line, source })),
            Ok(0) => return None,
            Ok(_) if self.buffer.last() != Some(&b'\n') => {
                self.torn = true;
                return None;
            }
            Ok(_) => {}
        }
        Some(self.parse().map_err(|source| JournalError::BadLine { line, source }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, EventClass, Outcome};

    fn record(i: u64, stamps: &[u64], detail: Option<String>) -> RequestRecord {
        let mut record = RequestRecord::not_sent(i, Stamp::from_nanos(3));
        record.outcome = Outcome::ALL[i as usize % Outcome::COUNT];
        record.detail = detail;
        record.sent = Some(Stamp::from_nanos(4));
        record.connection =
            Some(crate::ConnectionInfo { id: i, connect: Some(Nanos::new(5)), ..Default::default() });
        record.events = stamps
            .iter()
            .enumerate()
            .map(|(k, t)| {
                Event::new(Stamp::from_nanos(*t), EventClass::ALL[k % 11])
                    .with_tokens((t % 3 == 0).then_some(k as u32))
                    .with_shared(t % 2 == 0)
            })
            .collect();
        record
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            runs in prop::collection::vec((prop::collection::vec(any::<u64>(), 0..9), any::<Option<String>>()), 0..9),
        ) {
            let mut expected = Vec::new();
            let mut writer = JournalWriter::new(Vec::new(), &Header::new("r")).unwrap();
            for (i, (stamps, detail)) in runs.into_iter().enumerate() {
                let sent = Sent { i: i as u64, due: Stamp::from_nanos(3), sent: Stamp::from_nanos(4) };
                writer.sent(&sent).unwrap();
                expected.push(Line::Sent(sent));
                let record = record(i as u64, &stamps, detail);
                writer.ended(&record).unwrap();
                expected.push(Line::Ended(Box::new(record)));
            }
            let closing = Closing {
                complete: true, interrupted: false, end: Stamp::from_nanos(9), max_in_flight: 2, max_queued: 1,
                pacer_spun: Nanos::new(5),
            };
            writer.close(&closing).unwrap();
            expected.push(Line::Closing(closing));
            let bytes = std::mem::take(writer.get_mut());
            let reader = JournalReader::new(bytes.as_slice()).unwrap();
            let lines: Vec<Line> = reader.map(Result::unwrap).collect();
            prop_assert_eq!(lines, expected);
        }

        #[test]
        fn a_cut_file_loses_at_most_the_torn_line(cut in 0usize..2000) {
            let mut writer = JournalWriter::new(Vec::new(), &Header::new("r")).unwrap();
            for i in 0..5 {
                writer.ended(&record(i, &[1, 2, 3], None)).unwrap();
            }
            let bytes = std::mem::take(writer.get_mut());
            let bytes = &bytes[..cut.min(bytes.len())];
            let whole = bytes.split(|b| *b == b'\n').count() - 1;
            if let Ok(reader) = JournalReader::new(bytes) {
                let lines: Vec<_> = reader.collect();
                prop_assert!(lines.iter().all(Result::is_ok));
                prop_assert_eq!(lines.len(), whole.saturating_sub(1));
            } else {
                prop_assert!(whole == 0);
            }
        }
    }

    #[test]
    fn a_newer_file_is_refused_by_name() {
        let error = JournalReader::new(&b"{\"tics_journal\":99}\n"[..]).unwrap_err();
        assert!(matches!(error, JournalError::TooNew { found: 99 }), "{error}");
        let error = JournalReader::new(&b"hello\n"[..]).unwrap_err();
        assert!(matches!(error, JournalError::NoHeader), "{error}");
    }
}
