//! Whether a CSV of the Azure traces keeps its times, from the file to the schedule:
//!
//! ```sh
//! cargo run -p tics-trace --example times -- AzureLLMInferenceTrace_conv.csv
//! ```

mod compare;

use std::process::ExitCode;

use anyhow::Context;

use compare::{Compared, compare};

/// Nanoseconds of the last digit that the files have.
const TICK: u64 = 100;

/// Prints each comparison; fails if a time is off by 100 ns or more.
fn main() -> anyhow::Result<ExitCode> {
    let file = std::env::args().nth(1).context("expected one CSV of the Azure traces")?;
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let mut kept = true;
    for Compared { what, rows, worst_ns } in compare(&text).with_context(|| file.clone())? {
        println!("{what:<26} {rows} rows, off by {worst_ns} ns at most");
        kept &= worst_ns < TICK;
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
