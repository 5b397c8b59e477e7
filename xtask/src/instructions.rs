//! `instructions`: how many a timed path takes under callgrind, against committed limits.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::project::{Shown, Usage, root};

const LIMITS: &str = "benches/instruction-limits.toml";

/// What a limit leaves for another compiler or C library, which changes a count by a few per cent.
const MARGIN: f64 = 1.1;

/// Counts by the names of the benches.
type Counts = BTreeMap<String, u64>;

/// `cargo xtask instructions [--write]`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let write = match args {
        [] => false,
        [arg] if arg == "--write" => true,
        _ => return Err(Usage("takes --write or nothing".to_owned()).into()),
    };
    let root = root()?;
    need_valgrind()?;
    let runner = runner(&root)?;
    let found = count(&root, &runner)?;
    let path = root.join(LIMITS);
    if write {
        fs::create_dir_all(root.join("benches"))?;
        fs::write(&path, written(&found))?;
        println!("{LIMITS}: {} limits, each {MARGIN} × what was counted", found.len());
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("{LIMITS} cannot be read"))?;
    let faults = compare(&found, &parsed(&text)?);
    for fault in &faults {
        println!("{fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runs(program: &Path) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Installs valgrind where Debian's packages are and it is missing.
fn need_valgrind() -> anyhow::Result<()> {
    if runs(Path::new("valgrind")) {
        return Ok(());
    }
    let sudo = if runs(Path::new("sudo")) { "sudo" } else { "env" };
    for args in [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends", "valgrind"]] {
        println!("$ {sudo} apt-get {}", args.join(" "));
        let status = Command::new(sudo).arg("apt-get").args(args).status();
        if !status.is_ok_and(|status| status.success()) {
            bail!("valgrind is missing and apt-get cannot install it: install it by hand");
        }
    }
    Ok(())
}

/// The runner, in the target folder, of the very version that the benches are linked with.
fn runner(root: &Path) -> anyhow::Result<PathBuf> {
    let metadata = Shown::cargo("metadata --format-version 1 --locked").output(root)?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let version = packages
        .filter(|package| package["name"] == "gungraun")
        .find_map(|package| package["version"].as_str())
        .context("gungraun is no dependency")?;
    let folder = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    let tools = format!("{folder}/gungraun-{version}");
    let runner = Path::new(&tools).join("bin/gungraun-runner");
    if !runs(&runner) {
        let install = format!("install gungraun-runner --version ={version} --locked");
        let status = Shown::cargo(&install).args(&["--root".to_owned(), tools]).run(root)?;
        if !status.success() {
            bail!("the runner of the benches could not be installed: {status}");
        }
    }
    Ok(runner)
}

fn count(root: &Path, runner: &Path) -> anyhow::Result<Counts> {
    let bench = Shown::cargo("bench --locked -p tics-client -p tics-record --bench instructions");
    println!("$ {bench}");
    let output = bench.command(root).env("GUNGRAUN_RUNNER", runner).output().context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the benches failed: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let found = counts(&text);
    if found.is_empty() {
        bail!("the benches counted nothing:\n{text}");
    }
    Ok(found)
}

/// What gungraun prints: a line with the bench's path, then one a metric.
fn counts(output: &str) -> Counts {
    let mut found = Counts::new();
    let mut name = None;
    for line in output.lines() {
        if let Some(path) = line.strip_prefix("instructions::") {
            name = path.split_whitespace().next();
        } else if let Some(metric) = line.trim_start().strip_prefix("Instructions:") {
            let count = metric.split('|').next().and_then(|count| count.trim().parse().ok());
            found.extend(name.take().map(str::to_owned).zip(count));
        }
    }
    found
}

fn written(found: &Counts) -> String {
    let mut text = "# Most instructions that each bench may take under callgrind; `cargo xtask instructions` checks.\n\
                    # After a change that is meant to cost more, or less: `cargo xtask instructions --write`.\n"
        .to_owned();
    for (name, count) in found {
        let _ = writeln!(text, "\"{name}\" = {}", (*count as f64 * MARGIN).round());
    }
    text
}

/// The lines that [`written`] writes.
fn parsed(text: &str) -> anyhow::Result<Counts> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(line, number)| {
            let (name, limit) = line.split_once('=').unwrap_or_default();
            let limit = limit.trim().parse().ok();
            let name = name.trim().trim_matches('"').to_owned();
            limit
                .map(|limit| (name, limit))
                .with_context(|| format!("{LIMITS}:{number}: expected \"BENCH\" = INSTRUCTIONS"))
        })
        .collect()
}

/// One line for each bench above its limit, without one, or gone.
fn compare(found: &Counts, limits: &Counts) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, count) in found {
        match limits.get(name) {
            None => faults.push(format!("{name}: {count} instructions and no limit: see {LIMITS}")),
            Some(limit) if count > limit => {
                let by = (*count as f64 / *limit as f64 - 1.0) * 100.0;
                faults.push(format!("{name}: {count} instructions, {by:.1} % above the limit of {limit}"));
            }
            Some(limit) => {
                let of = *count as f64 / *limit as f64 * 100.0;
                println!("{name}: {count} instructions, {of:.0} % of the limit");
            }
        }
    }
    let gone = limits.keys().filter(|name| !found.contains_key(*name));
    faults.extend(gone.map(|name| format!("{name}: has a limit and was not counted")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
instructions::timed_path::arm reused_connection:(Rig :: warm())
  Instructions:                                      20167|16495                (+22.2613%) [+1.22261x]
  L1 Hits:                                           23603|N/A                  (*********)
instructions::journal::ended of_256_events:(prepared())
  Instructions:                                      82446|N/A                  (*********)
";

    #[test]
    fn a_fifth_more_fails() {
        let found = counts(OUTPUT);
        assert_eq!(found["timed_path::arm"], 20_167);
        let limits = parsed(&written(&found)).unwrap();
        assert_eq!(compare(&found, &limits), Vec::<String>::new());
        let slower: Counts = found.iter().map(|(name, count)| (name.clone(), count * 6 / 5)).collect();
        let faults = compare(&slower, &limits);
        assert_eq!(faults.len(), 2);
        assert!(faults[0].starts_with("journal::ended: 98935 instructions, 9.1 % above"), "{faults:?}");
        assert_eq!(compare(&Counts::new(), &limits).len(), 2);
        assert_eq!(compare(&found, &Counts::new()).len(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        assert!(parsed("# a\n\"x\" = many\n").unwrap_err().to_string().starts_with(&format!("{LIMITS}:2:")));
    }
}
