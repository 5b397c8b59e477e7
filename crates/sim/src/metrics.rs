//! Counters under vLLM's names, in Prometheus's text format.
//!
//! They are counted as an engine counts, when a token is made and not when its client takes it: whoever
//! has the whole of a response finds it counted.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::SimOptions;
use crate::prefix::Found;

/// vLLM's buckets of the time to first token, seconds.
const TTFT_BUCKETS: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];

/// The type that Prometheus expects.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What ended a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    Abort,
}

/// The counters. Each has one writer, so that counting is a load and a store.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// The engine's.
    running: Cell,
    waiting: Cell,
    /// Tokens of requests that decode: their prompts and what they have made.
    resident: Cell,
    prompt_tokens: Cell,
    generation_tokens: Cell,
    stopped: Cell,
    limited: Cell,
    aborted: Cell,
    /// How many first tokens took at most that long; the last place is for those beyond.
    ttft: [Cell; TTFT_BUCKETS.len() + 1],
    ttft_ns: Cell,
    /// The reader's.
    queries: Cell,
    hits: Cell,
}

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    fn add(&self, n: u64) {
        self.set(self.get() + n);
    }
}

impl Metrics {
    /// Reader: a prompt was looked up.
    pub(crate) fn looked_up(&self, prompt_tokens: u64, found: Found) {
        self.queries.add(prompt_tokens);
        self.hits.add(found.cached_tokens);
    }

    /// Engine: how many requests it has.
    pub(crate) fn load(&self, running: usize, waiting: usize) {
        self.running.set(running as u64);
        self.waiting.set(waiting as u64);
    }

    /// Engine: a prompt was read, and its first token is made.
    pub(crate) fn first_token(&self, prompt_tokens: u64, ttft_ns: u64) {
        self.prompt_tokens.add(prompt_tokens);
        self.resident.add(prompt_tokens);
        let seconds = ttft_ns as f64 / 1e9;
        self.ttft[TTFT_BUCKETS.partition_point(|bucket| *bucket < seconds)].add(1);
        self.ttft_ns.add(ttft_ns);
    }

    /// Engine: tokens are made.
    pub(crate) fn tokens(&self, n: u32) {
        self.generation_tokens.add(n.into());
        self.resident.add(n.into());
    }

    /// Engine: a generation ends that holds so many tokens.
    pub(crate) fn finished(&self, how: Finish, resident: u64) {
        let counter = match how {
            Finish::Stop => &self.stopped,
            Finish::Length => &self.limited,
            Finish::Abort => &self.aborted,
        };
        counter.add(1);
        self.resident.set(self.resident.get() - resident);
    }

    /// The page.
    pub(crate) fn page(&self, options: &SimOptions) -> String {
        let model = options.models.first().map_or("", String::as_str);
        let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut page = Page { labels: format!("engine=\"0\",model_name=\"{model}\""), text: String::new() };
        let usage = options.prefix_cache.map_or(0.0, |cache| {
            let room = u128::from(cache.block_tokens) * u128::from(cache.capacity_blocks);
            (self.resident.get() as f64 / room as f64).min(1.0)
        });
        page.one("num_requests_running", "gauge", "Requests that run.", self.running.get());
        page.one("num_requests_waiting", "gauge", "Requests that wait for a slot.", self.waiting.get());
        page.one(
            "kv_cache_usage_perc",
            "gauge",
            "Tokens of the requests that decode over what the prefix cache holds, at most 1.",
            usage,
        );
        page.one("prompt_tokens_total", "counter", "Prompt tokens read or found.", self.prompt_tokens.get());
        page.one("generation_tokens_total", "counter", "Tokens made.", self.generation_tokens.get());
        page.head("request_success_total", "counter", "Requests by what ended them.");
        for (reason, count) in [("stop", &self.stopped), ("length", &self.limited), ("abort", &self.aborted)]
        {
            page.line("request_success_total", &format!(",finished_reason=\"{reason}\""), count.get());
        }
        let (queries, hits) = (self.queries.get(), self.hits.get());
        page.one("prefix_cache_queries_total", "counter", "Prompt tokens looked up in the cache.", queries);
        page.one("prefix_cache_hits_total", "counter", "Prompt tokens found in the cache.", hits);
        self.ttft(&mut page);
        page.text
    }

    fn ttft(&self, page: &mut Page) {
        let name = "time_to_first_token_seconds";
        page.head(name, "histogram", "From a request's reception to its first token.");
        let mut count = 0;
        let bounds = TTFT_BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(&self.ttft) {
            count += bucket.get();
            page.line("time_to_first_token_seconds_bucket", &format!(",le=\"{bound}\""), count);
        }
        page.line("time_to_first_token_seconds_count", "", count);
        page.line("time_to_first_token_seconds_sum", "", self.ttft_ns.get() as f64 / 1e9);
    }
}

/// The text so far, and the labels that every line has.
struct Page {
    labels: String,
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}");
    }

    fn line(&mut self, name: &str, label: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "vllm:{name}{{{}{label}}} {value}", self.labels);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrefixCache;

    #[test]
    fn the_page_has_every_counter_with_its_labels() {
        let metrics = Metrics::default();
        metrics.load(2, 1);
        metrics.looked_up(40, Found { cached_tokens: 16, cached_blocks: 1, prompt_blocks: 3 });
        // On a bound, between two, and beyond all.
        for ns in [5_000_000, 5_000_001, 3_000_000_000_000] {
            metrics.first_token(10, ns);
        }
        metrics.tokens(2);
        metrics.finished(Finish::Length, 12);
        let options = SimOptions {
            models: vec!["a\"b".to_owned()],
            prefix_cache: Some(PrefixCache { block_tokens: 4, capacity_blocks: 10 }),
            ..SimOptions::default()
        };
        let page = metrics.page(&options);
        for line in [
            "# TYPE vllm:num_requests_running gauge",
            "vllm:num_requests_running{engine=\"0\",model_name=\"a\\\"b\"} 2",
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"a\\\"b\"} 1",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"a\\\"b\"} 0.5",
            "vllm:prompt_tokens_total{engine=\"0\",model_name=\"a\\\"b\"} 30",
            "vllm:generation_tokens_total{engine=\"0\",model_name=\"a\\\"b\"} 2",
            "vllm:request_success_total{engine=\"0\",model_name=\"a\\\"b\",finished_reason=\"length\"} 1",
            "vllm:request_success_total{engine=\"0\",model_name=\"a\\\"b\",finished_reason=\"stop\"} 0",
            "vllm:prefix_cache_queries_total{engine=\"0\",model_name=\"a\\\"b\"} 40",
            "vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"a\\\"b\"} 16",
            "vllm:time_to_first_token_seconds_bucket{engine=\"0\",model_name=\"a\\\"b\",le=\"0.001\"} 0",
            "vllm:time_to_first_token_seconds_bucket{engine=\"0\",model_name=\"a\\\"b\",le=\"0.005\"} 1",
            "vllm:time_to_first_token_seconds_bucket{engine=\"0\",model_name=\"a\\\"b\",le=\"2560\"} 2",
            "vllm:time_to_first_token_seconds_bucket{engine=\"0\",model_name=\"a\\\"b\",le=\"+Inf\"} 3",
            "vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"a\\\"b\"} 3",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
