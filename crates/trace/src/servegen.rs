//! ServeGen: not a trace but the parameters of one, from which rows are drawn.
//!
//! A folder has two files for each client: `chunk-<i>-trace.csv` says how often it asks (start of a
//! window in seconds, requests a second, coefficient of variation, family of the gaps, its shape and
//! scale), `chunk-<i>-dataset.json` how long its requests are (for each window the probability of
//! each input and output length).
//!
//! In a window of `width` seconds there are rate × width requests, rounded: the published rates are
//! counts of such windows. Their gaps are drawn from the named family with the given shape and then
//! stretched together so that they fill the window; the scale, a fit to the same data, follows from
//! that. Lengths come from the latest window of the dataset that begins no later. Clients are
//! independent, and so are windows: a seed gives the same requests whatever else is read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution as _, Gamma, StandardUniform, Weibull};
use serde_json::value::RawValue;
use tics_record::Nanos;

use crate::csv::Cells;
use crate::decimal::{SECONDS, parse_decimal};
use crate::error::{Fault, TraceError};
use crate::lines::Lines;
use crate::row::Row;
use crate::source::Source;
use crate::write::{RowWriter, WriteFormat};

/// Width of a single window, as published.
const WINDOW: u64 = 600 * 1_000_000_000;
/// More rows are hardly meant: the published data has hundreds of clients over two weeks.
const MOST_ROWS: u64 = 100_000_000;

/// How rows are made from ServeGen's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServeGen {
    /// Seed of all draws.
    pub seed: u64,
    /// Only requests with `from <= at < to`; the same ones as without it.
    pub window: Option<(Nanos, Nanos)>,
}

impl ServeGen {
    fn contains(&self, at: u64) -> bool {
        self.window.is_none_or(|(from, to)| (from.as_nanos()..to.as_nanos()).contains(&at))
    }

    fn overlaps(&self, window: &Window) -> bool {
        self.window.is_none_or(|(from, to)| window.start < to.as_nanos() && from.as_nanos() < window.end)
    }
}

/// Whether a path is a folder of chunks, or one of them by its name.
pub(crate) fn is_servegen(path: &Path) -> bool {
    path.is_dir() || chunk_number(path).is_some()
}

/// Whether a line is one of a chunk.
pub(crate) fn recognise(line: &str) -> bool {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    matches!(cells[..], [start, rate, _, "Gamma" | "Weibull" | "", _, _]
        if start.parse::<u64>().is_ok() && rate.parse::<f64>().is_ok())
}

fn chunk_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("chunk-")?.strip_suffix("-trace.csv")?.parse().ok()
}

/// Draws the rows into a temporary file, in the order of their times.
pub(crate) fn generate(path: &Path, name: &str, options: &ServeGen) -> Result<Source, TraceError> {
    let failed = |source| TraceError::Read { path: name.to_owned(), source };
    let mut clients = Vec::new();
    for chunk in chunks(path).map_err(failed)? {
        clients.push(Client::read(&chunk, options)?);
    }
    if clients.is_empty() {
        return Err(TraceError::NoChunk { path: name.to_owned() });
    }
    let requests = clients.iter().flat_map(|c| &c.windows).map(|w| w.requests);
    let rows = requests.fold(0, u64::saturating_add);
    if rows > MOST_ROWS {
        let why = format!("its parameters come to {rows} requests; choose a window of them");
        return Err(TraceError::NothingLeft { path: name.to_owned(), why });
    }
    let file = tempfile::tempfile().map_err(failed)?;
    let drawn = write(&mut clients, options, &file).map_err(failed)?;
    if drawn == 0 {
        let why = "its parameters have no request in the window".to_owned();
        return Err(TraceError::NothingLeft { path: name.to_owned(), why });
    }
    Ok(Source::written(file))
}

/// Merges the clients by time.
fn write(clients: &mut [Client], options: &ServeGen, file: &File) -> io::Result<u64> {
    let mut writer = RowWriter::new(WriteFormat::Tics, BufWriter::with_capacity(256 * 1024, file));
    let mut next: BinaryHeap<_> = (0..clients.len())
        .filter_map(|client| Some(Reverse((clients[client].next_time(options)?, client))))
        .collect();
    let mut drawn = 0;
    while let Some(Reverse((at, client))) = next.pop() {
        let (input_length, output_length) = clients[client].lengths();
        let kind = Some(format!("chunk-{}", clients[client].number));
        writer.write(&Row { at: Nanos::new(at), input_length, output_length, kind, ..Row::default() })?;
        drawn += 1;
        if let Some(at) = clients[client].next_time(options) {
            next.push(Reverse((at, client)));
        }
    }
    writer.finish()?.flush()?;
    Ok(drawn)
}

/// The files of a folder by number, or the one file.
fn chunks(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        // The folder is read so that a file that is not there is named as such.
        fs::metadata(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        found.extend(chunk_number(&path).map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// A stretch of time in which a client asks at one rate.
struct Window {
    start: u64,
    end: u64,
    requests: u64,
    gaps: Gaps,
    /// Its number in the file: part of what a seed means.
    number: u64,
}

/// The family of the gaps between requests, with a scale of one.
enum Gaps {
    Gamma(Gamma<f64>),
    Weibull(Weibull<f64>),
}

impl Gaps {
    fn draw(&self, random: &mut ChaCha8Rng) -> f64 {
        match self {
            Gaps::Gamma(gamma) => gamma.sample(random),
            Gaps::Weibull(weibull) => weibull.sample(random),
        }
    }
}

struct Client {
    number: u32,
    windows: Vec<Window>,
    lengths: Vec<LengthWindow>,
    random: ChaCha8Rng,
    seed: u64,
    /// Window to come.
    next: usize,
    /// Times of the window at hand, latest first.
    times: Vec<u64>,
}

impl Client {
    fn read(chunk: &Path, options: &ServeGen) -> Result<Client, TraceError> {
        let number = chunk_number(chunk).unwrap_or(0);
        let windows: Vec<Window> =
            read_windows(chunk)?.into_iter().filter(|w| w.requests > 0 && options.overlaps(w)).collect();
        let lengths = match (windows.first(), windows.last()) {
            (Some(first), Some(last)) => {
                read_lengths(&chunk.with_file_name(format!("chunk-{number}-dataset.json")), first, last)?
            }
            _ => Vec::new(),
        };
        let random = ChaCha8Rng::seed_from_u64(options.seed);
        Ok(Client { number, windows, lengths, random, seed: options.seed, next: 0, times: Vec::new() })
    }

    fn next_time(&mut self, options: &ServeGen) -> Option<u64> {
        loop {
            match self.times.pop() {
                Some(at) if options.contains(at) => return Some(at),
                // Its lengths are drawn all the same: a window changes no other request.
                Some(_) => drop(self.lengths()),
                None => self.draw_window()?,
            }
        }
    }

    fn draw_window(&mut self) -> Option<()> {
        let window = self.windows.get(self.next)?;
        self.next += 1;
        self.random = ChaCha8Rng::seed_from_u64(self.seed);
        self.random.set_stream(u64::from(self.number) << 32 | window.number);
        let mut gaps: Vec<f64> = (0..=window.requests).map(|_| window.gaps.draw(&mut self.random)).collect();
        let whole: f64 = gaps.iter().sum();
        let width = (window.end - window.start) as f64;
        gaps.pop();
        let mut at = 0.0;
        self.times = gaps
            .into_iter()
            .map(|gap| {
                at += gap;
                // A sum of nothing but zeros puts all requests at the start.
                let share = if whole > 0.0 { at / whole } else { 0.0 };
                (window.start + (share * width) as u64).min(window.end - 1)
            })
            .collect();
        self.times.reverse();
        Some(())
    }

    /// The lengths of the request whose time was drawn last.
    fn lengths(&mut self) -> (u32, u32) {
        let start = self.windows[self.next - 1].start;
        let at = self.lengths.partition_point(|w| w.start <= start).saturating_sub(1);
        let window = &self.lengths[at];
        (window.input.draw(&mut self.random), window.output.draw(&mut self.random))
    }
}

fn read_windows(path: &Path) -> Result<Vec<Window>, TraceError> {
    let name = path.display().to_string();
    let failed = |source| TraceError::Read { path: name.clone(), source };
    let mut lines = Lines::new(File::open(path).map_err(failed)?);
    let mut windows: Vec<Window> = Vec::new();
    while let Some(line) = lines.next_line().map_err(failed)? {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        let number = line.number;
        let window = std::str::from_utf8(line.bytes)
            .map_err(|error| Fault::not_text(line.bytes, &error))
            .and_then(read_window)
            .and_then(|window| match windows.last() {
                Some(last) if last.start >= window.start => {
                    let expected = "a start behind the one of the line before";
                    Err(Fault::field("start", expected, &format!("{} s", window.start / 1_000_000_000)))
                }
                _ => Ok(window),
            })
            .map_err(|fault| TraceError::Row { path: name.clone(), line: number, fault })?;
        windows.push(window);
    }
    let starts: Vec<u64> = windows.iter().map(|w| w.start).collect();
    let mut width = WINDOW;
    for (number, window) in windows.iter_mut().enumerate() {
        // The last one is as wide as the one before.
        width = starts.get(number + 1).map_or(width, |next| next - window.start);
        window.end = window.start.saturating_add(width);
        window.number = number as u64;
        window.requests = (window.requests as f64 / 1e9 * (width as f64 / 1e9)).round() as u64;
    }
    Ok(windows)
}

/// A line of a chunk. The window's end is not known yet, and `requests` is a rate in 10^-9 a second.
fn read_window(line: &str) -> Result<Window, Fault> {
    let cells = Cells::new(line, 6)?;
    let start = cells.value((0, "start"), |cell| {
        parse_decimal(cell, SECONDS).map_err(|_| "seconds from 0 to 18446744073")
    })?;
    let requests = cells
        .value((1, "rate"), |cell| parse_decimal(cell, SECONDS).map_err(|_| "requests a second, from 0"))?;
    let above_zero = |cell: &str| {
        let number = cell.parse().ok().filter(|n: &f64| *n > 0.0 && n.is_finite());
        number.ok_or("a number above 0")
    };
    let shape = || cells.value((4, "shape"), above_zero);
    let silent = Gaps::Weibull(Weibull::new(1.0, 1.0).map_err(|_| bad_shape(""))?);
    let gaps = match cells.get(3) {
        "" => return Ok(Window { start, end: start, requests: 0, gaps: silent, number: 0 }),
        "Gamma" => Gaps::Gamma(Gamma::new(shape()?, 1.0).map_err(|_| bad_shape(cells.get(4)))?),
        "Weibull" => Gaps::Weibull(Weibull::new(1.0, shape()?).map_err(|_| bad_shape(cells.get(4)))?),
        other => return Err(Fault::field("distribution", "Gamma or Weibull", &format!("\"{other}\""))),
    };
    cells.value((5, "scale"), above_zero)?;
    Ok(Window { start, end: start, requests, gaps, number: 0 })
}

fn bad_shape(found: &str) -> Fault {
    Fault::field("shape", "a number above 0", found)
}

/// How long requests are from `start` on, until the next.
struct LengthWindow {
    start: u64,
    input: Lengths,
    output: Lengths,
}

/// Lengths with the sums of their probabilities up to each.
struct Lengths(Vec<(u32, f64)>);

impl Lengths {
    fn draw(&self, random: &mut ChaCha8Rng) -> u32 {
        let uniform: f64 = StandardUniform.sample(random);
        let whole = self.0.last().map_or(0.0, |(_, sum)| *sum);
        let at = self.0.partition_point(|(_, sum)| *sum <= uniform * whole);
        self.0[at.min(self.0.len() - 1)].0
    }

    /// Reads `{224: 0.5, 225: 0.5}`. A length of 0 cannot be asked for and is left out.
    fn parse(text: &str) -> Result<Lengths, &'static str> {
        const EXPECTED: &str = "lengths with their probabilities such as {224: 0.5, 225: 0.5}";
        let inner = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or(EXPECTED)?;
        let mut lengths = Vec::new();
        for pair in inner.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (length, probability) = pair.split_once(':').ok_or(EXPECTED)?;
            let length: u32 = length.trim().parse().map_err(|_| EXPECTED)?;
            let probability: f64 = probability.trim().parse().map_err(|_| EXPECTED)?;
            if !(0.0..=1.0).contains(&probability) {
                return Err("probabilities from 0 to 1");
            }
            if length > 0 && probability > 0.0 {
                lengths.push((length, probability));
            }
        }
        lengths.sort_by_key(|(length, _)| *length);
        let mut sum = 0.0;
        for (_, probability) in &mut lengths {
            sum += *probability;
            *probability = sum;
        }
        Ok(Lengths(lengths))
    }
}

/// The windows of a dataset that are needed from the window `first` to `last`.
fn read_lengths(path: &Path, first: &Window, last: &Window) -> Result<Vec<LengthWindow>, TraceError> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|source| TraceError::Read { path: name.clone(), source })?;
    let at = |line: u64, fault| TraceError::Row { path: name.clone(), line, fault };
    let text = text_of(&bytes).map_err(|(line, fault)| at(line, fault))?;
    let json: BTreeMap<String, BTreeMap<String, &RawValue>> =
        serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
            at(error.line().max(1) as u64, Fault::Json { message, column: error.column().max(1) })
        })?;
    let mut windows = Vec::new();
    for (start, fields) in &json {
        let seconds = parse_decimal(start, SECONDS)
            .map_err(|_| at(1, Fault::field("start", "seconds from 0 to 18446744073", start)))?;
        windows.push((seconds, fields));
    }
    let mut found = Vec::new();
    for (start, fields) in windows {
        let lengths = |field: &str| {
            let missing = || Fault::field(field, "the probabilities of lengths", "nothing");
            let raw = fields.get(field).ok_or_else(|| at(1, missing()))?;
            let wrong = |expected| at(line_of(text, raw.get()), Fault::field(field, expected, raw.get()));
            let inner: String = serde_json::from_str(raw.get()).map_err(|_| wrong("a text"))?;
            Lengths::parse(&inner).map_err(wrong)
        };
        let window =
            LengthWindow { start, input: lengths("input_tokens")?, output: lengths("output_tokens")? };
        // A window in which nobody asked has no lengths: the one before goes on.
        if !window.input.0.is_empty() && !window.output.0.is_empty() {
            found.push(window);
        }
    }
    found.sort_by_key(|window| window.start);
    // From the last one that begins before the first request on, up to the last request.
    let to = found.partition_point(|window| window.start <= last.start).max(1);
    found.truncate(to);
    let from = found.partition_point(|window| window.start <= first.start).saturating_sub(1);
    found.drain(..from);
    if found.is_empty() {
        return Err(at(1, Fault::field("input_tokens", "lengths for the time of the requests", "none")));
    }
    Ok(found)
}

/// A file as text, without a byte order mark; the line that is none.
fn text_of(bytes: &[u8]) -> Result<&str, (u64, Fault)> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let begins = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let fault = Fault::NotText { byte: bytes[before.len()], column: before.len() - begins + 1 };
        (1 + memchr::memchr_iter(b'\n', before).count() as u64, fault)
    })
}

/// The line of a part of a text.
fn line_of(text: &str, part: &str) -> u64 {
    let before = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..before.min(text.len())]).count() as u64
}
