//! The blocks that are cached, the least recently used of which is given up first.

use std::collections::{HashMap, hash_map};
use std::hash::{BuildHasherDefault, Hasher};

use super::{Chain, Found};
use crate::PrefixCache;

/// No place.
const NONE: u32 = u32::MAX;

/// Room is made for that many blocks before they come: growing later would keep the reader from its
/// sockets for some ms.
const ROOM: usize = 1 << 20;

/// A cache of blocks: a list in order of use, and a map of the places in it.
#[derive(Debug)]
pub(crate) struct Lru {
    block_tokens: u64,
    capacity: usize,
    places: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    entries: Vec<Entry>,
    /// The most and the least recently used.
    first: u32,
    last: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    block: u64,
    /// Neighbours in the list: used after it, and before it.
    newer: u32,
    older: u32,
}

/// The blocks' names are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Lru {
    pub(crate) fn new(options: PrefixCache) -> Self {
        let capacity = options.capacity_blocks.min(u64::from(NONE)) as usize;
        // One more, as a block comes in before another goes.
        let room = capacity.min(ROOM) + 1;
        Lru {
            block_tokens: u64::from(options.block_tokens),
            capacity,
            places: HashMap::with_capacity_and_hasher(room, BuildHasherDefault::default()),
            entries: Vec::with_capacity(room),
            first: NONE,
            last: NONE,
        }
    }

    /// Looks a prompt up, then stores all of it.
    ///
    /// Its last block counts as used first: a prompt loses its end before its beginning, without which
    /// the end would be worth nothing.
    pub(crate) fn admit(&mut self, chain: &Chain) -> Found {
        let known = chain.blocks.iter().take_while(|block| self.places.contains_key(block)).count() as u64;
        for &block in chain.blocks.iter().take(self.capacity).rev() {
            self.touch(block);
        }
        Found {
            cached_tokens: (known * self.block_tokens).min(chain.tokens),
            cached_blocks: known,
            prompt_blocks: chain.blocks.len() as u64,
        }
    }

    /// Makes `block` the most recently used, in place of the least recently used one if need be.
    fn touch(&mut self, block: u64) {
        let place = match self.places.entry(block) {
            hash_map::Entry::Occupied(known) => {
                let place = *known.get();
                self.unlink(place);
                place
            }
            hash_map::Entry::Vacant(free) if self.entries.len() < self.capacity => {
                let place = self.entries.len() as u32;
                free.insert(place);
                self.entries.push(Entry { block, newer: NONE, older: NONE });
                place
            }
            hash_map::Entry::Vacant(free) => {
                let place = self.last;
                free.insert(place);
                self.unlink(place);
                self.places.remove(&self.entries[place as usize].block);
                place
            }
        };
        self.entries[place as usize] = Entry { block, newer: NONE, older: self.first };
        match self.first {
            NONE => self.last = place,
            first => self.entries[first as usize].newer = place,
        }
        self.first = place;
    }

    fn unlink(&mut self, place: u32) {
        let Entry { newer, older, .. } = self.entries[place as usize];
        match newer {
            NONE => self.first = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.last = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cache(capacity_blocks: u64) -> Lru {
        Lru::new(PrefixCache { block_tokens: 4, capacity_blocks })
    }

    fn chain(blocks: &[u64], tokens: u64) -> Chain {
        Chain { blocks: blocks.to_vec(), tokens }
    }

    #[test]
    fn what_was_stored_is_found_up_to_the_first_stranger() {
        let mut cache = cache(100);
        let found = |cached_tokens, cached_blocks, prompt_blocks| Found {
            cached_tokens,
            cached_blocks,
            prompt_blocks,
        };
        assert_eq!(cache.admit(&chain(&[1, 2, 3], 10)), found(0, 0, 3));
        assert_eq!(cache.admit(&chain(&[1, 2, 3], 10)), found(10, 3, 3));
        assert_eq!(cache.admit(&chain(&[1, 2, 4, 5], 16)), found(8, 2, 4));
        assert_eq!(cache.admit(&chain(&[9, 2, 3], 10)), found(0, 0, 3));
        assert_eq!(cache.admit(&chain(&[], 0)), found(0, 0, 0));
    }

    #[test]
    fn the_end_of_the_oldest_prompt_is_given_up_first() {
        let mut cache = cache(4);
        cache.admit(&chain(&[1, 2, 3], 12));
        cache.admit(&chain(&[10, 11], 8));
        // Of five blocks one had to go: the end of the first prompt. Looking stores 3 again, and 11 goes.
        assert_eq!(cache.admit(&chain(&[1, 2, 3], 12)).cached_blocks, 2);
        assert_eq!(cache.admit(&chain(&[10, 11], 8)).cached_blocks, 1);
        // A prompt that is too long for the cache leaves its beginning there.
        cache.admit(&chain(&[20, 21, 22, 23, 24], 20));
        assert_eq!(cache.admit(&chain(&[20, 21, 22, 23, 24], 20)).cached_blocks, 4);
    }

    proptest! {
        /// The oracle keeps its blocks in a plain list, the most recently used at its end.
        #[test]
        fn it_is_what_a_plain_list_finds(
            prompts in prop::collection::vec(prop::collection::vec(0_u64..12, 0..6), 1..40),
            capacity in 1_usize..10,
        ) {
            let mut cache = cache(capacity as u64);
            let mut list: Vec<u64> = Vec::new();
            for mut prompt in prompts {
                let mut seen = std::collections::HashSet::new();
                prompt.retain(|block| seen.insert(*block));
                let expected = prompt.iter().take_while(|block| list.contains(block)).count() as u64;
                for block in prompt.iter().take(capacity).rev() {
                    list.retain(|listed| listed != block);
                    list.push(*block);
                }
                list.drain(..list.len().saturating_sub(capacity));
                prop_assert_eq!(cache.admit(&chain(&prompt, 4 * prompt.len() as u64)).cached_blocks, expected);
                prop_assert_eq!(cache.places.len(), list.len());
            }
        }
    }
}
