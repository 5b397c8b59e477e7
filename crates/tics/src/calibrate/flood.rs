//! Streams that never pause: how many bytes a second one worker takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tics_record::Line;

use super::bench::{Bench, Load, Variant};
use super::figures::Median;
use super::floor;
use super::rungs::Rung;
use crate::outcome::{Failed, INTERNAL, OrStatus, USAGE, failed};
use crate::play::Played;

/// What one worker took.
#[derive(Debug, Serialize, Deserialize)]
pub struct FloodResult {
    /// The rung.
    pub name: String,
    /// Streams open at the same time.
    pub streams: u64,
    /// On the wire, HTTP chunk included; as the bare client counted.
    pub bytes_per_event: f64,
    /// Of Tics, from the first request to the end of the last, in 10^6 bytes.
    pub mb_per_s: Median,
    /// Processor time of the whole process.
    pub cpu_us_per_event: Median,
    /// Of the bare client.
    pub floor_mb_per_s: Median,
}

/// Runs the flood by turns with the bare client, which also says how many bytes an event has.
pub fn run(
    bench: &Bench,
    rung: Rung,
    padding: u32,
    seconds: Duration,
    pairs: u16,
) -> Result<FloodResult, Failed> {
    let load = bench.load(rung, seconds)?;
    let (mut ours, mut cpu, mut floors, mut sizes) = (vec![], vec![], vec![], vec![]);
    for _ in 0..pairs {
        let floor = floor::run(bench, &load)?;
        let bytes_per_event = floor.bytes as f64 / floor.cost.events.max(1) as f64;
        let one = once(bench, &load)?;
        ours.push(one.events as f64 * bytes_per_event / one.seconds / 1e6);
        cpu.push(one.cpu_us_per_event);
        floors.push(floor.bytes as f64 / floor.stream_s / 1e6);
        sizes.push(bytes_per_event);
    }
    let median = |values| {
        Median::of(values).ok_or_else(|| failed(INTERNAL, format!("{rung}: a run took no time at all")))
    };
    debug_assert!(padding == 0 || sizes.iter().all(|size| *size > f64::from(padding)));
    Ok(FloodResult {
        name: rung.to_string(),
        streams: load.arrivals.len() as u64,
        bytes_per_event: median(sizes)?.median,
        mb_per_s: median(ours)?,
        cpu_us_per_event: median(cpu)?,
        floor_mb_per_s: median(floors)?,
    })
}

struct Once {
    events: u64,
    seconds: f64,
    cpu_us_per_event: f64,
}

fn once(bench: &Bench, load: &Load) -> Result<Once, Failed> {
    let prepared = bench.prepare(load, Variant::default())?;
    let played = bench.play(load.rung, &prepared)?;
    let once = read(&played);
    Bench::clean(&prepared);
    once
}

fn read(played: &Played) -> Result<Once, Failed> {
    let (mut events, mut first, mut end) = (0u64, u64::MAX, 0u64);
    for line in played.dir.read_journal()? {
        match line.or_status(USAGE)? {
            Line::Ended(record) => events += record.events.len() as u64,
            Line::Sent(sent) => first = first.min(sent.sent.as_nanos()),
            // When the last response had been read: its own stamp may be older, as the kernel stamps
            // what it has room to keep.
            Line::Closing(closing) => end = closing.end.as_nanos(),
            Line::Header(_) => {}
        }
    }
    let answered = played.summary.requests.answered();
    if answered < played.summary.requests.scheduled {
        return Err(failed(INTERNAL, format!("flood: only {answered} streams were answered")));
    }
    Ok(Once {
        events,
        seconds: end.saturating_sub(first) as f64 / 1e9,
        cpu_us_per_event: played.cpu.as_micros_f64() / events.max(1) as f64,
    })
}
