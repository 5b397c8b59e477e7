//! `replay` and `test`: the two commands of the README.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::Context;
use serde_json::Value;

use crate::project::{Shown, root};

/// Takes about twenty seconds and queues at the simulated server.
const SAMPLE: &str = "traces/tics.jsonl";

/// Builds `tics` in release and runs `tics replay` in the caller's folder, on the sample if nothing is given.
pub(crate) fn replay(args: &[String]) -> anyhow::Result<ExitCode> {
    let root = root()?;
    let tics = build_release(&root)?;
    let mut command = Command::new(&tics);
    command.arg("replay");
    if args.is_empty() {
        command.arg(root.join(SAMPLE));
    } else {
        command.args(args);
    }
    become_command(command).with_context(|| format!("cannot run {}", tics.display()))
}

/// Builds the binary and returns where it is: the target folder can be anywhere.
pub(crate) fn build_release(root: &Path) -> anyhow::Result<PathBuf> {
    let build = Shown::cargo("build --release --locked --package tics");
    println!("$ {build}");
    let build = build.args(&["--message-format=json-render-diagnostics".to_owned()]);
    let messages = build.output(root)?;
    executable(&messages).context("cargo built tics without saying where")
}

/// The executable among cargo's messages, one JSON object a line.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    messages
        .filter(|m| m["target"]["name"] == "tics")
        .find_map(|m| m["executable"].as_str().map(PathBuf::from))
}

/// Goes on as `command`: its terminal, signals and exit status are ours with nothing in between.
#[cfg(unix)]
fn become_command(mut command: Command) -> anyhow::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

/// Runs `command` and ends with its exit status.
#[cfg(not(unix))]
fn become_command(mut command: Command) -> anyhow::Result<ExitCode> {
    Ok(exit_code(command.status()?))
}

/// Runs the tests, of everything if nothing is given.
pub(crate) fn test(args: &[String]) -> anyhow::Result<ExitCode> {
    let scope = if args.is_empty() { "test --locked --workspace" } else { "test --locked" };
    Ok(exit_code(Shown::cargo(scope).args(args).run(&root()?)?))
}

/// The exit status of a child as ours; one that a signal ended has failed.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_the_messages() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"tics_record"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"tics"},"executable":"/t/release/tics"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/tics")));
        assert_eq!(executable(b"{}\n"), None);
    }

    #[test]
    fn the_sample_of_the_readme_exists() {
        assert!(root().unwrap().join(SAMPLE).is_file(), "{SAMPLE}: run `cargo xtask samples`");
    }
}
