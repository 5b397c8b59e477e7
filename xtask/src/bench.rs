//! `bench`: the figures of BENCHMARKS.md, part by part, against the targets.
//!
//! Each part is a `tics calibrate` that leaves its JSON beside the build; the table is made of all that
//! are there, so that one part can be run again without the quarter of an hour that all take.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{
    criterion,
    project::{Shown, Usage, root},
    targets::{self, Row},
    tasks::build_release,
};

/// The document, and where its table is.
const DOCUMENT: &str = "BENCHMARKS.md";
const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// How a part is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `tics calibrate`, any number of pairs.
    Pairs,
    /// The same, on a terminal of its own.
    Terminal,
    /// `tics calibrate`, once.
    Once,
    /// criterion.
    Criterion,
}

struct Part {
    name: &'static str,
    kind: Kind,
    args: &'static str,
    /// Length of each run's load, seconds.
    seconds: u32,
}

const fn part(name: &'static str, kind: Kind, args: &'static str, seconds: u32) -> Part {
    Part { name, kind, args, seconds }
}

const PARTS: [Part; 13] = [
    part("100/s", Kind::Pairs, "--floor --rung 100/s", 20),
    part("1000/s", Kind::Pairs, "--floor --rung 1000/s", 10),
    part("burst", Kind::Pairs, "--floor --rung burst", 1),
    part("500x50", Kind::Pairs, "--floor --rung 500x50", 10),
    part("1000x100", Kind::Pairs, "--floor --rung 1000x100", 3),
    part("flood", Kind::Pairs, "--rung flood --rung flood-small", 1),
    part("memory", Kind::Once, "--rung memory", 1),
    part("million", Kind::Once, "--rung million", 1),
    part("rows", Kind::Once, "--rung rows", 1),
    part("index", Kind::Criterion, "bench --locked -p tics-trace --bench index -- index", 0),
    part("dashboard", Kind::Terminal, "--dashboard --against no-dashboard --rung 500x50", 5),
    part("journal", Kind::Pairs, "--against late-journal --rung 500x50", 5),
    part(
        "criterion",
        Kind::Criterion,
        "bench --locked -p tics-client -p tics-record -p tics-stats --bench stream --bench journal --bench quantiles",
        0,
    ),
];

struct Options {
    parts: Vec<&'static Part>,
    pairs: u32,
    quick: bool,
}

/// `cargo xtask bench [--quick] [--pairs N] [PART…]`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let options = parse(args)?;
    let root = root()?;
    let tics = build_release(&root)?;
    let folder = tics.parent().and_then(Path::parent).context("the binary is in no target folder")?;
    // What a quick run finds is not for the document.
    let results = folder.join(if options.quick { "tics-bench-quick" } else { "tics-bench" });
    fs::create_dir_all(&results)?;
    for part in &options.parts {
        let found = measure(part, &options, &root, &tics, &results)?;
        let result = json!({ "date": date()?, "command": command_line(part, &options), "found": found });
        fs::write(file(&results, part.name), serde_json::to_string_pretty(&result)? + "\n")?;
        print(&rows(&results, &[part.name])?);
    }
    if options.quick {
        println!("a quick run: {DOCUMENT} is left as it is");
        return Ok(ExitCode::SUCCESS);
    }
    let all: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
    let section = section(&results, &rows(&results, &all)?)?;
    let document = root.join(DOCUMENT);
    let text = fs::read_to_string(&document).unwrap_or_else(|_| frame());
    fs::write(&document, with_section(&text, &section)?)?;
    println!("{DOCUMENT} has the new figures");
    Ok(ExitCode::SUCCESS)
}

fn parse(args: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { parts: Vec::new(), pairs: 7, quick: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => (options.quick, options.pairs) = (true, 1),
            "--pairs" => {
                let n = args.next().and_then(|n| n.parse().ok()).filter(|n| (1..=100).contains(n));
                options.pairs = n.ok_or_else(|| Usage("--pairs takes a number from 1 to 100".to_owned()))?;
            }
            name => {
                let found = PARTS.iter().find(|part| part.name == name);
                let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
                let unknown = || Usage(format!("no part `{name}`; there are {}", known.join(", ")));
                options.parts.push(found.ok_or_else(unknown)?);
            }
        }
    }
    if options.parts.is_empty() {
        options.parts = PARTS.iter().collect();
    }
    Ok(options)
}

fn file(results: &Path, part: &str) -> PathBuf {
    results.join(format!("{}.json", part.replace('/', "-per-")))
}

fn arguments(part: &Part, options: &Options) -> Vec<String> {
    let mut args: Vec<String> = part.args.split_whitespace().map(str::to_owned).collect();
    if matches!(part.kind, Kind::Pairs | Kind::Terminal) {
        let seconds = if options.quick { part.seconds.min(2) } else { part.seconds };
        args.extend(["--pairs".to_owned(), options.pairs.to_string()]);
        args.extend(["--seconds".to_owned(), seconds.to_string()]);
    }
    args
}

fn command_line(part: &Part, options: &Options) -> String {
    let program = if part.kind == Kind::Criterion { "cargo" } else { "tics calibrate" };
    format!("{program} {}", arguments(part, options).join(" "))
}

fn measure(
    part: &Part,
    options: &Options,
    root: &Path,
    tics: &Path,
    results: &Path,
) -> anyhow::Result<Value> {
    println!("$ {}", command_line(part, options));
    if part.kind == Kind::Criterion {
        let output = Shown::cargo(part.args).output(root)?;
        return Ok(criterion::figures(&String::from_utf8_lossy(&output)));
    }
    let out = results.join("calibration.json");
    let args = arguments(part, options);
    let status = if part.kind == Kind::Terminal {
        on_terminal(tics, &args, &out)?.status()?
    } else {
        let mut command = Command::new(tics);
        command.arg("calibrate").args(&args).arg("--output").arg(&out);
        command.stdout(Stdio::null()).status()?
    };
    if !status.success() {
        bail!("{}: {status}", part.name);
    }
    Ok(serde_json::from_slice(&fs::read(&out)?)?)
}

/// On a terminal of its own (`script` makes one), of a size that people use; what is drawn goes nowhere.
fn on_terminal(tics: &Path, args: &[String], out: &Path) -> anyhow::Result<Command> {
    let path =
        |path: &Path| path.to_str().map(|p| format!("'{p}'")).context("the target folder is not UTF-8");
    let line = format!(
        "stty rows 40 cols 120; exec {} calibrate {} --output {}",
        path(tics)?,
        args.join(" "),
        path(out)?
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdout(Stdio::null());
    Ok(command)
}

fn date() -> anyhow::Result<String> {
    let output = Command::new("date").args(["-u", "+%F"]).output().context("cannot run date")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The rows of the named parts that have been run.
fn rows(results: &Path, parts: &[&str]) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for part in parts {
        let Ok(text) = fs::read_to_string(file(results, part)) else { continue };
        let result: Value = serde_json::from_str(&text)?;
        let date = result["date"].as_str().unwrap_or_default();
        rows.extend(targets::rows(part, &result["found"]).into_iter().map(|row| row.on(date)));
    }
    Ok(rows)
}

fn print(rows: &[Row]) {
    for row in rows {
        println!("  {:<62} {:<26} {:<12} {}", row.what, row.found, row.target, row.verdict());
    }
}

/// The section of the document.
fn section(results: &Path, rows: &[Row]) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut commands = Vec::new();
    let mut missing = Vec::new();
    for part in &PARTS {
        let Ok(text) = fs::read_to_string(file(results, part.name)) else {
            missing.push(part.name);
            continue;
        };
        let result: Value = serde_json::from_str(&text)?;
        commands.extend(result["command"].as_str().map(str::to_owned));
        let host = &result["found"]["host"];
        if out.is_empty() && host.is_object() {
            out = format!(
                "Machine: {} cores, {}, {}.\n",
                host["cores"],
                text_of(&host["cpu"]),
                text_of(&host["system"])
            );
        }
    }
    out += "\n| what | found | target | | run on |\n| --- | --- | --- | --- | --- |\n";
    for row in rows {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            row.what,
            row.found,
            row.target,
            row.verdict(),
            row.date
        );
    }
    if !missing.is_empty() {
        let _ = write!(out, "\nNot run: {}.\n", missing.join(", "));
    }
    let _ = write!(out, "\nCommands:\n\n```\n{}\n```\n", commands.join("\n"));
    Ok(out)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn frame() -> String {
    format!("# Benchmarks\n\n`cargo xtask bench` writes this table.\n\n{BEGIN}\n{END}\n")
}

/// `text` with what is between the marks replaced.
fn with_section(text: &str, section: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{DOCUMENT} has no {BEGIN}"))?;
    let (_, after) =
        rest.split_once(END).with_context(|| format!("{DOCUMENT} has no {END} after {BEGIN}"))?;
    Ok(format!("{before}{BEGIN}\n{section}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_section_changes() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        assert_eq!(with_section(&text, "new\n").unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nz\n"));
        assert!(with_section("a", "new").unwrap_err().to_string().contains(BEGIN));
        assert!(with_section(&frame(), "x\n").unwrap().contains("x\n"));
    }

    #[test]
    fn parts_are_chosen_by_name() {
        let args = |args: &[&str]| parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        let options = args(&["--pairs", "9", "burst"]).unwrap();
        assert_eq!((options.pairs, options.parts[0].name, options.parts.len()), (9, "burst", 1));
        assert_eq!(
            command_line(options.parts[0], &options),
            "tics calibrate --floor --rung burst --pairs 9 --seconds 1"
        );
        assert_eq!(args(&[]).unwrap().parts.len(), PARTS.len());
        assert!(args(&["nothing"]).is_err_and(|e| e.is::<Usage>()));
        assert!(args(&["--pairs"]).is_err_and(|e| e.is::<Usage>()));
    }
}
