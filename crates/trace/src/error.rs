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
    /// A conversation is not what it should be.
    #[error(
        "expected a conversation (\"conversations\": a list of \"from\" and \"value\"), found an error at \
             column {column}: {message}"
    )]
    Conversation {
        /// What the parser says.
        message: String,
        /// Byte of the line, from 1.
        column: usize,
    },
    /// A file that is one JSON array is not.
    #[error("expected {expected}, found {found}")]
    Layout {
        /// What belongs there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
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
    pub(crate) fn not_text(line: &[u8], error: &std::str::Utf8Error) -> Fault {
        Fault::NotText { byte: line[error.valid_up_to()], column: error.valid_up_to() + 1 }
    }

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
    /// It is compressed by something else than gzip or zstd.
    #[error("{path}: compressed with {with}; decompress it first: {with} -dc FILE | tics replay -")]
    Compressed {
        /// As given.
        path: String,
        /// The tool that decompresses it.
        with: &'static str,
    },
    /// It is compressed, and damaged or cut short.
    #[error("{path}: compressed with {with}, but damaged or cut short")]
    Damaged {
        /// As given.
        path: String,
        /// The tool that made it.
        with: &'static str,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// It is compressed, and comes to more than any trace.
    #[error(
        "{path}: compressed with {with}, and more than {most} bytes when decompressed; decompress it \
             yourself and give the file, if that is meant"
    )]
    TooLarge {
        /// As given.
        path: String,
        /// The tool that made it.
        with: &'static str,
        /// The most that is decompressed.
        most: u64,
    },
    /// A Parquet file cannot be read, or not beyond some row.
    #[error("{path}:{row}: a Parquet file, damaged or cut short at this row: {why}")]
    BadParquet {
        /// As given.
        path: String,
        /// The first row that cannot be read, from 1.
        row: u64,
        /// What the decoder says.
        why: String,
    },
    /// A Parquet file is taken to be in a format whose rows are no columns.
    #[error(
        "{path}: a Parquet file; expected rows of tics, mooncake, qwen or prompts as its columns, not \
             of {format}"
    )]
    NoColumns {
        /// As given.
        path: String,
        /// The format that it was taken to be in.
        format: crate::Format,
    },
    /// A Parquet file without a column that belongs to a trace.
    #[error(
        "{path}: a Parquet file without a column of a trace: expected timestamp_ns, input_length, \
             output_length and so on, found {found}; --field OURS=THEIRS names others"
    )]
    OtherColumns {
        /// As given.
        path: String,
        /// Names of its columns, shortened.
        found: String,
    },
    /// A column of a Parquet file holds something that is no field.
    #[error("{path}: the column \"{column}\": expected numbers, texts or lists of numbers, found {found}")]
    Column {
        /// As given.
        path: String,
        /// Name of the column.
        column: String,
        /// What it holds.
        found: String,
    },
    /// A column of a Parquet file is compressed by something else than snappy or gzip.
    #[error(
        "{path}: the column \"{column}\" is compressed with {with}; expected none, snappy or gzip: write \
             the file again with compression=\"snappy\""
    )]
    Packed {
        /// As given.
        path: String,
        /// Name of the column.
        column: String,
        /// How it is compressed.
        with: String,
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
    /// A folder without a file that can be read.
    #[error(
        "{path}: no trace in this folder: expected ServeGen's files chunk-<i>-trace.csv, each with its \
             chunk-<i>-dataset.json"
    )]
    NoChunk {
        /// As given.
        path: String,
    },
    /// A file of ServeGen's under another name.
    #[error(
        "{path}: parameters of ServeGen; expected a file chunk-<i>-trace.csv beside its \
             chunk-<i>-dataset.json, or the folder of such files"
    )]
    ChunkName {
        /// As given.
        path: String,
    },
    /// Every row was left out.
    #[error("{path}: no request to send: {why}")]
    NothingLeft {
        /// As given.
        path: String,
        /// Why they were left out, and what can be done.
        why: String,
    },
    /// A field was to have another name, but the format has no such field.
    #[error(
        "{path}: the format {format} has no field \"{field}\" that could have another name; it has {known}"
    )]
    UnknownField {
        /// As given.
        path: String,
        /// The file's format.
        format: crate::Format,
        /// Our name of the field.
        field: String,
        /// Names that it has.
        known: String,
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
    /// The sample is so small that nothing is in it.
    #[error("{path}: no request in so small a sample; take a larger share, or another seed")]
    EmptySample {
        /// As given.
        path: String,
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
