//! `tics report`: the report again, from the run directory alone.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use tics_record::Line;
use tics_report::{read_minisgl, render, render_full, render_minisgl, to_json};
use tics_stats::definitions::minisgl::{Collector, Figures};

use crate::cli::{Definitions, ReportArgs};
use crate::commands::trace::print;
use crate::outcome::{Failed, MISSED, OrStatus, USAGE, failed, missed};
use crate::rundir::RunDir;

/// Runs the command.
pub fn run(args: &ReportArgs) -> Result<u8, Failed> {
    let exported = args.run.is_file();
    if (exported || args.definitions == Definitions::Minisgl) && args.asked.is_given() {
        let text = "--slo, --objective, --failed-as and --steady are about this program's own figures; leave out --definitions";
        return Err(failed(USAGE, text.to_owned()));
    }
    let mut status = 0;
    let text = if exported || args.definitions == Definitions::Minisgl {
        let figures = if exported { from_export(&args.run)? } else { from_run(&args.run)? };
        if args.json { to_json(&figures).or_status(USAGE)? } else { render_minisgl(&figures) }
    } else {
        let (run, summary) = RunDir::open(&args.run).summarise_asked(|recorded| args.asked.over(recorded))?;
        status = if missed(&summary) { MISSED } else { 0 };
        if args.json {
            to_json(&summary).or_status(USAGE)?
        } else if args.full {
            render_full(&summary, &run)
        } else {
            render(&summary, &run)
        }
    };
    print(&text)?;
    Ok(status)
}

fn from_export(path: &Path) -> Result<Figures, Failed> {
    let file = File::open(path).with_context(|| path.display().to_string()).or_status(USAGE)?;
    let requests =
        read_minisgl(BufReader::new(file)).with_context(|| path.display().to_string()).or_status(USAGE)?;
    let mut collector = Collector::default();
    for request in requests {
        collector.tics(request.tics);
    }
    Ok(collector.finish())
}

fn from_run(path: &Path) -> Result<Figures, Failed> {
    let mut collector = Collector::default();
    for line in RunDir::open(path).read_journal()? {
        if let Line::Ended(record) = line.with_context(|| path.display().to_string()).or_status(USAGE)? {
            collector.record(&record);
        }
    }
    Ok(collector.finish())
}
