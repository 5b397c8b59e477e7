//! Tokens a second of prompt text, and what a cache of blocks would win.
//!
//! `cargo bench -p tics-prompt`. Aim: 20 million tokens a second of new blocks on one core.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tics_prompt::{Blocks, Mode, PromptMaker};

/// As the published conversation trace has on average.
const PROMPT: u32 = 12_000;

/// Ids that no call before has had, `n` at a time.
struct Fresh {
    next: u64,
    ids: Vec<u64>,
}

impl Fresh {
    fn new(n: usize) -> Self {
        Fresh { next: 0, ids: vec![0; n] }
    }

    fn take(&mut self, size: u32) -> Blocks<'_> {
        for id in &mut self.ids {
            *id = self.next;
            self.next += 1;
        }
        Blocks { ids: &self.ids, size, unique: self.next }
    }
}

fn make(c: &mut Criterion) {
    let maker = PromptMaker::embedded(Mode::Random, 1);
    let mut body = Vec::new();
    let mut ids = Vec::new();
    let mut group = c.benchmark_group("make");

    group.throughput(Throughput::Elements(PROMPT.into()));
    group.bench_function("prompt of 12000, text", |b| {
        let mut index = 0;
        b.iter(|| {
            body.clear();
            index += 1;
            maker.make_into(&mut body, index, PROMPT).expect("by construction");
            black_box(body.len())
        });
    });
    for size in [16, 512] {
        let mut fresh = Fresh::new(PROMPT.div_ceil(size) as usize);
        group.bench_function(format!("prompt of 12000 from new blocks of {size}, text"), |b| {
            b.iter(|| {
                body.clear();
                maker.make_blocks_into(&mut body, fresh.take(size), PROMPT).expect("by construction");
                black_box(body.len())
            });
        });
        group.bench_function(format!("prompt of 12000 from new blocks of {size}, token ids"), |b| {
            b.iter(|| {
                ids.clear();
                maker.make_block_ids_into(&mut ids, fresh.take(size), PROMPT);
                black_box(ids.len())
            });
        });
    }
    group.finish();
}

/// A cache that always hits, which is the best that it could do: 20,000 blocks of 512 tokens are
/// 70 MB, a ninth of the distinct ones of the published conversation trace.
fn copy(c: &mut Criterion) {
    const BLOCKS: u64 = 20_000;
    let maker = PromptMaker::embedded(Mode::Random, 1);
    let cache: HashMap<u64, Box<[u8]>> = (0..BLOCKS)
        .map(|id| {
            let blocks = Blocks { ids: &[id], size: 512, unique: 0 };
            let (text, _) = maker.make_blocks(blocks, 512).expect("by construction");
            (id, text.into_bytes().into_boxed_slice())
        })
        .collect();
    let mut body = Vec::new();
    let mut group = c.benchmark_group("copy");
    group.throughput(Throughput::Elements(PROMPT.into()));
    group.bench_function("prompt of 12000 from cached blocks of 512, text", |b| {
        let mut id = 0;
        b.iter(|| {
            body.clear();
            for _ in 0..PROMPT / 512 {
                // Far apart in memory, as the blocks of a prompt that is long out of use are.
                id = (id + 7_919) % BLOCKS;
                body.extend_from_slice(&cache[&id]);
            }
            black_box(body.len())
        });
    });
    group.finish();
}

/// Rows a second through the pass over a trace: each goes on behind 15 blocks of an earlier one with
/// 8 new ones.
fn siblings(c: &mut Criterion) {
    const ROWS: u64 = 100_000;
    let mut rows: Vec<Vec<u64>> = vec![(0..23).collect()];
    for row in 1..ROWS {
        let mut ids = rows[(row * 7_919 % rows.len() as u64) as usize][..15].to_vec();
        ids.extend(15 + row * 8..23 + row * 8);
        rows.push(ids);
    }
    let maker = PromptMaker::embedded(Mode::Random, 1);
    let mut group = c.benchmark_group("siblings");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    group.bench_function("rows of 23 blocks, 8 of them new", |b| {
        b.iter(|| {
            let mut pass = maker.sibling_pass();
            for (unique, ids) in (0..).zip(&rows) {
                pass.add(Blocks { ids, size: 512, unique }, 23 * 512);
            }
            pass.finish()
        });
    });
    group.finish();
}

criterion_group!(benches, make, copy, siblings);
criterion_main!(benches);
