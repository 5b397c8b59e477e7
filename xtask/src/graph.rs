//! The crate graph against the table of layers.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use serde_json::Value;

use crate::{
    layers::{LAYERS, Layer},
    project::{Shown, files, root},
};

/// `cargo xtask graph`.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let found = violations(&root()?)?;
    for violation in &found {
        println!("{violation}");
    }
    if found.is_empty() {
        println!("{} crates, each in its layer", LAYERS.len());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Everything in the project that breaks the table, one line each.
pub(crate) fn violations(root: &Path) -> anyhow::Result<Vec<String>> {
    let graph = Graph::of_metadata(&metadata(root)?).context("cargo metadata is not as expected")?;
    let mut found = graph.check(&LAYERS);
    for layer in &LAYERS {
        if let Some(folder) = graph.folders.get(layer.name) {
            found.extend(touches(root, Path::new(folder), layer)?);
        }
    }
    Ok(found)
}

fn metadata(root: &Path) -> anyhow::Result<Value> {
    // For this platform alone: else cargo downloads crates that are never built here.
    let version =
        std::process::Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV").output();
    let version = String::from_utf8(version.context("cannot run rustc")?.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let metadata =
        Shown::cargo("metadata --format-version 1 --locked --filter-platform").args(&[host.to_owned()]);
    Ok(serde_json::from_slice(&metadata.output(root)?)?)
}

/// Who depends on whom, by package id, dependencies of tests and benches left out.
#[derive(Debug)]
struct Graph {
    /// Package id to name.
    names: BTreeMap<String, String>,
    /// Package id to the ids it uses.
    edges: BTreeMap<String, Vec<String>>,
    /// Ids of the workspace's own packages.
    members: Vec<String>,
    /// Name of each of the workspace's own packages to its folder.
    folders: BTreeMap<String, String>,
}

impl Graph {
    /// `None` if a key is missing or of another type.
    fn of_metadata(metadata: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let members: Vec<String> =
            metadata["workspace_members"].as_array()?.iter().filter_map(text).collect();
        let mut names = BTreeMap::new();
        let mut folders = BTreeMap::new();
        for package in metadata["packages"].as_array()? {
            let (id, name) = (text(&package["id"])?, text(&package["name"])?);
            if members.contains(&id) {
                let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
                folders.insert(name.clone(), folder.to_str()?.to_owned());
            }
            names.insert(id, name);
        }
        let mut edges = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array()? {
            let deps = node["deps"].as_array()?.iter().filter(|dep| is_built_in(dep));
            edges.insert(text(&node["id"])?, deps.filter_map(|dep| text(&dep["pkg"])).collect());
        }
        Some(Graph { names, edges, members, folders })
    }

    fn name<'g>(&'g self, id: &'g str) -> &'g str {
        self.names.get(id).map_or(id, String::as_str)
    }

    fn uses(&self, id: &str) -> &[String] {
        self.edges.get(id).map_or(&[], Vec::as_slice)
    }

    fn check(&self, layers: &[Layer]) -> Vec<String> {
        let mut found = Vec::new();
        for id in &self.members {
            let name = self.name(id);
            match layers.iter().find(|layer| layer.name == name) {
                Some(layer) => found.extend(self.check_layer(id, layer)),
                None => {
                    found.push(format!("{name} has no place in the layers: add it to xtask/src/layers.rs"));
                }
            }
        }
        let gone = layers.iter().filter(|layer| !self.folders.contains_key(layer.name));
        found.extend(gone.map(|layer| format!("{} is in the layers and not in the workspace", layer.name)));
        found
    }

    fn check_layer(&self, id: &str, layer: &Layer) -> Vec<String> {
        let mut found = Vec::new();
        for used in self.uses(id) {
            let used_name = self.name(used);
            if self.members.contains(used) && !layer.may_use.contains(&used_name) {
                found.push(format!("{} must not depend on {used_name}: not a layer below it", layer.name));
            }
            if layer.must_not_name.contains(&used_name) {
                found.push(format!("{} must not depend on {used_name} itself", layer.name));
            }
        }
        for path in self.paths_from(id) {
            if path.last().is_some_and(|last| layer.must_not_reach.contains(last)) {
                found.push(format!("{} must not bring in {}", layer.name, path.join(" → ")));
            }
        }
        found
    }

    /// The shortest path from `id` to everything it brings in, as names.
    fn paths_from<'g>(&'g self, id: &'g str) -> Vec<Vec<&'g str>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([id]);
        let mut reached = Vec::new();
        while let Some(at) = queue.pop_front() {
            for next in self.uses(at) {
                if next != id && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, at);
                    reached.push(next.as_str());
                    queue.push_back(next);
                }
            }
        }
        let path_to = |end: &'g str| {
            let mut path: Vec<&str> = std::iter::successors(Some(end), |at| came_from.get(at).copied())
                .map(|at| self.name(at))
                .collect();
            path.reverse();
            path
        };
        reached.into_iter().map(path_to).collect()
    }
}

/// Whether a dependency is part of what is built for use: of any kind but `dev`.
fn is_built_in(dep: &Value) -> bool {
    let kinds = dep["dep_kinds"].as_array();
    kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
}

/// Lines of a crate's code that name what its layer must not touch. Test modules, which stand at the end of
/// a file, and comments are left out.
fn touches(root: &Path, folder: &Path, layer: &Layer) -> anyhow::Result<Vec<String>> {
    let source = folder.strip_prefix(root).unwrap_or(folder).join("src");
    let mut found = Vec::new();
    for file in files(root)? {
        if !file.starts_with(&source) || file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(root.join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        found.extend(touched(&text, layer).map(|(line, what)| {
            format!("{} must not touch std::{what}: {}:{line}", layer.name, file.display())
        }));
    }
    Ok(found)
}

fn touched<'t>(text: &'t str, layer: &'t Layer) -> impl Iterator<Item = (usize, &'static str)> + 't {
    let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let code = code.zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//"));
    code.flat_map(|(line, number)| {
        let named = layer.must_not_touch.iter().filter(move |what| names_module(line, what));
        named.map(move |what| (number, *what))
    })
}

/// Whether a line of code uses the module `std::NAME`, by its full path or after `use std::{NAME, …}`.
fn names_module(line: &str, name: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        // `tokio::net::` and `nix::time::` are others' modules.
        let is_bare = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        (before.ends_with("std::") && !goes_on(after)) || (is_bare && after.starts_with("::"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BASE: Layer = Layer {
        name: "base",
        may_use: &[],
        must_not_reach: &["tokio"],
        must_not_name: &["json"],
        must_not_touch: &["fs"],
    };
    const TOP: Layer = Layer { name: "top", may_use: &["base"], must_not_reach: &[], ..BASE };

    /// A workspace of `base`, `top` and three crates from outside, with these edges.
    fn check(edges: &[(&str, &str, Option<&str>)], layers: &[Layer]) -> Vec<String> {
        let all = ["base", "top", "util", "tokio", "json"];
        let node = |name: &str| {
            let from_here = edges.iter().filter(|(from, ..)| *from == name);
            let deps: Vec<Value> =
                from_here.map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]})).collect();
            json!({"id": name, "deps": deps})
        };
        let metadata = json!({
            "workspace_members": ["base", "top"],
            "packages": all.map(|name| json!({"id": name, "name": name, "manifest_path": "/w/x/Cargo.toml"})),
            "resolve": {"nodes": all.map(node)},
        });
        Graph::of_metadata(&metadata).unwrap().check(layers)
    }

    #[test]
    fn edges_downwards_are_free() {
        let edges = [("top", "base", None), ("top", "tokio", None), ("base", "util", None)];
        assert_eq!(check(&edges, &[BASE, TOP]), [""; 0]);
    }

    #[test]
    fn an_edge_upwards_is_found() {
        let found = check(&[("base", "top", None)], &[BASE, TOP]);
        assert_eq!(found, ["base must not depend on top: not a layer below it"]);
    }

    #[test]
    fn a_forbidden_crate_is_found_however_far_away() {
        let edges = [("base", "util", None), ("util", "tokio", None), ("tokio", "util", None)];
        assert_eq!(check(&edges, &[BASE, TOP]), ["base must not bring in base → util → tokio"]);
        assert_eq!(check(&[("base", "tokio", Some("build"))], &[BASE, TOP]).len(), 1);
    }

    #[test]
    fn tests_may_use_anything() {
        assert_eq!(
            check(&[("base", "tokio", Some("dev")), ("base", "top", Some("dev"))], &[BASE, TOP]),
            [""; 0]
        );
    }

    #[test]
    fn what_may_be_brought_in_may_still_not_be_named() {
        assert_eq!(check(&[("base", "util", None), ("util", "json", None)], &[BASE, TOP]), [""; 0]);
        let found = check(&[("base", "json", None)], &[BASE, TOP]);
        assert_eq!(found, ["base must not depend on json itself"]);
    }

    #[test]
    fn table_and_workspace_name_the_same_crates() {
        let gone = Layer { name: "gone", ..BASE };
        let found = check(&[], &[BASE, gone]);
        assert!(
            found[0].starts_with("top has no place") && found[1].starts_with("gone is in the layers"),
            "{found:?}"
        );
    }

    #[test]
    fn code_is_searched_and_comments_and_tests_are_not() {
        let text =
            "use std::fs;\n// std::fs is for others\nfn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(touched(text, &BASE).collect::<Vec<_>>(), [(1, "fs")]);
    }

    #[test]
    fn a_module_is_known_by_either_name() {
        let uses = ["use std::fs;", "std::fs::read(path)", "use std::{fs::File, io};", "fs::read(path)"];
        assert_eq!(uses.map(|line| names_module(line, "fs")), [true; 4]);
        let others =
            ["tokio::fs::read(path)", "use std::fsync;", "let offs = diffs::of(a);", "use std::{io};"];
        assert_eq!(others.map(|line| names_module(line, "fs")), [false; 4]);
    }
}
