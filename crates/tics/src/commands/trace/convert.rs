//! `tics trace convert`, and where a written trace goes.

use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use tics_trace::{ConvertError, WriteFormat, convert};

use super::{open, reader_is_gone};
use crate::cli::{ConvertArgs, OutputArgs};
use crate::outcome::{Failed, OrStatus, RUN_DIR, USAGE, failed};
use crate::progress::say;

/// Runs the command.
pub fn run(args: &ConvertArgs) -> Result<u8, Failed> {
    let format = write_format(&args.output)?;
    let trace = open(&args.input)?;
    let index = trace.index();
    let converted = write_to(args.output.out.as_deref(), |out| match convert(&trace, format, out) {
        Ok(converted) => Ok(Ok(converted)),
        Err(ConvertError::Write(error)) => Err(error),
        Err(error) => Ok(Err(error)),
    })?;
    let Some(converted) = converted.transpose().or_status(USAGE)? else { return Ok(0) };
    let mut line = format!("{}: {} rows written as {format}", trace.path(), converted.rows);
    if index.skipped > 0 {
        let _ = write!(line, "; {} were not valid and are left out", index.skipped);
    }
    if index.failed > 0 {
        let _ = write!(line, "; {} failed in the original and are left out (--keep-failed)", index.failed);
    }
    if converted.left_out > 0 {
        let _ = write!(
            line,
            "; {} are left out, as their length is not known and {format} has no place for their text \
             (--tokenizer counts it)",
            converted.left_out
        );
    }
    say(line + &dropped_text(format, &converted.dropped));
    Ok(0)
}

/// What a format had no place for, as the end of a line.
pub fn dropped_text(format: WriteFormat, dropped: &[(&'static str, u64)]) -> String {
    if dropped.is_empty() {
        return String::new();
    }
    let fields: Vec<String> = dropped.iter().map(|(name, rows)| format!("{name} of {rows} rows")).collect();
    format!("; {format} has no place for {}", fields.join(", "))
}

/// The format to write: the one asked for, else the one that the file is named after.
pub fn write_format(args: &OutputArgs) -> Result<WriteFormat, Failed> {
    if let Some(format) = args.to {
        return Ok(format);
    }
    let Some(path) = &args.out else { return Ok(WriteFormat::Tics) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    if let Some(format) = words.find_map(|word| word.parse().ok()) {
        return Ok(format);
    }
    match Path::new(&name).extension().and_then(|extension| extension.to_str()) {
        None | Some("json" | "jsonl" | "ndjson") => Ok(WriteFormat::Tics),
        Some(other) => Err(failed(
            USAGE,
            format!(
                "{}: traces are written as JSON lines or Parquet, not as .{other}; --to names the format",
                path.display()
            ),
        )),
    }
}

/// Has `write` write to the file at `path`, or to standard output. A file is whole or not there: it may be
/// the one that is read. `None` when nobody reads the output any more.
pub fn write_to<T>(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> Result<Option<T>, Failed> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
        let mut stdout = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        return match write(&mut stdout).and_then(|done| stdout.flush().map(|()| done)) {
            Err(error) if reader_is_gone(&error) => Ok(None),
            other => other.context("standard output cannot be written").or_status(RUN_DIR).map(Some),
        };
    };
    let what = || format!("{}: cannot be written", path.display());
    // A pipe or a device is written to, not replaced.
    let special = path.metadata().is_ok_and(|metadata| !metadata.is_file());
    let done = if special {
        let mut file =
            BufWriter::new(File::options().write(true).open(path).with_context(what).or_status(RUN_DIR)?);
        write(&mut file).and_then(|done| file.flush().map(|()| done))
    } else {
        write_whole(path, write)
    };
    done.with_context(what).or_status(RUN_DIR).map(Some)
}

fn write_whole<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What a file gets that is simply created; the process's mask applies.
    let mode = Permissions::from_mode(0o666);
    // The error alone, without the name that nobody chose.
    let file = tempfile::Builder::new().permissions(mode).tempfile_in(folder).map_err(|e| e.kind())?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let done = write(&mut out)?;
    out.into_inner()?.persist(path)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_file_may_be_named_after_its_format() {
        let check = |out: Option<&str>, to: Option<WriteFormat>| {
            write_format(&OutputArgs { out: out.map(PathBuf::from), to }).map_err(|e| e.to_string())
        };
        assert_eq!(check(None, None), Ok(WriteFormat::Tics));
        assert_eq!(check(Some("a/day.mooncake.jsonl"), None), Ok(WriteFormat::Mooncake));
        assert_eq!(check(Some("Qwen_trace.jsonl"), None), Ok(WriteFormat::Qwen));
        assert_eq!(check(Some("qwen.jsonl"), Some(WriteFormat::Tics)), Ok(WriteFormat::Tics));
        assert_eq!(check(Some("mooncakes/day.jsonl"), None), Ok(WriteFormat::Tics));
        assert_eq!(check(Some("day.parquet"), None), Ok(WriteFormat::Parquet));
        assert!(check(Some("day.csv"), None).unwrap_err().contains(".csv; --to names the format"));
    }
}
