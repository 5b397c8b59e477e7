//! What can be wrong with a trace: one line that says what, where, and what was expected.

use std::io;

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A field or column holds something else than it should.
    #[error("\"{field}\": expected {expected}, found {found}")]
    Field {
        /// Name of the field in this format.
        field: String,
        /// What belongs there.
        expected: String,
        /// What is there, as written, shortened.
        found: String,
    },
    /// The line is not JSON, or not an object.
    #[error("expected a row as one JSON object, found an error at column {column}: {message}")]
    Json {
        /// What the parser says.
        message: String,
        /// Byte of the line, from 1.
        column: usize,
    },
    /// The line is not UTF-8.
    #[error("expected UTF-8 text, found the byte 0x{byte:02x} at column {column}")]
    NotText {
        /// The byte.
        byte: u8,
        /// Its place in the line, from 1.
        column: usize,
    },
    /// A CSV row has another number of columns than its header.
    #[error("expected {expected} columns, found {found}")]
    Columns {
        /// In the header.
        expected: usize,
        /// In the row.
        found: usize,
    },
}

impl Fault {
    pub(crate) fn field(name: &str, expected: impl Into<String>, found: &str) -> Fault {
        Fault::Field { field: name.to_owned(), expected: expected.into(), found: shorten(found) }
    }
}

/// At most 40 characters of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Why a trace cannot be read. Print it with its source: the line is complete then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("{path}: cannot read the trace")]
    Read {
        /// As given.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no row in it.
    #[error("{path}: empty; expected a trace with one request a row (JSON lines or CSV)")]
    Empty {
        /// As given.
        path: String,
    },
    /// It is compressed.
    #[error("{path}: compressed with {with}; decompress it first: {with} -dc FILE | tics replay -")]
    Compressed {
        /// As given.
        path: String,
        /// The tool that decompresses it.
        with: &'static str,
    },
    /// It is not text.
    #[error("{path}:{line}: binary data; expected a trace as UTF-8 text (JSON lines or CSV)")]
    Binary {
        /// As given.
        path: String,
        /// Line, from 1.
        line: u64,
    },
    /// Nothing in the first rows tells the format.
    #[error("{path}:{line}: not a row of a known trace format ({known}): {found}; --format NAME forces one")]
    Unrecognised {
        /// As given.
        path: String,
        /// First line that is not blank, from 1.
        line: u64,
        /// Names of the formats.
        known: String,
        /// The line, shortened.
        found: String,
    },
    /// A row is not valid.
    #[error("{path}:{line}: {fault}")]
    Row {
        /// As given.
        path: String,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Bad rows were to be skipped, and all were bad.
    #[error("no valid row among {skipped}; the first: {first}")]
    NoValidRow {
        /// Rows skipped.
        skipped: u64,
        /// Message of the first, with file and line.
        first: String,
    },
    /// Nothing lies in the window.
    #[error("{path}: no request in the window {window} s; its requests lie from {start} s to {end} s")]
    EmptyWindow {
        /// As given.
        path: String,
        /// The window, seconds.
        window: String,
        /// Time of the first request, seconds.
        start: String,
        /// Time of the last request, seconds.
        end: String,
    },
    /// Another number of rows was read than the index pass had counted.
    #[error("{path}: the file changed while it was in use: {expected} requests before, {found} now")]
    Changed {
        /// As given.
        path: String,
        /// Requests in the schedule.
        expected: u64,
        /// Requests found.
        found: u64,
    },
}
