//! When each request is due: fixed before the run, streamed during it.

use std::num::NonZeroU64;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tics_record::Nanos;

use crate::draw::uniform;
use crate::error::TraceError;
use crate::row::Row;
use crate::sample::Sampler;
use crate::select::{LengthRange, Scale, Selection, seconds_text, window_text};
use crate::spread::Spreader;
use crate::trace::{Rows, Trace};
use crate::view::RowView;

/// One request and the time at which it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledRequest {
    /// Place in the schedule, from 0.
    pub index: u64,
    /// From the schedule's zero.
    pub due: Nanos,
    /// What to send.
    pub row: Row,
}

/// What a schedule comes to, known before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Number of requests.
    pub scheduled: u64,
    /// Sum of their input lengths, tokens.
    pub input_tokens: u64,
    /// Sum of their output lengths, tokens.
    pub output_tokens: u64,
    /// Due time of the last request; the first is due at zero.
    pub span: Nanos,
}

/// Requests in the order in which they are due, read or drawn one at a time.
///
/// Where the file can suddenly not be read any more, the iterator gives one error and then ends.
#[derive(Debug)]
pub struct Schedule {
    totals: Totals,
    /// Requests handed out.
    given: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Trace(Box<Replay>),
    Drawn(Box<Draw>),
    /// After an error.
    Ended,
}

/// A part of a trace, read as it is needed.
#[derive(Debug)]
struct Replay {
    rows: Rows,
    picker: Picker,
    /// Time of the first request selected.
    zero: Option<Nanos>,
    path: String,
}

impl Replay {
    /// The next row selected, and when it is due. The caller knows how many there are.
    fn next_row(&mut self) -> Option<Result<(Nanos, Row), TraceError>> {
        loop {
            let picker = &mut self.picker;
            let next = self.rows.next_with(|line, row, origin| {
                let time = picker.pick(&row, line, origin)?;
                Ok(time.map(|time| (time, row.to_row(line, origin))))
            })?;
            match next.and_then(|picked| picked) {
                Ok(None) => {}
                Ok(Some((time, row))) => {
                    let zero = *self.zero.get_or_insert(time);
                    return Some(Ok((due(time, zero, self.picker.selection.scale), row)));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Decides about every row, in the order of their times.
#[derive(Debug)]
struct Picker {
    selection: Selection,
    sampler: Option<Sampler>,
    spreader: Option<Spreader>,
}

impl Picker {
    fn new(trace: &Trace, selection: &Selection) -> Result<Picker, TraceError> {
        let Selection { sample, spread, seed, .. } = *selection;
        Ok(Picker {
            selection: *selection,
            sampler: sample.map(|share| Sampler::new(trace, share, seed)).transpose()?,
            spreader: spread.map(|spread| Spreader::new(trace, spread, seed)).transpose()?,
        })
    }

    /// The time of a row if it is selected.
    fn pick(&mut self, row: &RowView<'_>, line: u64, origin: u64) -> Result<Option<Nanos>, TraceError> {
        let at = Nanos::new(row.at.saturating_sub(origin));
        let spread = match &mut self.spreader {
            Some(spreader) => spreader.next_time()?,
            None => None,
        };
        // The sampler must see every row: a group may begin before the window.
        let keeps = self.sampler.as_mut().is_none_or(|sampler| sampler.keeps(row, line));
        let inside = self.selection.window.is_none_or(|(from, to)| from <= at && at < to);
        Ok((keeps && inside).then_some(spread.unwrap_or(at)))
    }

    fn is_behind(&self, at: Nanos) -> bool {
        self.selection.window.is_some_and(|(_, to)| at >= to)
    }
}

/// Lengths from a seed.
#[derive(Debug, Clone)]
struct Draw {
    random: ChaCha8Rng,
    input: LengthRange,
    output: LengthRange,
}

impl Draw {
    fn lengths(&mut self) -> (u32, u32) {
        let mut draw =
            |range: LengthRange| uniform(&mut self.random, range.least().into(), range.most().into());
        // The input first: this order is part of what a seed means.
        let input = draw(self.input) as u32;
        (input, draw(self.output) as u32)
    }
}

impl Schedule {
    /// `requests` requests, all due at zero: for sending everything at once, and for closed loops.
    ///
    /// Lengths are uniform over whole numbers, both ends included; a seed gives the same ones for ever.
    pub fn drawn(requests: u64, input: LengthRange, output: LengthRange, seed: u64) -> Schedule {
        let draw = Draw { random: ChaCha8Rng::seed_from_u64(seed), input, output };
        let mut totals = Totals { scheduled: requests, ..Totals::default() };
        // Drawing twice is cheaper than keeping: it takes a few nanoseconds a request.
        let mut rehearsal = draw.clone();
        for _ in 0..requests {
            let (input, output) = rehearsal.lengths();
            totals.input_tokens += u64::from(input);
            totals.output_tokens += u64::from(output);
        }
        Schedule { totals, given: 0, source: Source::Drawn(Box::new(draw)) }
    }

    /// See [`Trace::schedule`].
    pub(crate) fn of_trace(trace: &Trace, selection: &Selection) -> Result<Schedule, TraceError> {
        let index = trace.index();
        let totals = if selection.takes_all(index.rows) {
            Totals {
                scheduled: index.rows,
                input_tokens: index.input_tokens,
                output_tokens: index.output_tokens,
                span: selection.scale.apply(index.span()),
            }
        } else {
            count(trace, selection)?
        };
        if totals.scheduled == 0 && selection.sample.is_some() {
            return Err(TraceError::EmptySample { path: trace.path().to_owned() });
        }
        if totals.scheduled == 0 {
            return Err(TraceError::EmptyWindow {
                path: trace.path().to_owned(),
                window: window_text(selection.window.unwrap_or_default()),
                start: seconds_text(index.start),
                end: seconds_text(index.end),
            });
        }
        let replay = Replay {
            rows: trace.rows(),
            picker: Picker::new(trace, selection)?,
            zero: None,
            path: trace.path().to_owned(),
        };
        Ok(Schedule { totals, given: 0, source: Source::Trace(Box::new(replay)) })
    }

    /// What it comes to.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Where the last request's row starts in the file; `None` where it was drawn.
    pub(crate) fn offset(&self) -> Option<u64> {
        match &self.source {
            Source::Trace(replay) => Some(replay.rows.offset()),
            Source::Drawn(_) | Source::Ended => None,
        }
    }

    fn next_request(&mut self) -> Option<Result<ScheduledRequest, TraceError>> {
        let index = self.given;
        let next = match &mut self.source {
            Source::Ended => return None,
            Source::Drawn(draw) => {
                let (input_length, output_length) = draw.lengths();
                Ok((Nanos::ZERO, Row { line: index + 1, input_length, output_length, ..Row::default() }))
            }
            Source::Trace(replay) => replay.next_row().unwrap_or_else(|| {
                let (expected, found) = (self.totals.scheduled, index);
                Err(TraceError::Changed { path: replay.path.clone(), expected, found })
            }),
        };
        Some(next.map(|(due, row)| ScheduledRequest { index, due, row }))
    }
}

impl Iterator for Schedule {
    type Item = Result<ScheduledRequest, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.given == self.totals.scheduled {
            return None;
        }
        let next = self.next_request();
        match next {
            Some(Ok(_)) => self.given += 1,
            _ => self.source = Source::Ended,
        }
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.totals.scheduled - self.given).ok();
        (0, left)
    }
}

fn due(at: Nanos, zero: Nanos, scale: Scale) -> Nanos {
    scale.apply(at.saturating_minus(zero))
}

/// Totals of a part of the trace: reads no further than that part.
fn count(trace: &Trace, selection: &Selection) -> Result<Totals, TraceError> {
    let mut rows = trace.rows();
    let mut picker = Picker::new(trace, selection)?;
    let mut totals = Totals::default();
    let mut zero = None;
    let limit = selection.limit.map_or(u64::MAX, NonZeroU64::get);
    while totals.scheduled < limit {
        let next = rows.next_with(|line, row, origin| {
            let at = Nanos::new(row.at.saturating_sub(origin));
            Ok((at, picker.pick(&row, line, origin)?, row.input_length, row.output_length))
        });
        let Some((at, time, input, output)) = next.transpose()?.transpose()? else { break };
        if picker.is_behind(at) {
            break;
        }
        let Some(time) = time else { continue };
        totals.scheduled += 1;
        totals.input_tokens += u64::from(input);
        totals.output_tokens += u64::from(output);
        totals.span = due(time, *zero.get_or_insert(time), selection.scale);
    }
    Ok(totals)
}
