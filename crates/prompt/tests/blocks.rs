//! Prompts from prefix blocks: exact lengths, and exactly the prefixes that the ids say.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, not in their helpers.

mod common;

use std::collections::HashSet;
use std::iter::zip;
use std::sync::{Arc, LazyLock};

use common::{assert_plain, sentencepiece_bpe, tokenizer, word_level, words};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use tics_prompt::{Blocks, Coverage, Method, Mode, PromptError, PromptMaker, Tokenizer};

static EMBEDDED: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Arc::new(Tokenizer::embedded()));
static MAKER: LazyLock<PromptMaker> = LazyLock::new(|| PromptMaker::embedded(Mode::Random, 0));

/// A row of a trace: its blocks, and the length of its prompt.
#[derive(Debug, Clone)]
struct Row {
    ids: Vec<u64>,
    n: u32,
}

/// Rows over a tree of prefixes: each leaves an earlier one somewhere and goes on with ids that are
/// numbered by `id`; its last block is partial by `cut`.
fn rows(size: u32, branches: &[(usize, usize, usize, u32)], id: impl Fn(u64) -> u64) -> Vec<Row> {
    let mut next = 0;
    let mut rows: Vec<Row> = Vec::new();
    for &(from, keep, more, cut) in branches {
        let mut ids = match rows.len() {
            0 => Vec::new(),
            n => {
                let whole = &rows[from % n].ids;
                whole[..keep % (whole.len() + 1)].to_vec()
            }
        };
        for _ in 0..more.max(usize::from(ids.is_empty())) {
            ids.push(id(next));
            next += 1;
        }
        let n = ids.len() as u32 * size - cut % size;
        rows.push(Row { ids, n });
    }
    rows
}

fn maker_of(maker: &PromptMaker, size: u32, rows: &[Row]) -> PromptMaker {
    let mut pass = maker.sibling_pass();
    for (unique, row) in zip(0.., rows) {
        pass.add(Blocks { ids: &row.ids, size, unique }, row.n);
    }
    maker.with_siblings(pass.finish())
}

fn text(maker: &PromptMaker, size: u32, unique: u64, row: &Row) -> (String, Coverage) {
    maker.make_blocks(Blocks { ids: &row.ids, size, unique }, row.n).unwrap()
}

fn ids(maker: &PromptMaker, size: u32, unique: u64, row: &Row) -> Vec<u32> {
    let mut ids = Vec::new();
    maker.make_block_ids_into(&mut ids, Blocks { ids: &row.ids, size, unique }, row.n);
    ids
}

fn common<T: PartialEq>(a: &[T], b: &[T]) -> u32 {
    zip(a, b).take_while(|(a, b)| a == b).count() as u32
}

/// Every text is as long as asked, its tokens are those that are made as ids, and any two share the
/// tokens of their common leading ids and no more.
fn check_shares(tokenizer: &Tokenizer, maker: &PromptMaker, size: u32, rows: &[Row]) {
    assert_eq!(maker.siblings().inexact(), 0);
    let prompts: Vec<Vec<u32>> = zip(0.., rows).map(|(unique, row)| ids(maker, size, unique, row)).collect();
    for (i, row) in rows.iter().enumerate() {
        let (text, coverage) = text(maker, size, i as u64, row);
        assert_eq!(tokenizer.count(&text).unwrap(), row.n as usize);
        assert_eq!(encode(tokenizer, &text), prompts[i]);
        assert_plain(&text);
        assert_eq!(coverage, Coverage::Whole);
        for (other, prompt) in zip(rows, &prompts).take(i) {
            let expect = (common(&row.ids, &other.ids) * size).min(row.n).min(other.n);
            assert_eq!(common(&prompts[i], prompt), expect, "{row:?} {other:?}");
        }
    }
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_ids(text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn prompts_share_what_their_ids_say(
        seed: u64,
        salt: u64,
        size in 1u32..40,
        branches in vec((any::<usize>(), any::<usize>(), 0usize..6, any::<u32>()), 1..24),
        hashed: bool,
    ) {
        let id = |number: u64| if hashed { number.wrapping_mul(0x9e37_79b9_7f4a_7c15) } else { number };
        let rows = rows(size, &branches, id);
        let maker = maker_of(&MAKER.with_seed(seed).with_salt(salt), size, &rows);
        check_shares(&EMBEDDED, &maker, size, &rows);
    }

    #[test]
    fn a_salt_changes_the_first_token_and_no_length(
        seed: u64,
        salt in 1u64..,
        size in 1u32..40,
        branches in vec((any::<usize>(), any::<usize>(), 0usize..6, any::<u32>()), 1..12),
    ) {
        let rows = rows(size, &branches, |number| number);
        let plain = maker_of(&MAKER.with_seed(seed), size, &rows);
        let salted = [plain.with_salt(salt), plain.with_salt(salt.wrapping_add(1))];
        for (unique, row) in zip(0.., &rows) {
            let first = |maker: &PromptMaker| {
                let prompt = ids(maker, size, unique, row);
                assert_eq!(prompt.len(), row.n as usize);
                let (text, _) = text(maker, size, unique, row);
                assert_eq!(encode(&EMBEDDED, &text), prompt);
                let mut whole = Vec::new();
                maker.make_ids_into(&mut whole, unique, row.n);
                assert_eq!(encode(&EMBEDDED, &maker.make(unique, row.n).unwrap()), whole);
                [prompt[0], whole[0]]
            };
            let firsts = [first(&plain), first(&salted[0]), first(&salted[1])];
            for kind in 0..2 {
                let distinct: HashSet<u32> = firsts.iter().map(|first| first[kind]).collect();
                prop_assert_eq!(distinct.len(), 3);
            }
        }
    }
}

/// With blocks of one token each, so that nothing but first words is there.
#[test]
fn thousands_of_siblings_begin_differently() {
    // Behind one id with as many as there are words, numbered so that chance would let a third of
    // them meet.
    let rows: Vec<Row> = (0..16_384u64).map(|i| Row { ids: vec![3, 10 + i * i], n: 2 }).collect();
    let maker = maker_of(&MAKER, 1, &rows);
    let second: HashSet<u32> = zip(0.., &rows).map(|(unique, row)| ids(&maker, 1, unique, row)[1]).collect();
    assert_eq!((second.len(), maker.siblings().inexact()), (16_384, 0));
    assert!(maker.siblings().moved() > 4_000, "{}", maker.siblings().moved());
    let alone: HashSet<u32> = zip(0.., &rows).map(|(unique, row)| ids(&MAKER, 1, unique, row)[1]).collect();
    assert!(alone.len() < 12_000, "{}", alone.len());
}

#[test]
fn more_siblings_than_words_are_told() {
    let rows: Vec<Row> = (0..16_390).map(|i| Row { ids: vec![i], n: 1 }).collect();
    let maker = maker_of(&MAKER, 1, &rows);
    assert_eq!((maker.siblings().inexact(), maker.siblings().blocks()), (6, 16_390));
}

/// The tail of a row whose blocks do not cover it is its own from its first token on.
#[test]
fn what_blocks_do_not_cover_is_shared_with_nobody() {
    let rows: Vec<Row> = (0..9_000)
        .map(|i| if i % 2 == 0 { Row { ids: vec![7, 9 + i], n: 20 } } else { Row { ids: vec![7], n: 20 } })
        .collect();
    let maker = maker_of(&MAKER, 10, &rows);
    assert_eq!(maker.siblings().inexact(), 0);
    let mut begins = HashSet::new();
    for (unique, row) in zip(0.., &rows) {
        let prompt = ids(&maker, 10, unique, row);
        assert_eq!(prompt.len(), 20);
        assert!(begins.insert(prompt[10]), "{unique}");
        if unique < 50 {
            let (text, coverage) = text(&maker, 10, unique, row);
            assert_eq!(encode(&EMBEDDED, &text), prompt);
            assert_eq!(coverage, if unique % 2 == 0 { Coverage::Whole } else { Coverage::Short(10) });
        }
    }
}

#[test]
fn one_and_two_tokens() {
    for n in 0..=2u32 {
        for size in [1, 2, 512] {
            let row = Row { ids: (5..5 + u64::from(n.max(1).div_ceil(size))).collect(), n };
            let (text, _) = text(&MAKER, size, 0, &row);
            assert_eq!(text.split_whitespace().count(), n as usize);
            assert_eq!(encode(&EMBEDDED, &text), ids(&MAKER, size, 0, &row));
        }
    }
}

/// The text of an id is a promise, as that of a seed is.
#[test]
fn a_block_means_the_same_text_for_ever() {
    let row = Row { ids: vec![0, 1], n: 6 };
    assert_eq!(text(&MAKER.with_seed(42), 3, 0, &row).0, "fifar lolu wesivi babeho nimohun sinokir");
    assert_eq!(
        text(&MAKER.with_seed(42).with_salt(1), 3, 0, &row).0,
        "perafon nafabu botofu duhefe soja laho"
    );
}

#[test]
fn other_kinds_of_tokenizers() {
    let check = |value: &Value| {
        let tokenizer = tokenizer(value);
        let maker = PromptMaker::new(&tokenizer, Mode::Random, 1).unwrap();
        let branches: Vec<_> = (0..120).map(|i: usize| (i * 7, i % 5, i % 3, i as u32 * 5)).collect();
        let rows = rows(16, &branches, |number| number * 300);
        check_shares(&tokenizer, &maker_of(&maker, 16, &rows), 16, &rows);
    };
    check(&sentencepiece_bpe(&words(400), &[]));
    check(&word_level(&words(400), &Value::Null));
}

/// Where joined text is not exact, blocks of text are refused, and token ids are exact all the same.
#[test]
fn a_tokenizer_that_adjusts() {
    let tokenizer = tokenizer(&sentencepiece_bpe(&[], &[]));
    let maker = PromptMaker::new(&tokenizer, Mode::Random, 1).unwrap();
    assert!(matches!(maker.method(), Method::Adjustment { .. }));
    // Three rows, as 26 letters cannot set more than 26 apart.
    let rows = rows(8, &[(0, 0, 3, 1), (0, 1, 2, 5), (0, 2, 4, 0)], |number| number);
    let maker = maker_of(&maker, 8, &rows);
    let mut body = b"before".to_vec();
    let blocks = Blocks { ids: &rows[0].ids, size: 8, unique: 0 };
    let error = maker.make_blocks_into(&mut body, blocks, rows[0].n).unwrap_err();
    assert!(matches!(error, PromptError::InexactPrefixes { .. }), "{error}");
    assert!(error.to_string().contains("256 and 64 are needed") && !error.to_string().contains('\n'));
    assert_eq!(body, b"before");
    let prompts: Vec<_> = zip(0.., &rows).map(|(unique, row)| ids(&maker, 8, unique, row)).collect();
    assert_eq!(prompts.iter().map(Vec::len).collect::<Vec<_>>(), [23, 19, 48]);
    assert_eq!([common(&prompts[0], &prompts[1]), common(&prompts[0], &prompts[2])], [8, 16]);
    let mut drawn = Vec::new();
    maker.make_ids_into(&mut drawn, 0, 30);
    assert_eq!(drawn.len(), 30);
}
