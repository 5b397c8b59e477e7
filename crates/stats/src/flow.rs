//! Tokens over time.

use std::collections::BTreeMap;

use tics_record::RequestRecord;

/// Length of a bin: 100 ms.
const BIN_NS: u64 = 100_000_000;
/// Bins kept together.
const CHUNK: u64 = 256;

/// Tokens that arrived in each tenth of a second, in thousandths: a request's tokens are spread over its
/// tics. Whole numbers, so that the order in which requests are added does not matter. 8 bytes a tenth of
/// a second in which anything came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    chunks: BTreeMap<u64, Box<[u64; CHUNK as usize]>>,
}

impl Flow {
    /// Adds the `tokens` of a request that came in `tics`.
    pub(crate) fn add(&mut self, record: &RequestRecord, tokens: u32, tics: u32) {
        if tics == 0 {
            return;
        }
        let each = u64::from(tokens) * 1_000 / u64::from(tics);
        // Tics of one bin are added at once: looking up a bin costs more than all else here.
        let (mut ends, mut bin, mut sum) = (0, 0, 0);
        for tic in record.tics() {
            let at = tic.at.as_nanos();
            if at >= ends || at < ends.saturating_sub(BIN_NS) {
                self.put(bin, sum);
                (bin, sum) = (at / BIN_NS, 0);
                ends = (bin + 1).saturating_mul(BIN_NS);
            }
            sum += each;
        }
        self.put(bin, sum);
    }

    fn put(&mut self, bin: u64, amount: u64) {
        if amount > 0 {
            let chunk = self.chunks.entry(bin / CHUNK).or_insert_with(|| Box::new([0; CHUNK as usize]));
            chunk[(bin % CHUNK) as usize] += amount;
        }
    }

    pub(crate) fn merge(&mut self, other: &Flow) {
        for (key, theirs) in &other.chunks {
            let ours = self.chunks.entry(*key).or_insert_with(|| Box::new([0; CHUNK as usize]));
            for (our, their) in ours.iter_mut().zip(theirs.iter()) {
                *our += their;
            }
        }
    }

    /// Tokens that came from `from` to `to`, nanoseconds. What came in a bin is taken to be spread evenly
    /// over it.
    pub(crate) fn between(&self, from: u64, to: u64) -> f64 {
        if to <= from {
            return 0.0;
        }
        let mut thousandths = 0.0;
        for (key, chunk) in self.chunks.range(from / BIN_NS / CHUNK..=to / BIN_NS / CHUNK) {
            for (k, amount) in chunk.iter().enumerate() {
                let start = (key * CHUNK + k as u64).saturating_mul(BIN_NS);
                let inside = to.min(start.saturating_add(BIN_NS)).saturating_sub(from.max(start));
                thousandths += *amount as f64 * (inside as f64 / BIN_NS as f64);
            }
        }
        thousandths / 1e3
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tics_record::{Event, EventClass, Stamp};

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_lost_and_parts_add_up(
            steps in prop::collection::vec(prop_oneof![0u64..50_000_000, 0u64..40_000_000_000], 1..60),
            cut in 0.0..=1.0,
        ) {
            let mut now = 0;
            let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
            record.events = steps.iter().map(|step| {
                now += step;
                Event::new(Stamp::from_nanos(now), EventClass::Content)
            }).collect();
            let n = steps.len() as u32;
            let mut flow = Flow::default();
            flow.add(&record, 2 * n, n);
            let end = now + BIN_NS;
            let middle = (cut * end as f64) as u64;
            prop_assert!((flow.between(0, end) - 2.0 * f64::from(n)).abs() < 1e-6);
            let parts = flow.between(0, middle) + flow.between(middle, end);
            prop_assert!((parts - 2.0 * f64::from(n)).abs() < 1e-6, "{parts}");
            let mut twice = flow.clone();
            twice.merge(&flow);
            prop_assert!((twice.between(0, end) - 4.0 * f64::from(n)).abs() < 1e-6);
        }
    }
}
