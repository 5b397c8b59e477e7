//! What each figure must reach, and whether it does.

use serde_json::Value;

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) what: String,
    /// Median, with the interval.
    pub(crate) found: String,
    /// Empty where it is only reported.
    pub(crate) target: String,
    pub(crate) met: Option<bool>,
    pub(crate) date: String,
}

impl Row {
    pub(crate) fn on(mut self, date: &str) -> Self {
        date.clone_into(&mut self.date);
        self
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        }
    }
}

/// What is asked of a median.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// Either way from 0.
    AtMost(f64),
    /// Shrinking is as good.
    GrowsAtMost(f64),
    AtLeast(f64),
    /// The whole interval within so much of 1.
    Equal(f64),
    Reported,
}

fn row(what: &str, median: &Value, unit: &str, target: Target) -> Row {
    let number = |name: &str| median[name].as_f64();
    let (Some(value), Some(low), Some(high)) = (number("median"), number("low"), number("high")) else {
        return Row {
            what: what.into(),
            found: "nothing".into(),
            target: words(target, unit),
            met: judged(target, None),
            date: String::new(),
        };
    };
    let found = format!("{}{unit} [{}, {}]", digits(value), digits(low), digits(high));
    let met = judged(target, Some((value, low, high)));
    Row { what: what.to_owned(), found, target: words(target, unit), met, date: String::new() }
}

fn judged(target: Target, found: Option<(f64, f64, f64)>) -> Option<bool> {
    let Some((median, low, high)) = found else {
        // Nothing found meets no target.
        return (!matches!(target, Target::Reported)).then_some(false);
    };
    match target {
        Target::AtMost(limit) => Some(median.abs() <= limit),
        Target::GrowsAtMost(limit) => Some(median <= limit),
        Target::AtLeast(limit) => Some(median >= limit),
        Target::Equal(by) => Some(low >= 1.0 - by && high <= 1.0 + by),
        Target::Reported => None,
    }
}

fn words(target: Target, unit: &str) -> String {
    match target {
        Target::AtMost(limit) | Target::GrowsAtMost(limit) => format!("≤ {limit}{unit}"),
        Target::AtLeast(limit) => format!("≥ {limit}{unit}"),
        Target::Equal(by) => format!("1 ± {by}"),
        Target::Reported => String::new(),
    }
}

fn digits(value: f64) -> String {
    match value.abs() {
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A figure that is measured once: no interval.
fn single(what: &str, value: &Value, unit: &str, target: Target) -> Row {
    let value = value.as_f64();
    Row {
        what: what.to_owned(),
        found: value.map_or_else(|| "nothing".to_owned(), |v| format!("{}{unit}", digits(v))),
        target: words(target, unit),
        met: judged(target, value.map(|v| (v, v, v))),
        date: String::new(),
    }
}

fn holds(what: &str, value: bool) -> Row {
    let found = if value { "yes" } else { "no" };
    Row {
        what: what.to_owned(),
        found: found.to_owned(),
        target: "yes".to_owned(),
        met: Some(value),
        date: String::new(),
    }
}

/// The rows of a part, from what it found.
pub(crate) fn rows(part: &str, found: &Value) -> Vec<Row> {
    let rung = &found["rungs"][0];
    match part {
        "100/s" | "1000/s" => arrivals(part, rung),
        "burst" => burst(rung),
        "500x50" => streams(rung),
        "1000x100" => overload(rung),
        "flood" => found["floods"].as_array().into_iter().flatten().flat_map(flood).collect(),
        "memory" => memory(&found["memory"]),
        "million" => million(&found["million"]),
        "rows" => many_rows(&found["rows"]),
        "dashboard" | "journal" => equivalence(part, rung),
        "criterion" | "index" => criterion(found),
        _ => Vec::new(),
    }
}

fn burst(rung: &Value) -> Vec<Row> {
    let in_order = all(rung, |run| run["in_order"] == true);
    let recorded = all(rung, |run| run["lateness_us"]["n"] == run["requests"] && run["failed"] == 0);
    let (after, bare) = (&rung["tics"]["handed_over_after_ms"], &rung["other"]["arrival_us.p99"]);
    vec![
        row("1,000 due at one instant: handed to the kernel after", after, " ms", Target::AtMost(30.0)),
        row("the same, bare pacer: p99 at the server", bare, " µs", Target::Reported),
        holds("1,000 due at one instant: in order", in_order),
        holds("1,000 due at one instant: lateness of each recorded", recorded),
    ]
}

fn streams(rung: &Value) -> Vec<Row> {
    let (tics, other) = (&rung["tics"], &rung["other"]);
    let mut rows = vec![
        row(
            "500 streams × 50/s: CPU an event / bare reader's",
            &rung["ratios"]["cpu_per_event"],
            "",
            Target::AtMost(1.5),
        ),
        row("the same: CPU an event", &tics["cpu_us_per_event"], " µs", Target::Reported),
        row("the same, bare reader: CPU an event", &other["cpu_us_per_event"], " µs", Target::Reported),
    ];
    for (error, name) in [("TTFT", "ttft_error_us"), ("ICL", "icl_error_us")] {
        for (statistic, limit) in [("p50", 100.0), ("p99", 1_000.0)] {
            let what = format!("500 streams × 50/s: {error} error, {statistic}");
            rows.push(row(&what, &tics[format!("{name}.{statistic}")], " µs", Target::AtMost(limit)));
        }
    }
    rows.push(row(
        "truth log: a token's write takes, p99",
        &tics["truth_write_us.p99"],
        " µs",
        Target::Reported,
    ));
    rows
}

fn overload(rung: &Value) -> Vec<Row> {
    let tics = &rung["tics"];
    let what = "1,000 streams × 100/s, cores shared: mean TTFT error";
    vec![
        row(what, &tics["ttft_mean_error_us"], " µs", Target::AtMost(2_000.0)),
        row("the same: share of shared reads", &tics["shared_share"], "", Target::Reported),
        row(
            "the same: the server's own lateness, p50",
            &tics["truth_timetable_us.p50"],
            " µs",
            Target::Reported,
        ),
        row("the same: CPU an event / bare reader's", &rung["ratios"]["cpu_per_event"], "", Target::Reported),
        verdict(rung),
    ]
}

fn memory(memory: &Value) -> Vec<Row> {
    let open = memory["max_in_flight"] == 10_000 && all_answered(memory);
    vec![
        single(
            "10,000 open streams: most resident memory",
            &memory["streams_mb"],
            " MB",
            Target::AtMost(400.0),
        ),
        single("the same, with the report", &memory["peak_mb"], " MB", Target::AtMost(400.0)),
        holds("10,000 streams were open at the same time, all answered", open),
    ]
}

fn million(million: &Value) -> Vec<Row> {
    let growth = &million["bytes_per_request"];
    vec![
        single(
            "1,000,000 requests: growth of resident memory a request",
            growth,
            " bytes",
            Target::GrowsAtMost(5.0),
        ),
        single("the same: resident memory at the end", &million["late_mb"], " MB", Target::Reported),
        single("the same: while the report is made", &million["report_mb"], " MB", Target::Reported),
        holds("1,000,000 requests: all answered", all_answered(million)),
    ]
}

fn many_rows(rows: &Value) -> Vec<Row> {
    vec![
        single(
            "a trace of 1,000,000 rows replayed: most resident memory",
            &rows["whole_mb"],
            " MB",
            Target::AtMost(300.0),
        ),
        single("the same / a trace of 100,000 rows", &rows["ratio"], "", Target::AtMost(1.2)),
        single("the same, without the report", &rows["sending_mb"], " MB", Target::Reported),
        single("the same: tokens of a prompt, mean", &rows["mean_tokens"], "", Target::Reported),
        single("the same: most in flight", &rows["max_in_flight"], "", Target::Reported),
        holds("a trace of 1,000,000 rows: all answered", all_answered(rows)),
    ]
}

fn equivalence(part: &str, rung: &Value) -> Vec<Row> {
    let ratios = &rung["ratios"];
    vec![
        row(&format!("{part} on / off: CPU an event"), &ratios["cpu_per_event"], "", Target::Equal(0.05)),
        row(&format!("{part} on / off: arrival p50"), &ratios["arrival_p50"], "", Target::Equal(0.05)),
    ]
}

fn arrivals(part: &str, rung: &Value) -> Vec<Row> {
    let (ratios, tics, other) = (&rung["ratios"], &rung["tics"], &rung["other"]);
    let what = |of: &str| format!("arrivals, {part}: {of}");
    vec![
        row(&what("p50 / bare pacer's"), &ratios["arrival_p50"], "", Target::AtMost(1.5)),
        row(&what("p99 / bare pacer's"), &ratios["arrival_p99"], "", Target::AtMost(1.5)),
        row(&what("p50"), &tics["arrival_us.p50"], " µs", Target::AtMost(120.0)),
        row(&what("p99"), &tics["arrival_us.p99"], " µs", Target::Reported),
        row(&what("bare pacer's p50"), &other["arrival_us.p50"], " µs", Target::Reported),
        row(&what("bare pacer's p99"), &other["arrival_us.p99"], " µs", Target::Reported),
    ]
}

fn flood(flood: &Value) -> Vec<Row> {
    let name = format!(
        "{} streams without pauses, events of {} bytes",
        flood["streams"],
        flood["bytes_per_event"].as_f64().unwrap_or(0.0).round()
    );
    vec![
        row(&format!("{name}: one worker"), &flood["mb_per_s"], " MB/s", Target::AtLeast(300.0)),
        row(&format!("{name}: CPU an event"), &flood["cpu_us_per_event"], " µs", Target::Reported),
        row(&format!("{name}: bare reader"), &flood["floor_mb_per_s"], " MB/s", Target::Reported),
    ]
}

/// Beyond the machine, Tics must say so.
fn verdict(rung: &Value) -> Row {
    let within = rung["within_1_ms"] == true;
    let says = all(rung, |run| run["verdict"] != "VALID" && run["verdict"] != "valid");
    let mut objections: Vec<&str> = rung["tics_runs"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|run| run["objections"].as_array().into_iter().flatten().filter_map(Value::as_str))
        .collect();
    objections.sort_unstable();
    objections.dedup();
    let mut row = holds("the same: within 1 ms, or else the verdict says so", within || says);
    if !objections.is_empty() {
        row.found = format!("{} ({})", row.found, objections.join(", "));
    }
    row
}

fn all_answered(found: &Value) -> bool {
    found["requests"].is_u64() && found["answered"] == found["requests"]
}

fn all(rung: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    rung["tics_runs"].as_array().is_some_and(|runs| !runs.is_empty() && runs.iter().all(holds))
}

fn criterion(found: &Value) -> Vec<Row> {
    let benches = found.as_array().into_iter().flatten();
    benches
        .map(|bench| {
            let name = bench["name"].as_str().unwrap_or_default();
            let target = match name {
                "sse/feed" => Target::AtLeast(1_000.0),
                "index/mooncake, mean 2,000 tokens" => Target::AtLeast(0.8),
                _ => Target::Reported,
            };
            let unit = format!(" {}", bench["unit"].as_str().unwrap_or_default());
            row(&format!("criterion {name}"), bench, &unit, target)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn median(median: f64, low: f64, high: f64) -> Value {
        json!({ "median": median, "low": low, "high": high })
    }

    #[test]
    fn a_target_is_met_or_missed() {
        let check = |value: &Value, target, met| assert_eq!(row("x", value, "", target).met, met, "{value}");
        check(&median(1.5, 1.0, 9.0), Target::AtMost(1.5), Some(true));
        check(&median(1.51, 1.0, 9.0), Target::AtMost(1.5), Some(false));
        check(&median(-3.0, -4.0, 1.0), Target::AtMost(2.0), Some(false));
        check(&median(-3.0, -4.0, 1.0), Target::GrowsAtMost(2.0), Some(true));
        check(&median(300.0, 1.0, 900.0), Target::AtLeast(300.0), Some(true));
        check(&median(1.0, 0.96, 1.05), Target::Equal(0.05), Some(true));
        check(&median(1.0, 0.94, 1.0), Target::Equal(0.05), Some(false));
        check(&median(1.0, 0.9, 1.2), Target::Reported, None);
        check(&Value::Null, Target::AtMost(1.0), Some(false));
        check(&Value::Null, Target::Reported, None);
        assert_eq!(
            row("x", &median(12.34, 1.0, 100.0), " µs", Target::Reported).found,
            "12.3 µs [1.00, 100]"
        );
    }

    #[test]
    fn a_part_that_found_nothing_meets_nothing() {
        for part in [
            "100/s",
            "1000/s",
            "burst",
            "500x50",
            "1000x100",
            "memory",
            "million",
            "rows",
            "dashboard",
            "journal",
        ] {
            let rows = rows(part, &json!({}));
            assert!(!rows.is_empty() && rows.iter().all(|row| row.met != Some(true)), "{part}: {rows:?}");
        }
    }
}
