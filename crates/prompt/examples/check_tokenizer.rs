//! Tries prompt construction with real tokenizers: how many prompts are exact, and how fast.
//!
//! `cargo run --release -p tics-prompt --example check_tokenizer -- [--json] [tokenizer.json …]`
//!
//! Every prompt is encoded by the tokenizer and compared, text from blocks with its token ids; a
//! wrong one makes the exit status 1. The embedded tokenizer goes first. `--json` prints one object
//! a tokenizer.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use tics_prompt::{Blocks, HubCache, Method, Mode, PromptError, PromptMaker, Tokenizer};

fn now() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock is always there"))
}

/// How long ago that was.
fn since(start: Duration) -> Duration {
    now().saturating_sub(start)
}

/// What is known of one tokenizer.
struct Findings {
    name: String,
    method: Method,
    load: Duration,
    build: Duration,
    prompts: usize,
    exact: usize,
    /// Prompts from blocks; none where text cannot be made of them.
    from_blocks: usize,
    from_blocks_exact: usize,
    speeds: Vec<Speed>,
}

struct Speed {
    /// What was made.
    what: String,
    /// Tokens of each prompt.
    n_tokens: u32,
    tokens_per_s: f64,
    bytes_per_s: f64,
}

impl Findings {
    fn all_exact(&self) -> bool {
        self.exact == self.prompts && self.from_blocks_exact == self.from_blocks
    }

    fn print(&self) {
        println!("{}: loaded in {:.0?}, words found in {:.0?}", self.name, self.load, self.build);
        println!("  {}: {:?}", self.method, self.method);
        println!("  exact in {} of {} prompts", self.exact, self.prompts);
        println!("  exact in {} of {} prompts from blocks", self.from_blocks_exact, self.from_blocks);
        for speed in &self.speeds {
            println!(
                "  {:<22} prompts of {:5}: {:.1} million tokens/s, {:.0} MB/s",
                speed.what,
                speed.n_tokens,
                speed.tokens_per_s / 1e6,
                speed.bytes_per_s / 1e6
            );
        }
    }

    fn print_json(&self) {
        let speeds: Vec<_> = self
            .speeds
            .iter()
            .map(|speed| json!({"what": speed.what, "n_tokens": speed.n_tokens, "tokens_per_s": speed.tokens_per_s}))
            .collect();
        println!(
            "{}",
            json!({
                "tokenizer": self.name, "method": self.method.to_string(),
                "load_s": self.load.as_secs_f64(), "build_s": self.build.as_secs_f64(),
                "prompts": self.prompts, "exact": self.exact,
                "from_blocks": self.from_blocks, "from_blocks_exact": self.from_blocks_exact,
                "speeds": speeds,
            })
        );
    }
}

/// Calls `make` with the index of each of `n_prompts`.
fn time(
    what: &str,
    n_tokens: u32,
    n_prompts: u64,
    mut make: impl FnMut(&mut Vec<u8>, u64) -> Result<(), PromptError>,
) -> Result<Speed, PromptError> {
    let mut body = Vec::new();
    let mut bytes = 0;
    let start = now();
    for index in 0..n_prompts {
        body.clear();
        make(&mut body, index)?;
        bytes += body.len();
    }
    let seconds = since(start).as_secs_f64();
    let tokens = f64::from(n_tokens) * n_prompts as f64;
    Ok(Speed {
        what: what.to_owned(),
        n_tokens,
        tokens_per_s: tokens / seconds,
        bytes_per_s: bytes as f64 / seconds,
    })
}

fn speeds(maker: &PromptMaker) -> Result<Vec<Speed>, PromptError> {
    let mut speeds = Vec::new();
    // Re-encoding is a few thousand times slower.
    let few = if matches!(maker.method(), Method::Adjustment { .. }) { 1_000 } else { 1 };
    for (n_tokens, n_prompts) in [(16, 400_000), (512, 20_000), (12_000, 1_000)] {
        speeds.push(time("drawn", n_tokens, n_prompts / few, |body, index| {
            maker.make_into(body, index, n_tokens)
        })?);
    }
    if few > 1 {
        return Ok(speeds);
    }
    for (size, n_tokens, n_prompts) in [(16, 12_000_u32, 500), (512, 512, 20_000), (512, 12_000, 1_000)] {
        let n_blocks = u64::from(n_tokens.div_ceil(size));
        let mut ids = vec![0; n_blocks as usize];
        speeds.push(time(&format!("from new blocks of {size}"), n_tokens, n_prompts, |body, index| {
            for (id, new) in ids.iter_mut().zip(index * n_blocks..) {
                *id = new;
            }
            let blocks = Blocks { ids: &ids, size, unique: index };
            maker.make_blocks_into(body, blocks, n_tokens).map(|_| ())
        })?);
    }
    Ok(speeds)
}

/// Prompts from blocks that are tried, and those whose text encodes to their token ids.
fn check_blocks(maker: &PromptMaker, tokenizer: &Tokenizer) -> Result<(usize, usize), PromptError> {
    let (mut tried, mut exact) = (0, 0);
    for n_tokens in (1..=600_u32).chain([5_000, 20_000]) {
        for size in [16, 512] {
            let ids: Vec<u64> = (0..u64::from(n_tokens.div_ceil(size))).map(|i| i * 31 + tried).collect();
            let blocks = Blocks { ids: &ids, size, unique: 0 };
            let text = match maker.make_blocks(blocks, n_tokens) {
                Ok((text, _)) => text,
                Err(PromptError::InexactPrefixes { .. }) => return Ok((0, 0)),
                Err(error) => return Err(error),
            };
            let mut expect = Vec::new();
            maker.make_block_ids_into(&mut expect, blocks, n_tokens);
            tried += 1;
            exact += usize::from(tokenizer.encode_ids(&text)? == expect && expect.len() == n_tokens as usize);
        }
    }
    Ok((tried as usize, exact))
}

fn check(name: &str, tokenizer: Tokenizer, load: Duration) -> Result<Findings, Box<dyn Error>> {
    let tokenizer = Arc::new(tokenizer);
    let start = now();
    let maker = PromptMaker::new(&tokenizer, Mode::Random, 1)?;
    let build = since(start);

    let lengths: Vec<u32> = (1..=600).chain((0..2000).map(|_| 512)).chain([5_000, 20_000, 100_000]).collect();
    let mut exact = 0;
    for (index, n) in (0..).zip(&lengths) {
        let text = maker.make(index, *n)?;
        exact += usize::from(tokenizer.count(&text)? == *n as usize && text.trim() == text);
    }
    let (from_blocks, from_blocks_exact) = check_blocks(&maker, &tokenizer)?;
    Ok(Findings {
        name: name.to_owned(),
        method: maker.method(),
        load,
        build,
        prompts: lengths.len(),
        exact,
        from_blocks,
        from_blocks_exact,
        speeds: speeds(&maker)?,
    })
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (options, sources): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let as_json = match &options[..] {
        [] => false,
        [option] if option == "--json" => true,
        _ => return Err("usage: check_tokenizer [--json] [tokenizer.json …]".into()),
    };
    let cache = HubCache::from_vars(|name| std::env::var_os(name));
    let mut all = true;
    let mut report = |findings: Findings| {
        all &= findings.all_exact();
        if as_json { findings.print_json() } else { findings.print() }
    };
    let start = now();
    report(check("embedded", Tokenizer::embedded(), since(start))?);
    for source in sources {
        let start = now();
        let tokenizer = Tokenizer::load(&source, &cache)?;
        let load = since(start);
        report(check(&source, tokenizer, load)?);
    }
    Ok(ExitCode::from(u8::from(!all)))
}
