//! Columns, wrapping, numbers.

use std::fmt::Write as _;

use tics_stats::Distribution;

/// Widest line of a report.
pub(crate) const WIDTH: usize = 100;
/// Width of the labels on the left.
pub(crate) const LABEL: usize = 14;

/// Appends `label` and `text`, wrapped so that continuation lines stand under the text. Control
/// characters, which a server's message may hold, are replaced: they could clear the screen.
pub(crate) fn labelled(out: &mut String, label: &str, text: &str) {
    let mut line = format!("{label:<LABEL$}");
    let mut empty = true;
    for word in text.split_whitespace() {
        let word: String = word.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let wide = line.chars().count() + 1 + word.chars().count() > WIDTH;
        if !empty && wide {
            end_line(out, &line);
            line = " ".repeat(LABEL);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(&word);
        empty = false;
    }
    end_line(out, &line);
}

/// Appends a line without blanks at its end.
pub(crate) fn end_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// At most `max` characters of `text`, with an ellipsis where something was cut.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// `value` with `decimals` places; "-" where there is none, so that it is not read as zero.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.decimals$}"))
}

/// `1 request`, `2 requests`.
pub(crate) fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Appends the heading of a table of distributions.
pub(crate) fn heading(out: &mut String, title: &str, population: &str) {
    let _ = writeln!(out, "{title} ({population})");
    let mut line = format!("{:LABEL$}{:>9}", "", "n");
    for name in ["mean", "p50", "p90", "p95", "p99", "max"] {
        let _ = write!(line, "{name:>12}");
    }
    end_line(out, &line);
}

/// Appends a row of a table of distributions.
pub(crate) fn row(out: &mut String, label: &str, d: &Distribution, decimals: usize) {
    let mut line = format!("{label:<LABEL$}{:>9}", d.n);
    for value in [d.mean, d.p50, d.p90, d.p95, d.p99, d.max] {
        let _ = write!(line, "{:>12}", number(value, decimals));
    }
    end_line(out, &line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_wrapped_under_itself_and_cannot_draw() {
        let mut out = String::new();
        labelled(&mut out, "label", &format!("{} \u{1b}[2J b\u{7}c", "word ".repeat(30)));
        assert!(out.lines().all(|l| l.chars().count() <= WIDTH), "{out}");
        assert!(out.lines().skip(1).all(|l| l.starts_with(&" ".repeat(LABEL))), "{out}");
        assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{out:?}");
        assert!(out.ends_with("\u{fffd}[2J b\u{fffd}c\n"));
    }

    #[test]
    fn what_is_missing_is_not_zero() {
        assert_eq!((number(None, 3), number(Some(0.0), 3)), ("-".to_owned(), "0.000".to_owned()));
        assert_eq!((shorten("abcdef", 4), shorten("abcd", 4)), ("abc…".to_owned(), "abcd".to_owned()));
    }
}
