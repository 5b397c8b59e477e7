//! What a prefix cache would find.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::info::grouped;
use crate::row::Row;

/// What a prefix cache that never forgets would find, rows taken in the order of their times, each
/// stored before the next is looked up.
///
/// The rule, which a cache that hashes the tokens of a prompt block by block follows too: a block is
/// known by its tokens and by all blocks before it in its row. It is found if and only if the same
/// chain of blocks, from the first block of the prompt to itself, was seen in an earlier row. The last
/// block of a prompt may be partial; it is a block of its own, found behind the same chain by a
/// partial block of the same id and as many tokens, not by a full one. A block counts as the tokens
/// that it has. A prompt longer than its blocks has further ones that are never found; blocks beyond
/// the end of the prompt are none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrefixSharing {
    /// Tokens in a block; `None` where rows differ.
    pub block_size: Option<u32>,
    /// Blocks of all rows.
    pub blocks: u64,
    /// Distinct ids.
    pub distinct_blocks: u64,
    /// Blocks found.
    pub hit_blocks: u64,
    /// `hit_blocks / blocks`.
    pub block_hit_rate: f64,
    /// Tokens of rows with blocks.
    pub tokens: u64,
    /// Tokens found.
    pub hit_tokens: u64,
    /// `hit_tokens / tokens`.
    pub token_hit_rate: f64,
}

/// A block and what it continues: the number of the chain before it, its id, its tokens.
type Link = (u64, u64, u32);

/// Counts hits in a tree of all chains seen: exact, as no hash stands for a chain.
#[derive(Default)]
pub(crate) struct SharingCounter {
    /// Number of each chain, from 1, by its last link. Blocks of different sizes begin from
    /// different roots.
    chains: HashMap<Link, u64>,
    ids: HashSet<u64>,
    sizes: HashSet<u32>,
    blocks: u64,
    hit_blocks: u64,
    tokens: u64,
    hit_tokens: u64,
}

impl SharingCounter {
    pub(crate) fn add(&mut self, row: &Row) {
        let (Some(ids), Some(size)) = (&row.hash_ids, row.block_size) else { return };
        self.sizes.insert(size);
        self.ids.extend(ids);
        let size = u64::from(size);
        // Nobody has counted a length of 0: its blocks are taken to be full.
        let length = if row.input_length == 0 { ids.len() as u64 * size } else { row.input_length.into() };
        self.blocks += length.div_ceil(size);
        self.tokens += length;
        let mut chain = self.number((0, size, 0)).0;
        let mut is_hit = true;
        let mut left = length;
        for id in ids {
            let tokens = left.min(size);
            if tokens == 0 {
                break;
            }
            left -= tokens;
            let (number, is_known) = self.number((chain, *id, tokens as u32));
            chain = number;
            is_hit &= is_known;
            if is_hit {
                self.hit_blocks += 1;
                self.hit_tokens += tokens;
            }
        }
    }

    /// The number of a chain, and whether it was known.
    fn number(&mut self, link: Link) -> (u64, bool) {
        let next = self.chains.len() as u64 + 1;
        let number = *self.chains.entry(link).or_insert(next);
        (number, number != next)
    }

    pub(crate) fn summary(&self) -> Option<PrefixSharing> {
        let rate = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        (!self.sizes.is_empty()).then(|| PrefixSharing {
            block_size: self.sizes.iter().next().copied().filter(|_| self.sizes.len() == 1),
            blocks: self.blocks,
            distinct_blocks: self.ids.len() as u64,
            hit_blocks: self.hit_blocks,
            block_hit_rate: rate(self.hit_blocks, self.blocks),
            tokens: self.tokens,
            hit_tokens: self.hit_tokens,
            token_hit_rate: rate(self.hit_tokens, self.tokens),
        })
    }
}

impl PrefixSharing {
    pub(crate) fn render(&self) -> String {
        let size = self.block_size.map_or_else(|| "mixed sizes".to_owned(), |size| format!("{size} tokens"));
        format!(
            "{} blocks of {size}, {} distinct; an unbounded cache finds {:.2} % of blocks, {:.2} % of tokens",
            grouped(self.blocks),
            grouped(self.distinct_blocks),
            self.block_hit_rate * 100.0,
            self.token_hit_rate * 100.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use proptest::prelude::*;

    use super::*;

    fn row(ids: &[u64], input_length: u32) -> Row {
        Row { input_length, hash_ids: Some(ids.to_vec()), block_size: Some(16), ..Row::default() }
    }

    fn hits(rows: &[Row]) -> (u64, u64, u64, u64) {
        let mut counter = SharingCounter::default();
        for row in rows {
            counter.add(row);
        }
        let sharing = counter.summary().unwrap();
        (sharing.hit_blocks, sharing.blocks, sharing.hit_tokens, sharing.tokens)
    }

    #[test]
    fn a_block_behind_another_prefix_is_not_found() {
        let check = |rows: &[Row], expect| assert_eq!(hits(rows), expect, "{rows:?}");
        check(&[row(&[0, 1, 2], 40), row(&[0, 9, 2], 48), row(&[0, 1, 2], 40)], (4, 9, 16 + 40, 128));
        // Both ids are known, but never one behind the other.
        check(&[row(&[0, 1], 32), row(&[2, 3], 32), row(&[0, 3], 32)], (1, 6, 16, 96));
        // Half of a block is not the block.
        check(&[row(&[0, 1], 24), row(&[0, 1], 32), row(&[0, 1], 24)], (3, 6, 16 + 24, 80));
        // The prompt is longer than its blocks, or shorter.
        check(&[row(&[0], 40), row(&[0], 40)], (1, 6, 16, 80));
        check(&[row(&[0, 1, 2], 16), row(&[0, 1, 2], 16)], (1, 2, 16, 32));
        check(&[row(&[0, 1], 0), row(&[0, 1], 0)], (2, 4, 32, 64));
        let other_size = Row { block_size: Some(32), ..row(&[0], 16) };
        check(&[row(&[0], 16), other_size], (0, 2, 0, 32));
    }

    proptest! {
        /// The oracle writes every prompt out, one text a token, and hashes it block by block.
        #[test]
        fn it_is_what_a_cache_of_tokens_finds(
            rows in prop::collection::vec((prop::collection::vec(0_u64..4, 1..5), 1_u32..80), 1..20),
        ) {
            let rows: Vec<Row> = rows.iter().map(|(ids, length)| row(ids, *length)).collect();
            let (mut hit, mut blocks, mut hit_tokens, mut all) = (0, 0, 0, 0);
            let mut cache = HashSet::new();
            let mut unique = 1_000_000;
            for row in &rows {
                let ids = row.hash_ids.as_ref().unwrap();
                let mut token = |at: u64| {
                    if let Some(id) = ids.get((at / 16) as usize) {
                        return id * 16 + at % 16;
                    }
                    unique += 1;
                    unique
                };
                let tokens: Vec<u64> = (0..u64::from(row.input_length)).map(&mut token).collect();
                let mut chain = 0;
                let mut found = true;
                for block in tokens.chunks(16) {
                    let mut hasher = DefaultHasher::new();
                    (chain, block).hash(&mut hasher);
                    chain = hasher.finish();
                    found &= !cache.insert(chain);
                    blocks += 1;
                    all += block.len() as u64;
                    hit += u64::from(found);
                    hit_tokens += if found { block.len() as u64 } else { 0 };
                }
            }
            prop_assert_eq!(hits(&rows), (hit, blocks, hit_tokens, all));
        }
    }
}
