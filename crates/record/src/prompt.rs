//! What is known of a prompt before it is sent.

use serde::{Deserialize, Serialize};

/// What is known of a prompt before it is sent; nothing of a text that the user gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptFacts {
    /// Tokens of its text, by the tokenizer that made it: without those that the server's chat template
    /// adds.
    pub sent: Option<u32>,
    /// What a prefix cache would find of it.
    pub expected: Option<ExpectedHits>,
}

/// What a prefix cache that never forgets would find of a prompt, every earlier prompt of the schedule
/// stored in it, and, where the cache was warmed before the run, what warmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExpectedHits {
    /// Tokens found.
    pub cached_tokens: u32,
    /// The same in the trace's blocks; none where prompts are not made of blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<BlockHits>,
}

/// A prompt in blocks of equally many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlockHits {
    /// Tokens in a block.
    pub size: u32,
    /// Blocks of the prompt, a partial last one among them.
    pub n: u32,
    /// Of these, found: the leading ones.
    pub found: u32,
}
