//! The sample traces in `traces/`: drawn from a seed, the same bytes on every machine.
//!
//! Only whole numbers are used: the last digit of a logarithm differs between platforms.

use std::fmt::Write as _;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tics_record::Nanos;

use crate::draw::uniform;
use crate::row::{Id, Row};
use crate::write::{RowWriter, WriteFormat};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Names and contents of the files in `traces/`.
pub fn samples() -> [(&'static str, Vec<u8>); 4] {
    [
        ("tics.jsonl", lines(WriteFormat::Tics, &tics_rows())),
        ("mooncake.jsonl", lines(WriteFormat::Mooncake, &mooncake_rows())),
        ("qwen.jsonl", lines(WriteFormat::Qwen, &qwen_rows())),
        ("azure.csv", azure_csv(&azure_rows())),
    ]
}

/// About 16 s at 9 requests a second, with a burst of 70 from second 6 on: more than a server with
/// 16 slots and 20 ms a token carries, so that a queue builds up and drains.
fn tics_rows() -> Vec<Row> {
    let mut maker = Maker::new(1);
    let mut times = maker.times(140, 16 * SECOND, MICROSECOND);
    times.extend(maker.times(70, 3 * SECOND / 2, MICROSECOND).into_iter().map(|at| at + 6 * SECOND));
    times.sort_unstable();
    maker.conversations(
        &times,
        &Shape {
            block_size: 64,
            system_blocks: &[0, 4, 6],
            user: (50, 1_500),
            output: (16, 200),
            longest: 4_000,
            turns: 4,
            think: 2 * SECOND,
            kinds: &[],
            named: true,
        },
    )
}

/// About 3 minutes in batches some 3 s apart, long prompts that all begin with the same block.
fn mooncake_rows() -> Vec<Row> {
    let mut maker = Maker::new(2);
    let mut times = Vec::new();
    let mut batch = 0;
    while times.len() < 300 {
        for _ in 0..maker.between(2, 8) {
            times.push(batch);
        }
        batch += maker.between(2_700, 3_300) * MILLISECOND;
    }
    times.truncate(300);
    let mut rows = maker.conversations(
        &times,
        &Shape {
            block_size: 512,
            system_blocks: &[1],
            user: (400, 24_000),
            output: (10, 1_200),
            longest: 60_000,
            turns: 6,
            think: 9 * SECOND,
            kinds: &[],
            named: false,
        },
    );
    // This format has no ids.
    for row in &mut rows {
        (row.id, row.parent, row.turn) = (None, None, None);
    }
    rows
}

/// Two minutes of chat with turns, kinds and parents.
fn qwen_rows() -> Vec<Row> {
    let mut maker = Maker::new(3);
    let times = maker.times(300, 120 * SECOND, MILLISECOND);
    maker.conversations(
        &times,
        &Shape {
            block_size: 16,
            system_blocks: &[0, 2, 5],
            user: (10, 700),
            output: (5, 600),
            longest: 2_000,
            turns: 5,
            think: 8 * SECOND,
            kinds: &["text", "text", "text", "search", "image", "file"],
            named: false,
        },
    )
}

/// Two minutes of single requests, times to 100 ns.
fn azure_rows() -> Vec<Row> {
    let mut maker = Maker::new(4);
    let times = maker.times(300, 120 * SECOND, 100);
    times
        .iter()
        .map(|at| Row {
            at: Nanos::new(*at),
            input_length: maker.skewed((20, 4_000)),
            output_length: maker.skewed((5, 700)),
            ..Row::default()
        })
        .collect()
}

/// What conversations look like.
struct Shape {
    /// Tokens in a block.
    block_size: u32,
    /// System prompts to choose from, in whole blocks.
    system_blocks: &'static [u32],
    /// New tokens of the user in a turn.
    user: (u32, u32),
    /// Tokens of an answer.
    output: (u32, u32),
    /// A conversation ends before its prompt gets longer.
    longest: u32,
    /// Most turns.
    turns: u32,
    /// From one turn to the next, at least.
    think: u64,
    /// Kinds of request, one for a conversation.
    kinds: &'static [&'static str],
    /// Whether sessions have names.
    named: bool,
}

/// A conversation that may go on.
struct Open {
    /// Its last turn.
    last: Row,
    /// Name of the session.
    session: u64,
}

struct Maker {
    random: ChaCha8Rng,
    next_block: u64,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        Maker { random: ChaCha8Rng::seed_from_u64(seed), next_block: 0 }
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        uniform(&mut self.random, least, most)
    }

    /// Many small values, few large ones: the cube of a uniform number, stretched over the range.
    fn skewed(&mut self, (least, most): (u32, u32)) -> u32 {
        let u = u128::from(self.between(0, 1 << 16));
        let above = (u128::from(most - least) * u * u * u) >> 48;
        least + above as u32
    }

    /// `n` arrivals, the first at 0, the others uniform over the span: a Poisson process, given its
    /// count. Multiples of `tick` nanoseconds.
    fn times(&mut self, n: usize, span: u64, tick: u64) -> Vec<u64> {
        let mut times: Vec<u64> = (1..n).map(|_| self.between(0, span / tick - 1) * tick).collect();
        times.push(0);
        times.sort_unstable();
        times
    }

    fn fresh_blocks(&mut self, n: u32) -> Vec<u64> {
        let first = self.next_block;
        self.next_block += u64::from(n);
        (first..self.next_block).collect()
    }

    /// One request at each time: the next turn of a conversation, or the first of a new one.
    fn conversations(&mut self, times: &[u64], shape: &Shape) -> Vec<Row> {
        let systems: Vec<Vec<u64>> = shape.system_blocks.iter().map(|n| self.fresh_blocks(*n)).collect();
        let mut open: Vec<Open> = Vec::new();
        let mut sessions = 0;
        let mut rows = Vec::with_capacity(times.len());
        for (id, at) in (0..).zip(times) {
            let ready: Vec<usize> =
                (0..open.len()).filter(|i| open[*i].last.at.as_nanos() + shape.think <= *at).collect();
            let mut row = if !ready.is_empty() && self.between(0, 99) < 60 {
                let chosen = ready[self.between(0, ready.len() as u64 - 1) as usize];
                let parent = open.swap_remove(chosen);
                self.next_turn(&parent, shape)
            } else {
                sessions += 1;
                let system = systems[self.between(0, systems.len() as u64 - 1) as usize].clone();
                self.first_turn(system, sessions, shape)
            };
            row.last.at = Nanos::new(*at);
            row.last.id = Some(Id::Number(id));
            row.last.session = shape.named.then(|| format!("s{}", row.session));
            rows.push(row.last.clone());
            let longest_next = row.last.input_length + row.last.output_length + shape.user.1;
            if row.last.turn < Some(shape.turns) && longest_next <= shape.longest {
                open.push(row);
            }
        }
        rows
    }

    fn first_turn(&mut self, system: Vec<u64>, session: u64, shape: &Shape) -> Open {
        let input_length = system.len() as u32 * shape.block_size + self.skewed(shape.user);
        let kind = match shape.kinds {
            [] => None,
            kinds => Some(kinds[self.between(0, kinds.len() as u64 - 1) as usize].to_owned()),
        };
        let last = Row { kind, turn: Some(1), ..self.row(input_length, system, shape) };
        Open { last, session }
    }

    /// The history, the answer to it, and what the user says next. Whole blocks of the history are
    /// the same blocks; its partial last one is filled up, and so another.
    fn next_turn(&mut self, parent: &Open, shape: &Shape) -> Open {
        let Open { last, session } = parent;
        let input_length = last.input_length + last.output_length + self.skewed(shape.user);
        let whole = (last.input_length / shape.block_size) as usize;
        let shared = last.hash_ids.iter().flatten().copied().take(whole).collect();
        let last = Row {
            parent: last.id.clone(),
            kind: last.kind.clone(),
            turn: last.turn.map(|turn| turn + 1),
            ..self.row(input_length, shared, shape)
        };
        Open { last, session: *session }
    }

    fn row(&mut self, input_length: u32, mut blocks: Vec<u64>, shape: &Shape) -> Row {
        let missing = input_length.div_ceil(shape.block_size) - blocks.len() as u32;
        blocks.extend(self.fresh_blocks(missing));
        Row {
            input_length,
            output_length: self.skewed(shape.output),
            hash_ids: Some(blocks),
            block_size: Some(shape.block_size),
            ..Row::default()
        }
    }
}

fn lines(format: WriteFormat, rows: &[Row]) -> Vec<u8> {
    let mut writer = RowWriter::new(format, Vec::new());
    rows.iter()
        .try_for_each(|row| writer.write(row))
        .and_then(|()| writer.finish())
        .expect("a Vec can always be written to")
}

/// As the 2023 files are: CRLF, seven digits after the point, no line end at the end.
fn azure_csv(rows: &[Row]) -> Vec<u8> {
    let mut text = String::from("TIMESTAMP,ContextTokens,GeneratedTokens");
    for row in rows {
        let ticks = row.at.as_nanos() / 100;
        let (second, fraction) = (ticks / 10_000_000, ticks % 10_000_000);
        // Writing to a String cannot fail. The trace is shorter than an hour.
        let _ = write!(
            text,
            "\r\n2025-01-06 09:{:02}:{:02}.{fraction:07},{},{}",
            second / 60,
            second % 60,
            row.input_length,
            row.output_length
        );
    }
    text.into_bytes()
}
