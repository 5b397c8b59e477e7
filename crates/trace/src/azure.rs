//! The CSV of the Azure LLM inference traces: columns by name, times as dates.

use crate::csv::{Cells, Header};
use crate::decimal::{SECONDS, parse_decimal};
use crate::error::Fault;
use crate::value::{TOKENS, expect_tokens};
use crate::view::RowView;

const TIME: &str = "TIMESTAMP";
const INPUT: &str = "ContextTokens";
const OUTPUT: &str = "GeneratedTokens";

/// The columns that can be renamed.
pub(crate) const NAMES: &[&str] = &[TIME, INPUT, OUTPUT];

/// Where the columns are. The number of images, where there is one, is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    time: usize,
    input: usize,
    output: usize,
    count: usize,
}

impl Columns {
    pub(crate) fn from_header(line: &str, fields: &[(String, String)]) -> Result<Columns, Fault> {
        let header = Header::new(line, fields);
        Ok(Columns {
            time: header.column(TIME)?,
            input: header.column(INPUT)?,
            output: header.column(OUTPUT)?,
            count: header.count(),
        })
    }

    /// Validates a line in full.
    pub(crate) fn read<'a>(&self, line: &'a str) -> Result<RowView<'a>, Fault> {
        let cells = Cells::new(line, self.count)?;
        let tokens = |cell: &str| expect_tokens(cell).map_err(|_| TOKENS);
        Ok(RowView {
            at: cells.value((self.time, TIME), |cell| {
                parse_date(cell).ok_or("a date such as 2023-11-16 18:15:46.6805900")
            })?,
            has_time: true,
            input_length: cells.value((self.input, INPUT), tokens)?,
            output_length: cells.value((self.output, OUTPUT), tokens)?,
            ..RowView::default()
        })
    }
}

/// A date as nanoseconds since 1970 UTC: `YYYY-MM-DD HH:MM:SS`, `T` or a blank between, with or
/// without a fraction, with or without a zone (`Z`, `+HH:MM`); without one it is UTC.
fn parse_date(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let shape = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    let separated = shape(10, b' ') || shape(10, b'T');
    if !(shape(4, b'-') && shape(7, b'-') && separated && shape(13, b':') && shape(16, b':')) {
        return None;
    }
    let number = |from: usize, to: usize, least: u64, most: u64| {
        let digits = text.get(from..to).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<u64>().ok().filter(|n| (least..=most).contains(n))
    };
    let (year, month) = (number(0, 4, 1970, 2500)?, number(5, 7, 1, 12)?);
    let day = number(8, 10, 1, days_in(year, month))?;
    let (hour, minute, second) = (number(11, 13, 0, 23)?, number(14, 16, 0, 59)?, number(17, 19, 0, 59)?);
    let rest = text.get(19..)?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let fraction = match fraction.strip_prefix('.') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            parse_decimal(fraction, SECONDS).ok()?
        }
        None if fraction.is_empty() => 0,
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = i64::try_from(seconds).ok()? - parse_zone(zone)?;
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// Seconds east of UTC.
fn parse_zone(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z") {
        return Some(0);
    }
    let (sign, digits) = zone.split_at(1);
    let (hours, minutes) = digits.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let east = i64::from(hours.parse::<u8>().ok()?) * 3_600 + i64::from(minutes.parse::<u8>().ok()?) * 60;
    Some(if sign == "-" { -east } else { east })
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Whole days from 1970-01-01 to a date of the Gregorian calendar, from 1970 on.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let before = year - 1;
    let leap_days = |y: u64| y / 4 - y / 100 + y / 400;
    let years = 365 * (year - 1970) + leap_days(before) - leap_days(1969);
    years + (1..month).map(|m| days_in(year, m)).sum::<u64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_keep_every_digit() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(parse_date(text), expect, "{text}");
        // `date -u -d '2023-11-16 18:17:03' +%s` and so on.
        check("2023-11-16 18:17:03.9799600", Some(1_700_158_623_979_960_000));
        check("2024-05-10 00:00:00.009930+00:00", Some(1_715_299_200_009_930_000));
        check("2024-05-12 00:00:00+00:00", Some(1_715_472_000_000_000_000));
        check("2024-05-12T02:30:00+02:30", Some(1_715_472_000_000_000_000));
        check("2024-05-11 22:00:00-02:00", Some(1_715_472_000_000_000_000));
        check("2024-02-29 00:00:00Z", Some(1_709_164_800_000_000_000));
        check("1970-01-01 00:00:00.000000001", Some(1));
        for text in [
            "",
            "2023-11-16",
            "2023-02-29 00:00:00",
            "2023-13-01 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16 18:17:03.",
            "2023-11-16 18:17:03.9x",
            "2023-11-16 18:17:03+1",
            "16/11/2023 18:17:03",
            "2023-11-16 18:17:03+ab:cd",
            "2023-11-16 18:17:+3",
            "1969-12-31 23:59:59",
            "é023-11-16 18:17:03",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        let columns = Columns::from_header("TIMESTAMP,NumImages,ContextTokens,GeneratedTokens", &[]).unwrap();
        let row = columns.read("2024-05-12 00:00:00+00:00,3,70,9").unwrap();
        assert_eq!((row.input_length, row.output_length), (70, 9));
        let fault = Columns::from_header("TIMESTAMP,GeneratedTokens", &[]).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "\"ContextTokens\": expected a column of this name in the header, found TIMESTAMP,GeneratedTokens"
        );
    }
}
