//! Tries prompt construction with real tokenizers: how many prompts are exact, and how fast.
//!
//! `cargo run --release -p tics-prompt --example check_tokenizer -- tokenizer.json [more …]`
//!
//! Every prompt is encoded by the tokenizer and compared; a wrong one makes the exit status 1.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tics_prompt::{HubCache, Mode, PromptMaker, Tokenizer};

fn now() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock is always there"))
}

/// How long ago that was.
fn since(start: Duration) -> Duration {
    now().saturating_sub(start)
}

fn check(name: &str, tokenizer: Tokenizer, load: Duration) -> Result<bool, Box<dyn Error>> {
    let tokenizer = Arc::new(tokenizer);
    let start = now();
    let maker = PromptMaker::new(&tokenizer, Mode::Random, 1)?;
    let build = since(start);
    println!("{name}: loaded in {load:.0?}, words found in {build:.0?}");
    println!("  {}: {:?}", maker.method(), maker.method());

    let lengths: Vec<u32> = (1..=600).chain((0..2000).map(|_| 512)).chain([5_000, 20_000, 100_000]).collect();
    let mut exact = 0;
    for (index, n) in (0..).zip(&lengths) {
        let text = maker.make(index, *n)?;
        exact += usize::from(tokenizer.count(&text)? == *n as usize && text.trim() == text);
    }
    println!("  exact in {exact} of {} prompts", lengths.len());

    let mut body = Vec::new();
    for (n_tokens, n_prompts) in [(16, 400_000), (512, 20_000), (12_000, 1_000)] {
        let start = now();
        let mut bytes = 0;
        for index in 0..n_prompts {
            body.clear();
            maker.make_into(&mut body, index, n_tokens)?;
            bytes += body.len();
        }
        let seconds = (since(start)).as_secs_f64();
        let tokens = f64::from(n_tokens) * n_prompts as f64;
        println!(
            "  prompts of {n_tokens:5}: {:.1} million tokens/s, {:.0} MB/s",
            tokens / seconds / 1e6,
            bytes as f64 / seconds / 1e6
        );
    }
    Ok(exact == lengths.len())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let cache = HubCache::from_vars(|name| std::env::var_os(name));
    let start = now();
    PromptMaker::embedded(Mode::Random, 1).make(0, 1)?;
    println!("embedded: first prompt after {:.1?}", since(start));
    let start = now();
    let mut all = check("embedded", Tokenizer::embedded(), since(start))?;
    for source in std::env::args().skip(1) {
        let start = now();
        let tokenizer = Tokenizer::load(&source, &cache)?;
        all &= check(&source, tokenizer, since(start))?;
    }
    Ok(ExitCode::from(u8::from(!all)))
}
