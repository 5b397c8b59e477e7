//! The file that mini-sglang's client keeps of a run: `BenchmarkResult.as_json()`.
//!
//! An array with an array a request: input length, output length, then the instant of the
//! response's head and of each event that the SDK yields, seconds on a monotonic clock.

use std::io::{self, Read, Write};

use tics_record::{RequestRecord, Stamp};
use tics_stats::definitions::minisgl;

/// How many requests an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Written.
    pub written: u64,
    /// Failed requests, which the format cannot hold.
    pub left_out: u64,
}

/// Writes `records` as mini-sglang's client would have kept them: lengths as asked, and the tics of
/// [`minisgl::tics`], in order of the schedule whatever the order of `records`.
///
/// Seconds have nine places, the nanosecond of the stamp itself. Only answered requests are written:
/// mini-sglang has no record of a failed one, it stops.
///
/// # Errors
/// Those of `out`.
pub fn export_minisgl<'a>(
    records: impl IntoIterator<Item = &'a RequestRecord>,
    mut out: impl Write,
) -> io::Result<Exported> {
    let mut records: Vec<&RequestRecord> = records.into_iter().collect();
    records.sort_by_key(|record| record.i);
    let mut exported = Exported::default();
    out.write_all(b"[")?;
    for record in records {
        let Some(tics) = minisgl::tics(record) else {
            exported.left_out += 1;
            continue;
        };
        let separator = if exported.written == 0 { "\n" } else { ",\n" };
        write!(out, "{separator}[{}, {}", record.input.asked, record.output.asked)?;
        for tic in tics {
            write_seconds(&mut out, tic)?;
        }
        out.write_all(b"]")?;
        exported.written += 1;
    }
    out.write_all(b"\n]\n")?;
    out.flush()?;
    Ok(exported)
}

fn write_seconds(out: &mut impl Write, stamp: Stamp) -> io::Result<()> {
    let ns = stamp.as_nanos();
    write!(out, ", {}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// One request of such a file.
#[derive(Debug, Clone, PartialEq)]
pub struct MinisglRequest {
    /// Input length, tokens.
    pub input_len: u64,
    /// Output length as asked, tokens.
    pub output_len: u64,
    /// Head, then events; seconds.
    pub tics: Vec<f64>,
}

/// Why a file is not one of mini-sglang's results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MinisglFileError {
    /// Not an array of arrays of numbers.
    #[error("not mini-sglang results: expected [[input_len, output_len, tic, …], …]")]
    Shape(#[source] serde_json::Error),
    /// Too short to hold both lengths.
    #[error("request {index}: expected input length, output length and tics, found {found} numbers")]
    Short {
        /// Place in the file, from 0.
        index: usize,
        /// Numbers found.
        found: usize,
    },
    /// A length that is not a whole number.
    #[error("request {index}: {field} is {value}, expected a whole number of tokens")]
    Length {
        /// Place in the file, from 0.
        index: usize,
        /// Which length.
        field: &'static str,
        /// What it is.
        value: f64,
    },
}

/// Reads a file of mini-sglang's results, its own or an export.
///
/// # Errors
/// [`MinisglFileError`]: what was found where, and what was expected.
pub fn read_minisgl(input: impl Read) -> Result<Vec<MinisglRequest>, MinisglFileError> {
    // Buffered here: serde_json reads byte by byte.
    let rows: Vec<Vec<f64>> =
        serde_json::from_reader(io::BufReader::new(input)).map_err(MinisglFileError::Shape)?;
    rows.into_iter().enumerate().map(|(index, row)| request(index, row)).collect()
}

fn request(index: usize, mut row: Vec<f64>) -> Result<MinisglRequest, MinisglFileError> {
    let [input_len, output_len, ..] = row[..] else {
        return Err(MinisglFileError::Short { index, found: row.len() });
    };
    let length = |field, value: f64| {
        // Up to 2^53 every whole float is the number that was written.
        let whole = (0.0..=9_007_199_254_740_992.0).contains(&value) && value.fract() == 0.0;
        if whole { Ok(value as u64) } else { Err(MinisglFileError::Length { index, field, value }) }
    };
    let (input_len, output_len) = (length("input length", input_len)?, length("output length", output_len)?);
    row.drain(..2);
    Ok(MinisglRequest { input_len, output_len, tics: row })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tics_record::{Event, EventClass, Outcome};

    use super::*;

    fn record(i: u64, head: u64, events: &[(u64, EventClass)]) -> RequestRecord {
        let mut record = RequestRecord::not_sent(i, Stamp::ORIGIN);
        record.outcome = Outcome::Ok;
        record.input.asked = 521;
        record.output.asked = 2;
        record.head = Some(Stamp::from_nanos(head));
        record.events = events.iter().map(|(t, class)| Event::new(Stamp::from_nanos(*t), *class)).collect();
        record
    }

    fn export(records: &[RequestRecord]) -> (String, Exported) {
        let mut out = Vec::new();
        let exported = export_minisgl(records, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), exported)
    }

    #[test]
    fn rows_are_in_schedule_order_and_seconds_have_every_digit() {
        use EventClass::{Content, Done, Finish};
        let second = record(1, 7, &[(8, Content)]);
        let first =
            record(0, 1_000_000_001, &[(12_000_000_030, Content), (12_000_000_031, Finish), (13, Done)]);
        let failed = RequestRecord { outcome: Outcome::Reset, ..record(2, 9, &[(10, Content)]) };
        let (text, exported) = export(&[second, failed, first]);
        assert_eq!(
            text,
            "[\n[521, 2, 1.000000001, 12.000000030, 12.000000031],\n[521, 2, 0.000000007, 0.000000008]\n]\n"
        );
        assert_eq!(exported, Exported { written: 2, left_out: 1 });
        assert_eq!(export(&[]).0, "[\n]\n");
    }

    #[test]
    fn what_is_no_result_is_named() {
        let check = |text: &str, expect: &str| {
            let error = read_minisgl(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expect), "{text}: {error}");
        };
        check("", "expected [[input_len");
        check("{}", "expected [[input_len");
        check("[[1, 2, null]]", "expected [[input_len");
        check("[[1, 2, 3.0], [1]]", "request 1: expected input length");
        check("[[1.5, 2, 3.0]]", "request 0: input length is 1.5");
        check("[[1, -2, 3.0]]", "request 0: output length is -2");
        check("[[1, 1e300]]", "request 0: output length is 1");
    }

    proptest! {
        // 2^50 ns are 13 days; far beyond that a float of seconds has no room for the nanosecond.
        #[test]
        fn every_nanosecond_survives(stamps in prop::collection::vec(0u64..1 << 50, 2..20)) {
            let events: Vec<_> = stamps[1..].iter().map(|t| (*t, EventClass::Content)).collect();
            let record = record(0, stamps[0], &events);
            let read = read_minisgl(export(std::slice::from_ref(&record)).0.as_bytes()).unwrap();
            let ns: Vec<u64> = read[0].tics.iter().map(|s| (s * 1e9).round() as u64).collect();
            prop_assert_eq!(&ns, &stamps);
            // And the floats are those that the figures are computed from, bit for bit.
            let tics: Vec<f64> = minisgl::tics(&record).unwrap().map(minisgl::seconds).collect();
            prop_assert_eq!(&read[0].tics, &tics);
            prop_assert_eq!((read[0].input_len, read[0].output_len), (521, 2));
        }
    }
}
