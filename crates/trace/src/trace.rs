//! A trace file that has been validated, and its rows.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use tics_record::{Download, TraceSource};

use crate::error::{Fault, TraceError};
use crate::format::Format;
use crate::index::{Index, Pass, Plan, index};
use crate::open::OpenOptions;
use crate::prepare::{Prepared, check_fields};
use crate::row::Row;
use crate::schedule::Schedule;
use crate::select::Selection;
use crate::servegen;
use crate::source::Source;
use crate::view::RowView;

/// A trace file whose rows are known to be valid. Cheap to clone; holds no rows.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: String,
    download: Option<Download>,
    source: Arc<Source>,
    options: OpenOptions,
    index: Index,
    plan: Plan,
}

impl Trace {
    /// Opens a file and reads it once, validating every row. `-` is standard input, a folder is one of
    /// ServeGen's. What cannot be read twice, or not as it is (a pipe, a file compressed with gzip or
    /// zstd), is spooled to a temporary file first.
    ///
    /// # Errors
    /// The first invalid row (unless those are to be skipped), a file that is no trace or has no
    /// valid row, or one that cannot be read.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Trace, TraceError> {
        if path.as_os_str() == "-" {
            return Trace::read(io::stdin().lock(), "standard input", options);
        }
        let name = path.display().to_string();
        let is_servegen = options.format.is_none_or(|format| format == Format::ServeGen);
        if is_servegen && servegen::is_servegen(path) {
            check_fields(&name, Format::ServeGen, options)?;
            let drawn = servegen::generate(path, &name, &options.servegen)?;
            return Trace::prepared(name, Prepared::rows(drawn, Format::ServeGen), options);
        }
        let source = Source::open(path).map_err(|fault| fault.at(&name))?;
        Trace::from_source(source, name, options)
    }

    /// The same for the local copy of a file that lies elsewhere: its address stands for it in messages and
    /// in the description of a run.
    ///
    /// # Errors
    /// As [`Trace::open`].
    pub fn open_copy(copy: &Path, of: Download, options: &OpenOptions) -> Result<Trace, TraceError> {
        let name = of.url.clone();
        let source = Source::open(copy).map_err(|fault| fault.at(&name))?;
        let prepared = Prepared::new(&name, source, options)?;
        Trace::build(name, Some(of), prepared, options)
    }

    /// The same from a stream, which is spooled; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Trace::open`].
    pub fn read(stream: impl Read, name: &str, options: &OpenOptions) -> Result<Trace, TraceError> {
        let source = Source::spool(stream).map_err(|fault| fault.at(name))?;
        Trace::from_source(source, name.to_owned(), options)
    }

    fn from_source(source: Source, path: String, options: &OpenOptions) -> Result<Trace, TraceError> {
        let prepared = Prepared::new(&path, source, options)?;
        Trace::prepared(path, prepared, options)
    }

    fn prepared(path: String, prepared: Prepared, options: &OpenOptions) -> Result<Trace, TraceError> {
        Trace::build(path, None, prepared, options)
    }

    fn build(
        path: String,
        download: Option<Download>,
        prepared: Prepared,
        options: &OpenOptions,
    ) -> Result<Trace, TraceError> {
        let source = Arc::clone(&prepared.source);
        let (index, plan) = index(&path, prepared, options)?;
        Ok(Trace(Arc::new(Inner { path, download, source, options: options.clone(), index, plan })))
    }

    /// What the index pass found out.
    pub fn index(&self) -> &Index {
        &self.0.index
    }

    /// The file as given; `standard input` for `-`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// For the description of a run.
    pub fn source(&self) -> TraceSource {
        TraceSource {
            path: self.0.path.clone(),
            format: self.index().format.name().to_owned(),
            sha256: self.index().sha256.clone(),
            rows: self.index().rows,
            skipped: self.index().skipped,
            download: self.0.download.clone(),
        }
    }

    /// The valid rows in the order of their times, ties in file order; read again from the file.
    pub fn rows(&self) -> Rows {
        let order = match self.0.plan.order {
            None => Order::Recorded(self.pass()),
            Some(_) => Order::Sorted { next: 0, line: Vec::new() },
        };
        Rows { trace: Arc::clone(&self.0), order, offset: 0 }
    }

    /// The valid rows in the order of the file.
    pub fn rows_as_recorded(&self) -> Rows {
        Rows { trace: Arc::clone(&self.0), order: Order::Recorded(self.pass()), offset: 0 }
    }

    /// The row on `line`, which starts at `offset` in the file; read again from there.
    pub(crate) fn row_at(&self, line: u64, offset: u64) -> Result<Row, TraceError> {
        let (trace, mut text) = (&*self.0, Vec::new());
        let read = read_line(&trace.source, offset, &mut text);
        read.map_err(|source| TraceError::Read { path: trace.path.clone(), source })?;
        let row = trace.plan.decoder.read(&text);
        let row = row.map_err(|fault| TraceError::Row { path: trace.path.clone(), line, fault })?;
        match trace.plan.settled.apply(row, line, &trace.options) {
            Some(row) => Ok(row.to_row(line, trace.plan.origin)),
            None => Err(TraceError::Changed { path: trace.path.clone(), expected: 1, found: 0 }),
        }
    }

    /// The schedule of a part of the trace.
    ///
    /// # Errors
    /// When no request lies in the window, or the file can no longer be read.
    pub fn schedule(&self, selection: &Selection) -> Result<Schedule, TraceError> {
        Schedule::of_trace(self, selection)
    }

    fn pass(&self) -> Box<Pass> {
        Box::new(Pass::new(&self.0.source, &self.0.plan))
    }
}

/// Rows of a trace, read from its file as they are asked for.
pub struct Rows {
    trace: Arc<Inner>,
    order: Order,
    /// Where the last row starts.
    offset: u64,
}

enum Order {
    Recorded(Box<Pass>),
    Sorted { next: usize, line: Vec<u8> },
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("path", &self.trace.path).finish_non_exhaustive()
    }
}

/// What reading one row came to.
enum Step<T> {
    Row(T),
    /// Not a row of the index pass.
    Skip,
    Bad(u64, Fault),
}

impl Rows {
    /// Where the last row starts, in bytes from the start of the file.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Hands the next valid row to `take` without copying it: line, row, zero of its time.
    pub(crate) fn next_with<T>(
        &mut self,
        mut take: impl FnMut(u64, RowView<'_>, u64) -> T,
    ) -> Option<Result<T, TraceError>> {
        loop {
            return Some(Ok(match self.step(&mut take) {
                Ok(Some(Step::Row(row))) => row,
                Ok(Some(Step::Skip)) => continue,
                Ok(Some(Step::Bad(..))) if self.trace.options.skip_bad_rows => continue,
                Ok(Some(Step::Bad(line, fault))) => {
                    return Some(Err(TraceError::Row { path: self.trace.path.clone(), line, fault }));
                }
                Ok(None) => return None,
                Err(source) => return Some(Err(TraceError::Read { path: self.trace.path.clone(), source })),
            }));
        }
    }

    fn step<T>(&mut self, take: &mut impl FnMut(u64, RowView<'_>, u64) -> T) -> io::Result<Option<Step<T>>> {
        let trace = &*self.trace;
        let mut handle = |line: u64, row: Result<RowView<'_>, Fault>| match row {
            Err(fault) => Step::Bad(line, fault),
            Ok(row) => match trace.plan.settled.apply(row, line, &trace.options) {
                None => Step::Skip,
                Some(row) => Step::Row(take(line, row, trace.plan.origin)),
            },
        };
        let offset = &mut self.offset;
        match &mut self.order {
            Order::Recorded(pass) => pass.next_with(|line, row| {
                *offset = line.offset;
                handle(line.number, row)
            }),
            Order::Sorted { next, line } => {
                let Some(entry) = trace.plan.order.as_ref().and_then(|order| order.get(*next)) else {
                    return Ok(None);
                };
                *next += 1;
                *offset = entry.offset;
                read_line(&trace.source, entry.offset, line)?;
                Ok(Some(handle(entry.line, trace.plan.decoder.read(line))))
            }
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(|line, row, origin| row.to_row(line, origin))
    }
}

/// The line that starts at `offset`, as [`Lines`](crate::lines::Lines) would give it.
fn read_line(source: &Source, offset: u64, line: &mut Vec<u8>) -> io::Result<()> {
    const STEP: usize = 4096;
    line.clear();
    loop {
        let have = line.len();
        line.resize(have + STEP.max(have), 0);
        let n = source.read_at(&mut line[have..], offset + have as u64)?;
        line.truncate(have + n);
        if let Some(end) = memchr::memchr(b'\n', &line[have..]) {
            line.truncate(have + end);
        } else if n > 0 {
            continue;
        }
        break;
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if offset == 0 && line.starts_with(b"\xEF\xBB\xBF") {
        line.drain(..3);
    }
    Ok(())
}
