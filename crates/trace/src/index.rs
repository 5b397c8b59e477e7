//! The index pass: every row validated once, before the first request; nothing kept per row.

use std::io;
use std::sync::Arc;

use serde::Serialize;
use tics_record::Nanos;

use crate::error::{Fault, TraceError, shorten};
use crate::format::{Decoder, Format};
use crate::lines::{Line, Lines};
use crate::open::OpenOptions;
use crate::source::{Source, SourceReader, compressed_with};
use crate::view::RowView;

/// Messages kept of rows that were skipped.
const KEPT_MESSAGES: usize = 5;

/// Rows looked at to recognise the format: the first may be bad.
const LOOKED_AT: usize = 16;

/// What the index pass found out about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Its format.
    pub format: Format,
    /// SHA-256 of all its bytes, in hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Valid rows.
    pub rows: u64,
    /// Rows skipped as invalid; 0 unless that was asked for.
    pub skipped: u64,
    /// Messages of the first few of them.
    pub first_skipped: Vec<String>,
    /// Sum of the input lengths.
    pub input_tokens: u64,
    /// Sum of the output lengths.
    pub output_tokens: u64,
    /// Longest input, tokens.
    pub max_input_length: u32,
    /// Longest output, tokens.
    pub max_output_length: u32,
    /// Rows with a text of their own that nobody has counted: they are missing in `input_tokens`.
    pub uncounted: u64,
    /// Time of the earliest row.
    #[serde(rename = "start_ns")]
    pub start: Nanos,
    /// Time of the latest row.
    #[serde(rename = "end_ns")]
    pub end: Nanos,
    /// Whether the rows are in the order of their times.
    pub sorted: bool,
    /// Rows on one instant.
    #[serde(flatten)]
    pub bursts: Bursts,
    /// Rows with prefix blocks.
    pub rows_with_blocks: u64,
    /// Rows whose number of blocks is not `ceil(input_length / block_size)`.
    pub block_mismatches: u64,
}

impl Index {
    /// From the earliest row to the latest.
    pub fn span(&self) -> Nanos {
        self.end.saturating_minus(self.start)
    }
}

/// How rows share instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Bursts {
    /// Distinct times.
    pub distinct_times: u64,
    /// Most rows on one time.
    pub largest_burst: u64,
    /// That time; the first of them.
    #[serde(rename = "largest_burst_at_ns")]
    pub largest_burst_at: Nanos,
    #[serde(skip)]
    run: u64,
    #[serde(skip)]
    last: Option<u64>,
}

impl Bursts {
    /// Takes times in ascending order.
    fn add(&mut self, at: u64) {
        if self.last != Some(at) {
            self.distinct_times += 1;
            self.run = 0;
            self.last = Some(at);
        }
        self.run += 1;
        if self.run > self.largest_burst {
            self.largest_burst = self.run;
            self.largest_burst_at = Nanos::new(at);
        }
    }

    fn finish(mut self, origin: u64) -> Bursts {
        self.largest_burst_at = self.largest_burst_at.saturating_minus(Nanos::new(origin));
        Bursts { run: 0, last: None, ..self }
    }
}

/// Where a row of a file that is not in time order lies. Sorts by time, then by place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) offset: u64,
    pub(crate) line: u64,
}

/// How to read the file again.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) decoder: Decoder,
    /// Line of the header.
    pub(crate) header: Option<u64>,
    /// The trace's zero in the format's time.
    pub(crate) origin: u64,
    /// The rows in time order, where the file's own order is another.
    pub(crate) order: Option<Vec<Entry>>,
    /// Input lengths that were counted, by line.
    pub(crate) counted: Vec<(u64, u32)>,
}

/// One pass over the rows of a file, in its own order.
pub(crate) struct Pass {
    lines: Lines<SourceReader>,
    decoder: Decoder,
    header: Option<u64>,
}

impl Pass {
    pub(crate) fn new(source: &Arc<Source>, plan: &Plan) -> Pass {
        Pass { lines: Lines::new(source.reader()), decoder: plan.decoder, header: plan.header }
    }

    /// Hands the next row to `take`, valid or not; `None` at the end. Blank lines are no rows.
    pub(crate) fn next_with<T>(
        &mut self,
        take: impl FnOnce(Line<'_>, Result<RowView<'_>, Fault>) -> T,
    ) -> io::Result<Option<T>> {
        loop {
            let Some(line) = self.lines.next_line()? else { return Ok(None) };
            if line.bytes.trim_ascii().is_empty() || self.header == Some(line.number) {
                continue;
            }
            return Ok(Some(take(line, self.decoder.read(line.bytes))));
        }
    }
}

/// Reads the whole file once.
pub(crate) fn index(
    path: &str,
    source: &Arc<Source>,
    options: &OpenOptions,
) -> Result<(Index, Plan), TraceError> {
    let failed = |source| TraceError::Read { path: path.to_owned(), source };
    let (format, first) = recognise(path, source, options.format)?;
    let decoder = Decoder::new(format, first.text.trim(), options.defaults())
        .map_err(|fault| TraceError::Row { path: path.to_owned(), line: first.number, fault })?;
    let header = decoder.has_header().then_some(first.number);
    let mut plan = Plan { decoder, header, origin: 0, order: None, counted: Vec::new() };
    let mut pass = Pass { lines: Lines::hashed(source.reader()), decoder, header };
    let mut totals = Totals::default();
    while let Some((line, result)) = pass
        .next_with(|line, row| {
            (line.number, row.and_then(|row| totals.add(line.number, &row, options, &mut plan.counted)))
        })
        .map_err(failed)?
    {
        let Err(fault) = result else { continue };
        let error = TraceError::Row { path: path.to_owned(), line, fault };
        if !options.skip_bad_rows {
            return Err(error);
        }
        totals.skip(&error);
    }
    let (bytes, sha256) = pass.lines.finish();
    if totals.rows == 0 {
        return Err(match totals.messages.into_iter().next() {
            Some(first) => TraceError::NoValidRow { skipped: totals.skipped, first },
            None => TraceError::Empty { path: path.to_owned() },
        });
    }
    if plan.decoder.has_dates() {
        plan.origin = totals.start;
    }
    if totals.unsorted {
        let order = time_order(source, &plan, options).map_err(failed)?;
        totals.bursts = Bursts::default();
        for entry in &order {
            totals.bursts.add(entry.at);
        }
        plan.order = Some(order);
    }
    Ok((totals.finish(format, bytes, sha256, plan.origin), plan))
}

#[derive(Default)]
struct Totals {
    rows: u64,
    skipped: u64,
    messages: Vec<String>,
    input_tokens: u64,
    output_tokens: u64,
    max_input: u32,
    max_output: u32,
    uncounted: u64,
    start: u64,
    end: u64,
    last: u64,
    unsorted: bool,
    bursts: Bursts,
    with_blocks: u64,
    mismatches: u64,
}

impl Totals {
    fn add(
        &mut self,
        line: u64,
        row: &RowView<'_>,
        options: &OpenOptions,
        counted: &mut Vec<(u64, u32)>,
    ) -> Result<(), Fault> {
        let mut input = row.input_length;
        if input == 0 {
            input = match options.count(row) {
                Some(0) => return Err(Fault::field("prompt", "a text of at least one token", "none in it")),
                Some(n) => {
                    counted.push((line, n));
                    n
                }
                None => {
                    self.uncounted += 1;
                    0
                }
            };
        }
        self.start = if self.rows == 0 { row.at } else { self.start.min(row.at) };
        self.end = self.end.max(row.at);
        self.unsorted |= row.at < self.last;
        self.last = row.at;
        if !self.unsorted {
            self.bursts.add(row.at);
        }
        self.rows += 1;
        self.input_tokens += u64::from(input);
        self.output_tokens += u64::from(row.output_length);
        self.max_input = self.max_input.max(input);
        self.max_output = self.max_output.max(row.output_length);
        if let Some(fit) = row.blocks_fit() {
            self.with_blocks += 1;
            self.mismatches += u64::from(!fit);
        }
        Ok(())
    }

    fn skip(&mut self, error: &TraceError) {
        self.skipped += 1;
        if self.messages.len() < KEPT_MESSAGES {
            self.messages.push(error.to_string());
        }
    }

    fn finish(self, format: Format, bytes: u64, sha256: String, origin: u64) -> Index {
        Index {
            format,
            sha256,
            bytes,
            rows: self.rows,
            skipped: self.skipped,
            first_skipped: self.messages,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            max_input_length: self.max_input,
            max_output_length: self.max_output,
            uncounted: self.uncounted,
            start: Nanos::new(self.start - origin),
            end: Nanos::new(self.end - origin),
            sorted: !self.unsorted,
            bursts: self.bursts.finish(origin),
            rows_with_blocks: self.with_blocks,
            block_mismatches: self.mismatches,
        }
    }
}

/// A second pass, for files that are not in time order: 24 bytes a row.
fn time_order(source: &Arc<Source>, plan: &Plan, options: &OpenOptions) -> io::Result<Vec<Entry>> {
    let mut pass = Pass::new(source, plan);
    let mut entries = Vec::new();
    while let Some(entry) = pass.next_with(|line, row| {
        let row = row.ok().filter(|row| is_usable(row, line.number, options, &plan.counted))?;
        Some(Entry { at: row.at, offset: line.offset, line: line.number })
    })? {
        entries.extend(entry);
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Whether the index pass took this row: a prompt without a token was refused although it parses.
pub(crate) fn is_usable(row: &RowView<'_>, line: u64, options: &OpenOptions, counted: &[(u64, u32)]) -> bool {
    row.input_length > 0 || !options.counts(row) || counted_length(line, counted).is_some()
}

/// The input length counted for a line.
pub(crate) fn counted_length(line: u64, counted: &[(u64, u32)]) -> Option<u32> {
    counted.binary_search_by_key(&line, |(line, _)| *line).ok().map(|at| counted[at].1)
}

/// First line that is not blank.
struct First {
    number: u64,
    text: String,
}

/// The format, by the first rows or as forced.
fn recognise(
    path: &str,
    source: &Arc<Source>,
    forced: Option<Format>,
) -> Result<(Format, First), TraceError> {
    let failed = |source| TraceError::Read { path: path.to_owned(), source };
    let path = || path.to_owned();
    let mut head = [0; 4];
    let n = source.read_at(&mut head, 0).map_err(failed)?;
    if let Some(with) = compressed_with(&head[..n]) {
        return Err(TraceError::Compressed { path: path(), with });
    }
    let mut lines = Lines::new(source.reader());
    let mut first: Option<First> = None;
    let mut format = forced;
    let mut seen = 0;
    while seen < LOOKED_AT {
        let Some(line) = lines.next_line().map_err(failed)? else { break };
        if line.bytes.contains(&0) {
            return Err(TraceError::Binary { path: path(), line: line.number });
        }
        let text = String::from_utf8_lossy(line.bytes);
        if text.trim().is_empty() {
            continue;
        }
        seen += 1;
        format = format.or_else(|| Format::detect(text.trim()));
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
