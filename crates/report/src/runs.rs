//! Several runs side by side.

use std::fmt::Write as _;

use tics_record::RunDescription;
use tics_stats::{Distribution, Populations, Summary};

use crate::layout::{end_line, number, shorten};

/// Longest name before it is cut.
const NAME: usize = 14;

/// One row a run: name, scale, requests and how many were answered as asked, median and p99 of TTFT
/// and TPOT (ms) and of E2E (s), output tokens a second, verdict.
///
/// A longer name loses its front: the names of one invocation differ at their ends.
pub fn render_runs<'a>(runs: impl IntoIterator<Item = (&'a RunDescription, &'a Summary)>) -> String {
    let mut out = String::new();
    end_line(&mut out, &line("", "", "", "", "TTFT ms", "TPOT ms", "E2E s", "", ""));
    let pair = "p50     p99";
    end_line(&mut out, &line("run", "scale", "reqs", "ok", pair, pair, pair, "tokens/s", "verdict"));
    for (run, summary) in runs {
        let two = |d: &Distribution, unit: f64, decimals| {
            let value = |v: Option<f64>| number(v.map(|v| v / unit), decimals);
            format!("{:>7} {:>7}", value(d.p50), value(d.p99))
        };
        end_line(
            &mut out,
            &line(
                &tail(&run.name),
                &run.load.scale.map_or_else(|| "-".to_owned(), |s| s.to_string()),
                &summary.requests.scheduled.to_string(),
                &summary.requests.ok.to_string(),
                &two(&summary.ttft_ms, 1.0, 1),
                &two(&summary.tpot_ms, 1.0, 2),
                &two(&summary.e2e_ms, 1e3, 3),
                &number(summary.tokens_per_s, 1),
                summary.validity.verdict.name(),
            ),
        );
    }
    end_line(&mut out, &format!("latencies and rates are over {}", Populations::default().latency));
    out
}

/// The end of a name, without what could move the cursor.
fn tail(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).rev().collect();
    shorten(&clean, NAME).chars().rev().collect()
}

#[expect(clippy::too_many_arguments, reason = "the nine columns of one table")]
fn line(
    run: &str,
    scale: &str,
    requests: &str,
    ok: &str,
    ttft: &str,
    tpot: &str,
    e2e: &str,
    rate: &str,
    verdict: &str,
) -> String {
    let mut line = format!("{run:<NAME$}");
    let _ = write!(line, " {scale:>5} {requests:>6} {ok:>6}");
    let _ = write!(line, " {ttft:>15} {tpot:>15} {e2e:>15} {rate:>8} {verdict}");
    line
}
