//! A Parquet file as JSON lines.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Arc;
use std::thread;

use ::parquet::basic::Compression;
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader};
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::schema::types::SchemaDescriptor;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::cells::{Column, Kind, Shape};
use super::{TEXTS, TIMES};
use crate::dialect::{Dialect, MOONCAKE, PROMPTS, QWEN, TICS};
use crate::error::{Fault, TraceError, shorten};
use crate::format::Format;
use crate::open::OpenOptions;
use crate::prepare::Original;
use crate::source::Source;
use crate::view::Field;

/// Rows taken at a time: what is in memory are so many cells of each column, and a page of each.
const BATCH: u64 = 256;

/// Name of the thread on which a panic means that a file is damaged, which is then said as for any other: a
/// panic hook need not speak of it.
pub const GUARDED_THREAD: &str = "tics-parquet";

/// The formats whose rows can be columns.
const DIALECTS: [&Dialect; 4] = [&TICS, &MOONCAKE, &QWEN, &PROMPTS];

/// Whether a file begins like one.
pub(crate) fn is_parquet(source: &Source) -> io::Result<bool> {
    let mut head = [0; 4];
    let n = source.read_at(&mut head, 0)?;
    Ok(head[..n] == *b"PAR1" || head[..n] == *b"PARE")
}

/// A Parquet file, rewritten.
pub(crate) struct Rewritten {
    pub(crate) lines: Source,
    pub(crate) original: Original,
    /// Fields that have another name in the lines, beside those that the caller knows of.
    pub(crate) fields: Vec<(String, String)>,
}

/// Rewrites the rows as JSON lines; a row that is not valid as an empty one, where such are skipped.
pub(crate) fn rewrite(
    path: &str,
    source: &Arc<Source>,
    options: &OpenOptions,
) -> Result<Rewritten, TraceError> {
    if let Some(format) = options.format
        && !matches!(format, Format::Tics | Format::Mooncake | Format::Qwen | Format::Prompts)
    {
        return Err(TraceError::NoColumns { path: path.to_owned(), format });
    }
    let failed = |source| TraceError::Read { path: path.to_owned(), source };
    let (bytes, sha256) = digest(source).map_err(failed)?;
    let file = tempfile::tempfile().map_err(failed)?;
    let mut rewriter = Rewriter {
        path,
        options,
        output: BufWriter::with_capacity(256 * 1024, file),
        row: 0,
        original: Original { bytes, sha256, ..Original::default() },
    };
    let fields = rewriter.guarded(source)?;
    let Rewriter { output, original, .. } = rewriter;
    let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(Rewritten { lines: Source::written(file), original, fields })
}

/// Number of bytes, and their hash in hexadecimal.
fn digest(source: &Arc<Source>) -> io::Result<(u64, String)> {
    let (mut reader, mut hasher, mut bytes) = (source.reader(), Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        bytes += n as u64;
    }
    Ok((bytes, format!("{:x}", hasher.finalize())))
}

/// What is read of a file: which of its columns, and as what.
struct Wanted {
    leaf: usize,
    name: String,
    key: String,
    kind: Kind,
    shape: Shape,
}

struct Rewriter<'a> {
    path: &'a str,
    options: &'a OpenOptions,
    output: BufWriter<File>,
    /// The last row begun, from 1.
    row: u64,
    original: Original,
}

impl Rewriter<'_> {
    /// Reads the file on a thread of its own: the library asserts some things of a file that a damaged one
    /// may break, and that is no more than an error here.
    fn guarded(&mut self, source: &Arc<Source>) -> Result<Vec<(String, String)>, TraceError> {
        let result = thread::scope(|scope| {
            let work = || self.file(source);
            let thread = thread::Builder::new().name(GUARDED_THREAD.to_owned()).spawn_scoped(scope, work);
            thread.map(thread::ScopedJoinHandle::join)
        });
        match result {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(self.damaged(&"it contradicts itself")),
            Err(source) => Err(TraceError::Read { path: self.path.to_owned(), source }),
        }
    }

    fn file(&mut self, source: &Arc<Source>) -> Result<Vec<(String, String)>, TraceError> {
        let size = source.len().map_err(|e| self.damaged(&e))?;
        let chunks = Chunks { source: Arc::clone(source), size };
        let file = SerializedFileReader::new(chunks).map_err(|e| self.damaged(&e))?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let wanted = self.wanted(&schema)?;
        for number in 0..file.num_row_groups() {
            let group = file.get_row_group(number).map_err(|e| self.damaged(&e))?;
            self.group(&*group, &wanted)?;
        }
        self.output.flush().map_err(|source| TraceError::Read { path: self.path.to_owned(), source })?;
        Ok(self.aliases(&wanted))
    }

    /// The columns that some format has a field for.
    fn wanted(&self, schema: &SchemaDescriptor) -> Result<Vec<Wanted>, TraceError> {
        let mut wanted = Vec::new();
        for (leaf, column) in schema.columns().iter().enumerate() {
            let root = schema.get_column_root(leaf);
            let name = root.name();
            let key = TEXTS.iter().find(|(text, _)| *text == name).map_or(name, |(_, field)| field);
            if !self.is_field(name) {
                continue;
            }
            let unfit = |found: &str| TraceError::Column {
                path: self.path.to_owned(),
                column: name.to_owned(),
                found: found.to_owned(),
            };
            let shape = Shape::of(column, root).ok_or_else(|| unfit("columns within a column"))?;
            let kind = Kind::of(column, self.is_json(name)).map_err(|found| unfit(&found))?;
            wanted.push(Wanted { leaf, name: name.to_owned(), key: key.to_owned(), kind, shape });
        }
        if wanted.is_empty() {
            let names: Vec<&str> =
                schema.root_schema().get_fields().iter().map(|field| field.name()).collect();
            let found = shorten(&names.join(", "));
            return Err(TraceError::OtherColumns { path: self.path.to_owned(), found });
        }
        Ok(wanted)
    }

    /// Whether a column is read: it has the name of a field, or one that the user gave.
    fn is_field(&self, name: &str) -> bool {
        let ours = TIMES.iter().chain(&TEXTS).any(|(column, _)| *column == name);
        let theirs = self.options.fields.iter().any(|(_, theirs)| theirs == name);
        let known = DIALECTS.iter().flat_map(|dialect| dialect.names).any(|(known, _)| *known == name);
        ours || theirs || known
    }

    /// Whether the texts of a column are JSON.
    fn is_json(&self, name: &str) -> bool {
        let renamed = self.options.fields.iter().rfind(|(_, theirs)| theirs == name);
        let name = renamed.map_or(name, |(ours, _)| ours);
        DIALECTS
            .iter()
            .flat_map(|dialect| dialect.names)
            .any(|(known, field)| *known == name && matches!(field, Field::Messages | Field::Payload))
    }

    /// Our own columns of times, where the field itself is not there and the user did not name another.
    fn aliases(&self, wanted: &[Wanted]) -> Vec<(String, String)> {
        let there = |name: &str| wanted.iter().any(|column| column.name == name);
        let named = |field: &str| self.options.fields.iter().any(|(ours, _)| ours == field);
        let is_ours = self.options.format.is_none_or(|format| format == Format::Tics)
            && (there(TIMES[0].0) || there(TIMES[0].1));
        TIMES
            .into_iter()
            .filter(|(column, field)| is_ours && there(column) && !there(field) && !named(field))
            .map(|(column, field)| (field.to_owned(), column.to_owned()))
            .collect()
    }

    fn group(&mut self, group: &dyn RowGroupReader, wanted: &[Wanted]) -> Result<(), TraceError> {
        let metadata = group.metadata();
        let rows = u64::try_from(metadata.num_rows()).map_err(|e| self.damaged(&e))?;
        let mut columns = Vec::with_capacity(wanted.len());
        for Wanted { leaf, name, key, kind, shape } in wanted {
            let chunk = metadata.column(*leaf);
            // The library asserts that none of these is negative.
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            if start < 0 || chunk.compressed_size() < 0 {
                return Err(self.damaged(&format!("the column {name} has no place in it")));
            }
            let packing = chunk.compression();
            if !matches!(packing, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_)) {
                let with = packing.to_string();
                return Err(TraceError::Packed {
                    path: self.path.to_owned(),
                    column: name.clone(),
                    with: with.split('(').next().unwrap_or(&with).to_owned(),
                });
            }
            let reader = group.get_column_reader(*leaf).map_err(|e| self.damaged(&e))?;
            let column = Column::new(name, key, *kind, *shape, reader)
                .ok_or_else(|| self.damaged(&"a column has another type than the file says"))?;
            columns.push(column);
        }
        let mut left = rows;
        while left > 0 {
            let n = left.min(BATCH);
            for column in &mut columns {
                column.read(n as usize).map_err(|e| self.damaged(&e))?;
            }
            self.batch(n, &mut columns)?;
            left -= n;
        }
        Ok(())
    }

    fn batch(&mut self, rows: u64, columns: &mut [Column]) -> Result<(), TraceError> {
        let mut line = String::new();
        for _ in 0..rows {
            self.row += 1;
            line.clear();
            line.push('{');
            let mut result = Ok(());
            for column in &mut *columns {
                result = result.and(column.take(&mut line));
            }
            if let Err(fault) = result {
                line.clear();
                self.skip(fault)?;
            } else {
                line.push('}');
            }
            line.push('\n');
            self.output
                .write_all(line.as_bytes())
                .map_err(|source| TraceError::Read { path: self.path.to_owned(), source })?;
        }
        Ok(())
    }

    fn skip(&mut self, fault: Fault) -> Result<(), TraceError> {
        let error = TraceError::Row { path: self.path.to_owned(), line: self.row, fault };
        if !self.options.skip_bad_rows {
            return Err(error);
        }
        self.original.skipped.add(&error);
        Ok(())
    }

    /// The file cannot be read on, behind the last row that could.
    fn damaged(&self, why: &impl ToString) -> TraceError {
        let why = why.to_string();
        // What the library says begins with the sort of its error, and may have lines.
        let why = why.split_once(": ").filter(|(sort, _)| sort.len() < 20).map_or(&*why, |(_, rest)| rest);
        TraceError::BadParquet {
            path: self.path.to_owned(),
            row: self.row + 1,
            why: why.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

/// The file, as the library reads it.
struct Chunks {
    source: Arc<Source>,
    size: u64,
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<crate::source::SourceReader>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        // Page heads are small, and one is read at a time.
        Ok(BufReader::with_capacity(1 << 10, self.source.reader_from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // Before memory is taken for what a damaged file says.
        if start.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.size)));
        }
        let mut bytes = vec![0; length];
        self.source.reader_from(start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}
