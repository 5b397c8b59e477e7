//! Figures by length of prompt and of answer.

use serde::{Deserialize, Serialize};

use crate::objective::Metric;
use crate::over_time::sorted_values;
use crate::rows::Row;
use crate::{Quantile, quantile};

/// Where classes begin, tokens: each is four times as long as the one before.
const EDGES: [u32; 7] = [0, 128, 512, 2_048, 8_192, 32_768, 131_072];

/// The requests whose length, as asked, is in one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthClass {
    /// Shortest, tokens.
    pub from: u32,
    /// Longest; null for the last class, which has no end.
    pub to: Option<u32>,
    /// Requests sent.
    pub requests: u64,
    /// Of these, answered: what the latencies are over.
    pub answered: u64,
    /// Of these, failed.
    pub failed: u64,
    /// First tic - sent.
    pub ttft_p50_ms: Option<f64>,
    /// The same, p99.
    pub ttft_p99_ms: Option<f64>,
    /// Mean time an output token.
    pub tpot_p50_ms: Option<f64>,
    /// The same, p99.
    pub tpot_p99_ms: Option<f64>,
    /// Last event - sent.
    pub e2e_p50_ms: Option<f64>,
    /// The same, p99.
    pub e2e_p99_ms: Option<f64>,
}

/// A row for each class that occurs among the requests sent.
pub(crate) fn by_length(rows: &[Row], length: impl Fn(&Row) -> u32) -> Vec<LengthClass> {
    let mut classes: [Vec<&Row>; EDGES.len()] = std::array::from_fn(|_| Vec::new());
    for row in rows.iter().filter(|r| r.outcome.is_answered() || r.outcome.is_failed()) {
        let class = EDGES.partition_point(|edge| *edge <= length(row)) - 1;
        classes[class].push(row);
    }
    let occurs = classes.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
    let class = |(k, rows): (usize, &Vec<&Row>)| {
        let two = |metric| {
            let values = sorted_values(rows.iter().copied(), metric);
            [Quantile::P50, Quantile::P99].map(|q| quantile(&values, q).ok().map(|ns| ns / 1e6))
        };
        let [ttft_p50_ms, ttft_p99_ms] = two(Metric::Ttft);
        let [tpot_p50_ms, tpot_p99_ms] = two(Metric::Tpot);
        let [e2e_p50_ms, e2e_p99_ms] = two(Metric::E2e);
        let answered = rows.iter().filter(|r| r.outcome.is_answered()).count() as u64;
        LengthClass {
            from: EDGES[k],
            to: EDGES.get(k + 1).map(|edge| edge - 1),
            requests: rows.len() as u64,
            answered,
            failed: rows.len() as u64 - answered,
            ttft_p50_ms,
            ttft_p99_ms,
            tpot_p50_ms,
            tpot_p99_ms,
            e2e_p50_ms,
            e2e_p99_ms,
        }
    };
    occurs.map(class).collect()
}
