//! The server's own counters beside those of the records.

use tics_record::ServerTotals;

use super::Lengths;

/// One counter of the server over the run, and what the records allow for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// `requests`, `prompt tokens`, `generated tokens`.
    pub what: &'static str,
    /// The server's.
    pub theirs: f64,
    /// The least that the records account for.
    pub least: u64,
    /// The most: with all that failed requests may have cost.
    pub most: u64,
}

impl Compared {
    /// How far the server's count is outside of what the records allow for, as a share.
    fn off(&self) -> f64 {
        let (least, most) = (self.least as f64, self.most as f64);
        (least - self.theirs).max(self.theirs - most).max(0.0) / most.max(1.0)
    }
}

/// All counters that the server has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerCounts {
    /// Whose names they have.
    pub server: String,
    /// Those that both sides know.
    pub compared: Vec<Compared>,
}

/// The counter that is furthest off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// Which.
    pub what: &'static str,
    /// By what share.
    pub off: f64,
    /// The server's count.
    pub theirs: f64,
    /// The nearest that the records allow for.
    pub ours: u64,
}

impl ServerCounts {
    /// None where the server was scraped once only, began anew in between, or has no counter known here.
    pub(crate) fn between(
        first: &ServerTotals,
        last: &ServerTotals,
        lengths: &Lengths,
        sent: u64,
        answered: u64,
    ) -> Option<Self> {
        if first.at == last.at {
            return None;
        }
        let grown = |of: fn(&ServerTotals) -> Option<f64>| Some(of(last)? - of(first)?).filter(|d| *d >= 0.0);
        let all_counted = |n: u64| n == answered && answered > 0;
        let mut compared = Vec::new();
        let mut add = |what, theirs: Option<f64>, range: Option<(u64, u64)>| {
            if let (Some(theirs), Some((least, most))) = (theirs, range) {
                compared.push(Compared { what, theirs, least, most });
            }
        };
        add("requests", grown(|s| s.requests), Some((answered, sent)));
        let prompt = all_counted(lengths.n_with_input)
            .then(|| (lengths.input_got, lengths.input_got + lengths.failed_input));
        add("prompt tokens", grown(|s| s.prompt_tokens), prompt);
        let generated = all_counted(lengths.n_with_usage)
            .then(|| (lengths.output_got, lengths.output_got + lengths.failed_output));
        add("generated tokens", grown(|s| s.generation_tokens), generated);
        (!compared.is_empty()).then(|| ServerCounts { server: last.server.clone(), compared })
    }

    /// The counter that is furthest off; the first where none is.
    pub fn worst(&self) -> Worst {
        let worst = self.compared.iter().reduce(|a, b| if b.off() > a.off() { b } else { a });
        worst.map_or(Worst { what: "", off: 0.0, theirs: 0.0, ours: 0 }, |w| Worst {
            what: w.what,
            off: w.off(),
            theirs: w.theirs,
            ours: if w.theirs > w.most as f64 { w.most } else { w.least },
        })
    }
}

#[cfg(test)]
mod tests {
    use tics_record::Stamp;

    use super::*;

    fn counts(requests: f64, generated: f64) -> Option<ServerCounts> {
        let sample = |at, requests, generated| ServerTotals {
            at: Stamp::from_nanos(at),
            server: "vllm".into(),
            requests: Some(requests),
            prompt_tokens: None,
            generation_tokens: Some(generated),
        };
        let lengths = Lengths { n_with_usage: 98, output_got: 980, failed_output: 20, ..Lengths::default() };
        let (first, last) = (sample(1, 5.0, 50.0), sample(2, 5.0 + requests, 50.0 + generated));
        ServerCounts::between(&first, &last, &lengths, 100, 98)
    }

    #[test]
    fn failed_requests_may_or_may_not_have_been_counted() {
        for (requests, generated) in [(98.0, 980.0), (100.0, 1000.0), (99.0, 985.0)] {
            assert!(counts(requests, generated).unwrap().worst().off <= 0.0);
        }
        let more = counts(100.0, 1100.0).unwrap().worst();
        assert_eq!((more.what, more.ours), ("generated tokens", 1000));
        assert!((more.off - 0.1).abs() < 1e-9);
        let fewer = counts(93.0, 980.0).unwrap().worst();
        assert_eq!((fewer.what, fewer.ours), ("requests", 98));
        assert!((fewer.off - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_server_that_began_anew_is_not_compared() {
        assert_eq!(counts(-3.0, -40.0), None);
    }
}
