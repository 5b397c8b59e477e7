//! A set of schedule indices.

use std::collections::BTreeMap;

const WORDS: usize = 64;
const CHUNK: u64 = 64 * WORDS as u64;

/// Indices, one bit each in chunks of 4096: a run of ten million requests takes 1.3 MB, and a broken
/// journal with an index of 2^63 takes one chunk instead of all memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct IndexSet {
    chunks: BTreeMap<u64, Box<[u64; WORDS]>>,
}

impl IndexSet {
    /// Puts `i` in; whether it was new.
    pub(crate) fn insert(&mut self, i: u64) -> bool {
        let chunk = self.chunks.entry(i / CHUNK).or_insert_with(|| Box::new([0; WORDS]));
        let word = &mut chunk[(i % CHUNK / 64) as usize];
        let bit = 1 << (i % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(crate) fn contains(&self, i: u64) -> bool {
        self.chunks.get(&(i / CHUNK)).is_some_and(|c| c[(i % CHUNK / 64) as usize] & (1 << (i % 64)) != 0)
    }

    /// Puts all of `other` in; how many were there already.
    pub(crate) fn merge(&mut self, other: &IndexSet) -> u64 {
        let mut known = 0;
        for (key, theirs) in &other.chunks {
            let ours = self.chunks.entry(*key).or_insert_with(|| Box::new([0; WORDS]));
            for (our, their) in ours.iter_mut().zip(theirs.iter()) {
                known += u64::from((*our & their).count_ones());
                *our |= their;
            }
        }
        known
    }

    /// How many indices are below `end`, and how many are not.
    pub(crate) fn split_at(&self, end: u64) -> (u64, u64) {
        let (mut below, mut beyond) = (0, 0);
        for (key, chunk) in &self.chunks {
            for (w, word) in chunk.iter().enumerate() {
                let first = key * CHUNK + 64 * w as u64;
                let mask = match end.saturating_sub(first) {
                    0 => 0,
                    n if n >= 64 => u64::MAX,
                    n => (1 << n) - 1,
                };
                below += u64::from((word & mask).count_ones());
                beyond += u64::from((word & !mask).count_ones());
            }
        }
        (below, beyond)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn indices() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(prop_oneof![0u64..200, 4000u64..4200, any::<u64>()], 0..50)
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(a in indices(), b in indices(), end in prop_oneof![0u64..4200, any::<u64>()]) {
            let (mut left, mut right) = (IndexSet::default(), IndexSet::default());
            let (mut want_left, mut want_right) = (BTreeSet::new(), BTreeSet::new());
            for i in a {
                prop_assert_eq!(left.insert(i), want_left.insert(i));
            }
            for i in b {
                prop_assert_eq!(right.insert(i), want_right.insert(i));
            }
            prop_assert_eq!(left.merge(&right), want_left.intersection(&want_right).count() as u64);
            want_left.append(&mut want_right);
            prop_assert!(want_left.iter().all(|i| left.contains(*i)));
            let below = want_left.range(..end).count() as u64;
            prop_assert_eq!(left.split_at(end), (below, want_left.len() as u64 - below));
        }
    }
}
