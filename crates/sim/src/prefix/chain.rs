//! From a prompt to the hashes of its blocks.

use crate::words::{end_of_words, pieces, spell_out};

/// A prompt as its blocks; each hash stands for the block and all before it.
///
/// 64 bits: among a million different blocks, two are taken for one with a chance of 3 in 10⁸.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) blocks: Vec<u64>,
    /// Tokens of the prompt.
    pub(crate) tokens: u64,
}

/// Odd numbers without a pattern (digits of π).
const SEED: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];

/// The word that stands for a token of the chat template: no text holds that byte.
const TEMPLATE: &[u8] = b"\xff ";

/// Builds a [`Chain`] from a prompt's parts, in order.
///
/// A block's tokens are gathered in one form (words with a space behind each), so how the prompt was
/// spaced, or spread over messages, does not matter. A text prompt and one of token ids are never alike.
#[derive(Debug)]
pub(crate) struct Chainer {
    block_tokens: u64,
    /// The block under way, and how many tokens it has.
    block: Vec<u8>,
    in_block: u64,
    /// The text under way.
    spelt: Vec<u8>,
    last: u64,
    chain: Chain,
}

impl Chainer {
    pub(crate) fn new(block_tokens: u32) -> Self {
        let block_tokens = u64::from(block_tokens);
        let chain = Chain::default();
        Chainer { block_tokens, block: Vec::new(), in_block: 0, spelt: Vec::new(), last: SEED[0], chain }
    }

    /// Appends that many tokens of the chat template, all alike.
    pub(crate) fn template(&mut self, tokens: u32) {
        for _ in 0..tokens {
            self.block.extend_from_slice(TEMPLATE);
            self.count(1);
        }
    }

    /// Appends the words of `text`.
    ///
    /// Not looked at word by word, where spaces are ASCII: 100 KB take some 50 µs in blocks of 512 words, and
    /// twice that in blocks of 16 (`examples/prefix_cost.rs`).
    pub(crate) fn text(&mut self, text: &str) {
        let mut spelt = std::mem::take(&mut self.spelt);
        for piece in pieces(text) {
            spell_out(piece, &mut spelt);
            let mut rest = spelt.as_slice();
            while !rest.is_empty() {
                let (end, words) = end_of_words(rest, self.block_tokens - self.in_block);
                self.block.extend_from_slice(&rest[..end]);
                self.count(words);
                rest = &rest[end..];
            }
        }
        self.spelt = spelt;
    }

    /// Appends token ids; a prompt has these alone.
    pub(crate) fn ids(&mut self, ids: &[u64]) {
        self.last = SEED[1];
        for id in ids {
            self.block.extend_from_slice(&id.to_le_bytes());
            self.count(1);
        }
    }

    /// The chain, its last block perhaps partial.
    pub(crate) fn finish(mut self) -> Chain {
        self.close();
        self.chain
    }

    /// That many tokens, never more than the block had room for, were appended.
    fn count(&mut self, tokens: u64) {
        self.in_block += tokens;
        if self.in_block == self.block_tokens {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.in_block > 0 {
            self.last = digest(fold(self.last ^ SEED[2], self.in_block ^ SEED[3]), &self.block);
            self.chain.blocks.push(self.last);
            self.chain.tokens += self.in_block;
            self.block.clear();
            self.in_block = 0;
        }
    }
}

/// A token id for a word: the same for the same word, never 0, which is the chat template's.
pub(crate) fn token_id(word: &str) -> u32 {
    (digest(SEED[0], word.as_bytes()) >> 33) as u32 | 1
}

/// Both halves of the 128-bit product: one multiplication mixes all bits (as wyhash does).
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A hash of `bytes`, 16 at a time.
fn digest(seed: u64, bytes: &[u8]) -> u64 {
    let mix = |hash: u64, pair: &[u8; 16]| {
        let pair = u128::from_le_bytes(*pair);
        fold(pair as u64 ^ hash, (pair >> 64) as u64 ^ SEED[1])
    };
    let (pairs, tail) = bytes.as_chunks::<16>();
    let mut last = [0; 16];
    last[..tail.len()].copy_from_slice(tail);
    let hash = mix(pairs.iter().fold(seed, mix), &last);
    fold(hash ^ SEED[2], bytes.len() as u64 ^ SEED[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chain(block_tokens: u32, texts: &[&str]) -> Chain {
        let mut chainer = Chainer::new(block_tokens);
        for text in texts {
            chainer.text(text);
        }
        chainer.finish()
    }

    /// How many blocks two chains share from their start.
    fn shared(a: &Chain, b: &Chain) -> usize {
        a.blocks.iter().zip(&b.blocks).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn a_block_stands_for_all_before_it() {
        let base = chain(2, &["a b c d e"]);
        assert_eq!((base.blocks.len(), base.tokens), (3, 5));
        for (text, blocks) in
            [("a b c d e", 3), ("a b c d f", 2), ("a b c d e f", 2), ("a x c d e", 0), ("a", 0)]
        {
            assert_eq!(shared(&base, &chain(2, &[text])), blocks, "{text}");
        }
        // Behind another first block, the same second one is another.
        assert_ne!(base.blocks[1], chain(2, &["x y c d"]).blocks[1]);
        assert_eq!(chain(2, &[" \n"]), Chain::default());
    }

    #[test]
    fn ids_and_the_template_are_tokens_of_their_own() {
        let of_ids = |ids: &[u64]| {
            let mut chainer = Chainer::new(2);
            chainer.ids(ids);
            chainer.finish()
        };
        let base = of_ids(&[1, 2, 3, 4, 5]);
        assert_eq!((base.blocks.len(), base.tokens), (3, 5));
        assert_eq!(shared(&base, &of_ids(&[1, 2, 3, 4, 6])), 2);
        assert_eq!(shared(&base, &of_ids(&[1, 2, 3, 4, 5])), 3);
        let mut with_template = Chainer::new(2);
        with_template.template(3);
        with_template.text("a");
        let with_template = with_template.finish();
        assert_eq!((with_template.blocks.len(), with_template.tokens), (2, 4));
        assert_ne!(with_template, chain(2, &["\u{ff} \u{ff} \u{ff} a"]));
    }

    #[test]
    fn a_word_has_one_id() {
        assert!(token_id("a") == token_id("a") && token_id("a") != token_id("b") && token_id("") != 0);
    }

    proptest! {
        /// The oracle splits by the standard library and feeds one word at a time.
        #[test]
        fn only_the_words_count(texts in prop::collection::vec("[ ab\n\té]{0,150}", 0..4), block in 1_u32..40) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let words: Vec<&str> = texts.iter().flat_map(|text| text.split_whitespace()).collect();
            let found = chain(block, &texts);
            prop_assert_eq!(&found, &chain(block, &words));
            prop_assert_eq!(found.tokens, words.len() as u64);
            prop_assert_eq!(found.blocks.len() as u64, found.tokens.div_ceil(u64::from(block)));
        }

        /// Chains agree for exactly as long as the blocks of words do.
        #[test]
        fn chains_part_where_words_do(
            a in prop::collection::vec("[a-c]{1,2}", 0..30),
            b in prop::collection::vec("[a-c]{1,2}", 0..30),
            same in 0_usize..30,
            block in 1_usize..8,
        ) {
            let b: Vec<String> = a.iter().take(same).chain(&b).cloned().collect();
            let expected = a.chunks(block).zip(b.chunks(block)).take_while(|(a, b)| a == b).count();
            let chain = |words: &[String]| chain(block as u32, &[&words.join(" ")]);
            prop_assert_eq!(shared(&chain(&a), &chain(&b)), expected);
        }
    }
}
