//! What is in a trace: `tics trace info`.

use std::fmt::Write as _;

use serde::Serialize;
use tics_record::Nanos;

use crate::error::TraceError;
use crate::index::Index;
use crate::lengths::{Bin, Histogram, Lengths};
use crate::plot::{bars, columns};
use crate::row::Row;
use crate::select::seconds_text;
use crate::sessions::{SessionCounter, Sessions};
use crate::sharing::{PrefixSharing, SharingCounter};
use crate::trace::Trace;

/// A description of a trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// The file as given.
    pub path: String,
    /// What the index pass found out.
    #[serde(flatten)]
    pub index: Index,
    /// From the earliest row to the latest, seconds.
    pub span_s: f64,
    /// Rows divided by the span; `None` where the span is zero.
    pub rate_rps: Option<f64>,
    /// Input lengths, tokens; `None` where no row's is known.
    pub input_length: Option<Lengths>,
    /// Output lengths, tokens.
    pub output_length: Option<Lengths>,
    /// Conversations, where rows name them or their parents.
    pub sessions: Option<Sessions>,
    /// Prefix sharing, where rows have blocks.
    pub prefix: Option<PrefixSharing>,
    /// How many requests there were in each part of the span; `None` where the span is zero.
    pub over_time: Option<OverTime>,
    /// How many instants had how many rows.
    pub burst_sizes: Vec<Bin>,
    /// Rows on one instant, on average.
    pub mean_burst: f64,
    /// Whether most rows share their instant with others, at more than one instant: an artefact of
    /// logging more often than not. See [`Spread`](crate::Spread).
    pub looks_batched: bool,
}

/// Requests in each of [`OverTime::COLUMNS`] equal parts of a trace's span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverTime {
    /// Length of a part, seconds.
    pub part_s: f64,
    /// Requests in each.
    pub requests: Vec<u64>,
}

impl OverTime {
    /// Number of parts.
    pub const COLUMNS: u64 = 60;

    fn new(index: &Index) -> OverTime {
        OverTime {
            part_s: index.span().as_secs_f64() / Self::COLUMNS as f64,
            requests: vec![0; Self::COLUMNS as usize],
        }
    }

    fn add(&mut self, row: &Row, index: &Index) {
        let at = u128::from(row.at.saturating_minus(index.start).as_nanos());
        // The last row is on the end of the last part.
        let part = at * u128::from(Self::COLUMNS) / (u128::from(index.span().as_nanos()) + 1);
        self.requests[part as usize] += 1;
    }
}

impl Trace {
    /// Reads the trace again and describes it.
    ///
    /// Memory grows with the number of distinct lengths, block ids and conversations, not of rows.
    ///
    /// # Errors
    /// When the file can no longer be read.
    pub fn info(&self) -> Result<Info, TraceError> {
        let (mut input, mut output) = (Histogram::default(), Histogram::default());
        let (mut times, mut bursts) = (OverTime::new(self.index()), BurstCounter::default());
        let (mut sessions, mut sharing) = (SessionCounter::default(), SharingCounter::default());
        for row in self.rows() {
            let row = row?;
            if row.input_length > 0 {
                input.add(row.input_length);
            }
            output.add(row.output_length);
            sessions.add(&row);
            sharing.add(&row);
            times.add(&row, self.index());
            bursts.add(row.at);
        }
        let index = self.index().clone();
        let span_s = index.span().as_secs_f64();
        Ok(Info {
            path: self.path().to_owned(),
            span_s,
            rate_rps: (span_s > 0.0).then(|| index.rows as f64 / span_s),
            mean_burst: index.rows as f64 / index.bursts.distinct_times as f64,
            looks_batched: index.looks_batched(),
            over_time: (span_s > 0.0).then_some(times),
            burst_sizes: bursts.finish(),
            index,
            input_length: input.summary(),
            output_length: output.summary(),
            sessions: sessions.summary(),
            prefix: sharing.summary(),
        })
    }
}

/// Counts rows on one instant; they come in the order of their times.
#[derive(Default)]
struct BurstCounter {
    sizes: Histogram,
    last: Option<(Nanos, u32)>,
}

impl BurstCounter {
    fn add(&mut self, at: Nanos) {
        match &mut self.last {
            Some((last, n)) if *last == at => *n = n.saturating_add(1),
            last => {
                if let Some((_, n)) = last.replace((at, 1)) {
                    self.sizes.add(n);
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Bin> {
        if let Some((_, n)) = self.last {
            self.sizes.add(n);
        }
        self.sizes.bins()
    }
}

impl Info {
    /// As text: one line a subject, then plots, each line ended by a line feed.
    pub fn render(&self) -> String {
        let index = &self.index;
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<9} {value}");
        };
        line("trace", format!("{} ({}, {} bytes)", self.path, index.format, grouped(index.bytes)));
        line("sha256", index.sha256.clone());
        let skipped = if index.skipped > 0 {
            format!(", {} skipped as invalid", grouped(index.skipped))
        } else {
            String::new()
        };
        line("rows", format!("{}{skipped}", grouped(index.rows)));
        line("time", self.time());
        line("bursts", bursts(index));
        line("input", lengths(index.input_tokens, self.input_length.as_ref(), index.uncounted));
        line("output", lengths(index.output_tokens, self.output_length.as_ref(), 0));
        if let Some(sessions) = &self.sessions {
            line("sessions", sessions.render());
        }
        if let Some(prefix) = &self.prefix {
            line("prefixes", prefix.render());
        }
        for (name, value) in self.left_out() {
            line(name, value);
        }
        if self.looks_batched {
            line("batched", self.batched());
        }
        self.plots(&mut text);
        text
    }

    fn left_out(&self) -> impl Iterator<Item = (&'static str, String)> {
        let index = &self.index;
        let rows = |n: u64, what: &str| (n > 0).then(|| format!("{} {what}", grouped(n)));
        [
            ("left out", rows(index.failed, "requests that failed in the original")),
            ("left out", rows(index.empty_conversations, "conversations without a message that is answered")),
            ("untimed", rows(index.untimed, "rows say no time and follow the row before in their session")),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    fn batched(&self) -> String {
        let gaps = self.index.bursts.distinct_times - 1;
        format!(
            "{:.1} rows on one time on average, the times {:.3} s apart: more likely how the trace was logged \
             than how requests came; --spread uniform or poisson distributes each batch over the gap behind it",
            self.mean_burst,
            self.span_s / gaps as f64,
        )
    }

    fn plots(&self, text: &mut String) {
        if let Some(times) = &self.over_time {
            let rates: Vec<f64> = times.requests.iter().map(|n| *n as f64 / times.part_s).collect();
            let (from, to) = (seconds_text(self.index.start), seconds_text(self.index.end));
            text.push_str("\nrequests/s over time\n");
            text.push_str(&columns(&rates, &format!("{from} s"), &format!("{to} s")));
        }
        let mut histogram = |title: &str, bins: &[Bin]| {
            if bins.iter().map(|bin| bin.n).sum::<u64>() > 0 {
                // Writing to a String cannot fail.
                let _ = write!(text, "\n{title}\n{}", bars(bins));
            }
        };
        if self.index.bursts.largest_burst > 1 {
            histogram("instants by rows on them", &self.burst_sizes);
        }
        histogram("rows by input tokens", self.input_length.as_ref().map_or(&[], |l| &l.histogram));
        histogram("rows by output tokens", self.output_length.as_ref().map_or(&[], |l| &l.histogram));
    }

    fn time(&self) -> String {
        let index = &self.index;
        let rate =
            self.rate_rps.map_or_else(|| "all at once".to_owned(), |rate| format!("{rate:.3} requests/s"));
        let order = if index.sorted { "in time order" } else { "not in time order" };
        format!("{} s to {} s, {rate}, {order}", seconds_text(index.start), seconds_text(index.end))
    }
}

fn bursts(index: &Index) -> String {
    let bursts = index.bursts;
    let (distinct, most) = (grouped(bursts.distinct_times), grouped(bursts.largest_burst));
    format!(
        "{distinct} distinct times, at most {most} rows on one (at {} s)",
        seconds_text(bursts.largest_burst_at)
    )
}

fn lengths(total: u64, lengths: Option<&Lengths>, uncounted: u64) -> String {
    let Some(l) = lengths else { return format!("not known for {} rows", grouped(uncounted)) };
    let missing =
        if uncounted > 0 { format!("; not known for {} rows", grouped(uncounted)) } else { String::new() };
    format!(
        "{} tokens; a row: mean {:.1}, min {}, p50 {:.1}, p90 {:.1}, p99 {:.1}, max {}{missing}",
        grouped(total),
        l.mean,
        l.min,
        l.p50,
        l.p90,
        l.p99,
        l.max
    )
}

/// A number with commas between thousands.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
