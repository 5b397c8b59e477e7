//! Writes rows in a format.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::Serialize;
use serde_json::value::RawValue;
use tics_record::Nanos;

use crate::decimal::{MILLIS, SECONDS, format_decimal};
use crate::parquet::Columns;
use crate::row::{Id, RawJson, Row};

/// A format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFormat {
    /// Tics' own rows: hold everything that a [`Row`] holds.
    Tics,
    /// Mooncake: times, lengths, blocks of 512 tokens, session and delay, messages, bodies.
    Mooncake,
    /// Qwen-Bailian: times, lengths, blocks of 16 tokens, ids with parents, kinds and turns.
    Qwen,
    /// Parquet: the fields of our own rows as columns.
    Parquet,
}

impl WriteFormat {
    /// All of them.
    pub const ALL: [WriteFormat; 4] =
        [WriteFormat::Tics, WriteFormat::Mooncake, WriteFormat::Qwen, WriteFormat::Parquet];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            WriteFormat::Tics => "tics",
            WriteFormat::Mooncake => "mooncake",
            WriteFormat::Qwen => "qwen",
            WriteFormat::Parquet => "parquet",
        }
    }

    /// Tokens in its blocks, where they all have the same size.
    const fn block_size(self) -> Option<u32> {
        match self {
            WriteFormat::Tics | WriteFormat::Parquet => None,
            WriteFormat::Mooncake => Some(512),
            WriteFormat::Qwen => Some(16),
        }
    }

    /// Whether the row can be written so that it can be read again: a row whose length is not known
    /// needs its text.
    pub fn can_hold(self, row: &Row) -> bool {
        let holds_text = match self {
            WriteFormat::Tics | WriteFormat::Parquet => true,
            WriteFormat::Mooncake => row.messages.is_some() || row.payload.is_some(),
            WriteFormat::Qwen => false,
        };
        row.input_length > 0 || holds_text
    }

    /// Names of the fields, as in our own rows, that the row has and the format has no place for.
    pub fn drops(self, row: &Row) -> impl Iterator<Item = &'static str> + use<> {
        let other_blocks = row.hash_ids.is_some() && blocks_of(row, self.block_size()).is_none();
        let (mooncake, qwen) = (self == WriteFormat::Mooncake, self == WriteFormat::Qwen);
        [
            ("hash_ids", other_blocks),
            ("id", mooncake && row.id.is_some()),
            ("parent", mooncake && row.parent.is_some()),
            ("session_id", qwen && row.session.is_some()),
            ("delay_s", qwen && row.delay.is_some()),
            ("type", mooncake && row.kind.is_some()),
            ("turn", mooncake && row.turn.is_some()),
            ("prompt", (mooncake || qwen) && row.prompt.is_some()),
            ("messages", qwen && row.messages.is_some()),
            ("payload", qwen && row.payload.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, dropped)| dropped.then_some(name))
    }
}

impl fmt::Display for WriteFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WriteFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = WriteFormat::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| {
            let known = WriteFormat::ALL.map(WriteFormat::name).join(", ");
            format!("no format of this name that can be written; there are {known}")
        })
    }
}

/// Writes rows, one a line, or as columns.
#[derive(Debug)]
pub struct RowWriter<W> {
    format: WriteFormat,
    output: W,
    /// Rows that wait to be columns, once there was one.
    columns: Option<Box<Columns>>,
}

/// A row in any of the formats: what is `None` is left out.
#[derive(Default, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_id: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_chat_id: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_s: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_length: Option<u32>,
    output_length: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_s: Option<Box<RawValue>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash_ids: Option<&'a [u64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawJson>,
}

impl<W: Write> RowWriter<W> {
    /// Writes rows in the format `format` to `output`.
    pub fn new(format: WriteFormat, output: W) -> Self {
        RowWriter { format, output, columns: None }
    }

    /// Writes one row. What the format cannot hold is left out. Columns are written some megabytes at a time.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        let line = match self.format {
            WriteFormat::Tics => tics(row)?,
            WriteFormat::Mooncake => mooncake(row)?,
            WriteFormat::Qwen => qwen(row)?,
            WriteFormat::Parquet => {
                let (columns, output) = self.columns()?;
                return columns.write(row, output);
            }
        };
        serde_json::to_writer(&mut self.output, &line)?;
        self.output.write_all(b"\n")
    }

    fn columns(&mut self) -> io::Result<(&mut Columns, &mut W)> {
        if self.columns.is_none() {
            self.columns = Some(Box::new(Columns::new()?));
        }
        // It was put there just now, if it was not there before.
        let columns = self.columns.as_mut().ok_or_else(|| io::Error::other("no columns"))?;
        Ok((columns, &mut self.output))
    }

    /// Writes what is left and gives the output back.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        if self.format == WriteFormat::Parquet {
            self.columns()?;
            if let Some(columns) = self.columns.take() {
                columns.finish(&mut self.output)?;
            }
        }
        self.output.flush()?;
        Ok(self.output)
    }
}

fn tics(row: &Row) -> io::Result<Line<'_>> {
    Ok(Line {
        timestamp_s: Some(number(row.at, SECONDS, 0)?),
        id: row.id.as_ref(),
        parent: row.parent.as_ref(),
        delay_s: row.delay.map(|delay| number(delay, SECONDS, 0)).transpose()?,
        kind: row.kind.as_deref(),
        turn: row.turn,
        session_id: row.session.as_deref(),
        block_size: row.block_size,
        hash_ids: row.hash_ids.as_deref(),
        prompt: row.prompt.as_deref(),
        messages: row.messages.as_ref(),
        payload: row.payload.as_ref(),
        ..common(row)
    })
}

fn mooncake(row: &Row) -> io::Result<Line<'_>> {
    Ok(Line {
        timestamp: Some(number(row.at, MILLIS, 0)?),
        delay: row.delay.map(|delay| number(delay, MILLIS, 0)).transpose()?,
        session_id: row.session.as_deref(),
        hash_ids: blocks_of(row, Some(512)),
        messages: row.messages.as_ref(),
        payload: row.payload.as_ref(),
        ..common(row)
    })
}

fn qwen(row: &Row) -> io::Result<Line<'_>> {
    const ROOT: &Id = &Id::Number(-1);
    Ok(Line {
        // The published files write whole seconds with one zero behind the point.
        timestamp: Some(number(row.at, SECONDS, 1)?),
        chat_id: row.id.as_ref(),
        // Always there: it tells the format, and with it the unit of the times.
        parent_chat_id: Some(row.parent.as_ref().unwrap_or(ROOT)),
        kind: row.kind.as_deref(),
        turn: row.turn,
        hash_ids: blocks_of(row, Some(16)),
        ..common(row)
    })
}

/// The blocks of a format with one block size; blocks of another size would be false there.
fn blocks_of(row: &Row, size: Option<u32>) -> Option<&[u64]> {
    row.hash_ids.as_deref().filter(|_| size.is_none() || row.block_size == size)
}

fn common(row: &Row) -> Line<'_> {
    Line {
        input_length: (row.input_length > 0).then_some(row.input_length),
        output_length: row.output_length,
        ..Line::default()
    }
}

/// A time as the exact decimal.
fn number(span: Nanos, places: u32, least: usize) -> io::Result<Box<RawValue>> {
    Ok(RawValue::from_string(format_decimal(span.as_nanos(), places, least))?)
}
