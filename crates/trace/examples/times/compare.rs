//! What `tics-trace` makes of the times of a file, beside what other code reads there.

use anyhow::{Context, bail, ensure};
use tics_trace::{OpenOptions, Scale, Selection, Trace, WriteFormat, convert};

/// What was compared, with the largest difference found.
#[derive(Debug, PartialEq, Eq)]
pub struct Compared {
    pub what: String,
    pub rows: usize,
    pub worst_ns: u64,
}

/// Compares what `tics-trace` makes of a file with what is read of it here, by other code.
pub fn compare(text: &str) -> anyhow::Result<Vec<Compared>> {
    let expect = times(text)?;
    let trace = Trace::read(text.as_bytes(), "file", &OpenOptions::default())?;
    let mut found = vec![difference("read", &expect, &of_rows(&trace)?)?];
    for format in WriteFormat::ALL {
        let mut bytes = Vec::new();
        convert(&trace, format, &mut bytes)?;
        let converted = Trace::read(&*bytes, "converted", &OpenOptions::default())?;
        found.push(difference(&format!("converted to {format}"), &expect, &of_rows(&converted)?)?);
        let due = of_schedule(&converted, 1.0)?;
        found.push(difference(&format!("scheduled from {format}"), &sorted(&expect), &due)?);
    }
    found.push(difference("scheduled", &sorted(&expect), &of_schedule(&trace, 1.0)?)?);
    // A half is exact in binary: what is left over is one half of a nanosecond.
    let halves: Vec<u64> = sorted(&expect).iter().map(|ns| ns / 2).collect();
    found.push(difference("scheduled at half the time", &halves, &of_schedule(&trace, 0.5)?)?);
    Ok(found)
}

fn of_rows(trace: &Trace) -> anyhow::Result<Vec<u64>> {
    trace.rows_as_recorded().map(|row| Ok(row?.at.as_nanos())).collect()
}

fn of_schedule(trace: &Trace, scale: f64) -> anyhow::Result<Vec<u64>> {
    let scale = Scale::new(scale).context("no such scale")?;
    let schedule = trace.schedule(&Selection { scale, ..Selection::default() })?;
    schedule.map(|request| Ok(request?.due.as_nanos())).collect()
}

fn sorted(times: &[u64]) -> Vec<u64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times
}

pub fn difference(what: &str, expect: &[u64], found: &[u64]) -> anyhow::Result<Compared> {
    ensure!(expect.len() == found.len(), "{what}: {} rows of {}", found.len(), expect.len());
    let worst_ns = expect.iter().zip(found).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    Ok(Compared { what: what.to_owned(), rows: expect.len(), worst_ns })
}

/// The time of each row in nanoseconds from the earliest.
fn times(text: &str) -> anyhow::Result<Vec<u64>> {
    let mut lines = text.lines();
    let header = lines.next().context("an empty file")?;
    let column = header.split(',').position(|name| name == "TIMESTAMP").context("no column TIMESTAMP")?;
    let times: Vec<u64> = lines
        .filter(|line| !line.is_empty())
        .enumerate()
        .map(|(at, line)| {
            let cell = line.split(',').nth(column).unwrap_or_default();
            instant(cell).with_context(|| format!("row {}: {cell}", at + 1))
        })
        .collect::<anyhow::Result<_>>()?;
    let first = times.iter().min().copied().context("no row")?;
    Ok(times.iter().map(|time| time - first).collect())
}

/// `YYYY-MM-DD HH:MM:SS[.fraction][+00:00]` in nanoseconds.
///
/// Counted from 2000-01-01, so that 64 bits do.
///
/// Source of the days: `days_from_civil` in <https://howardhinnant.github.io/date_algorithms.html>.
pub fn instant(text: &str) -> anyhow::Result<u64> {
    let text = text.strip_suffix("+00:00").unwrap_or(text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<u64> = seconds.split(['-', ' ', ':']).map(str::parse).collect::<Result<_, _>>()?;
    let [year, month, day, hour, minute, second] = parts[..] else { bail!("not a date") };
    ensure!(fraction.len() <= 9, "more digits than nanoseconds");
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let seconds = seconds.checked_sub(730_425 * 86_400).context("before 2000")?;
    Ok(seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>()?)
}
