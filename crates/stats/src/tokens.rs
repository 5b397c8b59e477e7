//! Sums of tokens over answered requests.

use tics_record::RequestRecord;

use crate::{InputTokens, OutputTokens, TokenCount};

/// Sums over the output lengths of answered requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenSums {
    pub(crate) input: InputTokens,
    pub(crate) output: OutputTokens,
    /// Tics of the requests for which the server counted.
    tics_with_usage: u64,
}

impl TokenSums {
    pub(crate) fn add(&mut self, record: &RequestRecord) {
        let (input, output) = (&mut self.input, &mut self.output);
        let tics = record.tics().count() as u64;
        input.asked += u64::from(record.input.asked);
        if let Some(usage) = record.input.usage {
            *input.usage.get_or_insert(0) += u64::from(usage);
            input.with_usage += 1;
            input.differ += u64::from(usage != record.input.asked);
        }
        output.asked += u64::from(record.output.asked);
        output.tics += tics;
        output.used += record.output.usage.map_or(tics, u64::from);
        if let Some(usage) = record.output.usage {
            *output.usage.get_or_insert(0) += u64::from(usage);
            output.with_usage += 1;
            output.differ += u64::from(u64::from(usage) != tics);
            self.tics_with_usage += tics;
        }
    }

    pub(crate) fn merge(&mut self, other: &TokenSums) {
        let add = |a: Option<u64>, b: Option<u64>| a.map_or(b, |a| Some(a + b.unwrap_or(0)));
        let (input, output) = (&mut self.input, &mut self.output);
        input.asked += other.input.asked;
        input.usage = add(input.usage, other.input.usage);
        input.with_usage += other.input.with_usage;
        input.differ += other.input.differ;
        output.asked += other.output.asked;
        output.tics += other.output.tics;
        output.usage = add(output.usage, other.output.usage);
        output.used += other.output.used;
        output.with_usage += other.output.with_usage;
        output.differ += other.output.differ;
        output.failed_tics += other.output.failed_tics;
        self.tics_with_usage += other.tics_with_usage;
    }

    pub(crate) fn output(&self, answered: u64) -> OutputTokens {
        let count = match self.output.with_usage {
            _ if answered == 0 => TokenCount::None,
            0 => TokenCount::Tics,
            n if n == answered => TokenCount::Usage,
            _ => TokenCount::Mixed,
        };
        let per_tic = self.output.usage.filter(|_| self.tics_with_usage > 0);
        let tokens_per_tic = per_tic.map(|usage| usage as f64 / self.tics_with_usage as f64);
        OutputTokens { count, tokens_per_tic, ..self.output }
    }
}
