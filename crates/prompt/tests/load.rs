//! Where a tokenizer may be, and what is said when it is not there.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, not in their helpers.

mod common;

use std::error::Error;
use std::fs;
use std::path::Path;

use common::no_cache;
use tics_prompt::{EMBEDDED_TOKENIZER, HubCache, LoadError, Tokenizer};

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The message: one line that names the place.
fn message(source: &str, cache: &HubCache, expect_place: &str) -> String {
    let error = Tokenizer::load(source, cache).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains('\n') && message.contains(expect_place), "{message}");
    message
}

#[test]
fn a_file_and_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    write(&file, EMBEDDED_TOKENIZER);
    for source in [&file, folder.path()] {
        let source = source.to_str().unwrap();
        let tokenizer = Tokenizer::load(source, &no_cache()).unwrap();
        assert_eq!(tokenizer.name(), source);
        assert_eq!(tokenizer.sha256(), Tokenizer::embedded().sha256());
        assert_eq!(tokenizer.sha256().len(), 64);
    }
}

#[test]
fn a_model_of_the_cache() {
    let root = tempfile::tempdir().unwrap();
    let cache = HubCache::new(root.path());
    let model = root.path().join("models--org--name");
    let place = model.to_str().unwrap();

    assert!(message("org/name", &cache, root.path().to_str().unwrap()).contains("hf download"));

    write(&model.join("snapshots/aaa/config.json"), b"{}");
    write(&model.join("refs/main"), b"aaa\n");
    assert!(message("org/name", &cache, place).contains("no tokenizer.json in"));

    // One revision holds the file, whether refs/main names it or not.
    write(&model.join("snapshots/bbb/tokenizer.json"), EMBEDDED_TOKENIZER);
    assert_eq!(Tokenizer::load("org/name", &cache).unwrap().name(), "org/name");
    write(&model.join("snapshots/ccc/tokenizer.json"), b"not this one");
    assert!(message("org/name", &cache, place).contains("2 revisions"));
    write(&model.join("refs/main"), b"bbb");
    Tokenizer::load("org/name", &cache).unwrap();
}

#[test]
fn a_path_that_is_not_there() {
    for source in ["./no/such/file.json", "no-such-model", "/no/such/folder", ""] {
        let message = message(source, &no_cache(), "no-such-folder");
        assert!(message.contains(&format!("{source:?}: no such file or folder")), "{message}");
    }
}

#[test]
fn a_folder_without_the_file() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("tokenizer.model"), b"\x0a");
    let place = folder.path().to_str().unwrap();
    assert!(message(place, &no_cache(), place).contains("no tokenizer.json in"));
}

#[test]
fn a_file_that_is_no_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in
        ["", "{", "{}", "[1, 2]", r#"{"version":"1.0","model":{"type":"Alchemy"}}"#, "\u{feff}{}", "\0\0"]
    {
        let file = folder.path().join("tokenizer.json");
        write(&file, bytes.as_bytes());
        let place = file.to_str().unwrap();
        assert!(message(place, &no_cache(), place).contains("not a tokenizer.json"));
        let error = Tokenizer::load(place, &no_cache()).unwrap_err();
        assert!(matches!(error, LoadError::Parse { .. }));
        assert!(!error.source().unwrap().to_string().contains('\n'));
    }
}
