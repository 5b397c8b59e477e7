//! A block prefix cache: which part of a prompt an engine would not have to read again.
//!
//! The rule: a prompt is cut into blocks of equally many tokens, and a block is known by its tokens and
//! by all blocks before it. It is found if and only if the same chain of blocks, from the prompt's first
//! to itself, is in the cache. The last block may be partial; it is a block of its own, found by a
//! partial block of as many tokens. A prompt is stored as it arrives, before the next is looked up.

mod chain;
mod lru;

use serde::Serialize;

pub(crate) use self::chain::{Chain, Chainer, token_id};
pub(crate) use self::lru::Lru;

/// What of a prompt was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    /// Tokens in the blocks found.
    pub(crate) cached_tokens: u64,
    /// Blocks found.
    pub(crate) cached_blocks: u64,
    /// Blocks of the prompt, the partial one among them.
    pub(crate) prompt_blocks: u64,
}
