//! Every figure that comes from the requests one by one: latencies, their parts, what was asked.

use tics_record::LoadModel;

use crate::attained::{Attainment, ObjectiveResult, attainment};
use crate::distribution::{PRINTED, reliance};
use crate::lengths::by_length;
use crate::objective::{FailedAs, Metric, Objective, Quantity};
use crate::over_time::{Concurrency, Steady, Window, series, steady, windows};
use crate::rows::{GapsOf, Itl, Row, Rows};
use crate::select::{ByRequest, Selection};
use crate::{Bounds, Distribution, LengthClass, Quantile, Wanted, quantile};

/// What the figures rest on beside the requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole {
    pub(crate) model: LoadModel,
    pub(crate) duration_s: Option<f64>,
    /// Failed requests / requests sent.
    pub(crate) failed_share: Option<f64>,
    pub(crate) requests_per_s: Option<f64>,
    pub(crate) tokens_per_s: Option<f64>,
}

/// Latencies, in the units of the summary.
#[derive(Debug)]
pub(crate) struct Latencies {
    pub(crate) ttft: Distribution,
    pub(crate) ttft_due: Distribution,
    pub(crate) ttft_visible: Option<Distribution>,
    pub(crate) icl: Distribution,
    pub(crate) icl_requests: u64,
    pub(crate) icl_of_requests: Distribution,
    pub(crate) itl: Option<Distribution>,
    pub(crate) itl_requests: u64,
    pub(crate) itl_of_requests: Option<Distribution>,
    pub(crate) tpot: Distribution,
    pub(crate) stream_tokens_per_s: Distribution,
    pub(crate) e2e: Distribution,
    pub(crate) e2e_due: Distribution,
}

/// What needs to know the latencies first, or is over a part of the requests.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) concurrency: Concurrency,
    pub(crate) steady: Option<Steady>,
    pub(crate) windows: Vec<Window>,
    pub(crate) by_input: Vec<LengthClass>,
    pub(crate) by_output: Vec<LengthClass>,
    pub(crate) slo: Option<Attainment>,
    pub(crate) objectives: Vec<ObjectiveResult>,
}

/// The requests in order of sending, and how failed ones count.
pub(crate) struct Figures<'a> {
    rows: &'a Rows,
    order: Vec<u32>,
    wanted: &'a Wanted,
}

impl<'a> Figures<'a> {
    pub(crate) fn new(rows: &'a Rows, wanted: &'a Wanted) -> Self {
        Figures { rows, order: rows.order(), wanted }
    }

    fn in_order(&self) -> impl Iterator<Item = &'a Row> + Clone {
        self.order.iter().map(|place| &self.rows.all[*place as usize])
    }

    fn series(&self, metric: Metric) -> Vec<f64> {
        series(self.in_order(), metric, self.wanted.failed_as)
    }

    fn ms(&self, metric: Metric) -> Distribution {
        Distribution::of_series(&self.series(metric), 1e6)
    }

    pub(crate) fn latencies(&self) -> Latencies {
        let of_gaps = |gaps: &GapsOf<'_>| Selection::new(gaps).distribution_ms(&self.order);
        let with_gaps = || self.in_order().filter(|row| row.has_gaps());
        let chunks = self.rows.icl();
        let icl = of_gaps(&chunks);
        let n_chunked = with_gaps().count() as u64;
        let chunk_means = self.means_ms(&chunks);
        let n_known = with_gaps().filter(|row| row.itl != Itl::Unknown).count() as u64;
        let (per_token, token_means) = match n_known {
            0 => (None, None),
            // The usual case, and the largest run's: each tic is a token.
            _ if with_gaps().all(|row| row.itl == Itl::Same) => (Some(icl), Some(chunk_means)),
            _ => {
                let tokens = self.rows.itl();
                (Some(of_gaps(&tokens)), Some(self.means_ms(&tokens)))
            }
        };
        let answered = || self.in_order().filter(|row| row.outcome.is_answered());
        let speed = |ns: f64| (ns > 0.0).then(|| 1e9 / ns);
        let speeds: Vec<f64> = answered().filter_map(|r| r.value(Metric::Tpot).and_then(speed)).collect();
        Latencies {
            ttft: self.ms(Metric::Ttft),
            ttft_due: self.ms(Metric::TtftDue),
            ttft_visible: answered().any(Row::visible_later).then(|| self.ms(Metric::TtftVisible)),
            icl,
            icl_requests: n_chunked,
            icl_of_requests: chunk_means,
            itl: per_token,
            itl_requests: n_known,
            itl_of_requests: token_means,
            tpot: self.ms(Metric::Tpot),
            stream_tokens_per_s: Distribution::of_series(&speeds, 1.0),
            e2e: self.ms(Metric::E2e),
            e2e_due: self.ms(Metric::E2eDue),
        }
    }

    /// The mean gap of each request, milliseconds.
    fn means_ms(&self, gaps: &impl ByRequest) -> Distribution {
        let mut means = vec![f64::NAN; self.order.len()];
        gaps.each(&mut |place, slice| {
            if slice.len() > 0 {
                means[place] = slice.sum() as f64 / slice.len() as f64;
            }
        });
        let in_order: Vec<f64> =
            self.order.iter().map(|place| means[*place as usize]).filter(|mean| !mean.is_nan()).collect();
        Distribution::of_series(&in_order, 1e6)
    }

    pub(crate) fn parts(&self, whole: &Whole, latencies: &Latencies) -> Parts {
        let rows = &self.rows.all;
        let slo = self.slo(whole.duration_s);
        let judge = |objective| self.objective(objective, whole, latencies, slo.as_ref());
        let objectives = self.wanted.objectives.iter().map(judge).collect();
        Parts {
            concurrency: Concurrency::new(rows, whole.duration_s),
            steady: steady(self.rows, &self.order, whole.model, self.wanted.steady_s, self.wanted.failed_as),
            windows: windows(self.rows),
            by_input: by_length(rows, |row| row.input),
            by_output: by_length(rows, |row| row.asked),
            objectives,
            slo,
        }
    }

    fn slo(&self, duration_s: Option<f64>) -> Option<Attainment> {
        let slo = self.wanted.slo.as_ref()?;
        let mut largest = vec![None; self.order.len()];
        if slo.limits().iter().any(|limit| limit.metric == Metric::Icl) {
            self.rows.icl().each(&mut |place, slice| largest[place] = slice.max());
        }
        let all = self.order.iter().map(|place| (&self.rows.all[*place as usize], largest[*place as usize]));
        let sent = all.filter(|(row, _)| row.outcome.is_answered() || row.outcome.is_failed());
        Some(attainment(slo, sent, duration_s))
    }

    fn objective(
        &self,
        objective: &Objective,
        whole: &Whole,
        latencies: &Latencies,
        slo: Option<&Attainment>,
    ) -> ObjectiveResult {
        let (value, note) = match objective.quantity {
            Quantity::Quantile(q, metric) => self.quantile_ms(q, metric, latencies),
            Quantity::Mean(metric) => (self.edge(metric, latencies, |d| d.mean), None),
            Quantity::Max(metric) => (self.edge(metric, latencies, |d| d.max), None),
            Quantity::Goodput => (slo.and_then(|s| s.goodput_per_s), None),
            Quantity::Attainment => (slo.and_then(|s| s.share), None),
            Quantity::Failed => (whole.failed_share, None),
            Quantity::RequestsPerS => (whole.requests_per_s, None),
            Quantity::TokensPerS => (whole.tokens_per_s, None),
        };
        ObjectiveResult::new(objective, value, note)
    }

    /// The distribution of gaps, or of requests, that a metric has.
    fn distribution(&self, metric: Metric, latencies: &Latencies) -> Distribution {
        match metric {
            Metric::Icl => latencies.icl,
            Metric::Itl => latencies.itl.unwrap_or_default(),
            Metric::TtftVisible => self.ms(Metric::TtftVisible),
            Metric::Ttft => latencies.ttft,
            Metric::TtftDue => latencies.ttft_due,
            Metric::Tpot => latencies.tpot,
            Metric::E2e => latencies.e2e,
            Metric::E2eDue => latencies.e2e_due,
        }
    }

    /// One number of a distribution; infinite where failed requests make it so.
    fn edge(
        &self,
        metric: Metric,
        latencies: &Latencies,
        of: impl Fn(&Distribution) -> Option<f64>,
    ) -> Option<f64> {
        let d = self.distribution(metric, latencies);
        of(&d).or((d.infinite > 0).then_some(f64::INFINITY))
    }

    /// A quantile in milliseconds, and what to know of it.
    fn quantile_ms(
        &self,
        q: Quantile,
        metric: Metric,
        latencies: &Latencies,
    ) -> (Option<f64>, Option<String>) {
        let too_few =
            |needs: Option<u64>, had: u64| needs.map(|needs| format!("needs {needs} requests, had {had}"));
        let gaps = match metric {
            Metric::Icl => self.rows.icl(),
            Metric::Itl => self.rows.itl(),
            _ => {
                let series = self.series(metric);
                let mut sorted = series.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                let Ok(value) = quantile(&sorted, q) else { return (None, None) };
                // Between a finite value and infinity, interpolation has nothing to say.
                let value = if value.is_nan() { f64::INFINITY } else { value };
                let needs = reliance(q, &series, &sorted, 1e6).needs;
                return (Some(value / 1e6), too_few(needs, series.len() as u64));
            }
        };
        let selection = Selection::new(&gaps);
        if selection.n() == 0 {
            return (None, None);
        }
        let bounds = self.distribution(metric, latencies).bounds;
        let printed = PRINTED.iter().position(|p| *p == q);
        let needs = printed.and_then(|k| bounds.needs()[k]);
        (Some(selection.quantiles(&[q])[0] / 1e6), too_few(needs, bounds.had.unwrap_or(0)))
    }
}

impl Bounds {
    /// What p50, p90, p95 and p99 need, where there is less.
    pub const fn needs(&self) -> [Option<u64>; 4] {
        [self.p50_needs, self.p90_needs, self.p95_needs, self.p99_needs]
    }

    /// The intervals of p50, p90, p95 and p99.
    pub const fn intervals(&self) -> [Option<crate::Interval>; 4] {
        [self.p50_ci, self.p90_ci, self.p95_ci, self.p99_ci]
    }
}

/// The words for the population of latencies.
pub(crate) fn population(failed_as: FailedAs) -> String {
    match failed_as {
        FailedAs::Excluded => "answered requests: ok, short, long".to_owned(),
        FailedAs::Inf => "requests sent, failed ones as ∞; ICL and ITL: answered".to_owned(),
    }
}
