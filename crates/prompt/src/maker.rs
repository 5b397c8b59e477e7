//! Prompts of exactly the asked length.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Tokenizer;
use crate::adjust::Adjuster;
use crate::discover::discover;
use crate::embedded;
use crate::words::WordTable;

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
}

/// What the prompts of a run have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing: every prompt is drawn anew, and no two made by construction begin with the same two
    /// words.
    #[default]
    Random,
    /// Everything: each is the beginning of one long random text, so a shorter one is a prefix of a
    /// longer one (mini-sglang's `dummy`). Text that is made by re-encoding may differ in its last
    /// few tokens.
    Dummy,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mode::Random => "random",
            Mode::Dummy => "dummy",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "random" => Ok(Mode::Random),
            "dummy" => Ok(Mode::Dummy),
            _ => Err(format!("{name:?} is no way to make prompts; use random or dummy")),
        }
    }
}

/// How the lengths come to be exact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// The text is joined from words of one token each: fast.
    Construction {
        /// Words in use.
        words: usize,
        /// Those that can begin a prompt.
        first_words: usize,
    },
    /// The text is re-encoded and adjusted until it fits: slow.
    Adjustment {
        /// Why construction does not work with this tokenizer.
        reason: String,
    },
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Construction { words, .. } => {
                write!(f, "exact by construction from {words} words of one token each")
            }
            Method::Adjustment { reason } => {
                write!(f, "exact by re-encoding each prompt, which is slow ({reason})")
            }
        }
    }
}

/// Makes the prompts of a run.
///
/// A prompt depends on the seed, the request's index and the length alone: it is the same in any
/// order of calls and from any thread. It neither begins nor ends with a space, and no character of
/// it is escaped in JSON, so it can be written between two quotation marks as it is.
#[derive(Debug, Clone)]
pub struct PromptMaker {
    source: Source,
    mode: Mode,
    seed: u64,
}

#[derive(Debug, Clone)]
enum Source {
    Words(Arc<WordTable>),
    Adjusted(Arc<Adjuster>, String),
}

impl PromptMaker {
    /// A maker for the embedded tokenizer. Its words are known, so no file is parsed.
    pub fn embedded(mode: Mode, seed: u64) -> Self {
        PromptMaker { source: Source::Words(Arc::new(embedded::word_table())), mode, seed }
    }

    /// A maker for a tokenizer: finds its one-token words, tries their construction on a sample, and
    /// falls back to re-encoding where that fails. Takes a second at most for 150,000 tokens.
    ///
    /// With construction the maker does not hold on to the tokenizer, which may be some hundred
    /// megabytes: drop it where nothing else needs it.
    ///
    /// # Errors
    /// [`PromptError::NoPieces`] and [`PromptError::Encode`] for a tokenizer that cannot be used.
    pub fn new(tokenizer: &Arc<Tokenizer>, mode: Mode, seed: u64) -> Result<Self, PromptError> {
        let reason = match discover(tokenizer)? {
            Ok(words) => match first_inexact(tokenizer, &words)? {
                None => return Ok(PromptMaker { source: Source::Words(Arc::new(words)), mode, seed }),
                Some((words, tokens)) => {
                    format!("{words} words of one token each encoded to {tokens} tokens")
                }
            },
            Err(reason) => reason,
        };
        let adjuster = Adjuster::new(Arc::clone(tokenizer))?;
        Ok(PromptMaker { source: Source::Adjusted(Arc::new(adjuster), reason), mode, seed })
    }

    /// The same maker with another seed, for another run; the words are shared.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        PromptMaker { seed, ..self.clone() }
    }

    /// How the lengths come to be exact.
    pub fn method(&self) -> Method {
        match &self.source {
            Source::Words(words) => Method::Construction { words: words.len(), first_words: words.n_first() },
            Source::Adjusted(_, reason) => Method::Adjustment { reason: reason.clone() },
        }
    }

    /// What the prompts have in common.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// About how many bytes a prompt of that length has: for buffers and look-ahead.
    pub fn estimated_bytes(&self, n_tokens: u32) -> usize {
        let mean = match &self.source {
            Source::Words(words) => words.mean_bytes(),
            Source::Adjusted(adjuster, _) => adjuster.mean_bytes(),
        };
        (f64::from(n_tokens) * mean).ceil() as usize
    }

    /// The prompt of request `index` with exactly `n_tokens` tokens; empty for 0.
    ///
    /// # Errors
    /// None by construction; [`PromptError::NotExact`] and [`PromptError::Encode`] by adjustment.
    pub fn make(&self, index: u64, n_tokens: u32) -> Result<String, PromptError> {
        let mut text = Vec::new();
        self.make_into(&mut text, index, n_tokens)?;
        Ok(String::from_utf8(text).expect("words and decoded text are UTF-8"))
    }

    /// Appends the prompt of request `index` to a body as it is: it needs no escaping in JSON.
    ///
    /// # Errors
    /// As [`PromptMaker::make`]; `body` is then as it was.
    pub fn make_into(&self, body: &mut Vec<u8>, index: u64, n_tokens: u32) -> Result<(), PromptError> {
        let index = match self.mode {
            Mode::Random => index,
            // A longer text of the same index continues a shorter one.
            Mode::Dummy => 0,
        };
        match &self.source {
            Source::Words(words) => words.write(body, self.seed, index, n_tokens),
            Source::Adjusted(adjuster, _) => {
                body.extend_from_slice(adjuster.make(self.seed, index, n_tokens)?.as_bytes());
            }
        }
        Ok(())
    }
}

/// The first of a sample of joined texts whose length is not its number of words: that number and
/// the length.
///
/// The words were checked one by one and cannot merge, by what is known of tokenizers; this is for
/// what is not known.
fn first_inexact(tokenizer: &Tokenizer, words: &WordTable) -> Result<Option<(u32, usize)>, PromptError> {
    const LENGTHS: [u32; 10] = [1, 2, 3, 5, 8, 16, 61, 128, 512, 2048];
    for (sample, n) in LENGTHS.iter().cycle().take(3 * LENGTHS.len()).enumerate() {
        let mut text = Vec::new();
        words.write(&mut text, 0, sample as u64, *n);
        let tokens = tokenizer.count(&String::from_utf8_lossy(&text))?;
        if tokens != *n as usize {
            return Ok(Some((*n, tokens)));
        }
    }
    Ok(None)
}
