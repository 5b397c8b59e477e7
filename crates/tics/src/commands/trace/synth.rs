//! `tics trace synth`.

use std::path::Path;

use tics_trace::{
    Distribution, LengthOf, OpenOptions, RowWriter, SynthOptions, SynthSessions, Trace, WriteFormat,
};

use super::convert::{dropped_text, write_format, write_to};
use crate::cli::SynthArgs;
use crate::outcome::{Failed, OrStatus, USAGE, failed};
use crate::progress::say;

/// Runs the command.
pub fn run(args: &SynthArgs) -> Result<u8, Failed> {
    let format = write_format(&args.to)?;
    let rows = options(args, format)?.synthesise().or_status(USAGE)?;
    let mut dropped: Vec<(&'static str, u64)> = Vec::new();
    let written = write_to(args.to.out.as_deref(), |out| {
        let mut writer = RowWriter::new(format, out);
        let mut written = 0_u64;
        for row in rows {
            for field in format.drops(&row) {
                match dropped.iter_mut().find(|(name, _)| *name == field) {
                    Some((_, rows)) => *rows += 1,
                    None => dropped.push((field, 1)),
                }
            }
            writer.write(&row)?;
            written += 1;
        }
        writer.finish()?;
        Ok(written)
    })?;
    if let Some(written) = written {
        say(format!("{written} rows written as {format}") + &dropped_text(format, &dropped));
    }
    Ok(0)
}

fn options(args: &SynthArgs, format: WriteFormat) -> Result<SynthOptions, Failed> {
    let sessions = match &args.turns {
        Some(turns) => Some(SynthSessions {
            turns: distribution("--turns", turns, None)?,
            think: distribution("--think", &args.think, None)?,
        }),
        None => None,
    };
    Ok(SynthOptions {
        rows: args.rows,
        seed: args.seed,
        rate: args.rate,
        arrivals: args.arrivals,
        input: distribution("--input", &args.input, Some(LengthOf::Input))?,
        output: distribution("--output", &args.output, Some(LengthOf::Output))?,
        sessions,
        prefix: args.prefix,
        block_size: args.block_size.unwrap_or(match format {
            WriteFormat::Qwen => 16,
            WriteFormat::Tics | WriteFormat::Parquet | WriteFormat::Mooncake => 512,
        }),
        longest: args.longest,
    })
}

/// The distribution that `flag` names; `lengths` are those of a trace that `empirical` takes.
fn distribution(flag: &str, text: &str, lengths: Option<LengthOf>) -> Result<Distribution, Failed> {
    let open = |file: &str| {
        let which =
            lengths.ok_or_else(|| format!("a trace has no such lengths, found \"empirical:{file}\""))?;
        let trace = Trace::open(Path::new(file), &OpenOptions::default());
        // The whole chain on one line.
        let drawn =
            trace.and_then(|trace| Distribution::empirical(&trace, which)).map_err(anyhow::Error::from);
        drawn.map_err(|error| format!("{error:#}"))
    };
    Distribution::parse_with(text, open).map_err(|why| failed(USAGE, format!("{flag}: {why}")))
}
