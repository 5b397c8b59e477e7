//! Writes the prompts of a trace with `hash_ids`, one body a line as the simulated server dumps them.
//!
//! `cargo run --release -p tics-prompt --example prompts_of_trace -- [--ids] TRACE.jsonl [TOKENIZER] > DUMP`
//!
//! `scripts/check_prefixes.py` checks them; `--ids` writes token ids instead of text. Rows are read by `hash_ids`, `input_length`, and
//! `block_size` (else 16 beside a `chat_id`, 512 otherwise). What the pass over the trace found goes
//! to the standard error output; blocks that cannot be told apart make the exit status 1.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use tics_prompt::{Blocks, Coverage, HubCache, Mode, PromptMaker, Tokenizer};

struct Row {
    ids: Vec<u64>,
    size: u32,
    n_tokens: u32,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let row: Value = serde_json::from_str(line).ok()?;
        let size = match row.get("block_size") {
            Some(size) => size.as_u64()?,
            None if row.get("chat_id").is_some() => 16,
            None => 512,
        };
        Some(Row {
            ids: row.get("hash_ids")?.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?,
            size: u32::try_from(size).ok()?,
            n_tokens: u32::try_from(row.get("input_length")?.as_u64()?).ok()?,
        })
    }

    fn blocks(&self, unique: u64) -> Blocks<'_> {
        Blocks { ids: &self.ids, size: self.size, unique }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (options, args): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let as_ids = options.iter().any(|option| option == "--ids");
    let [path, source @ ..] = &args[..] else {
        return Err("usage: prompts_of_trace [--ids] TRACE.jsonl [TOKENIZER]".into());
    };
    let maker = match source.first() {
        None => PromptMaker::embedded(Mode::Random, 0),
        Some(source) => {
            let cache = HubCache::from_vars(|name| std::env::var_os(name));
            PromptMaker::new(&Arc::new(Tokenizer::load(source, &cache)?), Mode::Random, 0)?
        }
    };
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(File::open(path)?).lines()) {
        let row = Row::parse(&line?);
        rows.push(row.ok_or_else(|| format!("{path}: line {number}: expected hash_ids and input_length"))?);
    }

    let mut pass = maker.sibling_pass();
    for (line, row) in (1..).zip(&rows) {
        pass.add(row.blocks(line), row.n_tokens);
    }
    let maker = maker.with_siblings(pass.finish());
    let siblings = maker.siblings();
    eprintln!(
        "{}; {} blocks, {} moved apart from their siblings, {} not told apart",
        maker.method(),
        siblings.blocks(),
        siblings.moved(),
        siblings.inexact()
    );

    let mut out = BufWriter::new(io::stdout().lock());
    let mut unfit = 0;
    for (index, row) in rows.iter().enumerate() {
        let blocks = row.blocks(index as u64 + 1);
        let (prompt, coverage) = if as_ids {
            let mut ids = Vec::new();
            let coverage = maker.make_block_ids_into(&mut ids, blocks, row.n_tokens);
            (json!(ids), coverage)
        } else {
            let (text, coverage) = maker.make_blocks(blocks, row.n_tokens)?;
            (Value::from(text), coverage)
        };
        unfit += usize::from(coverage != Coverage::Whole);
        writeln!(out, "{}", json!({"id": format!("trace-{index}"), "body": {"prompt": prompt}}))?;
    }
    out.flush()?;
    if unfit > 0 {
        eprintln!("{unfit} rows have more or fewer blocks than their length asks for");
    }
    Ok(ExitCode::from(u8::from(siblings.inexact() > 0)))
}
