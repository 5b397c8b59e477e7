//! What is kept of each request until the figures are made.

use tics_record::{Event, EventClass, Outcome, RequestRecord, Stamp};

use crate::flow::Flow;
use crate::gaps::{Gaps, Reader, Slice};
use crate::objective::Metric;
use crate::select::ByRequest;

/// No such instant.
const NEVER: u64 = u64::MAX;

/// How the gaps of a request count as inter-token latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Itl {
    /// It is not known which tokens came when.
    Unknown,
    /// Each tic carried one token: its gaps are both.
    Same,
    /// The server says how many tokens each tic carried.
    Split,
}

/// One request: instants in nanoseconds (or [`NEVER`]), lengths in tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) i: u64,
    pub(crate) due: u64,
    sent: u64,
    first: u64,
    visible: u64,
    last: u64,
    last_event: u64,
    end: u64,
    pub(crate) input: u32,
    pub(crate) asked: u32,
    pub(crate) tokens: u32,
    tics: u32,
    gaps: u32,
    split: u32,
    pub(crate) outcome: Outcome,
    pub(crate) itl: Itl,
}

fn ns(stamp: Option<Stamp>) -> u64 {
    stamp.map_or(NEVER, Stamp::as_nanos)
}

impl Row {
    fn new(record: &RequestRecord) -> Self {
        let mut tics = record.tics();
        let visible = record.events.iter().find(|e| e.class == EventClass::Content);
        Row {
            i: record.i,
            due: record.due.as_nanos(),
            sent: ns(record.sent),
            first: ns(tics.next().map(|e| e.at)),
            visible: ns(visible.map(|e| e.at)),
            last: ns(record.tics().next_back().map(|e| e.at)),
            last_event: ns(record.events.last().map(|e| e.at)),
            end: ns(record.end.or(record.events.last().map(|e| e.at)).or(record.sent)),
            input: record.input.asked,
            asked: record.output.asked,
            tokens: record.output.best(),
            tics: record.tics().count() as u32,
            gaps: 0,
            split: 0,
            outcome: record.outcome,
            itl: Itl::Unknown,
        }
    }

    /// When it was handed to the kernel.
    pub(crate) const fn sent(&self) -> Option<u64> {
        if self.sent == NEVER { None } else { Some(self.sent) }
    }

    /// From when it was handed to the kernel to its end.
    pub(crate) fn flight(&self) -> Option<(u64, u64)> {
        self.sent().map(|sent| (sent, self.end.max(sent)))
    }

    /// Whether it was answered with two tics or more.
    pub(crate) const fn has_gaps(&self) -> bool {
        self.tics > 1 && self.outcome.is_answered()
    }

    /// Whether its first token was not a visible one.
    pub(crate) const fn visible_later(&self) -> bool {
        self.visible != self.first
    }

    /// One of its latencies, nanoseconds. [`Metric::Icl`] is not known here.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        let span = |from: u64, to: u64| {
            let known = from != NEVER && to != NEVER;
            to.checked_sub(from).filter(|_| known).map(|ns| ns as f64)
        };
        match metric {
            Metric::Ttft => span(self.sent, self.first),
            Metric::TtftDue => span(self.due, self.first),
            Metric::TtftVisible => span(self.sent, self.visible),
            Metric::E2e => span(self.sent, self.last_event),
            Metric::E2eDue => span(self.due, self.last_event),
            Metric::Tpot if self.tics > 1 && self.tokens > 1 => {
                span(self.first, self.last).map(|ns| ns / f64::from(self.tokens - 1))
            }
            Metric::Tpot | Metric::Icl | Metric::Itl => None,
        }
    }
}

/// All requests, in the order in which they were taken up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) all: Vec<Row>,
    gaps: Gaps,
    split: Gaps,
    pub(crate) flow: Flow,
}

impl Rows {
    pub(crate) fn add(&mut self, record: &RequestRecord) {
        let mut row = Row::new(record);
        if record.outcome.is_answered() {
            self.flow.add(record, row.tokens, row.tics);
            self.add_gaps(record, &mut row);
        }
        self.all.push(row);
    }

    /// A request of which only the beginning is known: cut when the journal was.
    pub(crate) fn add_cut(&mut self, record: &RequestRecord, end: Stamp) {
        self.all.push(Row { end: end.as_nanos(), ..Row::new(record) });
    }

    fn add_gaps(&mut self, record: &RequestRecord, row: &mut Row) {
        let pairs = || {
            let tics = record.tics();
            tics.clone().zip(tics.skip(1))
        };
        if row.tics < 2 {
            return;
        }
        let said = record.tics().all(|e| e.tokens().is_some());
        let one_each = if said {
            record.tics().skip(1).all(|e| e.tokens() == Some(1))
        } else {
            record.output.usage == Some(row.tics)
        };
        row.itl = match (one_each, said) {
            (true, _) => Itl::Same,
            (false, true) => Itl::Split,
            (false, false) => Itl::Unknown,
        };
        for gap in pairs().filter_map(|(a, b)| b.at.since(a.at)) {
            self.gaps.push(gap.as_nanos());
            row.gaps += 1;
        }
        if row.itl == Itl::Split {
            row.split = split_gaps(pairs(), &mut self.split);
        }
    }

    pub(crate) fn merge(&mut self, mut other: Rows) {
        self.all.append(&mut other.all);
        self.gaps.append(other.gaps);
        self.split.append(other.split);
        self.flow.merge(&other.flow);
    }

    /// Places of the requests in order of sending; those never sent by when they were due.
    pub(crate) fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.all.len() as u32).collect();
        order.sort_unstable_by_key(|place| {
            let row = &self.all[*place as usize];
            (row.sent().unwrap_or(row.due), row.i)
        });
        order
    }

    /// The gaps that are inter-chunk latencies.
    pub(crate) const fn icl(&self) -> GapsOf<'_> {
        GapsOf { rows: self, tokens: false }
    }

    /// The gaps that are inter-token latencies.
    pub(crate) const fn itl(&self) -> GapsOf<'_> {
        GapsOf { rows: self, tokens: true }
    }
}

/// Spreads each gap over the tokens that came at its end: k tokens are k values of gap / k, the
/// nanoseconds that remain going to the first ones, so that the values add up to the gap. A tic
/// without a token passes its gap on to the next. Returns the number of values.
fn split_gaps<'a>(pairs: impl Iterator<Item = (&'a Event, &'a Event)>, into: &mut Gaps) -> u32 {
    let mut carried = 0;
    let mut values = 0;
    for (before, tic) in pairs {
        let Some(gap) = tic.at.since(before.at) else { continue };
        let gap = gap.as_nanos() + carried;
        let tokens = tic.tokens().unwrap_or(0);
        carried = if tokens == 0 { gap } else { 0 };
        for k in 0..u64::from(tokens) {
            into.push(gap / u64::from(tokens) + u64::from(k < gap % u64::from(tokens)));
        }
        values += tokens;
    }
    values
}

/// The gaps between chunks, or between tokens where those are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GapsOf<'a> {
    rows: &'a Rows,
    tokens: bool,
}

impl ByRequest for GapsOf<'_> {
    fn each(&self, take: &mut dyn FnMut(usize, Slice<'_>)) {
        let mut gaps: Reader<'_> = self.rows.gaps.reader();
        let mut split: Reader<'_> = self.rows.split.reader();
        for (place, row) in self.rows.all.iter().enumerate() {
            let chunks = gaps.take(row.gaps as usize);
            let tokens = split.take(row.split as usize);
            let slice = match (self.tokens, row.itl) {
                (false, _) | (true, Itl::Same) => chunks,
                (true, Itl::Split) => tokens,
                (true, Itl::Unknown) => Slice::EMPTY,
            };
            take(place, slice);
        }
    }
}
