//! The command line of Tics: composes the other crates, opens the files, chooses the exit status.

mod calibrate;
mod cli;
mod commands;
mod counters;
mod cpu;
mod fetch;
mod http;
mod outcome;
mod play;
mod progress;
mod prompts;
mod rundir;
mod screen;
mod server;
mod sessions;
mod signals;
mod simulated;
mod terminal;
mod warm;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::progress::say;

fn main() -> ExitCode {
    terminal::install_panic_hook();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no error; usage errors are status 2.
            let status = if error.use_stderr() { outcome::USAGE } else { 0 };
            let _closed_pipe = error.print();
            return ExitCode::from(status);
        }
    };
    let result = match cli.command {
        Command::Replay(args) => commands::replay::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Probe(args) => commands::probe::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Trace(args) => commands::trace::run(&args.command),
        Command::Sim(args) => commands::sim::run(&args),
        Command::Calibrate(args) => commands::calibrate::run(&args),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failed) => {
            say(format_args!("{failed}"));
            ExitCode::from(failed.status)
        }
    }
}
