//! Where rungs are run: a temporary folder, the cores, and what is played there.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::rungs::{Arrival, Rung, write_trace_file};
use crate::cli::{Cli, Command, ReplayArgs};
use crate::commands::replay::play_scales;
use crate::cpu::{Cores, pin_to};
use crate::outcome::{Failed, INTERNAL, INTERRUPTED, OrStatus, USAGE, failed};
use crate::play::Played;

/// The core of each side; none where they share all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Tics, or the bare client.
    pub client: usize,
    /// The simulated server.
    pub server: usize,
}

/// What a run of Tics does differently from a plain `tics replay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variant {
    /// Writes its journal after the run.
    pub late_journal: bool,
    /// Shows its dashboard.
    pub dashboard: bool,
}

/// Where rungs are run.
pub struct Bench {
    dir: TempDir,
    cores: Cores,
    pinned: Option<Placement>,
    /// Runs so far: each has a folder of its own.
    runs: Cell<u64>,
}

/// The load of one rung, ready to be run any number of times.
pub struct Load {
    /// Which.
    pub rung: Rung,
    /// Its requests.
    pub arrivals: Vec<Arrival>,
    trace: PathBuf,
}

/// One run's arguments and files.
pub struct Prepared {
    /// As the command line has them.
    pub args: ReplayArgs,
    /// Where the server writes its truth; nothing for a flood, which has no plan to compare with.
    pub truth: PathBuf,
}

impl Bench {
    /// A bench; `pin` keeps client and server to different cores if there are two.
    pub fn new(pin: bool) -> Result<Self, Failed> {
        let cores = Cores::allowed().or_status(USAGE)?;
        let numbers = cores.numbers();
        let pinned = match numbers.as_slice() {
            [client, .., server] if pin => Some(Placement { client: *client, server: *server }),
            _ => None,
        };
        let dir = tempfile::Builder::new().prefix("tics-calibrate-").tempdir().or_status(USAGE)?;
        Ok(Bench { dir, cores, pinned, runs: Cell::new(0) })
    }

    /// Who runs where.
    pub fn pinned(&self) -> Option<Placement> {
        self.pinned
    }

    /// Draws the load of `rung` and writes its trace.
    pub fn load(&self, rung: Rung, seconds: Duration) -> Result<Load, Failed> {
        let arrivals = rung.schedule(seconds);
        let trace = self.fresh("trace")?.join("trace.jsonl");
        write_trace_file(&arrivals, &trace)?;
        Ok(Load { rung, arrivals, trace })
    }

    /// A new folder.
    pub fn fresh(&self, name: &str) -> Result<PathBuf, Failed> {
        let number = self.runs.replace(self.runs.get() + 1);
        let path = self.dir.path().join(format!("{name}-{number}"));
        std::fs::create_dir(&path).or_status(USAGE)?;
        Ok(path)
    }

    /// The arguments of one run of `load`, by Tics or by the bare client.
    pub fn prepare(&self, load: &Load, variant: Variant) -> Result<Prepared, Failed> {
        let dir = self.fresh("run")?;
        let truth = dir.join("truth.jsonl");
        let mut server = load.rung.server();
        if !matches!(load.rung, Rung::Flood { .. }) {
            server.push(format!("--truth='{}'", truth.display()));
        }
        if let Some(Placement { server: core, .. }) = self.placement(load.rung) {
            server.push(format!("--pin-cpu={core}"));
        }
        let mut line = vec!["tics".to_owned(), "replay".to_owned(), load.trace.display().to_string()];
        line.push(format!("--run-dir={}", dir.join("run").display()));
        line.push(format!("--sim={}", server.join(" ")));
        line.push("--no-probe".to_owned());
        line.extend(variant.late_journal.then(|| "--late-journal".to_owned()));
        line.extend((!variant.dashboard).then(|| "--quiet".to_owned()));
        match Cli::try_parse_from(&line).map(|cli| cli.command) {
            Ok(Command::Replay(args)) => Ok(Prepared { args, truth }),
            Ok(_) => Err(failed(INTERNAL, "internal error: a rung is no replay")),
            Err(error) => Err(failed(INTERNAL, format!("internal error: {error}"))),
        }
    }

    fn placement(&self, rung: Rung) -> Option<Placement> {
        self.pinned.filter(|_| !rung.shares_cores())
    }

    /// Runs `work` where the client of `rung` belongs. Threads and children that it starts stay there,
    /// unless they move.
    pub fn placed<T>(&self, rung: Rung, work: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
        if let Some(Placement { client, .. }) = self.placement(rung) {
            pin_to(client).or_status(USAGE)?;
        }
        let result = work();
        self.cores.restore().or_status(USAGE)?;
        result
    }

    /// Plays `prepared` as `tics replay` does, in this process.
    pub fn play(&self, rung: Rung, prepared: &Prepared) -> Result<Played, Failed> {
        let played = self.placed(rung, || play_scales(&prepared.args))?;
        let [one] = <[Played; 1]>::try_from(played)
            .map_err(|_| failed(INTERNAL, "internal error: one scale is one run"))?;
        if one.status >= INTERRUPTED {
            return Err(failed(one.status, "interrupted; nothing is kept"));
        }
        Ok(one)
    }

    /// Removes what a run left: a long ladder would fill the disk.
    pub fn clean(prepared: &Prepared) {
        // What stays is removed with the whole folder.
        let _kept = prepared.truth.parent().map(Path::to_owned).map(std::fs::remove_dir_all);
    }
}
