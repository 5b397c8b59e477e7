//! What holds for the repository's files as such: some exist, none names a machine, links lead somewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::project::files;

/// Files at the top that every copy of the project must have.
const REQUIRED: [&str; 6] =
    ["ARCHITECTURE.md", "CHANGELOG.md", "Cargo.lock", "LICENSE", "README.md", "traces/README.md"];

/// Folders that exist on somebody's machine only. In two parts, so that this file does not name them.
const PRIVATE_FOLDERS: [&str; 4] =
    [concat!("/", "root/"), concat!("/", "home/"), concat!("/", "work/"), concat!("/", "Users/")];

/// Required files that are missing or empty.
pub(crate) fn missing(root: &Path) -> Vec<String> {
    let is_there = |name: &str| fs::metadata(root.join(name)).is_ok_and(|meta| meta.len() > 0);
    REQUIRED
        .into_iter()
        .filter(|name| !is_there(name))
        .map(|name| format!("{name} is missing or empty"))
        .collect()
}

/// Places that name a folder of one machine.
pub(crate) fn private_paths(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (file, text) in texts(root, |_| true)? {
        let lines = text.lines().zip(1..).filter(|(line, _)| names_private_folder(line));
        found.extend(
            lines.map(|(_, number)| format!("{}:{number} names a folder of one machine", file.display())),
        );
    }
    Ok(found)
}

fn names_private_folder(line: &str) -> bool {
    // Part of a longer path or address, it is not the folder at the top of a machine.
    let is_start = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}/".contains(c));
    PRIVATE_FOLDERS.iter().any(|folder| line.match_indices(folder).any(|(at, _)| is_start(at)))
}

/// Links in Markdown files to files that do not exist.
pub(crate) fn dead_links(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (file, text) in texts(root, |file| file.extension().is_some_and(|extension| extension == "md"))? {
        let folder = root.join(&file);
        let folder = folder.parent().unwrap_or(root);
        let dead = links(&text).into_iter().filter(|(_, target)| !folder.join(target).exists());
        found.extend(dead.map(|(line, target)| {
            format!("{}:{line} links to {target}, which is not there", file.display())
        }));
    }
    Ok(found)
}

/// The project's readable files that `wanted` picks, with their text.
fn texts(root: &Path, wanted: fn(&Path) -> bool) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let files = files(root)?.into_iter().filter(|file| wanted(file));
    // What is not UTF-8 is not text.
    Ok(files.filter_map(|file| fs::read_to_string(root.join(&file)).ok().map(|text| (file, text))).collect())
}

/// Targets of a Markdown file's links to other files, with the line they are on. Blocks and spans of code
/// hold none.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
            let targets = [("](", ')'), ("src=\"", '"'), ("href=\"", '"')]
                .into_iter()
                .flat_map(|(open, close)| targets(&prose, open, close));
            found.extend(targets.map(|target| (number, target)));
        }
    }
    found
}

fn targets(line: &str, open: &str, close: char) -> Vec<String> {
    let after = line.split(open).skip(1);
    let targets = after.filter_map(|rest| rest.split([close, ' ', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains(':')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        let text = "See [a](docs/a.md#part), ![picture](b.svg \"title\") and <img src=\"c.png\">.\n\
                    [elsewhere](https://example.org/x) [below](#below) `[code](d.md)`\n\
                    ```\n[block](e.md)\n```\n[last](f.md)\n";
        let expect = [(1, "docs/a.md"), (1, "b.svg"), (1, "c.png"), (6, "f.md")];
        assert_eq!(links(text), expect.map(|(line, target)| (line, target.to_owned())));
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        let folder = PRIVATE_FOLDERS[0];
        assert!(names_private_folder(&format!("cd {folder}tics")));
        assert!(names_private_folder(&format!("\"{folder}tics\"")));
        assert!(!names_private_folder(&format!("https://example.org{folder}tics")));
        assert!(!names_private_folder("crates/record/src"));
    }
}
