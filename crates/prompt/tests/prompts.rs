//! Prompts by construction: exact, reproducible, different.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, not in their helpers.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use common::{assert_plain, file, sentencepiece_bpe, tokenizer, word_level, words};
use proptest::prelude::*;
use serde_json::{Value, json};
use tics_prompt::{EMBEDDED_TOKENIZER, Method, Mode, PromptMaker, Tokenizer};

static EMBEDDED: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(Tokenizer::embedded()));

static MAKER: LazyLock<PromptMaker> = LazyLock::new(|| PromptMaker::embedded(Mode::Random, 0));
static DUMMY: LazyLock<PromptMaker> = LazyLock::new(|| PromptMaker::embedded(Mode::Dummy, 0));

fn maker(seed: u64) -> PromptMaker {
    MAKER.with_seed(seed)
}

#[test]
fn every_length_is_exact() {
    let maker = maker(1);
    for (index, n) in (0..).zip((0..=600).chain([1_023, 4_096, 8_191, 32_768])) {
        let text = maker.make(index, n).unwrap();
        assert_eq!(EMBEDDED.count(&text).unwrap(), n as usize);
        assert_eq!(text.split_whitespace().count(), n as usize);
    }
}

proptest! {
    #[test]
    fn any_prompt_is_exact_and_plain(seed: u64, index: u64, n in 1u32..300) {
        let text = maker(seed).make(index, n).unwrap();
        prop_assert_eq!(EMBEDDED.count(&text).unwrap(), n as usize);
        assert_plain(&text);
    }

    #[test]
    fn different_requests_begin_differently(seed: u64, a in 0u64..16_384, b in 0u64..16_384) {
        prop_assume!(a != b);
        let first = |index| maker(seed).make(index, 1).unwrap();
        prop_assert_ne!(first(a), first(b));
    }

    #[test]
    fn a_dummy_prompt_is_the_beginning_of_a_longer_one(seed: u64, a: u64, b: u64, n in 1u32..200, more in 1u32..200) {
        let maker = DUMMY.with_seed(seed);
        let (short, long) = (maker.make(a, n).unwrap(), maker.make(b, n + more).unwrap());
        let rest = long.strip_prefix(short.as_str());
        prop_assert!(rest.is_some_and(|rest| rest.starts_with(' ')));
        prop_assert_eq!(EMBEDDED.count(&short).unwrap(), n as usize);
    }
}

#[test]
fn the_text_depends_on_seed_index_and_length_alone() {
    let forward: Vec<String> = (0..50).map(|i| maker(9).make(i, 20).unwrap()).collect();
    let shared = maker(9);
    let mut backward: Vec<String> = (0..50).rev().map(|i| shared.make(i, 20).unwrap()).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    let threads: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|i| {
                scope.spawn({
                    let shared = &shared;
                    move || shared.make(i, 20)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    assert_eq!(forward, threads);
    assert_eq!(forward[3], maker(8).with_seed(9).make(3, 20).unwrap());
    assert_ne!(forward[3], maker(8).make(3, 20).unwrap());
}

/// The text of a seed is a promise: a run repeated by a later version sends the same prompts.
#[test]
fn a_seed_means_the_same_text_for_ever() {
    assert_eq!(maker(42).make(7, 6).unwrap(), "salor puwir kada dekoki jonafon lebel");
}

#[test]
fn many_short_prompts_are_all_different() {
    let maker = maker(5);
    let texts: HashSet<String> = (0..40_000).map(|index| maker.make(index, 2).unwrap()).collect();
    assert_eq!(texts.len(), 40_000);
}

#[test]
fn a_body_is_appended_to() {
    let mut body = br#"{"content":""#.to_vec();
    maker(1).make_into(&mut body, 4, 30).unwrap();
    body.extend_from_slice(b"\"}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["content"], maker(1).make(4, 30).unwrap());
    assert!(maker(1).estimated_bytes(30).abs_diff(maker(1).make(4, 30).unwrap().len()) < 60);
}

#[test]
fn the_embedded_maker_is_the_one_its_file_would_give() {
    let found = PromptMaker::new(&EMBEDDED, Mode::Random, 3).unwrap();
    let known = maker(3);
    assert_eq!(found.method(), Method::Construction { words: 16_384, first_words: 16_384 });
    assert_eq!(found.method(), known.method());
    assert_eq!(found.make(12, 100).unwrap(), known.make(12, 100).unwrap());
}

fn check_constructs(value: &Value, expect_words: std::ops::RangeInclusive<usize>) {
    let tokenizer = tokenizer(value);
    let maker = PromptMaker::new(&tokenizer, Mode::Random, 1).unwrap();
    let Method::Construction { words, .. } = maker.method() else { panic!("{}", maker.method()) };
    assert!(expect_words.contains(&words), "{words}");
    for n in (1..=120).chain([2_000]) {
        let text = maker.make(u64::from(n), n).unwrap();
        assert_eq!(tokenizer.count(&text).unwrap(), n as usize, "{text}");
        assert_plain(&text);
    }
}

#[test]
fn sentencepiece_bpe_without_a_pre_tokenizer() {
    // The beginnings of the words are words of the vocabulary too.
    check_constructs(&sentencepiece_bpe(&words(400), &[]), 400..=2_000);
}

#[test]
fn unigram_with_metaspace() {
    let mut vocab = vec![json!(["<unk>", 0.0]), json!(["▁", -3.0])];
    vocab.extend(('a'..='z').map(|letter| json!([letter.to_string(), -8.0])));
    vocab.extend(words(400).iter().map(|word| json!([format!("▁{word}"), -9.5])));
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let model = json!({"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false});
    check_constructs(&file(&Value::Null, &metaspace, &metaspace, &model), 400..=400);
}

#[test]
fn whole_words_between_spaces() {
    check_constructs(&word_level(&words(400), &Value::Null), 400..=400);
}

#[test]
fn words_that_merge_with_the_next_one_are_left_out() {
    let words = words(600);
    let with_n = words.iter().filter(|word| word.ends_with('n')).count();
    assert!(with_n > 20);
    // `n` before a space merges with it, at a rank before all others.
    check_constructs(&sentencepiece_bpe(&words, &[("n", "▁")]), 500..=2_000);
}

#[test]
fn settings_for_training_do_not_change_a_count() {
    let mut value: Value = serde_json::from_slice(EMBEDDED_TOKENIZER).unwrap();
    value["truncation"] =
        json!({"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0});
    value["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "!"});
    value["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "!", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"!": {"id": "!", "ids": [0], "tokens": ["!"]}}});
    let tokenizer = tokenizer(&value);
    assert_eq!(tokenizer.count(&maker(1).make(0, 20).unwrap()).unwrap(), 20);
}
