//! Numbers and spans as people read them. Nothing else in this crate turns a number into text.

use tics_record::{Nanos, Progress};

/// What is printed where a number is not known.
pub(crate) const UNKNOWN_CLOCK: &str = "--:--";

/// A count in full, thousands separated: `12,031`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in at most five characters: `999`, `1.20k`, `45.6M`, `18.4E`.
pub(crate) fn count_short(n: u64) -> String {
    const UNITS: [(u64, char); 6] = [
        (1_000_000_000_000_000_000, 'E'),
        (1_000_000_000_000_000, 'P'),
        (1_000_000_000_000, 'T'),
        (1_000_000_000, 'G'),
        (1_000_000, 'M'),
        (1_000, 'k'),
    ];
    match UNITS.into_iter().find(|(unit, _)| n >= *unit) {
        None => n.to_string(),
        // Truncated, not rounded: 999,999 of 1,000,000 must not read as done.
        Some((unit, letter)) => {
            let hundredths = n / (unit / 100);
            match hundredths {
                ..1_000 => format!("{}.{:02}{letter}", hundredths / 100, hundredths % 100),
                1_000..10_000 => format!("{}.{}{letter}", hundredths / 100, hundredths % 100 / 10),
                _ => format!("{}{letter}", hundredths / 100),
            }
        }
    }
}

/// `done/total` in full: `120/500`.
pub(crate) fn of_total(progress: Progress) -> String {
    format!("{}/{}", count(progress.done), count(progress.total))
}

/// `done/total` in at most eleven characters: `12.0k/1.20M`.
pub(crate) fn of_total_short(progress: Progress) -> String {
    format!("{}/{}", count_short(progress.done), count_short(progress.total))
}

/// Whole percent, rounded down so that 100 % means all of it; `--%` of nothing.
pub(crate) fn percent(progress: Progress) -> String {
    if progress.total == 0 {
        return "--%".to_owned();
    }
    let percent = u128::from(progress.done) * 100 / u128::from(progress.total);
    // A server that sends far more than asked must not push the columns apart.
    if percent > 999 { ">999%".to_owned() } else { format!("{percent}%") }
}

/// A rate, three significant digits below a thousand: `0.25/s`, `12.3/s`, `1,234/s`, `1.20M/s`.
pub(crate) fn rate(per_s: Option<f64>) -> String {
    match per_s {
        None => "--/s".to_owned(),
        Some(r) if r <= 0.0 => "0/s".to_owned(),
        Some(r) if r < 9.995 => format!("{r:.2}/s"),
        Some(r) if r < 99.95 => format!("{r:.1}/s"),
        Some(r) if r < 99_999.5 => format!("{}/s", count(r.round() as u64)),
        Some(r) => format!("{}/s", count_short(r.round() as u64)),
    }
}

/// A latency, three significant digits below 100 s: `850 ns`, `12.3 µs`, `1.23 ms`, `45.6 s`, `1:23:45`.
pub(crate) fn span(span: Nanos) -> String {
    let ns = span.as_nanos();
    // Each limit is where three digits would round up to the next unit.
    let (value, unit) = match ns {
        ..1_000 => return format!("{ns} ns"),
        1_000..999_500 => (span.as_micros_f64(), "µs"),
        999_500..999_500_000 => (span.as_millis_f64(), "ms"),
        999_500_000..99_950_000_000 => (span.as_secs_f64(), "s"),
        _ => return clock(span),
    };
    let decimals = match value {
        ..9.995 => 2,
        9.995..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A span as a clock shows it, whole seconds, rounded down: `0:12`, `12:03`, `1:23:45`; days from a hundred
/// hours on.
pub(crate) fn clock(span: Nanos) -> String {
    let s = span.as_nanos() / 1_000_000_000;
    let (hours, minutes, seconds) = (s / 3_600, s / 60 % 60, s % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        1..100 => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{} d", hours / 24),
    }
}

/// A span still to come, rounded up so that it reaches `0:00` only when there is nothing to wait for.
pub(crate) fn countdown(span: Nanos) -> String {
    clock(span.plus(Nanos::new(999_999_999)))
}

/// Columns that `text` takes: every string this module makes is of narrow characters only.
pub(crate) fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts() {
        let all = [0, 999, 1_000, 12_031, 999_999, 1_234_567, u64::MAX].map(|n| (count(n), count_short(n)));
        let expect = [
            ("0", "0"),
            ("999", "999"),
            ("1,000", "1.00k"),
            ("12,031", "12.0k"),
            ("999,999", "999k"),
            ("1,234,567", "1.23M"),
            ("18,446,744,073,709,551,615", "18.4E"),
        ];
        assert_eq!(
            all.map(|(long, short)| format!("{long} {short}")),
            expect.map(|(l, s)| format!("{l} {s}"))
        );
    }

    #[test]
    fn percent_says_hundred_only_of_all() {
        let of = |done, total| percent(Progress { done, total });
        assert_eq!([of(0, 0), of(0, 3), of(999_999, 1_000_000), of(3, 3)], ["--%", "0%", "99%", "100%"]);
        assert_eq!([of(31, 30), of(u64::MAX, 1)], ["103%", ">999%"]);
    }

    #[test]
    fn rates() {
        let of = [None, Some(0.0), Some(0.254), Some(9.996), Some(456.4), Some(12_345.6), Some(3e6)];
        let text = of.map(rate);
        assert_eq!(text, ["--/s", "0/s", "0.25/s", "10.0/s", "456/s", "12,346/s", "3.00M/s"]);
    }

    #[test]
    fn spans() {
        let of = [0, 850, 12_340, 999_600, 1_234_567, 999_600_000, 45_600_000_000, 5_025_000_000_000];
        let text = of.map(|ns| span(Nanos::new(ns)));
        assert_eq!(text, ["0 ns", "850 ns", "12.3 µs", "1.00 ms", "1.23 ms", "1.00 s", "45.6 s", "1:23:45"]);
    }

    #[test]
    fn clocks() {
        let s = Nanos::from_secs;
        let text = [s(0), s(12), s(723), s(5_025), s(360_000)].map(clock);
        assert_eq!(text, ["0:00", "0:12", "12:03", "1:23:45", "4 d"]);
        assert_eq!([s(0), Nanos::new(1), s(1)].map(countdown), ["0:00", "0:01", "0:01"]);
    }

    proptest! {
        #[test]
        fn short_forms_are_short(n: u64, ns: u64, per_s in 0.0..1e19) {
            prop_assert!(width(&count_short(n)) <= 5);
            prop_assert!(width(&rate(Some(per_s))) <= 8);
            prop_assert!(width(&span(Nanos::new(ns))) <= 8);
        }
    }
}
