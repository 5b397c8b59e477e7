//! Tokenizers for which construction fails: prompts are adjusted by re-encoding, and it is said.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, not in their helpers.

mod common;

use common::{assert_plain, file, sentencepiece_bpe, tokenizer, word_level};
use serde_json::{Value, json};
use tics_prompt::{Method, Mode, PromptError, PromptMaker};

fn check_adjusts(value: &Value, lengths: impl IntoIterator<Item = u32>, expect_reason: &str) {
    let tokenizer = tokenizer(value);
    let maker = PromptMaker::new(&tokenizer, Mode::Random, 1).unwrap();
    let Method::Adjustment { reason } = maker.method() else { panic!("{}", maker.method()) };
    assert!(reason.contains(expect_reason), "{reason}");
    for n in lengths {
        let text = maker.make(u64::from(n), n).unwrap();
        assert_eq!(tokenizer.count(&text).unwrap(), n as usize, "{text:?}");
        assert_plain(&text);
        assert_eq!(text, maker.make(u64::from(n), n).unwrap());
    }
}

/// Tokens that reach across a space in every way, so that what is joined merges.
#[test]
fn joins_that_merge() {
    let merges =
        [("a", "▁"), ("a▁", "b"), ("b", "▁a"), ("▁a", "b"), ("▁a", "a"), ("a", "b"), ("▁", "a"), ("b", "▁")];
    let mut value = sentencepiece_bpe(&[], &merges);
    value["model"]["vocab"]
        .as_object_mut()
        .unwrap()
        .retain(|token, _| token.chars().all(|c| matches!(c, 'a' | 'b' | '▁')) || token == "<unk>");
    check_adjusts(&value, (0..=80).chain([1_000]), "0 words are one token each");
}

/// A vocabulary of single letters has no words at all. (No text is one token: the space before the
/// first letter is one by itself.)
#[test]
fn one_token_a_letter() {
    check_adjusts(&sentencepiece_bpe(&[], &[]), (2..=40).chain([1_000]), "256 and 64 are needed");
}

/// Words that are one token each wherever the vocabulary is looked at, joined by a normaliser that
/// only text knows of: the sample finds it.
#[test]
fn joins_that_nothing_in_the_vocabulary_tells() {
    let syllables = ["ka", "ke", "ki", "ko", "ku", "la", "le", "li", "lo", "lu", "ma", "me", "mi"];
    let words = |begin: &str, end: &str| -> Vec<String> {
        let pairs = syllables.iter().flat_map(|a| syllables.iter().map(move |b| format!("{a}{b}")));
        pairs.map(|middle| format!("{begin}{middle}{end}")).collect()
    };
    // In the order of the vocabulary no word ends in `a` before one that begins with `b`.
    let words = [words("b", "o"), words("d", "a")].concat();
    let glue = json!({"type": "Replace", "pattern": {"String": "a b"}, "content": ""});
    check_adjusts(&word_level(&words, &glue), (0..=40).chain([300]), "encoded to");
}

#[test]
fn a_dummy_prompt_begins_as_a_longer_one() {
    let tokenizer = tokenizer(&sentencepiece_bpe(&[], &[]));
    let maker = PromptMaker::new(&tokenizer, Mode::Dummy, 1).unwrap();
    let (short, long) = (maker.make(3, 50).unwrap(), maker.make(9, 200).unwrap());
    assert_eq!(short[..40], long[..40]);
}

/// Each letter is doubled before it is counted, so no text has an odd number of tokens.
#[test]
fn an_impossible_length_is_an_error() {
    let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": {"a": 0}, "merges": [],
    });
    let tokenizer = tokenizer(&file(&double, &Value::Null, &json!({"type": "Fuse"}), &model));
    let maker = PromptMaker::new(&tokenizer, Mode::Random, 1).unwrap();
    let mut body = b"before".to_vec();
    let error = maker.make_into(&mut body, 0, 7).unwrap_err();
    assert_eq!(body, b"before");
    assert!(matches!(error, PromptError::NotExact { asked: 7, .. }), "{error}");
    assert!(
        error.to_string().starts_with("no text of exactly 7 tokens after 64 attempts (closest: "),
        "{error}"
    );
}

#[test]
fn a_vocabulary_without_text_is_an_error() {
    let tokenizer = tokenizer(&file(
        &Value::Null,
        &Value::Null,
        &Value::Null,
        &json!({"type": "WordLevel", "vocab": {"\n": 0, "\"": 1}, "unk_token": "\n"}),
    ));
    let error = PromptMaker::new(&tokenizer, Mode::Random, 1).unwrap_err();
    assert!(matches!(error, PromptError::NoPieces { .. }), "{error}");
}
