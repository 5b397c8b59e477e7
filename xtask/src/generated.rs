//! Committed files that the project makes itself: written, or compared with what would be written.

use std::process::ExitCode;

use crate::project::Usage;

/// Which files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sample traces.
    Samples,
    /// The embedded tokenizer.
    Tokenizer,
}

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Kind::Samples => "samples",
            Kind::Tokenizer => "tokenizer",
        }
    }
}

/// `cargo xtask samples` and `cargo xtask tokenizer`, with or without `--check`.
pub(crate) fn run(kind: Kind, args: &[String]) -> anyhow::Result<ExitCode> {
    let check = match args {
        [] => false,
        [arg] if arg == "--check" => true,
        _ => return Err(Usage("takes --check or nothing".to_owned()).into()),
    };
    work::run(kind, check)
}

/// Without the crates that make the files: starts this program again, built with them.
#[cfg(not(feature = "generated"))]
mod work {
    use super::{ExitCode, Kind};
    use crate::{
        project::{Shown, root},
        tasks::exit_code,
    };

    pub(super) fn run(kind: Kind, check: bool) -> anyhow::Result<ExitCode> {
        let again = Shown::cargo("run --quiet --locked --package xtask --features generated --");
        let mut args = vec![kind.command().to_owned()];
        args.extend(check.then(|| "--check".to_owned()));
        Ok(exit_code(again.args(&args).command(&root()?).status()?))
    }
}

#[cfg(feature = "generated")]
mod work {
    use std::{fs, path::Path};

    use anyhow::Context;

    use super::{ExitCode, Kind};
    use crate::project::root;

    pub(super) fn run(kind: Kind, check: bool) -> anyhow::Result<ExitCode> {
        let root = root()?;
        let mut stale = false;
        for (path, bytes) in files(kind) {
            let path = Path::new(&path);
            if fs::read(root.join(path)).is_ok_and(|committed| committed == bytes) {
                println!("{}: as generated", path.display());
            } else if check {
                stale = true;
                println!("{}: differs; run `cargo xtask {}`", path.display(), kind.command());
            } else {
                fs::write(root.join(path), bytes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                println!("{}: written", path.display());
            }
        }
        Ok(if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Paths from the top, and what belongs there.
    fn files(kind: Kind) -> Vec<(String, Vec<u8>)> {
        match kind {
            Kind::Tokenizer => {
                vec![("crates/prompt/assets/tokenizer.json".to_owned(), tics_prompt::generate_tokenizer())]
            }
            Kind::Samples => tics_trace::samples()
                .into_iter()
                .map(|(name, bytes)| (format!("traces/{name}"), bytes))
                .collect(),
        }
    }
}
