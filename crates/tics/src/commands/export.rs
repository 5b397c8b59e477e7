//! `tics export`: a run in another tool's format.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::Context;
use tics_record::Line;
use tics_report::export_minisgl;

use crate::cli::{ExportArgs, ExportFormat};
use crate::commands::trace::print;
use crate::outcome::{Failed, OrStatus, RUN_DIR, USAGE};
use crate::progress::say;
use crate::rundir::RunDir;

/// Runs the command.
pub fn run(args: &ExportArgs) -> Result<u8, Failed> {
    let ExportFormat::Minisgl = args.format;
    let mut records = Vec::new();
    for line in RunDir::open(&args.run).read_journal()? {
        if let Line::Ended(record) = line.with_context(|| args.run.display().to_string()).or_status(USAGE)? {
            records.push(*record);
        }
    }
    let exported = match &args.output {
        None => {
            let mut out = Vec::new();
            let exported = export_minisgl(&records, &mut out).or_status(RUN_DIR)?;
            print(&out)?;
            exported
        }
        Some(path) => {
            let what = || format!("{}: cannot be written", path.display());
            let file = File::create(path).with_context(what).or_status(RUN_DIR)?;
            let mut out = BufWriter::new(file);
            let exported = export_minisgl(&records, &mut out).with_context(what).or_status(RUN_DIR)?;
            out.flush().with_context(what).or_status(RUN_DIR)?;
            exported
        }
    };
    if exported.left_out > 0 {
        say(format_args!(
            "{} requests without an answer are left out: the format cannot hold them",
            exported.left_out
        ));
    }
    Ok(0)
}
