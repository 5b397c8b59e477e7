//! Small tokenizers of several kinds, made in the test.
#![allow(dead_code)] // Each test file uses some of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tics_prompt::{HubCache, Mode, PromptMaker, Tokenizer};

/// A cache that holds nothing.
pub fn no_cache() -> HubCache {
    HubCache::new("no-such-folder")
}

/// Loads a tokenizer that was written as a value.
pub fn tokenizer(value: &Value) -> Arc<Tokenizer> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    std::fs::write(&file, value.to_string()).unwrap();
    Arc::new(Tokenizer::load(file.to_str().unwrap(), &no_cache()).unwrap())
}

/// Different lower-case words, sorted.
pub fn words(n: usize) -> Vec<String> {
    let text = PromptMaker::embedded(Mode::Random, 1).make(0, 4 * n as u32).unwrap();
    let words: BTreeSet<&str> = text.split(' ').collect();
    assert!(words.len() >= n);
    words.into_iter().take(n).map(String::from).collect()
}

/// A whole file around its model.
pub fn file(normalizer: &Value, pre_tokenizer: &Value, decoder: &Value, model: &Value) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "decoder": decoder, "model": model,
    })
}

/// As Llama 2: no pre-tokenizer, the space is `▁`, each word merged letter by letter; `merges` go first.
pub fn sentencepiece_bpe(words: &[String], merges: &[(&str, &str)]) -> Value {
    let mut vocab = vec!["<unk>".to_owned(), "▁".to_owned()];
    vocab.extend(('a'..='z').map(String::from));
    let mut pairs: Vec<(String, String)> =
        merges.iter().map(|(left, right)| ((*left).to_owned(), (*right).to_owned())).collect();
    for word in words {
        let mut prefix = "▁".to_owned();
        for letter in word.chars() {
            pairs.push((prefix.clone(), letter.to_string()));
            prefix.push(letter);
        }
    }
    let mut seen = BTreeSet::new();
    pairs.retain(|pair| seen.insert(pair.clone()));
    vocab.extend(pairs.iter().map(|(left, right)| format!("{left}{right}")));
    let vocab: serde_json::Map<String, Value> =
        vocab.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    file(
        &json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]}),
        &Value::Null,
        &json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]}),
        &json!({
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false,
            "vocab": vocab, "merges": pairs,
        }),
    )
}

/// Whole words between spaces.
pub fn word_level(words: &[String], normalizer: &Value) -> Value {
    let mut vocab = serde_json::Map::new();
    for (id, word) in std::iter::once("[UNK]").chain(words.iter().map(String::as_str)).enumerate() {
        vocab.insert(word.to_owned(), json!(id));
    }
    let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"});
    file(normalizer, &json!({"type": "WhitespaceSplit"}), &Value::Null, &model)
}

/// Asserts that the text can stand between two quotation marks as it is.
pub fn assert_plain(text: &str) {
    assert_eq!(text.trim(), text);
    assert_eq!(Value::from(text).to_string(), format!("\"{text}\""));
}
