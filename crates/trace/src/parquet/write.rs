//! Rows as the columns of a Parquet file.

use std::io;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;

use crate::row::{Id, RawJson, Row};

/// The columns, in the order in which [`Columns::flush`] writes them.
const SCHEMA: &str = "
message trace {
  required int64 timestamp_ns (INTEGER(64,false));
  optional int32 input_length (INTEGER(32,false));
  required int32 output_length (INTEGER(32,false));
  optional group hash_ids (LIST) { repeated group list { required int64 element (INTEGER(64,false)); } }
  optional int32 block_size (INTEGER(32,false));
  optional int64 id;
  optional binary id_text (STRING);
  optional int64 parent;
  optional binary parent_text (STRING);
  optional binary session_id (STRING);
  optional int64 delay_ns (INTEGER(64,false));
  optional binary type (STRING);
  optional int32 turn (INTEGER(32,false));
  optional binary prompt (STRING);
  optional binary messages (STRING);
  optional binary payload (STRING);
}";

/// A row group has at most so many rows, and about so many bytes: what is in memory until it is written.
const GROUP_ROWS: usize = 1 << 16;
const GROUP_BYTES: usize = 16 << 20;

/// Gathers rows and writes them a row group at a time.
pub(crate) struct Columns {
    /// What it wrote and nobody took yet.
    writer: SerializedFileWriter<Vec<u8>>,
    rows: Vec<Row>,
    bytes: usize,
}

impl std::fmt::Debug for Columns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Columns").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

impl Columns {
    pub(crate) fn new() -> io::Result<Columns> {
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // Of a whole group: nobody looks for pages by their least text.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("tics version ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties));
        Ok(Columns { writer: writer.map_err(failed)?, rows: Vec::new(), bytes: 0 })
    }

    /// Takes a row; what could be written by then goes to `output`.
    pub(crate) fn write(&mut self, row: &Row, output: &mut impl io::Write) -> io::Result<()> {
        let texts = [row.prompt.as_deref(), row.messages.as_ref().map(RawJson::as_str)];
        let texts = texts.into_iter().chain([row.payload.as_ref().map(RawJson::as_str)]);
        self.bytes += texts.flatten().map(str::len).sum::<usize>();
        self.bytes += row.hash_ids.as_ref().map_or(0, |ids| 8 * ids.len()) + size_of::<Row>();
        self.rows.push(row.clone());
        if self.rows.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.flush(output)?;
        }
        Ok(())
    }

    /// Writes the last rows and the directory of them all.
    pub(crate) fn finish(mut self, output: &mut impl io::Write) -> io::Result<()> {
        if !self.rows.is_empty() {
            self.flush(output)?;
        }
        self.writer.finish().map_err(failed)?;
        self.hand_over(output)
    }

    fn flush(&mut self, output: &mut impl io::Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let mut group = self.writer.next_row_group().map_err(failed)?;
        write_group(&mut group, &rows).and_then(|()| group.close()).map_err(failed)?;
        self.hand_over(output)
    }

    /// The library counts what it wrote by itself, so that the buffer can be emptied behind its back.
    fn hand_over(&mut self, output: &mut impl io::Write) -> io::Result<()> {
        self.writer.flush()?;
        let written = self.writer.inner_mut();
        output.write_all(written)?;
        written.clear();
        Ok(())
    }
}

fn write_group(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, rows: &[Row]) -> Result<(), ParquetError> {
    let mut next = Next(group);
    next.i64s(rows, |row| Some(row.at.as_nanos().cast_signed()), Never)?;
    next.i32s(rows, |row| (row.input_length > 0).then_some(row.input_length), Maybe)?;
    next.i32s(rows, |row| Some(row.output_length), Never)?;
    next.lists(rows)?;
    next.i32s(rows, |row| row.block_size, Maybe)?;
    for id in [|row: &Row| row.id.clone(), |row: &Row| row.parent.clone()] {
        let number = |row: &Row| if let Some(Id::Number(n)) = id(row) { Some(n) } else { None };
        let text =
            |row: &Row| if let Some(Id::Text(text)) = id(row) { Some(text.as_str().into()) } else { None };
        next.i64s(rows, number, Maybe)?;
        next.texts(rows, text)?;
    }
    next.texts(rows, |row| row.session.as_deref().map(ByteArray::from))?;
    next.i64s(rows, |row| row.delay.map(|delay| delay.as_nanos().cast_signed()), Maybe)?;
    next.texts(rows, |row| row.kind.as_deref().map(ByteArray::from))?;
    next.i32s(rows, |row| row.turn, Maybe)?;
    next.texts(rows, |row| row.prompt.as_deref().map(ByteArray::from))?;
    next.texts(rows, |row| row.messages.as_ref().map(|json| json.as_str().into()))?;
    next.texts(rows, |row| row.payload.as_ref().map(|json| json.as_str().into()))
}

/// Whether a column may be null.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Maybe,
    Never,
}
use Null::{Maybe, Never};

/// The columns of a row group, one after the other.
struct Next<'a, 'b>(&'a mut SerializedRowGroupWriter<'b, Vec<u8>>);

impl Next<'_, '_> {
    fn column(
        &mut self,
        write: impl FnOnce(&mut ColumnWriter<'_>) -> Result<usize, ParquetError>,
    ) -> Result<(), ParquetError> {
        let column = self.0.next_column()?;
        let mut column = column.ok_or_else(|| ParquetError::General("no such column".to_owned()))?;
        write(column.untyped())?;
        column.close()
    }

    fn i32s(
        &mut self,
        rows: &[Row],
        of: impl Fn(&Row) -> Option<u32>,
        null: Null,
    ) -> Result<(), ParquetError> {
        let (values, levels) = taken(rows, |row| of(row).map(u32::cast_signed));
        self.column(|column| match column {
            ColumnWriter::Int32ColumnWriter(writer) => {
                writer.write_batch(&values, (null == Maybe).then_some(&levels), None)
            }
            _ => Err(other_type()),
        })
    }

    fn i64s(
        &mut self,
        rows: &[Row],
        of: impl Fn(&Row) -> Option<i64>,
        null: Null,
    ) -> Result<(), ParquetError> {
        let (values, levels) = taken(rows, of);
        self.column(|column| match column {
            ColumnWriter::Int64ColumnWriter(writer) => {
                writer.write_batch(&values, (null == Maybe).then_some(&levels), None)
            }
            _ => Err(other_type()),
        })
    }

    fn texts(&mut self, rows: &[Row], of: impl Fn(&Row) -> Option<ByteArray>) -> Result<(), ParquetError> {
        let (values, levels) = taken(rows, of);
        self.column(|column| match column {
            ColumnWriter::ByteArrayColumnWriter(writer) => writer.write_batch(&values, Some(&levels), None),
            _ => Err(other_type()),
        })
    }

    /// `hash_ids`: level 0 is no list, 1 an empty one, 2 an element.
    fn lists(&mut self, rows: &[Row]) -> Result<(), ParquetError> {
        let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let ids = row.hash_ids.as_deref();
            if let Some([_, ..]) = ids {
                let ids = ids.unwrap_or_default();
                values.extend(ids.iter().map(|id| id.cast_signed()));
                defined.extend(ids.iter().map(|_| 2));
                repeated.extend((0..ids.len()).map(|at| i16::from(at > 0)));
            } else {
                defined.push(i16::from(ids.is_some()));
                repeated.push(0);
            }
        }
        self.column(|column| match column {
            ColumnWriter::Int64ColumnWriter(writer) => {
                writer.write_batch(&values, Some(&defined), Some(&repeated))
            }
            _ => Err(other_type()),
        })
    }
}

/// The values that there are, and for each row whether there is one.
fn taken<T>(rows: &[Row], of: impl Fn(&Row) -> Option<T>) -> (Vec<T>, Vec<i16>) {
    let mut values = Vec::with_capacity(rows.len());
    let levels = rows.iter().map(|row| {
        let value = of(row);
        let level = i16::from(value.is_some());
        values.extend(value);
        level
    });
    let levels = levels.collect();
    (values, levels)
}

fn other_type() -> ParquetError {
    ParquetError::General("a column has another type than its values".to_owned())
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
