//! The table of one-token words and the text that is joined from them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

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
    /// Slots of the words that can begin a text.
    first: Vec<u32>,
    /// Mean length of a word with its space, in bytes.
    mean_bytes: f64,
}

impl WordTable {
    /// - `words`: n ≥ 1 distinct words of 1 to [`MAX_LETTERS`] ASCII letters;
    /// - `first`: n ≥ 1 indices into `words`.
    pub(crate) fn new<'a>(words: impl IntoIterator<Item = &'a str>, first: Vec<u32>) -> Self {
        let slots: Vec<_> = words.into_iter().map(slot).collect();
        assert!(!slots.is_empty() && !first.is_empty(), "a table without words makes no text");
        let total: usize = slots.iter().map(|slot| usize::from(slot[SLOT - 1])).sum();
        let mean_bytes = total as f64 / slots.len() as f64;
        WordTable { slots, first, mean_bytes }
    }

    /// Number of words.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Number of words that can begin a text.
    pub(crate) fn n_first(&self) -> usize {
        self.first.len()
    }

    /// Mean length of a word with its space, in bytes.
    pub(crate) fn mean_bytes(&self) -> f64 {
        self.mean_bytes
    }

    /// Appends a text of `n` words, hence tokens.
    ///
    /// The first two words number the text: any two indices below `n_first · len` (at least some
    /// millions for a real vocabulary) differ in one of them, so no two requests share a prefix by
    /// accident. The rest is drawn.
    pub(crate) fn write(&self, out: &mut Vec<u8>, seed: u64, index: u64, n: u32) {
        if n == 0 {
            return;
        }
        out.reserve((f64::from(n) * self.mean_bytes * 1.05) as usize + 2 * SLOT);
        let (first, second) = self.numbering(seed, index);
        let word = &self.slots[self.first[first] as usize];
        out.extend_from_slice(&word[1..usize::from(word[SLOT - 1])]);
        if n == 1 {
            return;
        }
        append(out, &self.slots[second]);
        let mut random = rng(seed, index);
        for _ in 2..n {
            append(out, &self.slots[draw(&mut random, self.slots.len())]);
        }
    }

    /// The first word's place in `first` and the second word's slot.
    fn numbering(&self, seed: u64, index: u64) -> (usize, usize) {
        let n_first = self.first.len() as u64;
        let (place, lap) = (index % n_first, index / n_first);
        // A stride without a common divisor visits every first word once a lap.
        let mut stride = mix(seed) % n_first + 1;
        while gcd(stride, n_first) != 1 {
            stride += 1;
        }
        let first = (place * stride + mix(!seed) % n_first) % n_first;
        let n = self.slots.len() as u64;
        let second = (lap % n + mix(seed ^ mix(place)) % n) % n;
        (first as usize, second as usize)
    }
}

/// The generator of one request: a function of the seed and the index alone, so that the order in
/// which prompts are made, and by how many threads, changes nothing.
pub(crate) fn rng(seed: u64, index: u64) -> ChaCha8Rng {
    let mut key = *b"________________tics prompt text";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number below `n`, which is below 2³²; some are likelier than others by n / 2³² at most.
pub(crate) fn draw(random: &mut ChaCha8Rng, n: usize) -> usize {
    ((u64::from(random.next_u32()) * n as u64) >> 32) as usize
}

fn slot(word: &str) -> [u8; SLOT] {
    assert!((1..=MAX_LETTERS).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let mut slot = [b' '; SLOT];
    slot[1..=word.len()].copy_from_slice(word.as_bytes());
    slot[SLOT - 1] = word.len() as u8 + 1;
    slot
}

#[inline]
fn append(out: &mut Vec<u8>, slot: &[u8; SLOT]) {
    let end = out.len() + usize::from(slot[SLOT - 1]);
    out.extend_from_slice(slot);
    out.truncate(end);
}

/// The finaliser of SplitMix64: spreads neighbouring numbers over the whole range.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn table() -> WordTable {
        WordTable::new(["one", "two", "three", "four", "abcdefghijklmn"], vec![0, 1, 4])
    }

    fn text(seed: u64, index: u64, n: u32) -> String {
        let mut out = Vec::new();
        table().write(&mut out, seed, index, n);
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
}
