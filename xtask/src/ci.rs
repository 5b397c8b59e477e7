//! Every check of the project, in one table. Each is shown before it runs; all run, whatever fails; what
//! failed is listed at the end with its reason.

use std::{path::Path, process::ExitCode};

use crate::{
    graph,
    project::{Shown, Usage, root},
    repository,
};

/// What a step does.
enum Work {
    /// Succeeds with its exit status.
    Run(Shown),
    /// Finds faults, one line each.
    Check(&'static str, fn(&Path) -> anyhow::Result<Vec<String>>),
}

struct Step {
    name: &'static str,
    work: Work,
}

fn steps() -> Vec<Step> {
    let run = |name, command| Step { name, work: Work::Run(command) };
    let check = |name, does, faults| Step { name, work: Work::Check(does, faults) };
    let offline = |args| Shown::cargo(args).in_folder("examples/offline");
    vec![
        run("fmt", Shown::cargo("fmt --all --check")),
        run(
            "clippy",
            Shown::cargo("clippy --locked --workspace --all-targets --all-features -- -D warnings"),
        ),
        run("test", Shown::cargo("test --locked --workspace")),
        run("doc", Shown::cargo("doc --locked --workspace --no-deps").env("RUSTDOCFLAGS", "-Dwarnings")),
        check("graph", "the crate graph keeps to the layers", graph::violations),
        run("samples", Shown::cargo("xtask samples --check")),
        run("tokenizer", Shown::cargo("xtask tokenizer --check")),
        run("instructions", Shown::cargo("xtask instructions")),
        run("offline-fmt", offline("fmt --check")),
        run("offline-build", offline("build --locked")),
        run("offline-clippy", offline("clippy --locked --all-targets -- -D warnings")),
        check("files", "README, LICENSE and their like are there", |root| Ok(repository::missing(root))),
        check("paths", "no file names a folder of one machine", repository::private_paths),
        check("links", "links between documents lead somewhere", repository::dead_links),
    ]
}

/// `cargo xtask ci [--no-test] [STEP…]`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let root = root()?;
    let steps = chosen(steps(), args)?;
    let mut failures = Vec::new();
    for step in &steps {
        let shown = match &step.work {
            Work::Run(command) => command.to_string(),
            Work::Check(does, _) => format!("check: {does}"),
        };
        if let Err(reason) = perform(&step.work, &root) {
            println!("failed: {reason}");
            failures.push(format!("  {}: {shown}\n    {}", step.name, reason.replace('\n', "\n    ")));
        }
        println!();
    }
    println!("ci: {} of {} steps passed", steps.len() - failures.len(), steps.len());
    for failure in &failures {
        println!("{failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The named steps, or all; without the tests if so asked, for when they have just run.
fn chosen(steps: Vec<Step>, args: &[String]) -> anyhow::Result<Vec<Step>> {
    let (options, names): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| arg.starts_with('-'));
    if let Some(option) = options.iter().find(|option| *option != &"--no-test") {
        return Err(Usage(format!("no option `{option}`; there is --no-test")).into());
    }
    if let Some(name) = names.iter().find(|name| !steps.iter().any(|step| step.name == **name)) {
        let known: Vec<&str> = steps.iter().map(|step| step.name).collect();
        return Err(Usage(format!("no step `{name}`; there are {}", known.join(", "))).into());
    }
    let is_chosen = |step: &Step| match step.name {
        "test" if !options.is_empty() => false,
        name => names.is_empty() || names.iter().any(|chosen| *chosen == name),
    };
    Ok(steps.into_iter().filter(is_chosen).collect())
}

/// The reason for a failure, on one or more lines.
fn perform(work: &Work, root: &Path) -> Result<(), String> {
    match work {
        Work::Run(command) => match command.run(root) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(format!("{error:#}")),
        },
        Work::Check(does, faults) => {
            println!("check: {does}");
            match faults(root) {
                Ok(faults) if faults.is_empty() => Ok(()),
                Ok(faults) => Err(faults.join("\n")),
                Err(error) => Err(format!("{error:#}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Result<Vec<&'static str>, String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let chosen = chosen(steps(), &args).map_err(|error| error.to_string())?;
        Ok(chosen.iter().map(|step| step.name).collect())
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(names(&["links", "fmt"]).unwrap(), ["fmt", "links"]);
        assert_eq!(names(&[]).unwrap().len(), steps().len());
        let all_but_tests = names(&["--no-test"]).unwrap();
        assert!(all_but_tests.len() == steps().len() - 1 && !all_but_tests.contains(&"test"));
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert_eq!(names(&["--fast"]).unwrap_err(), "no option `--fast`; there is --no-test");
        assert!(names(&["format"]).unwrap_err().starts_with("no step `format`; there are fmt, "));
    }

    #[test]
    fn every_fault_is_part_of_the_reason() {
        let work = Work::Check("numbers", |_| Ok(vec!["one".into(), "two".into()]));
        assert_eq!(perform(&work, Path::new(".")).unwrap_err(), "one\ntwo");
    }
}
