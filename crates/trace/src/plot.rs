//! Small plots of block characters.

use std::fmt::Write as _;

use crate::info::grouped;
use crate::lengths::Bin;

/// Lines of a plot of columns.
const HEIGHT: usize = 5;
/// Cells of the longest bar.
const WIDTH: u64 = 40;
const UPWARDS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const RIGHTWARDS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A column for each value, from 0 to the largest, over an axis from `from` to `to`.
///
/// What is above zero is always seen, be it ever so small.
pub(crate) fn columns(values: &[f64], from: &str, to: &str) -> String {
    let most = values.iter().copied().fold(0.0, f64::max);
    let eighths: Vec<usize> = values.iter().map(|v| eighths(*v, most, HEIGHT * 8)).collect();
    let top = format!("{most:.3}");
    let margin = top.len().max(1);
    let mut text = String::new();
    for line in (0..HEIGHT).rev() {
        let label = if line + 1 == HEIGHT { &*top } else { "" };
        let cells: String = eighths.iter().map(|n| UPWARDS[n.saturating_sub(line * 8).min(8)]).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", format!("{label:>margin$} │{cells}").trim_end());
    }
    let _ = writeln!(text, "{:>margin$} └{}", "0", "─".repeat(values.len()));
    let gap = values.len().saturating_sub(from.chars().count()).max(to.chars().count() + 1);
    let _ = writeln!(text, "{:margin$}  {from}{to:>gap$}", "");
    text
}

/// A bar for each class.
pub(crate) fn bars(bins: &[Bin]) -> String {
    let most = bins.iter().map(|bin| bin.n).max().unwrap_or(0);
    let range = |bin: &Bin| {
        if bin.least == bin.most {
            grouped(bin.least)
        } else {
            format!("{}–{}", grouped(bin.least), grouped(bin.most))
        }
    };
    let left = bins.iter().map(|bin| range(bin).chars().count()).max().unwrap_or(0);
    let right = grouped(most).len();
    let mut text = String::new();
    for bin in bins {
        let eighths = eighths(bin.n as f64, most as f64, WIDTH as usize * 8);
        let mut bar = "█".repeat(eighths / 8);
        bar.push(RIGHTWARDS[eighths % 8]);
        let line = format!("{:>left$}  {:>right$} {bar}", range(bin), grouped(bin.n));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn eighths(value: f64, most: f64, whole: usize) -> usize {
    if value <= 0.0 || most <= 0.0 {
        return 0;
    }
    ((value / most * whole as f64).round() as usize).clamp(1, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_reach_from_zero_to_the_largest() {
        let values: Vec<f64> = (0..20).map(f64::from).chain([0.001, 40.0]).collect();
        insta::assert_snapshot!(columns(&values, "0 s", "1.5 s"), @r"
        40.000 │                     █
               │                     █
               │                 ▁▂▃ █
               │         ▁▂▃▄▅▆▇████ █
               │ ▁▂▃▄▅▆▇████████████▁█
             0 └──────────────────────
                0 s              1.5 s
        ");
        insta::assert_snapshot!(columns(&[0.0, 0.0], "0 s", "12 s"), @r"
        0.000 │
              │
              │
              │
              │
            0 └──
               0 s 12 s
        ");
    }

    #[test]
    fn bars_are_in_proportion() {
        let bin = |least, most, n| Bin { least, most, n };
        insta::assert_snapshot!(bars(&[bin(1, 1, 3), bin(2, 3, 0), bin(1024, 2047, 12_000), bin(2048, 4095, 6_010)]), @r"
                  1       3 ▏
                2–3       0
        1,024–2,047  12,000 ████████████████████████████████████████
        2,048–4,095   6,010 ████████████████████
        ");
    }
}
