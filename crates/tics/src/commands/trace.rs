//! `tics trace info|check`.

use std::io::Write;

use anyhow::Context;
use tics_trace::{OpenOptions, Trace};

use crate::cli::{TraceCommand, TraceFileArgs};
use crate::outcome::{Failed, MISSED, OrStatus, RUN_DIR, USAGE};

/// Runs the command.
pub fn run(command: &TraceCommand) -> Result<u8, Failed> {
    match command {
        TraceCommand::Info(args) => {
            let info = open(args)?.info().or_status(USAGE)?;
            let text = if args.json { json(&info)? } else { info.render() };
            print(&text)?;
            Ok(0)
        }
        TraceCommand::Check(args) => {
            let report = open(args)?.check().or_status(USAGE)?;
            let text = if args.json { json(&report)? } else { report.render() };
            print(&text)?;
            Ok(if report.is_sound() { 0 } else { MISSED })
        }
    }
}

fn open(args: &TraceFileArgs) -> Result<Trace, Failed> {
    let options =
        OpenOptions { format: args.format, skip_bad_rows: args.skip_bad_rows, ..OpenOptions::default() };
    Trace::open(&args.trace, &options).or_status(USAGE)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Failed> {
    tics_report::to_json(value).or_status(USAGE)
}

/// Prints to stdout; a reader that went away is no error.
pub fn print(text: &str) -> Result<(), Failed> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output cannot be written").or_status(RUN_DIR),
    }
}
