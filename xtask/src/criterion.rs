//! criterion's output, read.

use serde_json::{Value, json};

/// Name, median, interval and unit of every bench in criterion's output; where it has a throughput,
/// that instead of the time. Rates in 10^6 bytes or elements a second.
pub(crate) fn figures(output: &str) -> Value {
    let mut found: Vec<Value> = Vec::new();
    let mut name = "";
    for line in output.lines() {
        let (label, rest) = if let Some((label, rest)) = line.split_once("time:") {
            (Some(label), rest)
        } else if let Some((_, rest)) = line.split_once("thrpt:") {
            (None, rest)
        } else {
            // A long name stands on a line of its own.
            if !line.starts_with(' ') && !line.is_empty() {
                name = line.trim();
            }
            continue;
        };
        let Some((low, median, high, unit)) = interval(rest) else { continue };
        match label {
            Some(label) if !label.trim().is_empty() => name = label.trim(),
            Some(_) => {}
            // The throughput of the bench before it.
            None => drop(found.pop()),
        }
        found.push(json!({ "name": name, "low": low, "median": median, "high": high, "unit": unit }));
    }
    Value::Array(found)
}

/// `[1.2 µs 1.3 µs 1.4 µs]`, in one unit.
fn interval(text: &str) -> Option<(f64, f64, f64, &'static str)> {
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let words: Vec<&str> = inside.split_whitespace().collect();
    let [low, low_unit, median, unit, high, high_unit] = words.as_slice() else { return None };
    let value =
        |number: &str, unit: &str| Some((number.parse::<f64>().ok()? * scale(unit)?.0, scale(unit)?.1));
    let (median, name) = value(median, unit)?;
    Some((value(low, low_unit)?.0, median, value(high, high_unit)?.0, name))
}

/// What a unit of criterion's is in one of ours.
fn scale(unit: &str) -> Option<(f64, &'static str)> {
    let mib = f64::from(1 << 20) / 1e6;
    Some(match unit {
        "ps" => (1e-3, "ns"),
        "ns" => (1.0, "ns"),
        "µs" | "us" => (1e3, "ns"),
        "ms" => (1e6, "ns"),
        "s" => (1e9, "ns"),
        "KiB/s" => (mib / 1024.0, "MB/s"),
        "MiB/s" => (mib, "MB/s"),
        "GiB/s" => (mib * 1024.0, "MB/s"),
        "elem/s" => (1e-6, "million/s"),
        "Kelem/s" => (1e-3, "million/s"),
        "Melem/s" => (1.0, "million/s"),
        "Gelem/s" => (1e3, "million/s"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        let output = "\
sse/feed                time:   [100.0 µs 110.0 µs 0.120 ms]
                        thrpt:  [1.0000 GiB/s 2.0000 GiB/s 3.0000 GiB/s]
                 change:
                        time:   [-1.0% +0.5% +1.5%] (p = 0.30 > 0.05)
Found 2 outliers among 100 measurements (2.00%)
quantiles/ten million values, one of a very long name
                        time:   [1.0000 s 1.5000 s 2.0000 s]
";
        let figures = figures(output);
        assert_eq!(figures[0]["name"], "sse/feed");
        assert_eq!(figures[0]["unit"], "MB/s");
        assert!((figures[0]["median"].as_f64().unwrap() - 2_147.483_648).abs() < 1e-6);
        assert_eq!(figures[1]["name"], "quantiles/ten million values, one of a very long name");
        assert_eq!(figures[1]["high"], 2e9);
        assert_eq!(figures.as_array().unwrap().len(), 2);
    }
}
