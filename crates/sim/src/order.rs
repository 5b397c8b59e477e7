//! A request that was understood, on its way from the reader to the engine.

use std::sync::Arc;

use crate::link::Link;
use crate::prefix::Found;
use crate::truth::Arrival;

/// Which endpoint a generation came in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    /// SGLang's own.
    Generate,
}

/// Where a stream says how many tokens there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    None,
    /// An event of its own, after the last token's.
    AtEnd,
    /// In every event, and in that one.
    Continuous,
}

/// What was asked for, as the dialect understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) endpoint: Endpoint,
    /// As asked, or the first one served.
    pub(crate) model: String,
    pub(crate) prompt_tokens: u64,
    /// What of the prompt the prefix cache had, where there is one.
    pub(crate) found: Option<Found>,
    /// At least 1.
    pub(crate) output_tokens: u32,
    /// It ends by itself ("stop") before `max_tokens` ("length").
    pub(crate) stops: bool,
    pub(crate) stream: bool,
    pub(crate) usage: Usage,
    /// mini-sglang's answer to a prompt that is too long: a head, and nothing ever after.
    pub(crate) silent: bool,
}

impl Ask {
    /// Prompt tokens that must be read: one at least, as there is no first token without.
    pub(crate) fn prefill_tokens(&self) -> u64 {
        let cached = self.found.map_or(0, |found| found.cached_tokens);
        (self.prompt_tokens - cached).max(self.prompt_tokens.min(1))
    }
}

/// How the response's bytes are delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Chunked transfer encoding; else the end of the connection ends the body (HTTP/1.0).
    pub(crate) chunked: bool,
    /// The connection ends with this response.
    pub(crate) close: bool,
}

/// One generation for the engine.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) link: Arc<Link>,
    /// Generations are numbered from 0 in the order of their reception.
    pub(crate) serial: u64,
    pub(crate) ask: Ask,
    pub(crate) delivery: Delivery,
    pub(crate) received: Arrival,
    /// When the head was handed to the kernel, if it was.
    pub(crate) head_at: Option<u64>,
    /// What of a stream's head the engine must still send, before all else.
    pub(crate) unsent_head: Vec<u8>,
    /// The header lines about the connection, for a head that the engine makes itself.
    pub(crate) connection: String,
}
