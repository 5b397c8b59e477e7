//! Where the local Hugging Face cache keeps a model's `tokenizer.json`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::LoadError;

/// The local Hugging Face cache: `models--org--name/snapshots/<revision>/…` below one folder.
///
/// It is only ever read. A model that is not there is an error, never a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// The cache in the given folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        HubCache { root: root.into() }
    }

    /// The cache that the environment names, by the hub client's own rules: `HF_HUB_CACHE`, else
    /// `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, which defaults to `huggingface` in
    /// `XDG_CACHE_HOME`, which defaults to `.cache` in `HOME`.
    ///
    /// The environment is handed in, so that a test needs none: `HubCache::from_vars(|name| std::env::var_os(name))`.
    /// An empty variable counts as absent.
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| {
            let home = path("HF_HOME").unwrap_or_else(|| {
                path("XDG_CACHE_HOME")
                    .or_else(|| path("HOME").map(|home| home.join(".cache")))
                    .unwrap_or_else(|| PathBuf::from(".cache"))
                    .join("huggingface")
            });
            home.join("hub")
        });
        HubCache { root }
    }

    /// The folder of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The `tokenizer.json` of a model: of the revision that `refs/main` names, or of the only
    /// revision that holds one (a model fetched by revision leaves no `refs/main`).
    ///
    /// # Errors
    /// [`LoadError::NotFound`] when the cache has no such model, [`LoadError::NoTokenizerJson`]
    /// when none of its revisions holds the file, [`LoadError::ManyRevisions`] when several do and
    /// `refs/main` names none of them.
    pub fn tokenizer_json(&self, model: &str) -> Result<PathBuf, LoadError> {
        let not_found = || LoadError::NotFound { given: model.to_owned(), cache: self.root.clone() };
        if !is_model_id(model) {
            return Err(not_found());
        }
        let folder = self.root.join(format!("models--{}", model.replace('/', "--")));
        let snapshots = folder.join("snapshots");
        if !snapshots.is_dir() {
            return Err(not_found());
        }
        if let Ok(revision) = fs::read_to_string(folder.join("refs/main")) {
            let file = snapshots.join(revision.trim()).join("tokenizer.json");
            if file.is_file() {
                return Ok(file);
            }
        }
        let mut found: Vec<PathBuf> = fs::read_dir(&snapshots)
            .map_err(|source| LoadError::Read { path: snapshots.clone(), source })?
            .filter_map(|entry| Some(entry.ok()?.path().join("tokenizer.json")))
            .filter(|file| file.is_file())
            .collect();
        match (found.pop(), found.len()) {
            (Some(file), 0) => Ok(file),
            (Some(_), others) => {
                Err(LoadError::ManyRevisions { given: model.to_owned(), snapshots, revisions: others + 1 })
            }
            (None, _) => Err(LoadError::NoTokenizerJson { given: model.to_owned(), folder: snapshots }),
        }
    }
}

/// Whether the text has the form of a model id: `name` or `org/name`.
fn is_model_id(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split('/').count() <= 2 && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(vars: &[(&str, &str)]) -> PathBuf {
        let cache = HubCache::from_vars(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        });
        cache.root().to_owned()
    }

    #[test]
    fn the_environment_decides_in_the_hub_clients_order() {
        let check = |vars: &[(&str, &str)], expect: &str| assert_eq!(root(vars), Path::new(expect));
        check(&[("HOME", "/h")], "/h/.cache/huggingface/hub");
        check(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/hf")], "/hf/hub");
        check(&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old");
        check(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new");
        check(&[("HOME", "/h"), ("HF_HUB_CACHE", "")], "/h/.cache/huggingface/hub");
    }

    #[test]
    fn model_ids_are_told_from_paths() {
        for good in ["gpt2", "Qwen/Qwen3-0.6B", "a/b.c_d"] {
            assert!(is_model_id(good), "{good}");
        }
        for bad in ["", "/abs", "./x", "../x", "a/b/c", "a//b", "~/x", "a b", "org/"] {
            assert!(!is_model_id(bad), "{bad}");
        }
    }
}
