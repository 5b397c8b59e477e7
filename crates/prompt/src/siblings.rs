//! First words that set the blocks behind one prefix apart.
//!
//! Where two prompts part, their next tokens must differ at once, or they share more than their
//! trace says. Ids alone cannot see to that: of n words, taken by any function of the id, some
//! √n siblings already have two with the same. So a pass over the trace looks at each block's
//! siblings and moves those that would meet; what it keeps is the moved ones alone, some hundred
//! of 180,000 in a published trace whose first block has 7,373 successors.
//!
//! The pass itself works in fixed memory: which words are taken behind which prefix is known to a
//! Bloom filter. Where the filter errs, a block moves without need, which costs a few bytes.

use std::collections::{HashMap, HashSet};

use crate::compose::{Alphabet, Blocks};
use crate::draw::mix;

/// Ids below are marked in a bit each (16 MiB at most); published traces number their blocks.
const DENSE_IDS: u64 = 1 << 27;

/// Ids from [`DENSE_IDS`] on are kept one by one, up to this number.
const MAX_SPARSE: usize = 1 << 20;

/// Blocks that the filter is made for: with a byte for each it errs in three of a hundred.
const MAX_BLOCKS: u64 = 1 << 24;

/// Words tried at random before all are.
const ATTEMPTS: u64 = 64;

/// The parent of a prompt's first block.
const ROOT: u64 = 0;

/// Where the first word of a block stands among its siblings': by its id, but for those that would
/// meet another one. Made by a [`SiblingPass`]; the empty one (`default`) is by id alone, with
/// which siblings share their first word as often as chance has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Siblings {
    moved: HashMap<u64, u32>,
    /// The same for what requests have behind their blocks, by their unique number.
    moved_tails: HashMap<u64, u32>,
    blocks: u64,
    inexact: u64,
}

impl Siblings {
    /// Distinct blocks of the trace, and tails behind blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Those that got another first word than their number alone gives.
    pub fn moved(&self) -> usize {
        self.moved.len() + self.moved_tails.len()
    }

    /// Blocks that may share their first token with a sibling all the same: their parent has more
    /// children than the tokenizer has words to set them apart, or the trace has more blocks than
    /// the pass keeps account of (16 million). 0 means that prompts share exactly what their ids
    /// say; otherwise those blocks share about one token more with a few others.
    pub fn inexact(&self) -> u64 {
        self.inexact
    }

    pub(crate) fn place(&self, id: u64) -> u64 {
        self.moved.get(&id).map_or(id, |place| u64::from(*place))
    }

    pub(crate) fn place_of_tail(&self, unique: u64) -> u64 {
        self.moved_tails.get(&unique).map_or(unique, |place| u64::from(*place))
    }
}

/// Goes over a trace, row by row, before its prompts are made.
///
/// The result depends on the rows and their order, and on the tokenizer's number of words, not on
/// seed or salt. For prompts that are the same whatever part of a trace is replayed, give it all.
///
/// An id is expected behind one prefix only, as where it hashes all tokens up to its own end. One
/// that stands behind several is set apart from the siblings that come later, but not from those
/// that were there before it.
#[derive(Debug)]
pub struct SiblingPass {
    alphabet: Alphabet,
    seen: Seen,
    taken: Filter,
    /// Parents with more children than there are words.
    full: HashSet<u64>,
    siblings: Siblings,
}

impl SiblingPass {
    pub(crate) fn new(alphabet: Alphabet) -> Self {
        SiblingPass {
            alphabet,
            seen: Seen::default(),
            taken: Filter::new(),
            full: HashSet::new(),
            siblings: Siblings::default(),
        }
    }

    /// The next row of the trace, with the length of its prompt.
    pub fn add(&mut self, blocks: Blocks<'_>, n_tokens: u32) {
        let Blocks { ids, size, unique } = blocks;
        let mut parent = ROOT;
        for &id in ids {
            let n_words = if parent == ROOT { self.alphabet.first } else { self.alphabet.words } as u64;
            match self.seen.insert(id) {
                Some(true) => {
                    if let Some(place) = self.settle(parent, id, n_words) {
                        self.siblings.moved.insert(id, place);
                    }
                }
                Some(false) => {
                    self.taken.insert(key(parent, self.siblings.place(id) % n_words));
                }
                None => self.siblings.inexact += 1,
            }
            parent = mix(id) | 1;
        }
        if !ids.is_empty()
            && u64::from(n_tokens) > ids.len() as u64 * u64::from(size)
            && let Some(place) = self.settle(parent, unique, self.alphabet.words as u64)
        {
            self.siblings.moved_tails.insert(unique, place);
        }
    }

    /// What the prompts need of it.
    pub fn finish(self) -> Siblings {
        self.siblings
    }

    /// Takes a place behind `parent`: that of the number if it is free, else the one returned.
    fn settle(&mut self, parent: u64, number: u64, n_words: u64) -> Option<u32> {
        self.siblings.blocks += 1;
        if self.siblings.blocks > MAX_BLOCKS {
            self.siblings.inexact += 1;
            return None;
        }
        if self.taken.insert(key(parent, number % n_words)) {
            return None;
        }
        if !self.full.contains(&parent) {
            let tried = (1..=ATTEMPTS).map(|attempt| mix(number ^ mix(attempt)) % n_words);
            for place in tried.chain(0..n_words) {
                if self.taken.insert(key(parent, place)) {
                    return Some(place as u32);
                }
            }
            self.full.insert(parent);
        }
        self.siblings.inexact += 1;
        None
    }
}

fn key(parent: u64, place: u64) -> u64 {
    mix(parent ^ mix(place))
}

/// A set of ids.
#[derive(Debug, Default)]
struct Seen {
    dense: Vec<u64>,
    sparse: HashSet<u64>,
}

impl Seen {
    /// Whether the id is new; `None` when it is not known and there is no room to remember it.
    fn insert(&mut self, id: u64) -> Option<bool> {
        if id < DENSE_IDS {
            let (word, bit) = ((id / 64) as usize, 1 << (id % 64));
            if word >= self.dense.len() {
                self.dense.resize(word + 1, 0);
            }
            let new = self.dense[word] & bit == 0;
            self.dense[word] |= bit;
            return Some(new);
        }
        if self.sparse.len() >= MAX_SPARSE && !self.sparse.contains(&id) {
            return None;
        }
        Some(self.sparse.insert(id))
    }
}

/// A split-block Bloom filter of 16 MiB: one cache line a key.
///
/// Source: the filter of the Parquet format.
struct Filter {
    blocks: Vec<[u32; 8]>,
}

impl Filter {
    fn new() -> Self {
        Filter { blocks: vec![[0; 8]; MAX_BLOCKS as usize / 32] }
    }

    /// Whether the key is surely new; false for one in there, and seldom for another one.
    ///
    /// - `key`: spread over all 64 bits.
    fn insert(&mut self, key: u64) -> bool {
        // Odd numbers that give each word of a block a bit of its own.
        const SPREAD: [u32; 8] = [
            0x47b6_137b,
            0x4497_4d91,
            0x8824_ad5b,
            0xa2b7_289d,
            0x7054_95c7,
            0x2df1_424b,
            0x9efc_4947,
            0x5c6b_fb31,
        ];
        let n_blocks = self.blocks.len() as u64;
        let block = &mut self.blocks[(((key >> 32) * n_blocks) >> 32) as usize];
        let mut new = false;
        for (word, spread) in block.iter_mut().zip(SPREAD) {
            let bit = 1 << ((key as u32).wrapping_mul(spread) >> 27);
            new |= *word & bit == 0;
            *word |= bit;
        }
        new
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("blocks", &self.blocks.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(first: usize, words: usize) -> SiblingPass {
        SiblingPass::new(Alphabet { first, words })
    }

    fn add(pass: &mut SiblingPass, ids: &[u64], n_tokens: u32) {
        pass.add(Blocks { ids, size: 4, unique: 77 }, n_tokens);
    }

    /// Distinct places of children with these ids.
    fn distinct(siblings: &Siblings, ids: impl Iterator<Item = u64>, n_words: u64) -> usize {
        ids.map(|id| siblings.place(id) % n_words).collect::<HashSet<_>>().len()
    }

    #[test]
    fn as_many_siblings_as_words_are_set_apart() {
        // Multiples of seven meet at once.
        let mut pass = pass(7, 100);
        for child in 1..=100 {
            add(&mut pass, &[0, 7 * child], 8);
        }
        let siblings = pass.finish();
        assert_eq!(distinct(&siblings, (1..=100).map(|child| 7 * child), 100), 100);
        assert_eq!((siblings.blocks(), siblings.inexact()), (101, 0));
    }

    #[test]
    fn more_siblings_than_words_are_counted() {
        let mut pass = pass(7, 100);
        for child in 1..=103 {
            add(&mut pass, &[child * 1_000_003], 4);
        }
        let siblings = pass.finish();
        assert_eq!(siblings.inexact(), 96);
        assert_eq!(distinct(&siblings, (1..=103).map(|child| child * 1_000_003), 7), 7);
    }

    #[test]
    fn a_row_again_moves_nothing() {
        let mut pass = pass(10, 10);
        for _ in 0..3 {
            add(&mut pass, &[1, 11, 21], 12);
            add(&mut pass, &[1, 31], 8);
        }
        let siblings = pass.finish();
        assert_eq!((siblings.blocks(), siblings.moved()), (4, 1));
        assert_ne!(siblings.place(11) % 10, siblings.place(31) % 10);
    }

    #[test]
    fn what_is_behind_the_blocks_is_set_apart_too() {
        let mut pass = pass(10, 80);
        add(&mut pass, &[1, 77], 8);
        add(&mut pass, &[1], 4);
        add(&mut pass, &[1], 5);
        let siblings = pass.finish();
        assert_eq!((siblings.blocks(), siblings.moved()), (3, 1));
        assert_ne!(siblings.place_of_tail(77) % 80, 77);
    }

    #[test]
    fn ids_that_are_hashes() {
        let mut pass = pass(64, 300);
        let ids: Vec<u64> = (0..250).map(|i| u64::MAX - mix(i)).collect();
        for id in &ids {
            add(&mut pass, &[u64::MAX, *id], 8);
        }
        let siblings = pass.finish();
        assert_eq!((siblings.blocks(), siblings.inexact()), (251, 0));
        assert_eq!(distinct(&siblings, ids.into_iter(), 300), 250);
    }

    #[test]
    fn the_filter_forgets_nothing_and_seldom_errs() {
        let mut filter = Filter::new();
        let errors = (0..1_000_000).filter(|i| !filter.insert(mix(*i))).count();
        assert!(errors < 100, "{errors}");
        assert!((0..1_000_000).all(|i| !filter.insert(mix(i))));
    }
}
