//! The project's own commands: `cargo xtask COMMAND`.
//!
//! One table of commands, each a function from its arguments to an exit status. Nothing here is needed to
//! use Tics; everything a contributor or a check runs goes through here, so that it is the same everywhere.

mod bench;
mod ci;
mod criterion;
mod generated;
mod graph;
mod instructions;
mod layers;
mod project;
mod repository;
mod targets;
mod tasks;

use std::process::ExitCode;

struct Command {
    name: &'static str,
    args: &'static str,
    does: &'static str,
    run: fn(&[String]) -> anyhow::Result<ExitCode>,
}

const COMMANDS: [Command; 8] = [
    Command {
        name: "replay",
        args: "[ARGS]",
        does: "build tics in release and replay traces/tics.jsonl, or what ARGS say",
        run: tasks::replay,
    },
    Command {
        name: "test",
        args: "[ARGS]",
        does: "test the whole workspace, or what ARGS say to cargo test",
        run: tasks::test,
    },
    Command {
        name: "ci",
        args: "[--no-test] [STEP…]",
        does: "every check, or the named ones; goes on after a failure and lists them all",
        run: ci::run,
    },
    Command {
        name: "graph",
        args: "",
        does: "check which crates know which",
        run: |args| project::without_args(args).and_then(|()| graph::run()),
    },
    Command {
        name: "samples",
        args: "[--check]",
        does: "write the sample traces under traces/, or only compare them",
        run: |args| generated::run(generated::Kind::Samples, args),
    },
    Command {
        name: "tokenizer",
        args: "[--check]",
        does: "write the embedded tokenizer, or only compare it",
        run: |args| generated::run(generated::Kind::Tokenizer, args),
    },
    Command {
        name: "bench",
        args: "[--quick] [--pairs N] [PART…]",
        does: "measure, compare with the targets and write BENCHMARKS.md",
        run: bench::run,
    },
    Command {
        name: "instructions",
        args: "[--write]",
        does: "count instructions of the timed path under callgrind, compare with the limits",
        run: instructions::run,
    },
];

/// What `cargo xtask` alone prints.
fn help() -> String {
    let lines =
        COMMANDS.map(|Command { name, args, does, .. }| format!("  {:<26} {does}", format!("{name} {args}")));
    format!("usage: cargo xtask COMMAND\n\n{}", lines.join("\n"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first().filter(|(name, _)| !is_help(name)) else {
        println!("{}", help());
        return ExitCode::SUCCESS;
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        eprintln!("xtask: no command `{name}`; there are {}", names.join(", "));
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::from(if error.is::<project::Usage>() { 2 } else { 1 })
        }
    }
}

fn is_help(name: &str) -> bool {
    matches!(name, "help" | "-h" | "--help")
}
