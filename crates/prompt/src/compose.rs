//! Which word comes where: prompts drawn for a request, and prompts joined from prefix blocks.

use crate::Siblings;
use crate::draw::{Key, Order, Part, draw, mix, rng};

/// How many words there are to choose from; both at least 1 and below 2³¹.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alphabet {
    /// At the beginning of a prompt.
    pub(crate) first: usize,
    /// Anywhere else.
    pub(crate) words: usize,
}

/// Takes the words of one prompt.
pub(crate) trait Sink {
    /// About `n` words are to come.
    fn reserve(&mut self, n: u32);
    /// The first word, by its place among those that can begin a prompt.
    fn begin(&mut self, first: usize);
    /// A word behind another one.
    fn append(&mut self, word: usize);
}

/// The prefix blocks of one request, as its trace has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks<'a> {
    /// Ids of the blocks in their order: the same id means the same tokens.
    pub ids: &'a [u64],
    /// Tokens in a block; the last one may be partial, and is then the beginning of the whole one.
    pub size: u32,
    /// A number that no other request of the run has, such as the row's line in its trace: for what
    /// the blocks do not cover.
    pub unique: u64,
}

/// How the blocks of a request fitted its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// `ceil(n / size)` blocks, as it should be.
    Whole,
    /// Too few: the last tokens, that many, are the request's own.
    Short(u32),
    /// Too many: the last blocks, that many, are not in the prompt.
    Surplus(usize),
}

/// Writes a prompt of `n` words that are drawn for the request.
///
/// The first two words number it: any two indices below `first · words` of the alphabet (at least
/// some millions for a real vocabulary) differ in one of them, so no two requests share a prefix by
/// accident. The rest is drawn.
pub(crate) fn prompt(out: &mut impl Sink, alphabet: Alphabet, key: Key, index: u64, n: u32) {
    if n == 0 {
        return;
    }
    out.reserve(n);
    let (place, lap) = (index % alphabet.first as u64, index / alphabet.first as u64);
    out.begin(Order::new(alphabet.first, key.seed).salted(key.salt).at(place));
    if n == 1 {
        return;
    }
    let words = alphabet.words as u64;
    out.append(((lap % words + mix(key.seed ^ mix(place)) % words) % words) as usize);
    let mut random = rng(key, Part::Prompt, index);
    for _ in 2..n {
        out.append(draw(&mut random, alphabet.words));
    }
}

/// Writes a prompt of `n` words from prefix blocks.
///
/// A block begins with the word of its place among its siblings, which sets it apart from them at
/// once; the rest is drawn for its id. Nothing depends on what stands before it, so the words of a
/// block are the same wherever it stands, save that the first word of a prompt is one of those that
/// can begin one.
pub(crate) fn blocks(
    out: &mut impl Sink,
    alphabet: Alphabet,
    key: Key,
    siblings: &Siblings,
    blocks: Blocks<'_>,
    n: u32,
) -> Coverage {
    let Blocks { ids, size, unique } = blocks;
    if ids.is_empty() || size == 0 {
        prompt(out, alphabet, key, unique, n);
        return if n == 0 { Coverage::Whole } else { Coverage::Short(n) };
    }
    out.reserve(n);
    let order = Order::new(alphabet.words, key.seed).salted(key.salt);
    let rest = |out: &mut _, part, number, n| {
        let mut random = rng(key, part, number);
        for _ in 1..n {
            Sink::append(out, draw(&mut random, alphabet.words));
        }
    };
    let mut left = n;
    for (position, &id) in ids.iter().enumerate() {
        if left == 0 {
            return Coverage::Surplus(ids.len() - position);
        }
        let place = siblings.place(id);
        if position == 0 {
            out.begin(Order::new(alphabet.first, key.seed).salted(key.salt).at(place));
        } else {
            out.append(order.at(place));
        }
        let n_block = left.min(size);
        rest(out, Part::Block, id, n_block);
        left -= n_block;
    }
    if left == 0 {
        return Coverage::Whole;
    }
    out.append(order.at(siblings.place_of_tail(unique)));
    rest(out, Part::Tail, unique, left);
    Coverage::Short(left)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::words::WordTable;

    fn table() -> WordTable {
        let words = ["one", "two", "three", "four", "abcdefghijklmn"];
        WordTable::new(words.into_iter().zip(0..), [(0, 10), (1, 11), (4, 14)])
    }

    fn text(seed: u64, index: u64, n: u32) -> String {
        let (table, mut out) = (table(), Vec::new());
        prompt(&mut table.text(&mut out), table.alphabet(), Key { seed, salt: 0 }, index, n);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_has_as_many_words_as_asked_and_no_outer_space() {
        for n in 0..40 {
            let text = text(7, 3, n);
            assert_eq!(text.split(' ').filter(|word| !word.is_empty()).count(), n as usize);
            assert_eq!(text.trim(), text);
        }
    }

    #[test]
    fn the_first_two_words_number_the_text() {
        for seed in 0..20 {
            // 3 first words times 5 words.
            let texts: HashSet<String> = (0..15).map(|index| text(seed, index, 2)).collect();
            assert_eq!(texts.len(), 15);
            let first: HashSet<String> = (0..3).map(|index| text(seed, index, 1)).collect();
            assert_eq!(first.len(), 3);
        }
    }

    #[test]
    fn a_longer_text_of_the_same_index_continues_the_shorter() {
        for n in 1..40 {
            assert!(text(1, 2, 40).starts_with(&text(1, 2, n)));
        }
    }

    #[test]
    fn blocks_fit_or_it_is_said() {
        let (table, siblings) = (table(), Siblings::default());
        let check = |ids: &[u64], size, n, expect| {
            let mut out = Vec::new();
            let given = Blocks { ids, size, unique: 3 };
            let key = Key { seed: 1, salt: 0 };
            let coverage = blocks(&mut table.ids(&mut out), table.alphabet(), key, &siblings, given, n);
            assert_eq!((coverage, out.len()), (expect, n as usize), "{ids:?} {size} {n}");
            assert!(
                out.iter().take(1).all(|token| *token >= 10) && out.iter().skip(1).all(|token| *token < 5)
            );
        };
        check(&[1, 2], 4, 8, Coverage::Whole);
        check(&[1, 2], 4, 5, Coverage::Whole);
        check(&[1, 2], 4, 4, Coverage::Surplus(1));
        check(&[1, 2], 4, 3, Coverage::Surplus(1));
        check(&[1, 2], 4, 0, Coverage::Surplus(2));
        check(&[1, 2], 4, 9, Coverage::Short(1));
        check(&[1, 2], 1, 90, Coverage::Short(88));
        check(&[], 4, 3, Coverage::Short(3));
        check(&[], 4, 0, Coverage::Whole);
        check(&[1], 0, 3, Coverage::Short(3));
        check(&[1], u32::MAX, 3, Coverage::Whole);
    }
}
