//! Synthetic traces: `tics trace synth`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Write};
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tics_record::Nanos;

use crate::arrivals::{ArrivalTimes, Arrivals};
use crate::distribution::Distribution;
use crate::draw::uniform;
use crate::options::Spec;
use crate::row::{Id, Row};
use crate::write::{RowWriter, WriteFormat};

/// Most leaves of a prefix tree: what the numbers of its nodes hold.
const MOST_LEAVES: u64 = 1 << 40;

/// What a synthetic trace is like. A seed gives the same rows on every machine whose logarithms and
/// exponentials have the same last digit.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthOptions {
    /// Number of rows.
    pub rows: u64,
    /// Seed of all draws. Arrivals, lengths and conversations have streams of their own: a change to
    /// one of them leaves the others as they were.
    pub seed: u64,
    /// Conversations that begin a second, on average; without conversations, requests. Above 0.
    pub rate: f64,
    /// How they follow each other.
    pub arrivals: Arrivals,
    /// Length of a prompt, tokens; of a later turn, what it adds to the turn before and its answer.
    pub input: Distribution,
    /// Length of an answer, tokens.
    pub output: Distribution,
    /// Conversations of several turns.
    pub sessions: Option<SynthSessions>,
    /// Prefixes that conversations share.
    pub prefix: Option<PrefixTree>,
    /// Tokens in a block; rows have blocks where there are sessions or prefixes.
    pub block_size: u32,
    /// Longest prompt, tokens: longer ones are cut, and a conversation ends before a longer turn.
    pub longest: u32,
}

impl Default for SynthOptions {
    /// 1,000 requests at 1 request/s, Poisson, 1,000 tokens in and 100 out on average.
    fn default() -> Self {
        SynthOptions {
            rows: 1_000,
            seed: 0,
            rate: 1.0,
            arrivals: Arrivals::Poisson,
            input: Distribution::constant(1_000.0),
            output: Distribution::constant(100.0),
            sessions: None,
            prefix: None,
            block_size: 512,
            longest: 131_072,
        }
    }
}

/// Conversations.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthSessions {
    /// Turns of one.
    pub turns: Distribution,
    /// Think time, seconds: from the end of a turn to the next. A turn's recorded time is that of the
    /// turn before and this time: how long an answer takes is for the server to say.
    pub think: Distribution,
}

/// A tree of prefixes: each conversation begins at its root and takes a branch at each level, every
/// one equally likely.
///
/// Written as `depth=3,branching=4,share=0.5`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrefixTree {
    /// Levels, from 1.
    pub depth: u32,
    /// Branches at each, from 1.
    pub branching: u32,
    /// Share of every first prompt, in whole blocks, that comes from the tree, 0 to 1. The levels have
    /// equal parts of a prompt of mean length; a longer one goes on in its last branch.
    pub share: f64,
}

impl FromStr for PrefixTree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut spec = Spec::values(text);
        let mut read = || {
            let mut whole = |key: &str| spec.take(key)?.parse().ok().filter(|n: &u32| *n > 0);
            let (depth, branching) = (whole("depth")?, whole("branching")?);
            let share = spec.number("share").ok()?.filter(|share| (0.0..=1.0).contains(share))?;
            let leaves = u64::from(branching).checked_pow(depth)?;
            (spec.left().is_none() && leaves <= MOST_LEAVES).then_some(PrefixTree { depth, branching, share })
        };
        read().ok_or_else(|| {
            format!("expected depth=3,branching=4,share=0.5 with a share from 0 to 1, found \"{text}\"")
        })
    }
}

impl std::fmt::Display for PrefixTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "depth={},branching={},share={}", self.depth, self.branching, self.share)
    }
}

/// Options that make no trace.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// The rate is no rate.
    #[error("expected a rate above 0, found {rate}")]
    Rate {
        /// As given.
        rate: f64,
    },
    /// Blocks need a token, and prompts too.
    #[error("expected a {what} of at least one token, found 0")]
    Zero {
        /// Which of the options.
        what: &'static str,
    },
    /// The tree is none.
    #[error(
        "expected a prefix tree with a depth and branches from 1, at most 2^40 leaves, and a share from 0 \
             to 1, found {found}"
    )]
    Tree {
        /// As given.
        found: String,
    },
}

impl SynthOptions {
    /// The rows, in the order of their times, drawn as they are asked for.
    ///
    /// Memory grows with the conversations that are under way and with the blocks of the prefix tree,
    /// not with the rows.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn synthesise(&self) -> Result<Synth, SynthError> {
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return Err(SynthError::Rate { rate: self.rate });
        }
        for (what, value) in [("block size", self.block_size), ("longest prompt", self.longest)] {
            if value == 0 {
                return Err(SynthError::Zero { what });
            }
        }
        if let Some(tree) = self.prefix {
            let leaves = u64::from(tree.branching).checked_pow(tree.depth);
            let fits = tree.depth > 0 && leaves.is_some_and(|leaves| (1..=MOST_LEAVES).contains(&leaves));
            if !fits || !(0.0..=1.0).contains(&tree.share) {
                return Err(SynthError::Tree { found: tree.to_string() });
            }
        }
        Ok(Synth::new(self))
    }

    /// Writes the rows and says how many there are.
    ///
    /// # Errors
    /// Wrong options (of the kind [`io::ErrorKind::InvalidInput`]), or an output that cannot be written.
    pub fn write(&self, format: WriteFormat, output: impl Write) -> io::Result<u64> {
        let rows = self.synthesise().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let mut writer = RowWriter::new(format, output);
        let mut written = 0;
        for row in rows {
            writer.write(&row)?;
            written += 1;
        }
        writer.finish()?;
        Ok(written)
    }
}

/// Rows of a synthetic trace.
#[derive(Debug)]
pub struct Synth {
    options: SynthOptions,
    arrivals: ArrivalTimes,
    /// When the next conversation begins, nanoseconds.
    next_start: u64,
    lengths: ChaCha8Rng,
    talk: ChaCha8Rng,
    given: u64,
    sessions: u64,
    next_block: u64,
    /// Turns to come, by time; then in the order of their conversations.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    open: HashMap<u64, Conversation>,
    /// Blocks of the prefix tree, by node and place in the prompt.
    tree: HashMap<(u64, u64), u64>,
}

/// A conversation that goes on.
#[derive(Debug)]
struct Conversation {
    /// Its next turn.
    next: Row,
    /// Turns behind that one.
    turns_left: u32,
}

impl Synth {
    fn new(options: &SynthOptions) -> Synth {
        let stream = |number| {
            let mut random = ChaCha8Rng::seed_from_u64(options.seed);
            random.set_stream(number);
            random
        };
        let mut arrivals = ArrivalTimes::new(options.arrivals, options.rate, stream(0));
        Synth {
            options: options.clone(),
            next_start: nanos(arrivals.next_time()),
            arrivals,
            lengths: stream(1),
            talk: stream(2),
            given: 0,
            sessions: 0,
            next_block: 0,
            due: BinaryHeap::new(),
            open: HashMap::new(),
            tree: HashMap::new(),
        }
    }

    fn has_blocks(&self) -> bool {
        self.options.prefix.is_some() || self.options.sessions.is_some()
    }

    fn first_turn(&mut self) -> (u64, Conversation) {
        let session = self.sessions;
        self.sessions += 1;
        let at = self.next_start;
        self.next_start = nanos(self.arrivals.next_time()).max(at);
        let input_length = self.options.input.draw_length(&mut self.lengths).min(self.options.longest);
        let shared = self.shared_blocks(input_length);
        let mut next = Row { at: Nanos::new(at), ..self.row(input_length, shared) };
        let turns_left = match &self.options.sessions {
            None => 0,
            Some(sessions) => {
                next.session = Some(format!("s{}", session + 1));
                next.turn = Some(1);
                sessions.turns.draw_length(&mut self.talk) - 1
            }
        };
        (session, Conversation { next, turns_left })
    }

    /// The turn behind `last`, if there is one that is not too long.
    fn next_turn(&mut self, last: &Row, turns_left: u32) -> Option<Conversation> {
        let sessions = self.options.sessions.as_ref().filter(|_| turns_left > 0)?;
        let think = nanos(sessions.think.draw(&mut self.talk));
        let history = last.input_length.checked_add(last.output_length)?;
        let input_length = history.checked_add(self.options.input.draw_length(&mut self.lengths))?;
        if input_length > self.options.longest {
            return None;
        }
        // Whole blocks of the history stay the same; its partial last one is filled up, and so another.
        let whole = (last.input_length / self.options.block_size) as usize;
        let shared = last.hash_ids.iter().flatten().copied().take(whole).collect();
        let next = Row {
            at: Nanos::new(last.at.as_nanos().saturating_add(think)),
            delay: Some(Nanos::new(think)),
            parent: last.id.clone(),
            session: last.session.clone(),
            turn: last.turn.map(|turn| turn + 1),
            ..self.row(input_length, shared)
        };
        Some(Conversation { next, turns_left: turns_left - 1 })
    }

    fn row(&mut self, input_length: u32, mut blocks: Vec<u64>) -> Row {
        let output_length = self.options.output.draw_length(&mut self.lengths);
        let mut row = Row { input_length, output_length, ..Row::default() };
        if self.has_blocks() {
            let missing = u64::from(input_length.div_ceil(self.options.block_size)) - blocks.len() as u64;
            blocks.extend(self.next_block..self.next_block + missing);
            self.next_block += missing;
            row.hash_ids = Some(blocks);
            row.block_size = Some(self.options.block_size);
        }
        row
    }

    /// The blocks from the tree with which a prompt begins.
    fn shared_blocks(&mut self, input_length: u32) -> Vec<u64> {
        let Some(tree) = self.options.prefix else { return Vec::new() };
        let size = f64::from(self.options.block_size);
        let blocks = (tree.share * f64::from(input_length) / size).floor() as u64;
        let mean = self.options.input.mean().min(self.options.longest.into());
        let level = ((tree.share * mean / size / f64::from(tree.depth)).round() as u64).max(1);
        let mut nodes = Vec::with_capacity(tree.depth as usize);
        let mut node = 0;
        for _ in 0..tree.depth {
            node = node * u64::from(tree.branching) + uniform(&mut self.talk, 1, tree.branching.into());
            nodes.push(node);
        }
        let mut found = Vec::with_capacity(blocks as usize);
        for place in 0..blocks {
            let node = nodes[((place / level) as usize).min(nodes.len() - 1)];
            let id = *self.tree.entry((node, place)).or_insert(self.next_block);
            self.next_block += u64::from(id == self.next_block);
            found.push(id);
        }
        found
    }
}

impl Iterator for Synth {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.given == self.options.rows {
            return None;
        }
        let waiting = self.due.peek().is_some_and(|Reverse((at, _))| *at <= self.next_start);
        let (session, Conversation { next: mut row, turns_left }) = if waiting {
            let Reverse((_, session)) = self.due.pop()?;
            (session, self.open.remove(&session)?)
        } else {
            self.first_turn()
        };
        self.given += 1;
        row.line = self.given;
        if self.options.sessions.is_some() {
            row.id = Some(Id::Number((self.given - 1).cast_signed()));
            if let Some(conversation) = self.next_turn(&row, turns_left) {
                self.due.push(Reverse((conversation.next.at.as_nanos(), session)));
                self.open.insert(session, conversation);
            }
        }
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.options.rows - self.given).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

/// Whole nanoseconds; a cast from a float stays within the range.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
