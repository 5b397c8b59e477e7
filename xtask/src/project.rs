//! Where the project is, and commands that are printed before they run.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, bail};

/// Wrong arguments: exit status 2 instead of 1.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Refuses any argument.
pub(crate) fn without_args(args: &[String]) -> anyhow::Result<()> {
    match args.first() {
        None => Ok(()),
        Some(arg) => Err(Usage(format!("takes no arguments, got `{arg}`")).into()),
    }
}

/// Top of the workspace. Asked at run time: a path compiled in would be wrong after the folder moves.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("start it as `cargo xtask`")?;
    let root = Path::new(&manifest).parent().context("xtask has no folder above it")?;
    Ok(root.to_owned())
}

/// Paths, relative to the top, of every file that is committed or would be, and exists.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git, which knows the project's files")?;
    if !listing.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listing.stderr).trim());
    }
    let names = String::from_utf8(listing.stdout).context("a file's name is not UTF-8")?;
    let mut files: Vec<PathBuf> =
        names.split_terminator('\0').map(PathBuf::from).filter(|path| root.join(path).is_file()).collect();
    files.sort();
    Ok(files)
}

/// A command line that can be shown as one would type it at the top of the project.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    program: &'static str,
    args: Vec<String>,
    env: Option<(&'static str, &'static str)>,
    /// Relative to the top.
    folder: Option<&'static str>,
}

impl Shown {
    /// `cargo ARGS`, the arguments being separated by spaces.
    pub(crate) fn cargo(args: &str) -> Self {
        let args = args.split_whitespace().map(str::to_owned).collect();
        Shown { program: "cargo", args, env: None, folder: None }
    }

    /// With further arguments, which may hold spaces.
    pub(crate) fn args(mut self, args: &[String]) -> Self {
        self.args.extend_from_slice(args);
        self
    }

    /// With a variable in its environment.
    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env = Some((name, value));
        self
    }

    /// In a folder below the top.
    pub(crate) fn in_folder(mut self, folder: &'static str) -> Self {
        self.folder = Some(folder);
        self
    }

    /// The command, ready to start.
    pub(crate) fn command(&self, root: &Path) -> Command {
        // The cargo that runs us is the one to go on with.
        let cargo = std::env::var_os("CARGO").filter(|_| self.program == "cargo");
        let mut command = Command::new(cargo.unwrap_or(self.program.into()));
        command.args(&self.args).envs(self.env).current_dir(root.join(self.folder.unwrap_or("")));
        command
    }

    /// Prints itself and runs to the end.
    pub(crate) fn run(&self, root: &Path) -> anyhow::Result<ExitStatus> {
        println!("$ {self}");
        self.command(root).status().with_context(|| format!("cannot run {}", self.program))
    }

    /// Runs without being shown and returns what it printed.
    pub(crate) fn output(&self, root: &Path) -> anyhow::Result<Vec<u8>> {
        let mut command = self.command(root);
        let output = command.stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot run {}", self.program))?;
        if !output.status.success() {
            bail!("`{self}` failed: {}", output.status);
        }
        Ok(output.stdout)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = self.folder {
            write!(f, "cd {folder} && ")?;
        }
        if let Some((name, value)) = self.env {
            write!(f, "{name}={value} ")?;
        }
        f.write_str(self.program)?;
        for arg in &self.args {
            let quote = if arg.is_empty() || arg.contains([' ', '"', '$', '*']) { "'" } else { "" };
            write!(f, " {quote}{arg}{quote}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let doc =
            Shown::cargo("doc --no-deps").env("RUSTDOCFLAGS", "-Dwarnings").in_folder("examples/offline");
        assert_eq!(doc.to_string(), "cd examples/offline && RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps");
        let run = Shown::cargo("run --").args(&["a b".to_owned()]);
        assert_eq!(run.to_string(), "cargo run -- 'a b'");
    }

    #[test]
    fn the_project_knows_its_files() {
        let root = root().unwrap();
        assert!(root.join("Cargo.toml").is_file());
        assert!(files(&root).unwrap().contains(&PathBuf::from("xtask/src/main.rs")));
    }
}
