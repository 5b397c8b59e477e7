//! `tics calibrate`: what this machine can carry, measured against the simulated server's truth.
//!
//! Each rung is played by the code that `tics replay` runs, journal and all, in this process; the
//! simulated server is a child with a truth log on the same clock, so nothing is aligned or estimated.
//! By turns with it, over the very same requests, a bare client can be run ([`floor`]): what Tics adds
//! is then a ratio, which says more than microseconds do on a machine that others use as well.

mod bench;
mod child;
mod figures;
mod flood;
mod floor;
mod measure;
mod memory;
mod report;
mod rungs;
mod truth;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tics_record::Host;

pub use self::report::render;
pub use self::rungs::Rung;

use self::bench::{Bench, Load, Placement, Variant};
use self::figures::{Cost, FloorFigures, Medians, Ratios, TicsFigures, medians};
use crate::cli::{Against, CalibrateArgs};
use crate::outcome::Failed;
use crate::progress::say;
use crate::rundir::host;

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Version of Tics.
    pub tics_version: String,
    /// This machine.
    pub host: Host,
    /// Who ran where; null where client and server shared every core.
    pub pinned: Option<Placement>,
    /// The highest rung of each kind whose p99 of TTFT, ICL and arrival error is within 1 ms.
    pub within_1_ms: Highest,
    /// The rungs, in the order in which they were run.
    pub rungs: Vec<RungResult>,
    /// Streams without pauses.
    pub floods: Vec<flood::FloodResult>,
    /// 10,000 streams at once.
    pub memory: Option<memory::Memory>,
    /// A million requests.
    pub million: Option<memory::Growth>,
    /// Traces of a hundred thousand rows and of a million.
    #[serde(default)]
    pub rows: Option<memory::Rows>,
}

/// The highest rung of each kind; null if none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Highest {
    /// Of streams.
    pub streams: Option<String>,
    /// Of arrivals.
    pub arrivals: Option<String>,
}

/// One rung: every run of it, and all taken together.
#[derive(Debug, Serialize, Deserialize)]
pub struct RungResult {
    /// Its name.
    pub name: String,
    /// Length of its load.
    pub seconds: f64,
    /// Requests of its schedule.
    pub requests: u64,
    /// Whether client and server shared every core.
    pub shared_cores: bool,
    /// Whether p99 of TTFT, ICL and arrival error is within 1 ms; null where that is not asked.
    pub within_1_ms: Option<bool>,
    /// Medians over the runs of Tics.
    pub tics: Medians,
    /// Medians over the runs of the other.
    pub other: Medians,
    /// Tics / the other, pair by pair.
    pub ratios: Option<Ratios>,
    /// What the other is.
    pub against: Option<String>,
    /// Each run of Tics.
    pub tics_runs: Vec<TicsFigures>,
    /// Each run of the bare client, if that is the other.
    pub floor_runs: Vec<FloorFigures>,
    /// Each run of the other, if that is Tics too.
    pub other_runs: Vec<TicsFigures>,
}

/// Runs what `args` ask for.
pub fn calibrate(args: &CalibrateArgs) -> Result<Calibration, Failed> {
    let bench = Bench::new(!args.no_pin)?;
    let mut calibration = Calibration {
        tics_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(1),
        pinned: bench.pinned(),
        within_1_ms: Highest::default(),
        rungs: Vec::new(),
        floods: Vec::new(),
        memory: None,
        million: None,
        rows: None,
    };
    for rung in rungs::chosen(&args.rung) {
        let seconds = args.seconds.unwrap_or(rung.default_seconds());
        if !args.quiet && !args.dashboard {
            say(format_args!("{rung}: {} s of load, {} times", seconds.as_secs_f64(), args.pairs));
        }
        match rung {
            Rung::Flood { padding } => {
                calibration.floods.push(flood::run(&bench, rung, padding, seconds, args.pairs)?);
            }
            Rung::Memory => calibration.memory = Some(memory::open_streams(&bench)?),
            Rung::Million => calibration.million = Some(memory::many_requests(&bench)?),
            Rung::Rows => calibration.rows = Some(memory::many_rows(&bench)?),
            _ => calibration.rungs.push(run(&bench, rung, seconds, args)?),
        }
    }
    let kind = |x: char| {
        let mut within =
            calibration.rungs.iter().filter(|r| r.within_1_ms == Some(true) && r.name.contains(x));
        within.next_back().map(|r| r.name.clone())
    };
    calibration.within_1_ms = Highest { streams: kind('x'), arrivals: kind('/') };
    Ok(calibration)
}

/// One run of either side.
enum Run {
    Tics(Box<TicsFigures>),
    Floor(Box<FloorFigures>),
}

impl Run {
    fn cost(&self) -> &Cost {
        match self {
            Run::Tics(figures) => &figures.cost,
            Run::Floor(figures) => &figures.cost,
        }
    }
}

fn run(bench: &Bench, rung: Rung, seconds: Duration, args: &CalibrateArgs) -> Result<RungResult, Failed> {
    let load = bench.load(rung, seconds)?;
    let against = args.against.or(args.floor.then_some(Against::Floor));
    let plain = Variant { dashboard: args.dashboard, ..Variant::default() };
    let other = |against| match against {
        Against::Floor => floor::run(bench, &load).map(|figures| Run::Floor(Box::new(figures))),
        Against::LateJournal => tics(bench, &load, Variant { late_journal: true, ..plain }),
        Against::NoDashboard => tics(bench, &load, Variant { dashboard: false, ..plain }),
    };
    let mut first = Vec::new();
    let mut second = Vec::new();
    for pair in 0..args.pairs {
        // A B B A: a machine that slows down meanwhile favours neither.
        if pair % 2 == 1 {
            second.extend(against.map(other).transpose()?);
        }
        first.push(tics(bench, &load, plain)?);
        if pair % 2 == 0 {
            second.extend(against.map(other).transpose()?);
        }
    }
    Ok(together(&load, seconds, bench, against, first, second))
}

fn tics(bench: &Bench, load: &Load, variant: Variant) -> Result<Run, Failed> {
    let prepared = bench.prepare(load, variant)?;
    let played = bench.play(load.rung, &prepared)?;
    let figures = measure::figures(&played, &prepared.truth)?;
    Bench::clean(&prepared);
    Ok(Run::Tics(Box::new(figures)))
}

fn together(
    load: &Load,
    seconds: Duration,
    bench: &Bench,
    against: Option<Against>,
    first: Vec<Run>,
    second: Vec<Run>,
) -> RungResult {
    let pairs = first.iter().zip(&second).map(|(a, b)| (a.cost(), b.cost()));
    let ratios = against.map(|_| Ratios::of(&pairs));
    let other = medians(second.iter().map(|run| run.cost().values()));
    let mut result = RungResult {
        name: load.rung.to_string(),
        seconds: seconds.as_secs_f64(),
        requests: load.arrivals.len() as u64,
        shared_cores: bench.pinned().is_none() || load.rung.shares_cores(),
        within_1_ms: None,
        tics: Medians::new(),
        other,
        ratios,
        against: against.map(|against| {
            match against {
                Against::Floor => "bare client",
                Against::LateJournal => "journal written after the run",
                Against::NoDashboard => "no dashboard",
            }
            .to_owned()
        }),
        tics_runs: Vec::new(),
        floor_runs: Vec::new(),
        other_runs: Vec::new(),
    };
    for run in first {
        match run {
            Run::Tics(figures) => result.tics_runs.push(*figures),
            Run::Floor(figures) => result.floor_runs.push(*figures),
        }
    }
    for run in second {
        match run {
            Run::Tics(figures) => result.other_runs.push(*figures),
            Run::Floor(figures) => result.floor_runs.push(*figures),
        }
    }
    result.tics = medians(result.tics_runs.iter().map(TicsFigures::values));
    let p99s = ["arrival_us.p99", "ttft_error_us.p99", "icl_error_us.p99"];
    let within = |name: &str| result.tics.get(name).is_some_and(|median| median.median <= 1_000.0);
    let failed = result.tics_runs.iter().any(|run| run.failed > 0);
    result.within_1_ms = load.rung.is_judged().then(|| !failed && p99s.into_iter().all(within));
    result
}
