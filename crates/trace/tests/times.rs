//! Times of a trace of the real size and shape, to the last digit.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

#[path = "../examples/times/compare.rs"]
mod compare;

use std::fmt::Write as _;

use compare::{Compared, compare, difference, instant};

/// As many rows as the trace of 2023 has, in its shape: CRLF, 7 digits, no line end at the end; an hour over
/// midnight at the end of a month.
fn file() -> String {
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens".to_owned();
    // 100 ns from 23:30 on; a step that meets every last digit.
    let mut tick: u64 = 5_400_000_000 + 466_805_900 / 100;
    for row in 0..19_366_u64 {
        tick += 1_861_337 + row * row % 9_973;
        let (second, part) = (tick / 10_000_000 + 23 * 3_600 + 1_260, tick % 10_000_000);
        let (day, second) =
            if second < 86_400 { ("2023-11-30", second) } else { ("2023-12-01", second - 86_400) };
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let (input, output) = (row % 4_096 + 1, row % 800 + 1);
        let _ = write!(text, "\r\n{day} {hour:02}:{minute:02}:{second:02}.{part:07},{input},{output}");
    }
    text
}

#[test]
fn a_trace_of_the_real_size_and_shape_keeps_its_times() {
    let text = file();
    assert!(text.contains("2023-11-30 23:") && text.contains("2023-12-01 00:"));
    let found = compare(&text).unwrap();
    assert_eq!(found.len(), 11);
    for Compared { what, rows, worst_ns } in found {
        assert_eq!(rows, 19_366);
        // A half of an odd number of nanoseconds is rounded; there is none, as all are multiples of 100.
        assert_eq!(worst_ns, 0, "{what}");
    }
}

#[test]
fn a_difference_is_found() {
    let seen = difference("x", &[0, 100, 300], &[0, 150, 290]).unwrap();
    assert_eq!((seen.rows, seen.worst_ns), (3, 50));
    assert!(difference("x", &[1], &[]).is_err());
    // `date -u -d … +%s`, in nanoseconds; 946684800 is 2000-01-01.
    let check = |text: &str, unix_ns: u64| {
        assert_eq!(instant(text).unwrap(), unix_ns - 946_684_800_000_000_000, "{text}");
    };
    check("2000-01-01 00:00:00", 946_684_800_000_000_000);
    check("2023-11-16 18:17:03.9799600", 1_700_158_623_979_960_000);
    check("2024-05-12 00:00:00+00:00", 1_715_472_000_000_000_000);
    check("2024-02-29 00:00:00.5", 1_709_164_800_500_000_000);
    assert!(instant("yesterday").is_err());
}
