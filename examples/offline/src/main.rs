//! Prints the p99 time to first token of a run directory.
//!
//! ```sh
//! cargo run -- RUN_DIR
//! ```
//!
//! It shows that the records and the statistics of Tics can be used by any program: the journal is
//! read line by line, and a quantile is taken as the report takes it.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use tics_record::{JournalReader, Line};
use tics_stats::{Quantile, quantile};

fn main() -> ExitCode {
    let Some(run) = std::env::args_os().nth(1) else {
        eprintln!("offline: no run directory given; usage: offline RUN_DIR");
        return ExitCode::from(2);
    };
    match report(Path::new(&run)) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("offline: {}: {error}", Path::new(&run).display());
            ExitCode::from(2)
        }
    }
}

/// One line on the run in directory `run`.
fn report(run: &Path) -> Result<String, Box<dyn Error>> {
    let path = run.join("requests.jsonl");
    let file = File::open(&path).map_err(|error| format!("requests.jsonl cannot be opened: {error}"))?;
    let mut journal = JournalReader::new(BufReader::new(file))?;
    let (mut ttfts, mut complete) = (Vec::new(), false);
    for line in &mut journal {
        match line? {
            // Over the answered requests, as everywhere in Tics.
            Line::Ended(record) if record.outcome.is_answered() => ttfts.extend(record.ttft()),
            Line::Closing(_) => complete = true,
            _ => {}
        }
    }
    ttfts.sort_unstable();
    let p99 = quantile(&ttfts, Quantile::P99).map_err(|_| "no request was answered, so there is no TTFT")?;
    let name = &journal.header().run;
    let note = if complete { "" } else { " (the run was cut off)" };
    Ok(format!("{name}: p99 TTFT {:.3} ms over {} answered requests{note}", p99 / 1e6, ttfts.len()))
}
