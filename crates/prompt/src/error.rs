//! What can go wrong while prompts are made.

use std::error::Error;

/// Why a prompt could not be made, or a text not be counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// Re-encoding did not reach the asked length.
    #[error(
        "no text of exactly {asked} tokens after {attempts} attempts (closest: {closest}); use another tokenizer, or leave it out for the embedded one"
    )]
    NotExact {
        /// The length asked for, in tokens.
        asked: u32,
        /// The nearest length reached.
        closest: usize,
        /// Encodings tried.
        attempts: u32,
    },
    /// The vocabulary has nothing to make text from.
    #[error(
        "tokenizer {tokenizer:?}: no token with printable text to make prompts from; use another tokenizer, or leave it out for the embedded one"
    )]
    NoPieces {
        /// Name of the tokenizer.
        tokenizer: String,
    },
    /// The tokenizer refused.
    #[error(
        "the tokenizer cannot encode or decode this text; use another tokenizer, or leave it out for the embedded one"
    )]
    Encode {
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Text by adjustment cannot be put together from blocks.
    #[error(
        "prompts cannot share exactly the prefixes that the blocks say, as this tokenizer joins text differently than it was put together ({reason}); send token ids, leave the blocks out of account, or leave the tokenizer out for the embedded one"
    )]
    InexactPrefixes {
        /// Why construction does not work with the tokenizer.
        reason: String,
    },
}
