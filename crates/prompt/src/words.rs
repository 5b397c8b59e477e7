//! The table of one-token words, and what takes them: text, or token ids.

use crate::compose::{Alphabet, Sink};

/// Longest word of a table, in letters.
pub(crate) const MAX_LETTERS: usize = SLOT - 2;

/// Bytes of a word's slot: the space, the letters, and in the last byte how many these are.
const SLOT: usize = 16;

/// Words that are one token each after another word, with their leading space, and those among them
/// that are one token at the beginning of a text, without it.
///
/// Every word is of ASCII letters, so the text needs no escaping in JSON.
#[derive(Debug)]
pub(crate) struct WordTable {
    /// Fixed-size slots: copying 16 bytes always and keeping the word's length of them is several
    /// times faster than copying as many bytes as the word has.
    slots: Vec<[u8; SLOT]>,
    /// Token of each word after another one.
    tokens: Vec<u32>,
    /// Slots of the words that can begin a text.
    first: Vec<u32>,
    /// Token of each of these at the beginning of a text.
    first_tokens: Vec<u32>,
    /// Mean length of a word with its space, in bytes.
    mean_bytes: f64,
}

impl WordTable {
    /// - `words`: n ≥ 1 distinct words of 1 to [`MAX_LETTERS`] ASCII letters, each with the token
    ///   that it is after another word;
    /// - `first`: n ≥ 1 indices into `words`, each with the token that the word is at the beginning
    ///   of a text.
    pub(crate) fn new<'a>(
        words: impl IntoIterator<Item = (&'a str, u32)>,
        first: impl IntoIterator<Item = (u32, u32)>,
    ) -> Self {
        let (slots, tokens): (Vec<_>, Vec<_>) =
            words.into_iter().map(|(word, token)| (slot(word), token)).unzip();
        let (first, first_tokens): (Vec<_>, Vec<_>) = first.into_iter().unzip();
        assert!(!slots.is_empty() && !first.is_empty(), "a table without words makes no text");
        let total: usize = slots.iter().map(|slot| usize::from(slot[SLOT - 1])).sum();
        let mean_bytes = total as f64 / slots.len() as f64;
        WordTable { slots, tokens, first, first_tokens, mean_bytes }
    }

    /// How many words there are.
    pub(crate) fn alphabet(&self) -> Alphabet {
        Alphabet { first: self.first.len(), words: self.slots.len() }
    }

    /// Mean length of a word with its space, in bytes.
    pub(crate) fn mean_bytes(&self) -> f64 {
        self.mean_bytes
    }

    /// Takes words as text, behind what `out` holds.
    pub(crate) fn text<'a>(&'a self, out: &'a mut Vec<u8>) -> Text<'a> {
        Text { table: self, out }
    }

    /// Takes words as the tokens that their text is.
    pub(crate) fn ids<'a>(&'a self, out: &'a mut Vec<u32>) -> Ids<'a> {
        Ids { first: &self.first_tokens, tokens: &self.tokens, out }
    }
}

/// Joins words to a text, which neither begins nor ends with a space.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    table: &'a WordTable,
    out: &'a mut Vec<u8>,
}

impl Sink for Text<'_> {
    fn reserve(&mut self, n: u32) {
        self.out.reserve((f64::from(n) * self.table.mean_bytes * 1.05) as usize + 2 * SLOT);
    }

    #[inline]
    fn begin(&mut self, first: usize) {
        let slot = &self.table.slots[self.table.first[first] as usize];
        self.out.extend_from_slice(&slot[1..usize::from(slot[SLOT - 1])]);
    }

    #[inline]
    fn append(&mut self, word: usize) {
        let slot = &self.table.slots[word];
        let end = self.out.len() + usize::from(slot[SLOT - 1]);
        self.out.extend_from_slice(slot);
        self.out.truncate(end);
    }
}

/// Joins tokens.
#[derive(Debug)]
pub(crate) struct Ids<'a> {
    /// Tokens that can begin a prompt.
    pub(crate) first: &'a [u32],
    /// Tokens that can follow.
    pub(crate) tokens: &'a [u32],
    pub(crate) out: &'a mut Vec<u32>,
}

impl Sink for Ids<'_> {
    fn reserve(&mut self, n: u32) {
        self.out.reserve(n as usize);
    }

    #[inline]
    fn begin(&mut self, first: usize) {
        self.out.push(self.first[first]);
    }

    #[inline]
    fn append(&mut self, word: usize) {
        self.out.push(self.tokens[word]);
    }
}

fn slot(word: &str) -> [u8; SLOT] {
    assert!((1..=MAX_LETTERS).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let mut slot = [b' '; SLOT];
    slot[1..=word.len()].copy_from_slice(word.as_bytes());
    slot[SLOT - 1] = word.len() as u8 + 1;
    slot
}
