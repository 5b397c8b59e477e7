//! The arguments of every command.
#![expect(clippy::struct_excessive_bools, reason = "flags are independent of each other")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tics_client::ReusePolicy;
use tics_record::Nanos;
use tics_trace::{LengthRange, Scale, Spread, parse_scales, parse_share, parse_window};

use crate::calibrate::Rung;

mod asked;
mod endpoint;
mod fetch;
mod limits;
mod prompts;
mod sessions;
mod trace;
mod validity;

pub use asked::AskedArgs;
pub use endpoint::EndpointArgs;
pub use fetch::FetchArgs;
pub use limits::LimitArgs;
pub use prompts::{Cache, Prefixes, PromptArgs, ServedArgs};
pub use sessions::{History, SessionArgs, SessionMode};
pub use trace::{ConvertArgs, FormatArgs, OutputArgs, SynthArgs, TraceArgs, TraceCommand, TraceInputArgs};
pub use validity::ValidityArgs;

/// A load tester for LLM inference servers that keeps time and proves its own numbers.
#[derive(Debug, Parser)]
#[command(name = "tics", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay a trace at its timestamps.
    Replay(ReplayArgs),
    /// Send synthetic requests: all at once, or a fixed number in flight.
    Bench(BenchArgs),
    /// Send one request and explain its stream event by event.
    Probe(ProbeArgs),
    /// Print the report of a run directory again, or of an exported mini-sglang result.
    Report(ReportArgs),
    /// Write a run in another tool's format.
    Export(ExportArgs),
    /// Look into trace files.
    Trace(TraceArgs),
    /// Run the simulated server on its own.
    Sim(SimArgs),
    /// Measure what this machine can carry, against the simulated server's truth.
    Calibrate(CalibrateArgs),
}

/// Which server, and what each request carries.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct TargetArgs {
    /// Base address, with or without /v1; without it a simulated server is started for the run
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Model to ask for; the first of /v1/models unless given
    #[arg(long)]
    pub model: Option<String>,
    /// Header of every request; may be repeated. The key comes from OPENAI_API_KEY
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Trust only the authorities in this PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca_file: Option<PathBuf>,
    /// Trust any certificate; recorded in the run
    #[arg(long)]
    pub insecure: bool,
    /// JSON object laid over the request body; null removes a field
    #[arg(long, value_name = "JSON")]
    pub extra_body: Option<String>,
    /// Send `input_length_override` with the prompt's length (mini-sglang's field)
    #[arg(long)]
    pub input_length_override: bool,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// Which open connection a request takes
    #[arg(long, value_enum, default_value_t = Reuse::Lifo)]
    pub connections: Reuse,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Arguments of the simulated server that is started without --url, as for `tics sim`
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, conflicts_with = "url")]
    pub sim: Option<String>,
}

/// See [`ReusePolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reuse {
    /// The one used last
    Lifo,
    /// The one used longest ago: spreads over replicas behind a layer-4 balancer
    RoundRobin,
    /// A new one for each request
    PerRequest,
}

impl From<Reuse> for ReusePolicy {
    fn from(reuse: Reuse) -> Self {
        match reuse {
            Reuse::Lifo => ReusePolicy::Lifo,
            Reuse::RoundRobin => ReusePolicy::RoundRobin,
            Reuse::PerRequest => ReusePolicy::PerRequest,
        }
    }
}

/// How the run goes and what it leaves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Leave the run exactly here instead of runs/START-NAME
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Name in the run directory and in X-Request-Id
    #[arg(long)]
    pub name: Option<String>,
    /// No dashboard; a status line on stderr every few seconds
    #[arg(long)]
    pub no_dashboard: bool,
    /// Nothing on stderr but errors
    #[arg(long)]
    pub quiet: bool,
    /// Time between two status lines
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub progress_every: Duration,
    /// Print the summary as one JSON object instead of the report
    #[arg(long)]
    pub json: bool,
    /// Failed requests that do not change the exit status
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_failed: u64,
    /// Exit status 3 for a SUSPECT measurement too
    #[arg(long)]
    pub strict: bool,
    /// How long requests in flight may go on after q, Ctrl-C or SIGTERM
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub drain: Duration,
    /// Memory for requests made ahead
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub lookahead: usize,
    /// Threads that read streams; one a core that the pacer leaves free unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// Keep the pacer and each worker on a processor of its own
    #[arg(long)]
    pub pin: bool,
    /// Let the pacer run before all ordinary threads, where the system allows it
    #[arg(long)]
    pub realtime: bool,
    /// Do not send a probe request first, nor read the server's counters
    #[arg(long)]
    pub no_probe: bool,
    /// Write the journal after the run instead of during it: shows what writing it costs the run
    #[arg(long, hide = true)]
    pub late_journal: bool,
    #[command(flatten)]
    pub validity: ValidityArgs,
    #[command(flatten)]
    pub asked: AskedArgs,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Trace file, `-` for standard input, http(s) address; a folder of ServeGen's
    pub trace: PathBuf,
    /// Only requests at these seconds of the trace, the end excluded
    #[arg(long, value_name = "FROM..TO", value_parser = parse_window)]
    pub window: Option<(Nanos, Nanos)>,
    /// At most so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// So large a share of the requests, whole sessions and prefix groups: 0.1 or 10%
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub sample: Option<f64>,
    /// Distribute requests that are all on one timestamp over the gap to the next
    #[arg(long, value_name = "uniform|poisson")]
    pub spread: Option<Spread>,
    /// Factor on the trace's times: 0.5 is twice as fast. Several, by commas, run one after the other
    #[arg(long, value_name = "S[,S…]", default_value = "1", value_parser = scales, allow_negative_numbers = true)]
    pub scale: Scales,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub prompts: PromptArgs,
    /// What becomes of the common prefixes that `hash_ids` describe; traced unless it cannot be
    #[arg(long, value_enum, help_heading = "Prompts")]
    pub prefixes: Option<Prefixes>,
    #[command(flatten)]
    pub served: ServedArgs,
    #[command(flatten)]
    pub sessions: SessionArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Several scales; a type of its own, as clap would take a `Vec` for a repeated argument.
#[derive(Debug, Clone)]
pub struct Scales(pub Vec<Scale>);

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
          required_unless_present = "prompts")]
    pub requests: Option<u64>,
    /// Tokens of each prompt: a number or a range A..B, both ends included
    #[arg(long, value_name = "N|A..B", default_value = "1..8192")]
    pub input_tokens: LengthRange,
    /// Tokens to ask for: a number or a range A..B, both ends included
    #[arg(long, value_name = "N|A..B", default_value = "16..1024")]
    pub output_tokens: LengthRange,
    /// Requests in flight; all at once unless given
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u64).range(1..))]
    pub concurrency: Option<u64>,
    /// JSONL of `prompt` and optional `output_length` instead of made prompts; a file or an address
    #[arg(long, value_name = "FILE", conflicts_with = "input_tokens")]
    pub prompts: Option<PathBuf>,
    #[command(flatten)]
    pub fetch: FetchArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub maker: PromptArgs,
    #[command(flatten)]
    pub served: ServedArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub input_tokens: u32,
    /// Tokens to ask for
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub output_tokens: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub prompts: PromptArgs,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run directory, or an exported mini-sglang result (.json)
    pub run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Figures as another tool defines them
    #[arg(long, value_enum, default_value_t = Definitions::Tics)]
    pub definitions: Definitions,
    /// Long tables, too: over time, and by length
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub asked: AskedArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Definitions {
    /// This program's own
    Tics,
    /// mini-sglang's benchmark client
    Minisgl,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Run directory
    pub run: PathBuf,
    /// Format
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// File to write; standard output unless given
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// mini-sglang's result: [[input length, output length, tic, …], …]
    Minisgl,
}

#[derive(Debug, Args)]
pub struct SimArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Whose framing to speak
    #[arg(long, value_enum, default_value_t = Dialect::Vllm)]
    pub dialect: Dialect,
    /// Requests that run at once; the others queue
    #[arg(long, default_value_t = 16)]
    pub slots: u32,
    /// Prompt tokens read a second
    #[arg(long, value_name = "TOKENS/S", default_value_t = 50_000.0)]
    pub prefill_rate: f64,
    /// Time for one token of every running request
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = duration)]
    pub decode_step: Duration,
    /// Most tokens in one step; a longer prompt is read in several
    #[arg(long, value_name = "TOKENS", default_value_t = 8192)]
    pub step_tokens: u32,
    /// No queue: first token after this time (needs --itl)
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "itl")]
    pub ttft: Option<Duration>,
    /// No queue: time between tokens (needs --ttft)
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "ttft")]
    pub itl: Option<Duration>,
    /// Tokens as fast as the sockets take them
    #[arg(long, conflicts_with_all = ["ttft", "itl"])]
    pub flood: bool,
    /// Extra bytes of text in each event
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub event_padding: usize,
    /// Model in /v1/models; may be repeated; an empty name makes the list empty
    #[arg(long, value_name = "NAME", default_values_t = [String::from("tics-sim")])]
    pub model: Vec<String>,
    /// Prompt tokens that the chat template adds
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub template_tokens: u32,
    /// Keep a prefix cache of blocks of so many tokens; cached prompt tokens are not read again
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub prefix_cache: Option<u32>,
    /// Blocks that the prefix cache holds
    #[arg(long, value_name = "N", default_value_t = 1 << 20, requires = "prefix_cache")]
    pub cache_blocks: u64,
    /// Without ignore_eos, stop after so many tokens
    #[arg(long, value_name = "N")]
    pub eos_after: Option<u32>,
    /// mini-sglang: each k-th token has no text; 0 is never
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub textless_every: u32,
    /// Send the head with the first token, not at once
    #[arg(long)]
    pub late_head: bool,
    /// Close connections idle for so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub keep_alive: Option<Duration>,
    /// Close connections after so many requests
    #[arg(long, value_name = "N")]
    pub max_requests: Option<u32>,
    /// Variable that holds the key which requests under /v1 must carry
    #[arg(long, value_name = "VARIABLE")]
    pub api_key_env: Option<String>,
    /// Log when each request was read and each token handed to the kernel, JSON lines
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Write every received body, JSON lines
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
    /// End when standard input ends: for whoever starts it as a child
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
    /// Keep to this core
    #[arg(long, hide = true, value_name = "CORE")]
    pub pin_cpu: Option<usize>,
}

#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Only this rung: STREAMSxTOKENS/S (500x50), ARRIVALS/s (100/s), burst, flood, flood-small, memory,
    /// million or rows; may be repeated. The ladder unless given
    #[arg(long, value_name = "NAME")]
    pub rung: Vec<Rung>,
    /// Length of each rung's load
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub seconds: Option<Duration>,
    /// Run a bare client over the same load by turns, so that what Tics adds is a ratio
    #[arg(long)]
    pub floor: bool,
    /// How often each rung is run (with --floor: by turns with the bare client)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub pairs: u16,
    /// What Tics is run by turns with instead of the bare client
    #[arg(long, hide = true, value_enum, conflicts_with = "floor")]
    pub against: Option<Against>,
    /// Let client and server share every core
    #[arg(long)]
    pub no_pin: bool,
    /// Show the dashboard during each run
    #[arg(long)]
    pub dashboard: bool,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    pub json: bool,
    /// Write the JSON object to this file, too
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Nothing on stderr but errors
    #[arg(long)]
    pub quiet: bool,
}

/// What a rung is run by turns with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The bare client
    Floor,
    /// Tics, with its journal written after the run
    LateJournal,
    /// Tics, without its dashboard
    NoDashboard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// vLLM's OpenAI server
    Vllm,
    /// mini-sglang's API server
    Minisgl,
}

fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .map_err(|_| "expected a time such as 5s or 250ms".to_owned());
    }
    humantime::parse_duration(text).map_err(|e| format!("expected a time such as 5s or 250ms: {e}"))
}

fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err("expected a size such as 64MiB or 1GB".to_owned()),
    };
    let bytes = digits.trim().parse::<usize>().ok().and_then(|n| n.checked_mul(factor));
    bytes.filter(|b| *b > 0).ok_or_else(|| "expected a size such as 64MiB or 1GB".to_owned())
}

fn scales(text: &str) -> Result<Scales, String> {
    parse_scales(text).map(Scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert!(size("0").is_err() && size("MiB").is_err() && size("1XB").is_err());
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert!(duration("-1").is_err() && duration("soon").is_err());
    }
}
