//! The index pass: every row validated once, before the first request; nothing kept per row.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::Serialize;
use tics_record::Nanos;

use crate::error::{Fault, TraceError};
use crate::format::{Decoder, Format};
use crate::lines::{Line, Lines};
use crate::open::OpenOptions;
use crate::prepare::{Prepared, Skipped};
use crate::source::{Source, SourceReader};
use crate::view::RowView;

/// Fewer rows say nothing about batches.
const FEWEST_ROWS: u64 = 20;

/// With so many rows on a time, on average, a trace looks batched.
const MEAN_BATCH: u64 = 2;

/// What the index pass found out about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Its format.
    pub format: Format,
    /// SHA-256 of all its bytes once decompressed, in hexadecimal; of ServeGen, of the rows drawn.
    pub sha256: String,
    /// Their number.
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
    /// Requests that failed in the original and were left out; see
    /// [`OpenOptions::keep_failed`](crate::OpenOptions::keep_failed).
    pub failed: u64,
    /// Conversations without a message that is answered, left out (ShareGPT).
    pub empty_conversations: u64,
    /// Rows that say no time: it was taken from the row before in their session.
    pub untimed: u64,
}

impl Index {
    /// Whether most rows share their instant with others, and there is more than one instant.
    pub(crate) fn looks_batched(&self) -> bool {
        let times = self.bursts.distinct_times;
        self.rows >= FEWEST_ROWS && times > 1 && self.rows >= MEAN_BATCH * times
    }

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
    /// What rows do not say themselves.
    pub(crate) settled: Settled,
}

/// What the index pass found out about rows that do not say it themselves, by line.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Input lengths that were counted.
    counted: Vec<(u64, u32)>,
    /// Times in nanoseconds of rows that follow another in their session.
    times: Vec<(u64, u64)>,
}

impl Settled {
    /// The row with what was found out about it; `None` if the index pass did not take it.
    pub(crate) fn apply<'a>(
        &self,
        mut row: RowView<'a>,
        line: u64,
        options: &OpenOptions,
    ) -> Option<RowView<'a>> {
        if row.failed {
            return None;
        }
        if !row.has_time {
            row.at = of_line(&self.times, line)?;
        }
        if options.counts(&row) {
            // A prompt without a token was refused although it parses.
            row.input_length = of_line(&self.counted, line)?;
        }
        Some(row)
    }
}

fn of_line<T: Copy>(found: &[(u64, T)], line: u64) -> Option<T> {
    found.binary_search_by_key(&line, |(line, _)| *line).ok().map(|at| found[at].1)
}

/// One pass over the rows of a file, in its own order.
pub(crate) struct Pass {
    lines: Lines<SourceReader>,
    decoder: Decoder,
    header: Option<u64>,
}

impl Pass {
    pub(crate) fn new(source: &Arc<Source>, plan: &Plan) -> Pass {
        Pass { lines: Lines::new(source.reader()), decoder: plan.decoder.clone(), header: plan.header }
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
    prepared: Prepared,
    options: &OpenOptions,
) -> Result<(Index, Plan), TraceError> {
    let Prepared { source, format, first, original, fields } = prepared;
    let failed = |source| TraceError::Read { path: path.to_owned(), source };
    let decoder = Decoder::new(format, first.text.trim(), &fields, options.defaults())
        .map_err(|fault| TraceError::Row { path: path.to_owned(), line: first.number, fault })?;
    let header = decoder.has_header().then_some(first.number);
    let mut plan = Plan { decoder, header, origin: 0, order: None, settled: Settled::default() };
    let mut pass = Pass { lines: Lines::hashed(source.reader()), ..Pass::new(&source, &plan) };
    let mut totals = Totals { may_lack_time: plan.decoder.may_lack_time(), ..Totals::default() };
    if let Some(original) = original.as_ref() {
        totals.skipped.count = original.skipped.count;
        totals.skipped.messages.clone_from(&original.skipped.messages);
    }
    while let Some((line, result)) = pass
        .next_with(|line, row| {
            (line.number, row.and_then(|row| totals.add(line.number, row, options, &mut plan.settled)))
        })
        .map_err(failed)?
    {
        let Err(fault) = result else { continue };
        let error = TraceError::Row { path: path.to_owned(), line, fault };
        if !options.skip_bad_rows {
            return Err(error);
        }
        totals.skipped.add(&error);
    }
    let (mut bytes, mut sha256) = pass.lines.finish();
    if totals.rows == 0 {
        return Err(totals.nothing(path));
    }
    if plan.decoder.has_dates() {
        plan.origin = totals.start;
    }
    if totals.unsorted {
        let order = time_order(&source, &plan, options).map_err(failed)?;
        totals.bursts = Bursts::default();
        for entry in &order {
            totals.bursts.add(entry.at);
        }
        plan.order = Some(order);
    }
    let mut empty_conversations = 0;
    if let Some(original) = original {
        (bytes, sha256, empty_conversations) =
            (original.bytes, original.sha256, original.empty_conversations);
    }
    let index = totals.finish(format, bytes, sha256, plan.origin);
    Ok((Index { empty_conversations, ..index }, plan))
}

#[derive(Default)]
struct Totals {
    rows: u64,
    skipped: Skipped,
    failed: u64,
    untimed: u64,
    /// Whether the format has rows without a time.
    may_lack_time: bool,
    /// Time of the last row of each session, where rows may lack one.
    sessions: HashMap<String, u64>,
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
        mut row: RowView<'_>,
        options: &OpenOptions,
        settled: &mut Settled,
    ) -> Result<(), Fault> {
        if row.failed {
            self.failed += 1;
            return Ok(());
        }
        let mut input = row.input_length;
        if input == 0 {
            input = match options.count(&row) {
                Some(0) => return Err(Fault::field("prompt", "a text of at least one token", "none in it")),
                Some(n) => {
                    settled.counted.push((line, n));
                    n
                }
                None => {
                    self.uncounted += 1;
                    0
                }
            };
        }
        self.settle_time(line, &mut row, settled);
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

    /// A row of a session may say no time, but how long it waits for the row before: it is due no
    /// earlier than that row and its delay. Without a row before, it is due at zero.
    fn settle_time(&mut self, line: u64, row: &mut RowView<'_>, settled: &mut Settled) {
        if !self.may_lack_time {
            return;
        }
        let session = row.session_name();
        if !row.has_time {
            let before = session.as_ref().and_then(|name| self.sessions.get(name));
            let delay = row.delay.filter(|_| before.is_some()).map_or(0, Nanos::as_nanos);
            row.at = before.copied().unwrap_or(0).saturating_add(delay);
            settled.times.push((line, row.at));
            self.untimed += 1;
        }
        if let Some(name) = session {
            self.sessions.insert(name, row.at);
        }
    }

    /// Why there is no row.
    fn nothing(self, path: &str) -> TraceError {
        let path = path.to_owned();
        match self.skipped.messages.into_iter().next() {
            Some(first) => TraceError::NoValidRow { skipped: self.skipped.count, first },
            None if self.failed > 0 => {
                let why = format!("all of its {} requests failed in the original", self.failed);
                TraceError::NothingLeft { path, why }
            }
            None => TraceError::Empty { path },
        }
    }

    fn finish(self, format: Format, bytes: u64, sha256: String, origin: u64) -> Index {
        Index {
            format,
            sha256,
            bytes,
            rows: self.rows,
            skipped: self.skipped.count,
            first_skipped: self.skipped.messages,
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
            failed: self.failed,
            empty_conversations: 0,
            untimed: self.untimed,
        }
    }
}

/// A second pass, for files that are not in time order: 24 bytes a row.
fn time_order(source: &Arc<Source>, plan: &Plan, options: &OpenOptions) -> io::Result<Vec<Entry>> {
    let mut pass = Pass::new(source, plan);
    let mut entries = Vec::new();
    while let Some(entry) = pass.next_with(|line, row| {
        let row = plan.settled.apply(row.ok()?, line.number, options)?;
        Some(Entry { at: row.at, offset: line.offset, line: line.number })
    })? {
        entries.extend(entry);
    }
    entries.sort_unstable();
    Ok(entries)
}
