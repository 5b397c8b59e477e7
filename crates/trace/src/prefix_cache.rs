//! What an unbounded prefix cache finds, request by request, and what would warm it.
//!
//! The rule is that of [`PrefixSharing`](crate::PrefixSharing), which counts it over a whole trace with
//! every chain kept as it is. Here a chain of blocks is a hash of 64 bits, for what must be known of each
//! request while a run goes on: 9 to 18 bytes a chain. Among four million chains two are taken for one
//! with a chance of 4 in 10⁷.

use std::collections::{HashMap, HashSet, hash_map};
use std::hash::{BuildHasherDefault, Hasher};

use crate::draw::mix;

/// Blocks and tokens of one prompt, and how many of them a cache has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrefixHits {
    /// Blocks of the prompt, a partial last one among them.
    pub blocks: u32,
    /// Of these, found: the leading ones.
    pub hit_blocks: u32,
    /// Tokens of the blocks found.
    pub hit_tokens: u32,
}

/// The names of chains are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }
    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }
}

type Names = BuildHasherDefault<AsIs>;

/// The chains of a prompt, from its first block on: the name of each, and the tokens up to its end.
fn chains(ids: &[u64], size: u32, length: u32) -> impl Iterator<Item = (u64, u32)> {
    // Blocks of another size begin from another root.
    let mut name = mix(u64::from(size));
    let size = size.max(1);
    let n_blocks = length.div_ceil(size) as usize;
    let mut end = 0_u32;
    ids.iter().take(n_blocks).map(move |id| {
        let before = end;
        end = end.saturating_add(size).min(length);
        // A partial block is not the whole one.
        name = mix(name.rotate_left(23) ^ mix(*id) ^ u64::from(end - before));
        (name, end)
    })
}

/// A prefix cache that never forgets: every prompt is looked up, then stored, before the next.
#[derive(Debug, Clone, Default)]
pub struct UnboundedCache {
    chains: HashSet<u64, Names>,
}

impl UnboundedCache {
    /// Looks a prompt of `length` tokens up and stores it.
    ///
    /// - `ids`, `size`: its blocks and the tokens in each. Blocks beyond its end are none; what is beyond
    ///   its blocks is never found.
    pub fn admit(&mut self, ids: &[u64], size: u32, length: u32) -> PrefixHits {
        let mut hits = PrefixHits { blocks: length.div_ceil(size.max(1)), ..PrefixHits::default() };
        let mut is_hit = true;
        for (name, end) in chains(ids, size, length) {
            is_hit &= !self.chains.insert(name);
            if is_hit {
                hits.hit_blocks += 1;
                hits.hit_tokens = end;
            }
        }
        hits
    }

    /// Chains that it holds.
    pub fn chains(&self) -> usize {
        self.chains.len()
    }
}

/// How often a chain was seen in a schedule, and whether it is the end of what is shared there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// In one request.
    Once,
    /// In several, and no longer chain that begins with it is.
    Leaf,
    /// In several, and so is a longer one.
    Inner,
}

/// The prefixes that two or more requests of a schedule have in common: what a server that has been
/// serving such requests for a while would know before it sees these.
///
/// Made by adding every request. The longest such prefixes are its leaves: whoever sends each of them
/// once has sent all.
#[derive(Debug, Clone, Default)]
pub struct SharedPrefixes {
    chains: HashMap<u64, Seen, Names>,
}

/// What it takes to send all shared prefixes once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SharedTotals {
    /// Prefixes to send.
    pub prefixes: u64,
    /// Distinct blocks in them.
    pub blocks: u64,
}

impl SharedPrefixes {
    /// Forgets what only one request has. To be called when all have been added: most of a trace is that.
    pub fn settle(&mut self) {
        self.chains.retain(|_, seen| *seen != Seen::Once);
        self.chains.shrink_to_fit();
    }

    /// The next request: its blocks, the tokens in each, and the length of its prompt.
    pub fn add(&mut self, ids: &[u64], size: u32, length: u32) {
        let mut before = None;
        for (name, _) in chains(ids, size, length) {
            let seen = match self.chains.entry(name) {
                hash_map::Entry::Vacant(free) => *free.insert(Seen::Once),
                hash_map::Entry::Occupied(mut known) => {
                    if *known.get() == Seen::Once {
                        known.insert(Seen::Leaf);
                    }
                    *known.get()
                }
            };
            if seen == Seen::Once {
                // Nothing longer can be known.
                before = None;
                continue;
            }
            if let Some(before) = before.replace(name) {
                self.chains.insert(before, Seen::Inner);
            }
        }
    }

    /// What is to be sent.
    pub fn totals(&self) -> SharedTotals {
        let count =
            |wanted: fn(Seen) -> bool| self.chains.values().filter(|seen| wanted(**seen)).count() as u64;
        SharedTotals { prefixes: count(|seen| seen == Seen::Leaf), blocks: count(|seen| seen != Seen::Once) }
    }

    /// The longest shared prefix of a request, the first time that it is asked for: its blocks and
    /// tokens. `None` where the request shares nothing, or where a longer prefix covers it.
    pub fn take(&mut self, ids: &[u64], size: u32, length: u32) -> Option<(usize, u32)> {
        let mut longest = None;
        for (n_blocks, (name, end)) in (1..).zip(chains(ids, size, length)) {
            match self.chains.get(&name) {
                None | Some(Seen::Once) => break,
                Some(seen) => longest = Some((name, *seen, n_blocks, end)),
            }
        }
        let (name, seen, n_blocks, end) = longest?;
        if seen == Seen::Inner {
            return None;
        }
        self.chains.insert(name, Seen::Inner);
        Some((n_blocks, end))
    }

    /// A cache that holds the shared prefixes and nothing else.
    pub fn cache(&self) -> UnboundedCache {
        let shared = self.chains.iter().filter(|(_, seen)| **seen != Seen::Once);
        UnboundedCache { chains: shared.map(|(name, _)| *name).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::Row;
    use crate::sharing::SharingCounter;

    type Prompt<'a> = (&'a [u64], u32);

    fn shared(prompts: &[Prompt<'_>]) -> SharedPrefixes {
        let mut shared = SharedPrefixes::default();
        for (ids, length) in prompts {
            shared.add(ids, 16, *length);
        }
        shared
    }

    #[test]
    fn what_two_requests_share_is_sent_once() {
        let check = |prompts: &[Prompt<'_>], expect: &[(usize, u32)], blocks: u64| {
            let mut shared = shared(prompts);
            let totals = shared.totals();
            let sent: Vec<_> = prompts.iter().filter_map(|(ids, n)| shared.take(ids, 16, *n)).collect();
            assert_eq!(sent, expect, "{prompts:?}");
            assert_eq!(totals, SharedTotals { prefixes: expect.len() as u64, blocks }, "{prompts:?}");
        };
        check(&[], &[], 0);
        check(&[(&[1, 2, 3], 48)], &[], 0);
        check(&[(&[1, 2, 3], 48), (&[4, 2, 3], 48)], &[], 0);
        check(&[(&[1, 2, 3], 48), (&[1, 2, 4], 48)], &[(2, 32)], 2);
        // The longer of two covers the shorter, in whatever order they come.
        check(&[(&[1], 16), (&[1, 2, 3], 48), (&[1, 2, 4], 48)], &[(2, 32)], 2);
        check(&[(&[1, 2, 3], 48), (&[1, 2, 4], 48), (&[1, 9], 32), (&[1, 9, 5], 48)], &[(2, 32), (2, 32)], 3);
        // The same prompt twice, its last block partial: all of it. A part of a block is not the block.
        check(&[(&[1, 2], 20), (&[1, 2], 20)], &[(2, 20)], 2);
        check(&[(&[1, 2], 20), (&[1, 2], 21)], &[(1, 16)], 1);
        check(&[(&[1, 2, 3], 20), (&[1, 2], 20)], &[(2, 20)], 2);
    }

    proptest! {
        /// Both counters follow one rule; the other one keeps every chain as it is.
        #[test]
        fn it_counts_as_the_info_of_a_trace_does(
            rows in prop::collection::vec((prop::collection::vec(0_u64..4, 1..6), 1_u32..100, any::<bool>()), 1..30),
        ) {
            let (mut cache, mut counter) = (UnboundedCache::default(), SharingCounter::default());
            let (mut hit_blocks, mut hit_tokens, mut blocks) = (0, 0, 0);
            for (ids, length, small) in &rows {
                let size = if *small { 8 } else { 16 };
                let hits = cache.admit(ids, size, *length);
                hit_blocks += u64::from(hits.hit_blocks);
                hit_tokens += u64::from(hits.hit_tokens);
                blocks += u64::from(hits.blocks);
                counter.add(&Row {
                    input_length: *length, hash_ids: Some(ids.clone()), block_size: Some(size), ..Row::default()
                });
            }
            let sharing = counter.summary().unwrap();
            prop_assert_eq!((hit_blocks, hit_tokens, blocks), (sharing.hit_blocks, sharing.hit_tokens, sharing.blocks));
        }

        /// Whatever order prompts come in, as many blocks are found: each chain misses once.
        #[test]
        fn the_order_of_requests_does_not_change_the_sum(
            rows in prop::collection::vec((prop::collection::vec(0_u64..4, 1..6), 1_u32..100), 1..30),
        ) {
            let sum = |rows: &mut dyn Iterator<Item = &(Vec<u64>, u32)>| {
                let mut cache = UnboundedCache::default();
                rows.map(|(ids, n)| u64::from(cache.admit(ids, 16, *n).hit_tokens)).sum::<u64>()
            };
            prop_assert_eq!(sum(&mut rows.iter()), sum(&mut rows.iter().rev()));
        }

        /// Sending the leaves fills a cache with just what is shared: every request then finds what another
        /// one has too, and no more.
        #[test]
        fn the_leaves_are_all_that_is_shared(
            rows in prop::collection::vec((prop::collection::vec(0_u64..3, 1..6), 1_u32..100), 1..20),
        ) {
            let prompts: Vec<Prompt<'_>> = rows.iter().map(|(ids, n)| (ids.as_slice(), *n)).collect();
            let mut shared = shared(&prompts);
            let totals = shared.totals();
            let mut sent = UnboundedCache::default();
            let mut n_sent = 0;
            for (ids, n) in &prompts {
                if let Some((n_blocks, tokens)) = shared.take(ids, 16, *n) {
                    sent.admit(&ids[..n_blocks], 16, tokens);
                    n_sent += 1;
                }
            }
            prop_assert_eq!(totals, SharedTotals { prefixes: n_sent, blocks: sent.chains() as u64 });
            prop_assert_eq!(&shared.cache().chains, &sent.chains);
            for (at, (ids, n)) in prompts.iter().enumerate() {
                let found = sent.clone().admit(ids, 16, *n).hit_tokens;
                let others = prompts.iter().enumerate().filter(|(other, _)| *other != at);
                let most = others.map(|(_, (other, m))| {
                    let same = chains(ids, 16, *n).zip(chains(other, 16, *m)).take_while(|(a, b)| a == b);
                    same.last().map_or(0, |((_, end), _)| end)
                });
                prop_assert_eq!(found, most.max().unwrap_or(0));
            }
        }
    }
}
