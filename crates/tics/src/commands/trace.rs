//! `tics trace info|check|convert|synth`.

mod convert;
mod synth;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use anyhow::Context;
use nix::errno::Errno;
use tics_trace::{Format, OpenOptions, ServeGen, Trace};

use crate::cli::{FormatArgs, TraceCommand, TraceInputArgs};
use crate::fetch::open_trace;
use crate::outcome::{Failed, MISSED, OrStatus, RUN_DIR, USAGE, failed};
use crate::prompts::TokenizerChoice;

/// Runs the command.
pub fn run(command: &TraceCommand) -> Result<u8, Failed> {
    match command {
        TraceCommand::Info(args) => {
            let info = open(&args.input)?.info().or_status(USAGE)?;
            let text = if args.json { json(&info)? } else { info.render() };
            print(&text)?;
            Ok(0)
        }
        TraceCommand::Check(args) => {
            let report = open(&args.input)?.check().or_status(USAGE)?;
            let text = if args.json { json(&report)? } else { report.render() };
            print(&text)?;
            Ok(if report.is_sound() { 0 } else { MISSED })
        }
        TraceCommand::Convert(args) => convert::run(args),
        TraceCommand::Synth(args) => synth::run(args),
    }
}

/// What `args` say of how a trace is read.
pub fn open_options(args: &FormatArgs) -> OpenOptions {
    OpenOptions {
        format: args.format,
        skip_bad_rows: args.skip_bad_rows,
        block_size: args.block_size,
        keep_failed: args.keep_failed,
        fields: args.field.clone(),
        ..OpenOptions::default()
    }
}

/// Opens the trace of `args`.
fn open(args: &TraceInputArgs) -> Result<Trace, Failed> {
    let counter = match &args.tokenizer {
        Some(source) => Some(TokenizerChoice::named(Some(source))?.counter()),
        None => None,
    };
    let options = OpenOptions {
        count_tokens: counter,
        servegen: ServeGen { seed: args.seed.unwrap_or_default(), window: args.window },
        ..open_options(&args.format)
    };
    let trace = open_trace(&args.trace, &options, args.format.fetch, false)?;
    let format = trace.index().format;
    let drawn = [("--window", args.window.is_some()), ("--seed", args.seed.is_some())];
    match drawn.into_iter().find(|(_, given)| *given && format != Format::ServeGen) {
        Some((flag, _)) => Err(failed(
            USAGE,
            format!(
                "{}: {flag} is for ServeGen's parameters, and this trace is in the format {format}",
                trace.path()
            ),
        )),
        None => Ok(trace),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Failed> {
    tics_report::to_json(value).or_status(USAGE)
}

/// Prints to stdout; a reader that went away is no error.
pub fn print(text: impl AsRef<[u8]>) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if reader_is_gone(&error) => Ok(()),
        other => other.context("standard output cannot be written").or_status(RUN_DIR),
    }
}

/// Whether this is the error of a pipe whose reader ended, or of a terminal that was closed.
fn reader_is_gone(error: &io::Error) -> bool {
    // A disk that fails says EIO too, but is no device of characters.
    let closed_terminal = || {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let kind = stdout.and_then(|file| file.metadata()).map(|metadata| metadata.file_type());
        error.raw_os_error() == Some(Errno::EIO as i32) && kind.is_ok_and(|kind| kind.is_char_device())
    };
    error.kind() == io::ErrorKind::BrokenPipe || closed_terminal()
}
