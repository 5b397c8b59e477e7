//! Rows that were logged in batches, spread over the time behind each batch.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution as _, Open01};
use serde::{Deserialize, Serialize};
use tics_record::Nanos;

use crate::error::TraceError;
use crate::trace::{Rows, Trace};

/// How the rows of a batch, all on one time, are distributed over the gap to the next time.
///
/// The last batch gets a gap as long as the median one. Rows keep their order. A row that is alone on
/// its time stays where it is, and so does a trace with a single time. Batches are those of the whole
/// trace, so a row's time does not depend on what else is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// At equal distances, the first row where it was.
    Uniform,
    /// As a Poisson process of so many arrivals has them: independent and uniform over the gap.
    Poisson,
}

impl Spread {
    /// All of them.
    pub const ALL: [Spread; 2] = [Spread::Uniform, Spread::Poisson];

    /// As on the command line and in the description of a run.
    pub const fn name(self) -> &'static str {
        match self {
            Spread::Uniform => "uniform",
            Spread::Poisson => "poisson",
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Spread {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Spread::ALL.into_iter().find(|spread| spread.name() == name);
        found.ok_or_else(|| format!("expected uniform or poisson, found \"{name}\""))
    }
}

/// Gives every row of a trace its new time. Reads ahead with a second cursor, so that a batch of any
/// size needs no memory.
#[derive(Debug)]
pub(crate) struct Spreader {
    spread: Spread,
    random: ChaCha8Rng,
    ahead: Rows,
    /// Time of the row at which the cursor stopped: the first of the next batch.
    next: Option<u64>,
    /// For the last batch.
    median_gap: u64,
    batch: Batch,
}

#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    at: u64,
    rows: u64,
    given: u64,
    gap: u64,
    /// Share of the gap at which the last row was put.
    share: f64,
}

impl Spreader {
    pub(crate) fn new(trace: &Trace, spread: Spread, seed: u64) -> Result<Spreader, TraceError> {
        let mut spreader = Spreader {
            spread,
            random: ChaCha8Rng::seed_from_u64(seed),
            ahead: trace.rows(),
            next: None,
            median_gap: median_gap(trace)?,
            batch: Batch::default(),
        };
        spreader.next = spreader.read()?;
        Ok(spreader)
    }

    fn read(&mut self) -> Result<Option<u64>, TraceError> {
        self.ahead.next_with(|_, row, origin| row.at.saturating_sub(origin)).transpose()
    }

    /// The new time of the next row, in the order of [`Trace::rows`]. Each row must be asked for.
    pub(crate) fn next_time(&mut self) -> Result<Option<Nanos>, TraceError> {
        if self.batch.given == self.batch.rows {
            let Some(at) = self.next else { return Ok(None) };
            let mut rows = 1;
            self.next = loop {
                match self.read()? {
                    Some(time) if time == at => rows += 1,
                    other => break other,
                }
            };
            let gap = self.next.map_or(self.median_gap, |next| next.saturating_sub(at));
            self.batch = Batch { at, rows, given: 0, gap, share: 0.0 };
        }
        let Batch { at, rows, given, gap, share } = self.batch;
        self.batch.given += 1;
        let offset = match self.spread {
            _ if rows == 1 => 0,
            Spread::Uniform => (u128::from(gap) * u128::from(given) / u128::from(rows)) as u64,
            Spread::Poisson => {
                // The next of the sorted draws: the least of those left is uniform in what is left,
                // to the power of their number.
                let draw: f64 = Open01.sample(&mut self.random);
                self.batch.share = 1.0 - (1.0 - share) * draw.powf(1.0 / (rows - given) as f64);
                ((self.batch.share * gap as f64) as u64).min(gap)
            }
        };
        Ok(Some(Nanos::new(at.saturating_add(offset))))
    }
}

/// The median of the gaps between distinct times, to within one part in a thousand; 0 without a gap.
fn median_gap(trace: &Trace) -> Result<u64, TraceError> {
    let mut rows = trace.rows();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last = None;
    while let Some(at) = rows.next_with(|_, row, _| row.at).transpose()? {
        if let Some(before) = last.replace(at)
            && before < at
        {
            *counts.entry(rounded(at - before)).or_default() += 1;
        }
    }
    let half = counts.values().sum::<u64>().div_ceil(2);
    let mut below = 0;
    let median = counts.iter().find(|(_, n)| {
        below += **n;
        below >= half
    });
    Ok(median.map_or(0, |(gap, _)| *gap))
}

/// The number without all but its eleven highest bits: there are few of them.
const fn rounded(gap: u64) -> u64 {
    let shift = 53_u32.saturating_sub(gap.leading_zeros());
    gap >> shift << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_by_little() {
        for gap in [0, 1, 2_047, 2_048, 3_000_000_000, u64::MAX] {
            let near = rounded(gap);
            assert!(near <= gap && gap - near <= gap / 1_000, "{gap}: {near}");
        }
        assert_eq!(rounded(2_047), 2_047);
        assert_eq!("poisson".parse(), Ok(Spread::Poisson));
        assert_eq!("even".parse::<Spread>().unwrap_err(), "expected uniform or poisson, found \"even\"");
    }
}
