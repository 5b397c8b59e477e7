//! What is in a trace: `tics trace info`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::error::TraceError;
use crate::index::Index;
use crate::row::{Id, Row};
use crate::select::seconds_text;
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
}

/// A distribution of lengths, tokens. Quantiles interpolate linearly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)] // The names say it.
pub struct Lengths {
    pub n: u64,
    pub mean: f64,
    pub min: u32,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: u32,
}

/// Conversations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sessions {
    /// Number of conversations.
    pub sessions: u64,
    /// Of these, with more than one request in the file.
    pub with_several_turns: u64,
    /// Requests in a conversation, on average.
    pub mean_turns: f64,
    /// Most requests in one conversation.
    pub max_turns: u64,
    /// Requests whose parent is not in the file before them: it began before the trace.
    pub without_parent: u64,
}

/// What a prefix cache that never forgets would find, rows taken in the order of their times.
///
/// A block is found when its id was seen in an earlier row and so were all blocks before it in its
/// own row. A partial last block counts as one block, and as the tokens that it has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrefixSharing {
    /// Tokens in a block; `None` where rows differ.
    pub block_size: Option<u32>,
    /// Blocks of all rows.
    pub blocks: u64,
    /// Distinct ids.
    pub distinct_blocks: u64,
    /// Blocks found.
    pub hit_blocks: u64,
    /// `hit_blocks / blocks`.
    pub block_hit_rate: f64,
    /// Tokens of rows with blocks.
    pub tokens: u64,
    /// Tokens found.
    pub hit_tokens: u64,
    /// `hit_tokens / tokens`.
    pub token_hit_rate: f64,
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
        let (mut sessions, mut sharing) = (SessionCounter::default(), SharingCounter::default());
        for row in self.rows() {
            let row = row?;
            if row.input_length > 0 {
                input.add(row.input_length);
            }
            output.add(row.output_length);
            sessions.add(&row);
            sharing.add(&row);
        }
        let index = self.index().clone();
        let span_s = index.span().as_secs_f64();
        Ok(Info {
            path: self.path().to_owned(),
            span_s,
            rate_rps: (span_s > 0.0).then(|| index.rows as f64 / span_s),
            index,
            input_length: input.summary(),
            output_length: output.summary(),
            sessions: sessions.summary(),
            prefix: sharing.summary(),
        })
    }
}

/// Exact counts: a trace has far fewer distinct lengths than rows.
#[derive(Default)]
struct Histogram(BTreeMap<u32, u64>);

impl Histogram {
    fn add(&mut self, length: u32) {
        *self.0.entry(length).or_default() += 1;
    }

    fn summary(&self) -> Option<Lengths> {
        let n: u64 = self.0.values().sum();
        let (min, max) = (*self.0.first_key_value()?.0, *self.0.last_key_value()?.0);
        let total: u128 = self.0.iter().map(|(length, n)| u128::from(*length) * u128::from(*n)).sum();
        Some(Lengths {
            n,
            mean: total as f64 / n as f64,
            min,
            p50: self.quantile(0.5, n),
            p90: self.quantile(0.9, n),
            p99: self.quantile(0.99, n),
            max,
        })
    }

    /// The value at position `q` (n − 1), counted from 0, between neighbours in proportion.
    fn quantile(&self, q: f64, n: u64) -> f64 {
        let position = q * (n - 1) as f64;
        let low = self.at(position.floor() as u64);
        let high = self.at(position.ceil() as u64);
        low + (high - low) * position.fract()
    }

    fn at(&self, rank: u64) -> f64 {
        let mut below = 0;
        for (length, n) in &self.0 {
            below += n;
            if rank < below {
                return f64::from(*length);
            }
        }
        self.0.last_key_value().map_or(0.0, |(length, _)| f64::from(*length))
    }
}

#[derive(Default)]
struct SessionCounter {
    by_name: HashMap<String, usize>,
    by_request: HashMap<Id, usize>,
    turns: Vec<u64>,
    without_parent: u64,
    linked: bool,
}

impl SessionCounter {
    fn add(&mut self, row: &Row) {
        if row.session.is_none() && row.id.is_none() && row.parent.is_none() {
            return;
        }
        self.linked |= row.session.is_some() || row.parent.is_some();
        let of_parent = row.parent.as_ref().and_then(|parent| self.by_request.get(parent).copied());
        self.without_parent += u64::from(row.parent.is_some() && of_parent.is_none());
        let named = row.session.as_ref().and_then(|name| self.by_name.get(name).copied());
        let session = named.or(of_parent).unwrap_or_else(|| {
            self.turns.push(0);
            self.turns.len() - 1
        });
        self.turns[session] += 1;
        if let Some(name) = &row.session {
            self.by_name.entry(name.clone()).or_insert(session);
        }
        if let Some(id) = &row.id {
            self.by_request.insert(id.clone(), session);
        }
    }

    fn summary(&self) -> Option<Sessions> {
        let requests: u64 = self.turns.iter().sum();
        self.linked.then(|| Sessions {
            sessions: self.turns.len() as u64,
            with_several_turns: self.turns.iter().filter(|n| **n > 1).count() as u64,
            mean_turns: requests as f64 / self.turns.len() as f64,
            max_turns: self.turns.iter().copied().max().unwrap_or(0),
            without_parent: self.without_parent,
        })
    }
}

#[derive(Default)]
struct SharingCounter {
    seen: HashSet<u64>,
    sizes: HashSet<u32>,
    blocks: u64,
    hit_blocks: u64,
    tokens: u64,
    hit_tokens: u64,
}

impl SharingCounter {
    fn add(&mut self, row: &Row) {
        let (Some(ids), Some(size)) = (&row.hash_ids, row.block_size) else { return };
        self.sizes.insert(size);
        let hits = ids.iter().take_while(|id| self.seen.contains(id)).count() as u64;
        let full = ids.len() as u64 * u64::from(size);
        // A length that its blocks do not cover, or that nobody counted, is taken from the blocks.
        let tokens = if row.input_length == 0 { full } else { full.min(row.input_length.into()) };
        self.blocks += ids.len() as u64;
        self.hit_blocks += hits;
        self.tokens += tokens;
        self.hit_tokens += (hits * u64::from(size)).min(tokens);
        self.seen.extend(ids);
    }

    fn summary(&self) -> Option<PrefixSharing> {
        let rate = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        (!self.sizes.is_empty()).then(|| PrefixSharing {
            block_size: self.sizes.iter().next().copied().filter(|_| self.sizes.len() == 1),
            blocks: self.blocks,
            distinct_blocks: self.seen.len() as u64,
            hit_blocks: self.hit_blocks,
            block_hit_rate: rate(self.hit_blocks, self.blocks),
            tokens: self.tokens,
            hit_tokens: self.hit_tokens,
            token_hit_rate: rate(self.hit_tokens, self.tokens),
        })
    }
}

impl Info {
    /// As text: one line a subject, each ended by a line feed.
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
        text
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

impl Sessions {
    fn render(&self) -> String {
        format!(
            "{}, {} with several requests; requests each: mean {:.2}, max {}; {} continue one that is not in the file",
            grouped(self.sessions),
            grouped(self.with_several_turns),
            self.mean_turns,
            self.max_turns,
            grouped(self.without_parent),
        )
    }
}

impl PrefixSharing {
    fn render(&self) -> String {
        let size = self.block_size.map_or_else(|| "mixed sizes".to_owned(), |size| format!("{size} tokens"));
        format!(
            "{} blocks of {size}, {} distinct; an unbounded cache finds {:.2} % of blocks, {:.2} % of tokens",
            grouped(self.blocks),
            grouped(self.distinct_blocks),
            self.block_hit_rate * 100.0,
            self.token_hit_rate * 100.0,
        )
    }
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
    fn quantiles_interpolate() {
        let mut histogram = Histogram::default();
        for length in [40, 10, 30, 20] {
            histogram.add(length);
        }
        let lengths = histogram.summary().unwrap();
        // numpy.quantile([10, 20, 30, 40], [0.5, 0.9, 0.99])
        assert!((lengths.p50 - 25.0).abs() < 1e-9);
        assert!((lengths.p90 - 37.0).abs() < 1e-9);
        assert!((lengths.p99 - 39.7).abs() < 1e-9);
        assert!(Histogram::default().summary().is_none());
    }

    #[test]
    fn a_block_behind_an_unknown_one_is_not_found() {
        let row = |ids: &[u64], input_length| Row {
            input_length,
            hash_ids: Some(ids.to_vec()),
            block_size: Some(16),
            ..Row::default()
        };
        let mut counter = SharingCounter::default();
        counter.add(&row(&[0, 1, 2], 40));
        counter.add(&row(&[0, 9, 2], 48));
        counter.add(&row(&[0, 1, 2], 40));
        let sharing = counter.summary().unwrap();
        assert_eq!((sharing.blocks, sharing.distinct_blocks, sharing.hit_blocks), (9, 4, 4));
        assert_eq!((sharing.tokens, sharing.hit_tokens), (128, 16 + 40));
    }

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn sessions_follow_parents_and_names() {
        let mut counter = SessionCounter::default();
        let linked = |id: i64, parent: Option<i64>| Row {
            id: Some(Id::Number(id)),
            parent: parent.map(Id::Number),
            ..Row::default()
        };
        for row in
            [linked(0, None), linked(1, Some(0)), linked(2, Some(1)), linked(3, Some(77)), linked(4, None)]
        {
            counter.add(&row);
        }
        let sessions = counter.summary().unwrap();
        assert_eq!((sessions.sessions, sessions.with_several_turns, sessions.max_turns), (3, 1, 3));
        assert_eq!(sessions.without_parent, 1);
        let mut named = SessionCounter::default();
        for name in ["a", "b", "a"] {
            named.add(&Row { session: Some(name.to_owned()), ..Row::default() });
        }
        assert_eq!(named.summary().unwrap().sessions, 2);
    }
}
