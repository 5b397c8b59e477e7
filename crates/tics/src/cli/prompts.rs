//! The arguments that say how prompts are made.

use clap::{Args, ValueEnum};

/// How prompts are made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prompts")]
pub struct PromptArgs {
    /// tokenizer.json, a folder with one, or a model id in the local Hugging Face cache; an embedded
    /// one unless given
    #[arg(long, value_name = "FILE|FOLDER|ID")]
    pub tokenizer: Option<String>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Every prompt a prefix of one long text
    #[arg(long)]
    pub dummy: bool,
}

/// What prompts have to do with the server: what it may know of them, and how it counts them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prompts")]
pub struct ServedArgs {
    /// What the server may know of the prompts before the run
    #[arg(long, value_enum, default_value_t = Cache::Cold)]
    pub cache: Cache,
    /// Make the prompts of the run that was salted so, instead of ones of this run's own; the second of
    /// several scales takes the number after it, and so on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub salt: Option<u64>,
    /// Prompts as long as asked before the chat template; otherwise what it adds is found by two probe
    /// requests and left out of them
    #[arg(long)]
    pub raw_lengths: bool,
}

/// What the server may know of the prompts before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cache {
    /// Nothing: every run has prompts of its own, of the same lengths and common prefixes
    Cold,
    /// What earlier runs with this seed left in its cache
    Keep,
    /// What two or more of its requests have in common: sent once before the run, unmeasured
    Warm,
}

impl Cache {
    /// In `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Cache::Cold => "cold",
            Cache::Keep => "keep",
            Cache::Warm => "warm",
        }
    }
}

/// What becomes of the prefixes that a trace's `hash_ids` describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Prefixes {
    /// Prompts share exactly the tokens that their ids say
    Traced,
    /// No two prompts share a prefix
    None,
}
