//! The arguments that say where generations are asked for, and in which words.

use clap::{Args, ValueEnum};
use tics_client::Endpoint;

/// Where generations are asked for.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Server")]
pub struct EndpointArgs {
    /// Where generations are asked for
    #[arg(long, value_enum, default_value_t = EndpointName::Chat)]
    pub endpoint: EndpointName,
    /// Send prompts as token ids instead of text, where the endpoint takes them; texts that a trace brings
    /// stay texts
    #[arg(long)]
    pub token_ids: bool,
}

/// See [`Endpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EndpointName {
    /// /v1/chat/completions
    Chat,
    /// /v1/completions: prompts as they are, without a chat template
    Completions,
    /// SGLang's own /generate: the same
    Generate,
}

impl From<EndpointName> for Endpoint {
    fn from(name: EndpointName) -> Self {
        match name {
            EndpointName::Chat => Endpoint::Chat,
            EndpointName::Completions => Endpoint::Completions,
            EndpointName::Generate => Endpoint::Generate,
        }
    }
}
