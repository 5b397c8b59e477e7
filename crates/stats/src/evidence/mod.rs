//! What the verdict is judged from, collected from records, samples of the tester and of the server.

mod health;
mod lengths;
mod reads;
mod server;
mod timing;

pub use health::{HealthDigest, Named};
pub use lengths::{Lengths, Little};
pub use reads::Reads;
pub use server::{Compared, ServerCounts, Worst};
use tics_record::{HealthSample, RequestRecord, ServerTotals};
pub use timing::{Dependence, Lumps, Timing, Trend, WindowOff};
pub(crate) use timing::{timing, trend};

use crate::peaks::Flight;

/// Collects, record by record and sample by sample, what only the verdict needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) reads: Reads,
    pub(crate) lengths: Lengths,
    pub(crate) health: Option<HealthDigest>,
    server: Vec<ServerTotals>,
}

impl Observed {
    /// Takes the record of a request that ended.
    pub(crate) fn record(&mut self, record: &RequestRecord) {
        self.reads.record(record);
        self.lengths.record(record);
    }

    pub(crate) fn health(&mut self, sample: &HealthSample) {
        self.health.get_or_insert_default().add(sample);
    }

    pub(crate) fn server(&mut self, sample: &ServerTotals) {
        self.server.push(sample.clone());
    }

    /// Takes what `other` saw of the same run. Samples are of one of the two.
    pub(crate) fn merge(&mut self, other: Observed) {
        self.reads.merge(other.reads);
        self.lengths.merge(&other.lengths);
        self.server.extend(other.server);
        if self.health.is_none() {
            self.health = other.health;
        }
    }

    /// Closes the books: requests in flight by the records, counts beside the server's.
    pub(crate) fn conclude(&mut self, flights: &[Flight], sent: u64, answered: u64) -> Option<ServerCounts> {
        self.reads.sort();
        self.lengths.flights(flights);
        self.server.sort_by_key(|sample| sample.at);
        let (first, last) = (self.server.first()?, self.server.last()?);
        ServerCounts::between(first, last, &self.lengths, sent, answered)
    }
}
