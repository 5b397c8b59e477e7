//! Writes rows in a format.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;
use tics_record::Nanos;

use crate::decimal::{MILLIS, SECONDS, format_decimal};
use crate::row::{Id, RawJson, Row};

/// A format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFormat {
    /// Tics' own rows: hold everything that a [`Row`] holds.
    Tics,
    /// Mooncake: times, lengths, blocks of 512 tokens, session and delay.
    Mooncake,
    /// Qwen-Bailian: times, lengths, blocks of 16 tokens, ids with parents, kinds and turns.
    Qwen,
}

/// Writes rows, one a line.
#[derive(Debug)]
pub struct RowWriter<W> {
    format: WriteFormat,
    output: W,
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
        RowWriter { format, output }
    }

    /// Writes one row. What the format cannot hold is left out.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        let line = match self.format {
            WriteFormat::Tics => tics(row)?,
            WriteFormat::Mooncake => mooncake(row)?,
            WriteFormat::Qwen => qwen(row)?,
        };
        serde_json::to_writer(&mut self.output, &line)?;
        self.output.write_all(b"\n")
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
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
        hash_ids: blocks_of(row, 512),
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
        hash_ids: blocks_of(row, 16),
        ..common(row)
    })
}

/// The blocks of a format with one block size; blocks of another size would be false there.
fn blocks_of(row: &Row, size: u32) -> Option<&[u64]> {
    row.hash_ids.as_deref().filter(|_| row.block_size == Some(size))
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
