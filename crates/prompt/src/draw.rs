//! Random numbers as pure functions of what is asked for, so that the order in which prompts are
//! made, and by how many threads, changes nothing.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What all text of a run is a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) seed: u64,
    /// 0: none.
    pub(crate) salt: u64,
}

/// What is drawn for a number; each has a generator of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// The text of a request.
    Prompt,
    /// The text of a prefix block.
    Block,
    /// What a request has behind its prefix blocks.
    Tail,
}

impl Part {
    /// The labels differ in their last eight bytes, which no salt reaches.
    fn label(self) -> &'static [u8; 16] {
        match self {
            Part::Prompt => b"tics prompt text",
            Part::Block => b"tics blocks text",
            Part::Tail => b"tics suffix text",
        }
    }
}

/// The generator of one part.
pub(crate) fn rng(key: Key, part: Part, number: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&key.seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..].copy_from_slice(part.label());
    for (byte, salt) in bytes[16..24].iter_mut().zip(key.salt.to_le_bytes()) {
        *byte ^= salt;
    }
    ChaCha8Rng::from_seed(bytes)
}

/// A number below `n`, which is below 2³²; some are likelier than others by n / 2³² at most.
pub(crate) fn draw(random: &mut ChaCha8Rng, n: usize) -> usize {
    ((u64::from(random.next_u32()) * n as u64) >> 32) as usize
}

/// An order of the numbers below `n`: each place has one, and no two the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    n: u64,
    /// Without a common divisor with `n`, so that it visits every number once a lap.
    stride: u64,
    offset: u64,
}

impl Order {
    /// - `n`: from 1, below 2³¹.
    pub(crate) fn new(n: usize, seed: u64) -> Self {
        let n = n as u64;
        let mut stride = mix(seed) % n + 1;
        while gcd(stride, n) != 1 {
            stride += 1;
        }
        Order { n, stride, offset: mix(!seed) % n }
    }

    /// The order moved on by the salt: every place has another number than without one (where there
    /// are two), and salts that follow each other have others among themselves.
    pub(crate) fn salted(mut self, salt: u64) -> Self {
        if salt != 0 && self.n > 1 {
            self.offset += salt % (self.n - 1) + 1;
        }
        self
    }

    /// The number of a place; places from `n` on begin anew.
    pub(crate) fn at(&self, place: u64) -> usize {
        ((place % self.n * self.stride + self.offset) % self.n) as usize
    }
}

/// The finaliser of SplitMix64: spreads neighbouring numbers over the whole range.
pub(crate) fn mix(number: u64) -> u64 {
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

    #[test]
    fn an_order_has_every_number_once_and_a_salt_moves_each() {
        for (n, seed) in [(1, 3), (2, 0), (12, 7), (97, 8), (4096, 9)] {
            let plain = Order::new(n, seed);
            let numbers: HashSet<usize> = (0..n as u64).map(|place| plain.at(place)).collect();
            assert_eq!(numbers.len(), n);
            assert!(numbers.iter().all(|number| *number < n));
            for salt in [1, 2, 4095, u64::MAX] {
                let salted = plain.salted(salt);
                let moved = (0..n as u64).filter(|place| salted.at(*place) != plain.at(*place)).count();
                assert_eq!(moved, if n == 1 { 0 } else { n }, "{n} {salt}");
            }
        }
    }

    #[test]
    fn parts_and_salts_have_generators_of_their_own() {
        let first = |seed, salt, part| rng(Key { seed, salt }, part, 5).next_u64();
        let numbers: HashSet<u64> = [Part::Prompt, Part::Block, Part::Tail]
            .into_iter()
            .flat_map(|part| {
                [first(1, 0, part), first(1, 1, part), first(2, 0, part), first(2, u64::MAX, part)]
            })
            .collect();
        assert_eq!(numbers.len(), 12);
    }
}
