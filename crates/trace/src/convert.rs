//! One format into another, and what is lost on the way.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::TraceError;
use crate::trace::Trace;
use crate::write::{RowWriter, WriteFormat};

/// What a conversion came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Converted {
    /// Rows written.
    pub rows: u64,
    /// Rows that the format cannot hold at all: their length is not known, and it has no place for
    /// their text.
    pub left_out: u64,
    /// Fields that the format has no place for, with the number of rows that had them, in the order in
    /// which they were first met.
    pub dropped: Vec<(&'static str, u64)>,
}

/// Why a trace was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The trace can no longer be read.
    #[error(transparent)]
    Read(#[from] TraceError),
    /// The output cannot be written.
    #[error("cannot write the converted trace")]
    Write(#[source] io::Error),
}

/// Writes all rows of a trace in another format, in the order of its file.
///
/// Nothing is lost that the format can hold: times are exact to the nanosecond, ids and texts stay as
/// they are. Blocks are only held by a format with the same block size.
///
/// # Errors
/// When the trace can no longer be read, or the output not be written.
pub fn convert(trace: &Trace, format: WriteFormat, output: impl Write) -> Result<Converted, ConvertError> {
    let mut writer = RowWriter::new(format, output);
    let mut converted = Converted::default();
    for row in trace.rows_as_recorded() {
        let row = row?;
        if !format.can_hold(&row) {
            converted.left_out += 1;
            continue;
        }
        for field in format.drops(&row) {
            match converted.dropped.iter_mut().find(|(name, _)| *name == field) {
                Some((_, count)) => *count += 1,
                None => converted.dropped.push((field, 1)),
            }
        }
        writer.write(&row).map_err(ConvertError::Write)?;
        converted.rows += 1;
    }
    writer.finish().map_err(ConvertError::Write)?;
    Ok(converted)
}
