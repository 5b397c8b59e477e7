//! The arguments that say how a trace is read, and those of `tics trace`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tics_record::Nanos;
use tics_trace::{Arrivals, Format, PrefixTree, WriteFormat, parse_field, parse_window};

use super::FetchArgs;

/// How a trace is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Format")]
pub struct FormatArgs {
    /// Take the file to be in this format instead of recognising it: tics, mooncake, qwen, azure,
    /// burstgpt, sharegpt, servegen, prompts or payload
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub format: Option<Format>,
    /// Leave out rows that are not valid, and count them
    #[arg(long)]
    pub skip_bad_rows: bool,
    /// Keep requests that failed in the original (BurstGPT's answers of 0 tokens)
    #[arg(long)]
    pub keep_failed: bool,
    /// A field that has another name in the file, such as timestamp=arrival_ms; may be repeated
    #[arg(long, value_name = "OURS=THEIRS", value_parser = field)]
    pub field: Vec<Field>,
    /// Tokens in a block of `hash_ids`, where rows do not say it; the format's own unless given
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub block_size: Option<u32>,
    #[command(flatten)]
    pub fetch: FetchArgs,
}

/// Our name of a field and the file's.
pub type Field = (String, String);

#[derive(Debug, Args)]
pub struct TraceArgs {
    #[command(subcommand)]
    pub command: TraceCommand,
}

#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// What is in it: rows, span, rate, lengths, sessions, prefix sharing
    Info(TraceFileArgs),
    /// What is wrong with it
    Check(TraceFileArgs),
    /// Write it in another format
    Convert(ConvertArgs),
    /// Draw a trace from distributions
    Synth(SynthArgs),
}

/// A trace, and how it is read.
#[derive(Debug, Args)]
pub struct TraceInputArgs {
    /// Trace file, `-` for standard input, http(s) address; a folder of ServeGen's
    pub trace: PathBuf,
    /// Count the tokens of texts by this tokenizer.json, folder or model id; they have no length unless
    /// given
    #[arg(long, value_name = "FILE|FOLDER|ID")]
    pub tokenizer: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
    /// ServeGen: only requests at these seconds, the end excluded
    #[arg(long, value_name = "FROM..TO", value_parser = parse_window)]
    pub window: Option<(Nanos, Nanos)>,
    /// ServeGen: seed of what is drawn from its parameters, 0 unless given
    #[arg(long)]
    pub seed: Option<u64>,
}

#[derive(Debug, Args)]
pub struct TraceFileArgs {
    #[command(flatten)]
    pub input: TraceInputArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ConvertArgs {
    #[command(flatten)]
    pub input: TraceInputArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where rows are written, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// File to write; standard output unless given
    #[arg(short = 'o', long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Format to write: tics, mooncake, qwen or parquet; the one in the name of the file unless given, else tics
    #[arg(long, value_name = "FORMAT", value_parser = write_format)]
    pub to: Option<WriteFormat>,
}

#[derive(Debug, Args)]
pub struct SynthArgs {
    /// How many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: u64,
    /// Requests a second, on average; with --turns, conversations that begin
    #[arg(long, value_name = "R")]
    pub rate: f64,
    /// How they follow each other: constant, poisson, gamma:cv=2, weibull:shape=0.7 or on-off:on=5,off=10
    #[arg(long, value_name = "ARRIVALS", default_value = "poisson")]
    pub arrivals: Arrivals,
    /// Tokens of a prompt: 500, uniform:100..900, normal:mean=500,sd=100, lognormal:mean=2000,sigma=1,
    /// exponential:mean=500 or empirical:TRACE; bounds by min=A,max=B. Of a later turn, what it adds
    #[arg(long, value_name = "DISTRIBUTION", default_value = "1000")]
    pub input: String,
    /// Tokens of an answer, in the same way
    #[arg(long, value_name = "DISTRIBUTION", default_value = "100")]
    pub output: String,
    /// Conversations of so many turns
    #[arg(long, value_name = "DISTRIBUTION")]
    pub turns: Option<String>,
    /// Seconds from the end of a turn to the next
    #[arg(long, value_name = "DISTRIBUTION", default_value = "exponential:mean=10", requires = "turns")]
    pub think: String,
    /// Prefixes that conversations share: depth=3,branching=4,share=0.5
    #[arg(long, value_name = "TREE")]
    pub prefix: Option<PrefixTree>,
    /// Tokens in a block of `hash_ids`; the format's own, or 512, unless given
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub block_size: Option<u32>,
    /// Longest prompt, tokens: longer ones are cut, and a conversation ends before a longer turn
    #[arg(long, value_name = "TOKENS", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..))]
    pub longest: u32,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub to: OutputArgs,
}

fn format(text: &str) -> Result<Format, String> {
    text.parse()
}

fn write_format(text: &str) -> Result<WriteFormat, String> {
    text.parse()
}

fn field(text: &str) -> Result<Field, String> {
    parse_field(text)
}
