//! Whether the prompts were as asked: their lengths, and what a prefix cache found of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tics_record::{RequestRecord, ServerSample};

use crate::{Quantile, quantile};

/// Requests whose length differs that are named.
const NAMED: usize = 3;

/// How long the prompts of answered requests were.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct InputLengths {
    /// Answered requests.
    pub requests: u64,
    /// Tokens as the schedule asks.
    pub asked: u64,
    /// Requests whose text was made to a length.
    pub made: u64,
    /// Tokens of these texts, without what the server's chat template adds; null where none was made.
    pub sent: Option<u64>,
    /// Requests for which the server counted.
    pub with_count: u64,
    /// Tokens as it counted in these; null where it counted in none.
    pub counted: Option<u64>,
    /// Of these requests, those whose count is not what was asked.
    pub differ: u64,
    /// counted - asked, over those that differ; null where none does.
    pub difference: Option<LengthDifference>,
    /// The first that differ, by index in the schedule.
    pub first: Vec<OddLength>,
}

/// counted - asked, tokens; negative where the server counts fewer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthDifference {
    /// Smallest.
    pub min: i64,
    /// Median.
    pub p50: f64,
    /// Largest.
    pub max: i64,
}

/// A request whose length is not what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddLength {
    /// Index in the schedule.
    pub i: u64,
    /// Line in the trace.
    pub row: Option<u64>,
    /// Tokens as the schedule asks.
    pub asked: u32,
    /// Tokens of the text that was made.
    pub sent: Option<u32>,
    /// Tokens as the server counted.
    pub counted: u32,
}

/// What a prefix cache was expected to find, and what the server's found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CacheUse {
    /// What a cache that never forgets would find of answered requests, every earlier prompt of the
    /// schedule (and what warmed the cache) stored in it; null where prompts are the user's own.
    pub expected: Option<CacheShare>,
    /// What the server found of them by its `usage.prompt_tokens_details.cached_tokens`; null where it
    /// does not say.
    pub observed: Option<CacheShare>,
    /// Both, over the requests that have both.
    pub compared: Option<CacheComparison>,
    /// By the server's own counters, over everything that it was asked between the first and the last
    /// reading; null where it has none.
    pub server: Option<ServerCache>,
}

/// Found of some requests' prompts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CacheShare {
    /// Requests.
    pub requests: u64,
    /// Tokens of their prompts, as the server counted, else as asked.
    pub prompt_tokens: u64,
    /// Of these, found.
    pub cached_tokens: u64,
    /// `cached_tokens` / `prompt_tokens`; null without tokens.
    pub token_rate: Option<f64>,
    /// Blocks of those prompts that are made of the trace's blocks.
    pub blocks: u64,
    /// Of these, found. What a server found is counted in whole blocks from the first on, a partial last
    /// one only where all of the prompt was found.
    pub cached_blocks: u64,
    /// `cached_blocks` / `blocks`; null without blocks.
    pub block_rate: Option<f64>,
}

/// Expected and observed over the same requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CacheComparison {
    /// Requests.
    pub requests: u64,
    /// Tokens expected to be found.
    pub expected_tokens: u64,
    /// Tokens found.
    pub observed_tokens: u64,
    /// Tokens of their prompts, as the server counted, else as asked.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Requests of which the server found more than expected.
    pub more: u64,
    /// Requests of which it found less.
    pub fewer: u64,
}

/// The names of counters from which a server's hit rate can be computed: what was found, and what was
/// looked up, in the same unit. The first pair that a server has is used.
///
/// vLLM counts tokens (blocks under the older name), SGLang tokens.
pub const CACHE_COUNTERS: [(&str, &str); 3] = [
    ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"),
    ("vllm:gpu_prefix_cache_hits_total", "vllm:gpu_prefix_cache_queries_total"),
    ("sglang:cached_tokens_total", "sglang:prompt_tokens_total"),
];

/// The growth of a server's own counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerCache {
    /// Name of the counter of `hits`.
    pub counter: String,
    /// Found, in the unit that the server counts in.
    pub hits: f64,
    /// Looked up, in the same unit.
    pub queries: f64,
    /// `hits` / `queries`; null where nothing was looked up.
    pub rate: Option<f64>,
}

impl ServerCache {
    /// What `first` and `last` have between them. `None` where the server has no counter of its cache, or
    /// began to count anew.
    pub fn between(first: &ServerSample, last: &ServerSample) -> Option<Self> {
        CACHE_COUNTERS.iter().find_map(|(hits, queries)| {
            // A counter that has never counted may not be there yet.
            let growth = |name: &str| {
                let last = *last.counters.get(name)?;
                Some(last - first.counters.get(name).copied().unwrap_or_default()).filter(|n| *n >= 0.0)
            };
            let queried = growth(queries)?;
            let found = if last.counters.contains_key(*hits) { growth(hits)? } else { 0.0 };
            let rate = (queried > 0.0).then(|| found / queried);
            // SGLang's counter of all prompt tokens says nothing of a cache by itself.
            let knows = last.counters.contains_key(*hits) || hits.starts_with("vllm:");
            knows.then(|| ServerCache { counter: (*hits).to_owned(), hits: found, queries: queried, rate })
        })
    }
}

/// Collects what becomes [`InputLengths`] and [`CacheUse`]. 8 bytes a request whose length differs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workload {
    lengths: InputLengths,
    differences: Vec<i64>,
    first: BTreeMap<u64, OddLength>,
    expected: CacheShare,
    observed: CacheShare,
    compared: CacheComparison,
}

impl Workload {
    /// Takes the record of an answered request.
    pub(crate) fn add(&mut self, record: &RequestRecord) {
        let input = record.input;
        let lengths = &mut self.lengths;
        lengths.requests += 1;
        lengths.asked += u64::from(input.asked);
        if let Some(sent) = input.sent {
            lengths.made += 1;
            *lengths.sent.get_or_insert(0) += u64::from(sent);
        }
        if let Some(counted) = input.usage {
            lengths.with_count += 1;
            *lengths.counted.get_or_insert(0) += u64::from(counted);
            if counted != input.asked {
                lengths.differ += 1;
                self.differences.push(i64::from(counted) - i64::from(input.asked));
                let (i, row, asked, sent) = (record.i, record.row, input.asked, input.sent);
                self.offer(OddLength { i, row, asked, sent, counted });
            }
        }
        self.cache(record);
    }

    fn cache(&mut self, record: &RequestRecord) {
        let input = record.input;
        let prompt = input.usage.unwrap_or(input.asked);
        let blocks = input.expected.and_then(|hits| hits.blocks);
        if let Some(hits) = input.expected {
            let found = blocks.map(|b| (b.n, b.found));
            self.expected.add(prompt, hits.cached_tokens, found);
        }
        if let Some(cached) = record.cached_tokens {
            let found = blocks.map(|b| {
                let whole = cached.checked_div(b.size).unwrap_or(0).min(b.n);
                (b.n, if cached >= prompt { b.n } else { whole })
            });
            self.observed.add(prompt, cached, found);
        }
        if let (Some(hits), Some(cached)) = (input.expected, record.cached_tokens) {
            let both = &mut self.compared;
            both.requests += 1;
            both.prompt_tokens += u64::from(prompt);
            both.expected_tokens += u64::from(hits.cached_tokens);
            both.observed_tokens += u64::from(cached);
            both.more += u64::from(cached > hits.cached_tokens);
            both.fewer += u64::from(cached < hits.cached_tokens);
        }
    }

    /// Keeps those that come first in the schedule, in whatever order they ended.
    fn offer(&mut self, odd: OddLength) {
        self.first.insert(odd.i, odd);
        if self.first.len() > NAMED {
            self.first.pop_last();
        }
    }

    /// Takes everything that `other` has seen of the same run.
    pub(crate) fn merge(&mut self, mut other: Workload) {
        let add = |a: Option<u64>, b: Option<u64>| a.map_or(b, |a| Some(a + b.unwrap_or(0)));
        let (ours, theirs) = (&mut self.lengths, &other.lengths);
        ours.requests += theirs.requests;
        ours.asked += theirs.asked;
        ours.made += theirs.made;
        ours.sent = add(ours.sent, theirs.sent);
        ours.with_count += theirs.with_count;
        ours.counted = add(ours.counted, theirs.counted);
        ours.differ += theirs.differ;
        self.differences.append(&mut other.differences);
        for odd in other.first.into_values() {
            self.offer(odd);
        }
        self.expected.merge(&other.expected);
        self.observed.merge(&other.observed);
        let (ours, theirs) = (&mut self.compared, &other.compared);
        ours.requests += theirs.requests;
        ours.prompt_tokens += theirs.prompt_tokens;
        ours.expected_tokens += theirs.expected_tokens;
        ours.observed_tokens += theirs.observed_tokens;
        ours.more += theirs.more;
        ours.fewer += theirs.fewer;
    }

    /// Over the requests of which both are known; none without any.
    pub(crate) fn compared(&self) -> Option<CacheComparison> {
        Some(self.compared).filter(|both| both.requests > 0)
    }

    /// The figures.
    pub(crate) fn finish(mut self) -> (InputLengths, CacheUse) {
        self.differences.sort_unstable();
        let ends = self.differences.first().zip(self.differences.last());
        let difference = ends.and_then(|(min, max)| {
            let p50 = quantile(&self.differences, Quantile::P50).ok()?;
            Some(LengthDifference { min: *min, p50, max: *max })
        });
        let compared = self.compared();
        let first = self.first.into_values().collect();
        let cache = CacheUse {
            expected: self.expected.rated(),
            observed: self.observed.rated(),
            compared,
            server: None,
        };
        (InputLengths { difference, first, ..self.lengths }, cache)
    }
}

impl CacheComparison {
    /// What the server found beyond what was expected and the beginning that a chat template of
    /// `template_tokens` gives every prompt, as a share of the prompts; none without tokens.
    pub fn unexplained(&self, template_tokens: u32) -> Option<f64> {
        let explained = self.expected_tokens + self.requests * u64::from(template_tokens);
        let beyond = self.observed_tokens.saturating_sub(explained);
        (self.prompt_tokens > 0).then(|| beyond as f64 / self.prompt_tokens as f64)
    }
}

impl CacheShare {
    fn add(&mut self, prompt: u32, cached: u32, blocks: Option<(u32, u32)>) {
        self.requests += 1;
        self.prompt_tokens += u64::from(prompt);
        self.cached_tokens += u64::from(cached);
        if let Some((n, found)) = blocks {
            self.blocks += u64::from(n);
            self.cached_blocks += u64::from(found);
        }
    }

    fn merge(&mut self, other: &CacheShare) {
        self.requests += other.requests;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.blocks += other.blocks;
        self.cached_blocks += other.cached_blocks;
    }

    /// With its rates; nothing of no requests.
    fn rated(self) -> Option<Self> {
        let rate = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        (self.requests > 0).then_some(CacheShare {
            token_rate: rate(self.cached_tokens, self.prompt_tokens),
            block_rate: rate(self.cached_blocks, self.blocks),
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tics_record::{BlockHits, ExpectedHits, InputTokens, Stamp};

    use super::*;

    fn record(i: u64, input: InputTokens, cached: Option<u32>) -> RequestRecord {
        let cached_tokens = cached;
        RequestRecord { row: Some(i + 1), input, cached_tokens, ..RequestRecord::not_sent(i, Stamp::ORIGIN) }
    }

    fn made(asked: u32, usage: Option<u32>) -> InputTokens {
        InputTokens { asked, usage, sent: Some(asked - 3), expected: None }
    }

    fn figures(records: &[RequestRecord]) -> (InputLengths, CacheUse) {
        let mut workload = Workload::default();
        for record in records {
            workload.add(record);
        }
        workload.finish()
    }

    #[test]
    fn lengths_that_differ_are_counted_and_named() {
        let records = [
            record(4, made(10, Some(13)), None),
            record(1, made(10, Some(10)), None),
            record(3, made(10, Some(9)), None),
            record(2, made(20, None), None),
            record(0, InputTokens { asked: 10, usage: Some(11), ..InputTokens::default() }, None),
            record(9, made(10, Some(20)), None),
        ];
        let (lengths, cache) = figures(&records);
        assert_eq!((lengths.requests, lengths.asked, lengths.made, lengths.sent), (6, 70, 5, Some(45)));
        assert_eq!((lengths.with_count, lengths.counted, lengths.differ), (5, Some(63), 4));
        assert_eq!(lengths.difference, Some(LengthDifference { min: -1, p50: 2.0, max: 10 }));
        assert_eq!(lengths.first.iter().map(|odd| odd.i).collect::<Vec<_>>(), [0, 3, 4]);
        let odd = OddLength { i: 3, row: Some(4), asked: 10, sent: Some(7), counted: 9 };
        assert_eq!(lengths.first[1], odd);
        assert_eq!(cache, CacheUse::default());
        assert_eq!(figures(&[]).0, InputLengths::default());
    }

    fn blocks(asked: u32, found: u32, cached: Option<u32>) -> RequestRecord {
        let n = asked.div_ceil(16);
        let hits = ExpectedHits {
            cached_tokens: (found * 16).min(asked),
            blocks: Some(BlockHits { size: 16, n, found }),
        };
        let usage = Some(asked);
        record(0, InputTokens { asked, usage, sent: Some(asked), expected: Some(hits) }, cached)
    }

    #[test]
    fn what_a_server_found_is_counted_in_whole_blocks() {
        // Asked, blocks expected, tokens cached, blocks observed.
        let check = |asked, found, cached, observed| {
            let (_, cache) = figures(&[blocks(asked, found, Some(cached))]);
            assert_eq!(cache.observed.unwrap().cached_blocks, observed, "{cached} of {asked}");
            let expected = u64::from((found * 16).min(asked));
            assert_eq!(cache.compared.unwrap().expected_tokens, expected);
        };
        check(40, 3, 40, 3);
        check(40, 3, 39, 2);
        check(40, 0, 15, 0);
        check(40, 1, 16, 1);
        check(40, 0, 4_000, 3);
        let (_, cache) = figures(&[blocks(32, 2, Some(32)), blocks(48, 1, Some(0)), blocks(16, 0, None)]);
        let (expected, observed) = (cache.expected.unwrap(), cache.observed.unwrap());
        assert_eq!((expected.requests, expected.block_rate, expected.token_rate), (3, Some(0.5), Some(0.5)));
        assert_eq!((observed.requests, observed.block_rate, observed.token_rate), (2, Some(0.4), Some(0.4)));
        let compared = cache.compared.unwrap();
        assert_eq!((compared.requests, compared.more, compared.fewer), (2, 0, 1));
        assert_eq!((compared.expected_tokens, compared.observed_tokens), (48, 32));
        assert_eq!((compared.prompt_tokens, compared.unexplained(0)), (80, Some(0.0)));
        let (_, cache) = figures(&[blocks(40, 1, Some(20)), blocks(40, 1, Some(40))]);
        let shares = [0, 4, 14].map(|template| cache.compared.unwrap().unexplained(template));
        assert_eq!(shares, [Some(0.35), Some(0.25), Some(0.0)]);
    }

    #[test]
    fn a_servers_counters_are_told_by_their_growth() {
        let sample = |pairs: &[(&str, f64)]| ServerSample {
            at: Stamp::ORIGIN,
            counters: pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        };
        let (hits, queries) = CACHE_COUNTERS[0];
        let first = sample(&[(hits, 10.0), (queries, 100.0)]);
        let last = sample(&[(hits, 40.0), (queries, 200.0)]);
        let found = ServerCache::between(&first, &last).unwrap();
        assert_eq!((found.hits, found.queries, found.rate), (30.0, 100.0, Some(0.3)));
        // Nothing yet; started anew; a server that counts no hits; SGLang.
        assert_eq!(ServerCache::between(&last, &last).unwrap().rate, None);
        assert_eq!(ServerCache::between(&last, &first), None);
        let (cached, prompt) = CACHE_COUNTERS[2];
        assert_eq!(ServerCache::between(&sample(&[]), &sample(&[(prompt, 5.0)])), None);
        let sglang = ServerCache::between(&sample(&[]), &sample(&[(cached, 1.0), (prompt, 4.0)])).unwrap();
        assert_eq!((sglang.counter.as_str(), sglang.rate), (cached, Some(0.25)));
        let early = sample(&[(queries, 8.0)]);
        assert_eq!(ServerCache::between(&sample(&[]), &early).unwrap().rate, Some(0.0));
    }

    proptest! {
        #[test]
        fn merging_is_having_seen_all(
            rows in prop::collection::vec((1_u32..60, 0_u32..4, prop::option::of(0_u32..64), any::<bool>()), 0..40),
        ) {
            let mut whole = Workload::default();
            let mut parts = [Workload::default(), Workload::default()];
            for (i, (asked, found, cached, second)) in rows.iter().enumerate() {
                let mut record = blocks(*asked, (*found).min(asked.div_ceil(16)), *cached);
                record.i = i as u64;
                record.input.usage = cached.map(|c| c + 1);
                whole.add(&record);
                parts[usize::from(*second)].add(&record);
            }
            let [mut first, second] = parts;
            first.merge(second);
            prop_assert_eq!(first.finish(), whole.finish());
        }
    }
}
