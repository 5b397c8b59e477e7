//! A part of a trace that is like the whole: sessions and prefix groups are kept or left out as such.

use std::collections::{HashMap, HashSet};

use crate::draw::{hash, mix};
use crate::error::TraceError;
use crate::row::Id;
use crate::trace::Trace;
use crate::view::{Field, RowView};

/// Blocks of a row that are looked at.
const DEPTH: usize = 64;
/// A prefix that more than one in so many rows begins with is a system prompt, not a group.
const SHARED_BY: u64 = 50;
/// In a small trace, a prefix of so few rows is a group all the same.
const FEWEST: u64 = 20;
/// Rows between two clearings of the counts.
const CLEAR_AFTER: u64 = 100_000;

/// Decides for every row, in the order of their times, whether it is kept.
///
/// Rows stay or go by group: those of one session; those that lead back to the same request over
/// their parents; those whose blocks are the same up to and including the first one behind the system
/// prompt (a prefix shared by more than 2 % of the rows); or a single row. The first of these that a
/// row has decides. A group is kept if a hash of the seed and its name is below the share.
///
/// Memory: 16 bytes a request, where requests have parents.
#[derive(Debug)]
pub(crate) struct Sampler {
    share: f64,
    seed: u64,
    /// Whether some row has a parent.
    linked: bool,
    /// Group of each request seen, by hashes of their names.
    groups: HashMap<u64, u64>,
    /// Hashes of the chains of blocks that are system prompts.
    system: HashSet<u64>,
}

impl Sampler {
    pub(crate) fn new(trace: &Trace, share: f64, seed: u64) -> Result<Sampler, TraceError> {
        let mut linked = false;
        let mut counts = ChainCounts::default();
        let mut rows = trace.rows();
        while let Some(step) = rows.next_with(|_, row, _| {
            linked |= !row.is_root && row.fields.get(Field::Parent).is_some();
            if row.session_name().is_none()
                && let Some(ids) = row.block_ids()
            {
                counts.add(&ids);
            }
        }) {
            step?;
        }
        Ok(Sampler { share, seed, linked, groups: HashMap::new(), system: counts.shared() })
    }

    pub(crate) fn keeps(&mut self, row: &RowView<'_>, line: u64) -> bool {
        let group = self.group(row, line);
        // The high 53 bits are a fraction below one.
        ((mix(self.seed ^ group) >> 11) as f64) / ((1_u64 << 53) as f64) < self.share
    }

    fn group(&mut self, row: &RowView<'_>, line: u64) -> u64 {
        if let Some(session) = row.session_name() {
            return hash(1, session.as_bytes());
        }
        if self.linked
            && let Some(group) = self.family(row)
        {
            return group;
        }
        let blocks = row.block_ids().and_then(|ids| self.first_own_chain(&ids));
        blocks.unwrap_or_else(|| hash(4, &line.to_le_bytes()))
    }

    /// The group of the request's parent; a request that continues none, or one that is not in the
    /// trace, gives its group its name.
    fn family(&mut self, row: &RowView<'_>) -> Option<u64> {
        let name = |id: Id| match id {
            Id::Number(n) => hash(2, &n.to_le_bytes()),
            Id::Text(text) => hash(3, text.as_bytes()),
        };
        let own = row.fields.id(Field::Id).map(name);
        let parent = row.fields.id(Field::Parent).filter(|_| !row.is_root).map(name);
        let group = parent.map(|parent| *self.groups.get(&parent).unwrap_or(&parent)).or(own)?;
        if let Some(own) = own {
            self.groups.insert(own, group);
        }
        Some(group)
    }

    /// The chain up to the first block that is not of a system prompt.
    fn first_own_chain(&self, ids: &[u64]) -> Option<u64> {
        chains(ids).find(|chain| !self.system.contains(chain))
    }
}

/// A hash of each chain of blocks that a row begins with.
fn chains(ids: &[u64]) -> impl Iterator<Item = u64> + '_ {
    ids.iter().take(DEPTH).scan(5, |chain, id| {
        *chain = hash(*chain, &id.to_le_bytes());
        Some(*chain)
    })
}

/// Counts how many rows begin with a chain, and forgets what is rare: the shared ones remain.
///
/// Source: lossy counting, Manku & Motwani 2002, with chains that are followed only as far as they are
/// known already.
#[derive(Default)]
struct ChainCounts {
    rows: u64,
    counts: HashMap<u64, u64>,
}

impl ChainCounts {
    fn add(&mut self, ids: &[u64]) {
        self.rows += 1;
        for chain in chains(ids) {
            let count = self.counts.entry(chain).or_default();
            *count += 1;
            if *count == 1 {
                break;
            }
        }
        if self.rows.is_multiple_of(CLEAR_AFTER) {
            let rare = self.rows / SHARED_BY / 10;
            self.counts.retain(|_, count| *count > rare);
        }
    }

    fn shared(self) -> HashSet<u64> {
        let most = (self.rows / SHARED_BY).max(FEWEST);
        self.counts.into_iter().filter(|(_, count)| *count > most).map(|(chain, _)| chain).collect()
    }
}
