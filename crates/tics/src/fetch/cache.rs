//! The folder of fetched files.
//!
//! An address has one file `<key>.json`, which names the copy by its hash; it is replaced in one step, after the
//! copy is whole. So whatever is interrupted, and however many do it at once, an address either has a whole copy
//! or none.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// Letters of a hash in a file's name: enough to tell all addresses apart.
const KEY: usize = 32;

/// A fetched file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`key`] of its address: what stands behind `?` may be a secret, which is not for the disk.
    pub key: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Their number.
    pub bytes: u64,
    /// When it was fetched, RFC 3339, UTC.
    pub fetched: String,
    /// What the server called this version of it.
    pub etag: Option<String>,
    /// When it last changed, in the server's words.
    pub modified: Option<String>,
}

/// The folder.
#[derive(Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// `$TICS_CACHE`, else `$XDG_CACHE_HOME/tics`, else `~/.cache/tics`; made where it is missing.
    pub fn of_user() -> anyhow::Result<Cache> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = variable("TICS_CACHE")
            .or_else(|| Some(variable("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("tics")))
            .or_else(|| Some(variable("HOME")?.join(".cache/tics")))
            .context("no folder to keep fetched traces in: TICS_CACHE names one")?;
        let cache = Cache(folder.join("traces"));
        fs::create_dir_all(&cache.0).map_err(|e| anyhow::anyhow!(cache.unwritable(&e)))?;
        Ok(cache)
    }

    /// The copy of what lies at `url`, if there is one and it is as it was fetched.
    pub fn find(&self, url: &str) -> Option<(Entry, PathBuf)> {
        let text = fs::read(self.note(&key(url))).ok()?;
        let entry: Entry =
            serde_json::from_slice(&text).ok().filter(|entry: &Entry| entry.key == key(url))?;
        let file = self.file(&entry);
        let hash = hash_of(File::open(&file).ok()?).ok()?;
        (hash == entry.sha256).then_some((entry, file))
    }

    /// Where a copy is.
    pub fn file(&self, entry: &Entry) -> PathBuf {
        let version = entry.sha256.get(..KEY).unwrap_or(&entry.sha256);
        self.0.join(format!("{}-{version}", entry.key))
    }

    fn note(&self, key: &str) -> PathBuf {
        self.0.join(format!("{key}.json"))
    }

    /// A file for a copy that is under way; gone unless it is kept.
    pub fn copy(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.0)
    }

    /// Keeps a copy that is whole, in the place of an earlier one.
    pub fn keep(&self, copy: NamedTempFile, entry: &Entry) -> io::Result<()> {
        let before = fs::read(self.note(&entry.key)).ok();
        let before = before.and_then(|text| serde_json::from_slice::<Entry>(&text).ok());
        copy.as_file().sync_all()?;
        copy.persist(self.file(entry))?;
        let mut note = self.copy()?;
        serde_json::to_writer_pretty(&mut note, entry)?;
        note.persist(self.note(&entry.key))?;
        if let Some(before) = before.filter(|before| before.key == entry.key && before.sha256 != entry.sha256)
        {
            // Whoever reads it just now has it open.
            let _gone = fs::remove_file(self.file(&before));
        }
        Ok(())
    }

    /// That it cannot be written.
    pub fn unwritable(&self, error: &io::Error) -> String {
        // The name of the temporary file says nothing to anyone.
        let why = error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |n| io::Error::from_raw_os_error(n).to_string());
        format!(
            "{}: fetched traces cannot be kept there: {why}; TICS_CACHE names another folder",
            self.0.display()
        )
    }
}

/// Stands for an address in names of files.
pub fn key(url: &str) -> String {
    format!("{:x}", Sha256::digest(url)).chars().take(KEY).collect()
}

fn hash_of(mut file: File) -> io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn entry(url: &str, text: &str) -> Entry {
        let sha256 = format!("{:x}", Sha256::digest(text));
        Entry { key: key(url), sha256, bytes: 0, fetched: String::new(), etag: None, modified: None }
    }

    fn keep(cache: &Cache, entry: &Entry, text: &str) {
        let mut copy = cache.copy().unwrap();
        copy.write_all(text.as_bytes()).unwrap();
        cache.keep(copy, entry).unwrap();
    }

    #[test]
    fn a_copy_is_found_as_long_as_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache(folder.path().to_owned());
        let first = entry("http://a/x", "one");
        assert_eq!(cache.find("http://a/x"), None);
        keep(&cache, &first, "one");
        assert_eq!(cache.find("http://a/x"), Some((first.clone(), cache.file(&first))));
        assert_eq!(cache.find("http://a/y"), None);
        let second = entry("http://a/x", "two");
        keep(&cache, &second, "two");
        assert_eq!(cache.find("http://a/x").unwrap().0, second);
        assert!(!cache.file(&first).exists(), "one version is kept");
        drop(cache.copy().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the copy and its note");
        fs::write(cache.file(&second), "twO").unwrap();
        assert_eq!(cache.find("http://a/x"), None, "damaged");
    }
}
