//! Before the index pass: the format recognised, and what is not made of lines rewritten as rows.

use std::sync::Arc;

use crate::error::{TraceError, shorten};
use crate::format::Format;
use crate::lines::Lines;
use crate::open::OpenOptions;
use crate::parquet::{self, Rewritten};
use crate::sharegpt;
use crate::source::Source;

/// Messages kept of rows that were skipped.
const KEPT_MESSAGES: usize = 5;

/// Rows looked at to recognise the format: the first may be bad.
const LOOKED_AT: usize = 16;

/// What is known of a file that was rewritten as our own rows.
#[derive(Debug, Default)]
pub(crate) struct Original {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) skipped: Skipped,
    pub(crate) empty_conversations: u64,
}

/// Rows that are not valid and are left out.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    pub(crate) count: u64,
    /// Messages of the first few.
    pub(crate) messages: Vec<String>,
}

impl Skipped {
    pub(crate) fn add(&mut self, error: &TraceError) {
        self.count += 1;
        if self.messages.len() < KEPT_MESSAGES {
            self.messages.push(error.to_string());
        }
    }
}

/// First line that is not blank.
pub(crate) struct First {
    pub(crate) number: u64,
    pub(crate) text: String,
}

/// A file whose rows are lines, and their format.
pub(crate) struct Prepared {
    pub(crate) source: Arc<Source>,
    pub(crate) format: Format,
    pub(crate) first: First,
    pub(crate) original: Option<Original>,
    /// Fields that have another name in the rows: the caller's, and those that the file implies.
    pub(crate) fields: Vec<(String, String)>,
}

impl Prepared {
    /// Recognises the format, and rewrites what is not made of lines.
    pub(crate) fn new(path: &str, source: Source, options: &OpenOptions) -> Result<Prepared, TraceError> {
        let source = Arc::new(source);
        if parquet::is_parquet(&source)
            .map_err(|source| TraceError::Read { path: path.to_owned(), source })?
        {
            return Prepared::columns(path, &source, options);
        }
        let (format, first) = recognise(path, &source, options)?;
        check_fields(path, format, options)?;
        match format {
            Format::ServeGen => Err(TraceError::ChunkName { path: path.to_owned() }),
            Format::ShareGpt => {
                let (rewritten, original) = sharegpt::rewrite(path, &source, options)?;
                Ok(Prepared { original: Some(original), ..Prepared::rows(rewritten, format) })
            }
            _ => Ok(Prepared { source, format, first, original: None, fields: options.fields.clone() }),
        }
    }

    /// The rows of a Parquet file, in whatever format their names are.
    fn columns(path: &str, source: &Arc<Source>, options: &OpenOptions) -> Result<Prepared, TraceError> {
        let Rewritten { lines, original, fields } = parquet::rewrite(path, source, options)?;
        let lines = Arc::new(lines);
        let mut options = options.clone();
        options.fields.extend(fields);
        let found = recognise(path, &lines, &options);
        if let (Err(TraceError::Empty { .. }), Some(first)) = (&found, original.skipped.messages.first()) {
            return Err(TraceError::NoValidRow { skipped: original.skipped.count, first: first.clone() });
        }
        let (format, first) = found?;
        check_fields(path, format, &options)?;
        Ok(Prepared { source: lines, format, first, original: Some(original), fields: options.fields })
    }

    /// Our own rows, made from another format.
    pub(crate) fn rows(source: Source, format: Format) -> Prepared {
        let first = First { number: 1, text: String::new() };
        Prepared { source: Arc::new(source), format, first, original: None, fields: Vec::new() }
    }
}

/// Fields with another name must be fields of the format.
pub(crate) fn check_fields(path: &str, format: Format, options: &OpenOptions) -> Result<(), TraceError> {
    let known = format.field_names();
    match options.fields.iter().find(|(ours, _)| !known.contains(&&**ours)) {
        None => Ok(()),
        Some((field, _)) => Err(TraceError::UnknownField {
            path: path.to_owned(),
            format,
            field: field.clone(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        }),
    }
}

/// The format, by the first rows or as forced.
fn recognise(path: &str, source: &Arc<Source>, options: &OpenOptions) -> Result<(Format, First), TraceError> {
    let failed = |source| TraceError::Read { path: path.to_owned(), source };
    let path = || path.to_owned();
    let mut lines = Lines::new(source.reader());
    let mut first: Option<First> = None;
    let mut format = options.format;
    let mut seen = 0;
    while seen < LOOKED_AT {
        let Some(line) = lines.next_line().map_err(failed)? else { break };
        if line.bytes.contains(&0) {
            return Err(TraceError::Binary { path: path(), line: line.number });
        }
        let text = String::from_utf8_lossy(line.bytes);
        let trimmed = text.trim();
        if trimmed.is_empty() {
            continue;
        }
        seen += 1;
        // The one format that is an array need not have its first element on the same line.
        let opens_array = seen == 1 && trimmed.starts_with('[');
        format = format.or_else(|| opens_array.then_some(Format::ShareGpt));
        format = format.or_else(|| Format::detect_with(trimmed, options));
        first.get_or_insert_with(|| First { number: line.number, text: text.into_owned() });
        if format.is_some() {
            break;
        }
    }
    let Some(first) = first else { return Err(TraceError::Empty { path: path() }) };
    match format {
        Some(format) => Ok((format, first)),
        None => Err(TraceError::Unrecognised {
            path: path(),
            line: first.number,
            known: Format::names(),
            found: shorten(first.text.trim()),
        }),
    }
}
