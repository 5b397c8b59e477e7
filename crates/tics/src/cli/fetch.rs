//! The arguments that say how a trace is fetched.

use clap::Args;

/// How a trace that lies at an address is fetched.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Format")]
pub struct FetchArgs {
    /// Ask the server of a trace's address again, instead of taking what was fetched before
    #[arg(long)]
    pub refresh: bool,
}
