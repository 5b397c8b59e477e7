//! Prompts of exactly the asked length.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::adjust::Adjuster;
use crate::compose::{self, Alphabet};
use crate::discover::discover;
use crate::draw::Key;
use crate::embedded;
use crate::words::WordTable;
use crate::{Blocks, Coverage, PromptError, SiblingPass, Siblings, Tokenizer};

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
    /// The text is re-encoded and adjusted until it fits: slow, and not from blocks, whose tokens
    /// would not stay the same among others. Token ids are exact and shared all the same.
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
/// A prompt depends on the seed, the salt, the request's index and the length alone, one of blocks
/// on their ids instead: it is the same in any order of calls and from any thread. It neither begins
/// nor ends with a space, and no character of it is escaped in JSON, so it can be written between
/// two quotation marks as it is.
#[derive(Debug, Clone)]
pub struct PromptMaker {
    source: Source,
    mode: Mode,
    key: Key,
    siblings: Arc<Siblings>,
}

#[derive(Debug, Clone)]
enum Source {
    Words(Arc<WordTable>),
    Adjusted(Arc<Adjuster>, String),
}

impl PromptMaker {
    /// A maker for the embedded tokenizer. Its words are known, so no file is parsed.
    pub fn embedded(mode: Mode, seed: u64) -> Self {
        PromptMaker::from_source(Source::Words(Arc::new(embedded::word_table())), mode, seed)
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
                None => return Ok(PromptMaker::from_source(Source::Words(Arc::new(words)), mode, seed)),
                Some((words, tokens)) => {
                    format!("{words} words of one token each encoded to {tokens} tokens")
                }
            },
            Err(reason) => reason,
        };
        let adjuster = Adjuster::new(Arc::clone(tokenizer))?;
        Ok(PromptMaker::from_source(Source::Adjusted(Arc::new(adjuster), reason), mode, seed))
    }

    fn from_source(source: Source, mode: Mode, seed: u64) -> Self {
        PromptMaker { source, mode, key: Key { seed, salt: 0 }, siblings: Arc::default() }
    }

    /// The same maker with another seed, for another run; the words are shared.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        PromptMaker { key: Key { seed, ..self.key }, ..self.clone() }
    }

    /// The same maker with a salt, for a server that is to know no prompt of an earlier run; 0 is
    /// none.
    ///
    /// All text is drawn anew, which costs nothing, as none of it is kept. In text by construction
    /// and in token ids the first token of every prompt is another one than without a salt, and than
    /// with a salt that is greater or less by one. So a prefix cache misses from the first token on,
    /// and a cache that finds blocks anywhere finds none. Lengths, and which prompts share how much,
    /// do not change.
    ///
    /// Prompts of different requests in two runs may begin with the same token, where there are as
    /// many requests as words; the token after it is then the same once in a table of words.
    #[must_use]
    pub fn with_salt(&self, salt: u64) -> Self {
        PromptMaker { key: Key { salt, ..self.key }, ..self.clone() }
    }

    /// The same maker with what a pass over the trace found, so that its blocks are told apart by
    /// their first tokens.
    #[must_use]
    pub fn with_siblings(&self, siblings: Siblings) -> Self {
        PromptMaker { siblings: Arc::new(siblings), ..self.clone() }
    }

    /// A pass over the trace whose blocks this maker is to make prompts from.
    pub fn sibling_pass(&self) -> SiblingPass {
        SiblingPass::new(self.alphabet())
    }

    /// How the lengths come to be exact.
    pub fn method(&self) -> Method {
        match &self.source {
            Source::Words(words) => {
                let Alphabet { first, words } = words.alphabet();
                Method::Construction { words, first_words: first }
            }
            Source::Adjusted(_, reason) => Method::Adjustment { reason: reason.clone() },
        }
    }

    /// What the prompts have in common.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.key.seed
    }

    /// The salt, 0 for none.
    pub fn salt(&self) -> u64 {
        self.key.salt
    }

    /// What sets blocks apart.
    pub fn siblings(&self) -> &Siblings {
        &self.siblings
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
        let index = self.index(index);
        match &self.source {
            Source::Words(words) => {
                compose::prompt(&mut words.text(body), words.alphabet(), self.key, index, n_tokens);
            }
            Source::Adjusted(adjuster, _) => {
                body.extend_from_slice(adjuster.make(self.key, index, n_tokens)?.as_bytes());
            }
        }
        Ok(())
    }

    /// Appends the tokens of the prompt of request `index`, for a server that takes token ids.
    ///
    /// By construction they are what the text of [`PromptMaker::make`] encodes to; by adjustment
    /// they are drawn by themselves, exact in number too.
    pub fn make_ids_into(&self, ids: &mut Vec<u32>, index: u64, n_tokens: u32) {
        let index = self.index(index);
        let mut out = match &self.source {
            Source::Words(words) => words.ids(ids),
            Source::Adjusted(adjuster, _) => adjuster.ids(ids),
        };
        compose::prompt(&mut out, self.alphabet(), self.key, index, n_tokens);
    }

    /// A prompt of exactly `n_tokens` tokens from prefix blocks, whatever the mode.
    ///
    /// Two prompts have the tokens of their common leading ids in common, and no more, if
    /// [`PromptMaker::with_siblings`] knows their trace and [`Siblings::inexact`] is 0. Ids beyond
    /// the length are not used, and what too few do not cover is the request's own.
    ///
    /// # Errors
    /// [`PromptError::InexactPrefixes`] where text is made by adjustment ([`PromptMaker::method`]).
    pub fn make_blocks(&self, blocks: Blocks<'_>, n_tokens: u32) -> Result<(String, Coverage), PromptError> {
        let mut text = Vec::new();
        let coverage = self.make_blocks_into(&mut text, blocks, n_tokens)?;
        Ok((String::from_utf8(text).expect("words are ASCII"), coverage))
    }

    /// Appends a prompt from prefix blocks to a body as it is: it needs no escaping in JSON.
    ///
    /// # Errors
    /// As [`PromptMaker::make_blocks`]; `body` is then as it was.
    pub fn make_blocks_into(
        &self,
        body: &mut Vec<u8>,
        blocks: Blocks<'_>,
        n_tokens: u32,
    ) -> Result<Coverage, PromptError> {
        match &self.source {
            Source::Words(words) => Ok(compose::blocks(
                &mut words.text(body),
                words.alphabet(),
                self.key,
                &self.siblings,
                blocks,
                n_tokens,
            )),
            Source::Adjusted(_, reason) => Err(PromptError::InexactPrefixes { reason: reason.clone() }),
        }
    }

    /// Appends the tokens of a prompt from prefix blocks: those of the text of
    /// [`PromptMaker::make_blocks`], where there is one.
    pub fn make_block_ids_into(&self, ids: &mut Vec<u32>, blocks: Blocks<'_>, n_tokens: u32) -> Coverage {
        let mut out = match &self.source {
            Source::Words(words) => words.ids(ids),
            Source::Adjusted(adjuster, _) => adjuster.ids(ids),
        };
        compose::blocks(&mut out, self.alphabet(), self.key, &self.siblings, blocks, n_tokens)
    }

    fn alphabet(&self) -> Alphabet {
        match &self.source {
            Source::Words(words) => words.alphabet(),
            Source::Adjusted(adjuster, _) => adjuster.alphabet(),
        }
    }

    fn index(&self, index: u64) -> u64 {
        match self.mode {
            Mode::Random => index,
            // A longer text of the same index continues a shorter one.
            Mode::Dummy => 0,
        }
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
        let key = Key { seed: 0, salt: 0 };
        compose::prompt(&mut words.text(&mut text), words.alphabet(), key, sample as u64, *n);
        let tokens = tokenizer.count(&String::from_utf8_lossy(&text))?;
        if tokens != *n as usize {
            return Ok(Some((*n, tokens)));
        }
    }
    Ok(None)
}
