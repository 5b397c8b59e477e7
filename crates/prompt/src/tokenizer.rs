//! A tokenizer: where it came from, what identifies it, and how many tokens a text has.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokenizers::Encoding;

use crate::{EMBEDDED_TOKENIZER, HubCache, PromptError};

/// Why a tokenizer could not be loaded: one line that says what, where and what to do. The cause,
/// where there is one, is the error's source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Neither a path nor a model of the cache.
    #[error(
        "tokenizer {given:?}: no such file or folder, and no such model in {}; give a tokenizer.json, a folder that holds one, or a model id after `hf download <id> tokenizer.json`",
        cache.display()
    )]
    NotFound {
        /// As given.
        given: String,
        /// The folder of the Hugging Face cache that was looked into.
        cache: PathBuf,
    },
    /// A folder, or a model of the cache, without the file.
    #[error(
        "tokenizer {given:?}: no tokenizer.json in {}; fetch or export one there (a model that ships only tokenizer.model has it after `AutoTokenizer.from_pretrained(…).save_pretrained(…)`)",
        folder.display()
    )]
    NoTokenizerJson {
        /// As given.
        given: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A model of the cache with several revisions, none of them marked as the main one.
    #[error(
        "tokenizer {given:?}: {revisions} revisions in {} and no refs/main to choose by; give the path of one of their tokenizer.json",
        snapshots.display()
    )]
    ManyRevisions {
        /// As given.
        given: String,
        /// The folder of the revisions.
        snapshots: PathBuf,
        /// How many of them hold a tokenizer.json.
        revisions: usize,
    },
    /// The file or folder is there and cannot be read.
    #[error("tokenizer {}: cannot be read; check its permissions", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not a tokenizer.
    #[error(
        "tokenizer {}: not a tokenizer.json of the Hugging Face `tokenizers` format; give one that `tokenizers.Tokenizer.from_file` reads",
        path.display()
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A tokenizer that counts and encodes without special tokens, padding or truncation.
pub struct Tokenizer {
    name: String,
    sha256: String,
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// The tokenizer that the project made itself and carries inside.
    pub fn embedded() -> Self {
        let path = Path::new("embedded");
        Tokenizer::from_bytes("embedded", path, EMBEDDED_TOKENIZER).expect("a test loads the embedded file")
    }

    /// Loads a tokenizer from the disk; the network is never asked.
    ///
    /// - `source`: a `tokenizer.json`, a folder that holds one, or the id of a model in the cache,
    ///   tried in this order.
    ///
    /// # Errors
    /// [`LoadError`], one line that names the place.
    pub fn load(source: &str, cache: &HubCache) -> Result<Self, LoadError> {
        let given = Path::new(source);
        let path = if given.is_dir() {
            let file = given.join("tokenizer.json");
            if !file.is_file() {
                return Err(LoadError::NoTokenizerJson {
                    given: source.to_owned(),
                    folder: given.to_owned(),
                });
            }
            file
        } else if given.exists() {
            given.to_owned()
        } else {
            cache.tokenizer_json(source)?
        };
        let bytes = fs::read(&path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
        Tokenizer::from_bytes(source, &path, &bytes)
    }

    fn from_bytes(name: &str, path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let parse = |source| LoadError::Parse { path: path.to_owned(), source };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(parse)?;
        // Files often carry the settings of the model's training: cut at 512, padded to a multiple.
        inner.with_truncation(None).map_err(parse)?;
        inner.with_padding(None);
        let sha256 = format!("{:x}", Sha256::digest(bytes));
        Ok(Tokenizer { name: name.to_owned(), sha256, inner })
    }

    /// As given to [`Tokenizer::load`], or `embedded`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The number of tokens of a text, without special tokens.
    ///
    /// # Errors
    /// [`PromptError::Encode`] when the tokenizer refuses the text (some have no token for the
    /// unknown).
    pub fn count(&self, text: &str) -> Result<usize, PromptError> {
        let encoding =
            self.inner.encode_fast(text, false).map_err(|source| PromptError::Encode { source })?;
        Ok(encoding.len())
    }

    /// The token ids of a text, without special tokens.
    ///
    /// # Errors
    /// As [`Tokenizer::count`].
    pub fn encode_ids(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let encoding =
            self.inner.encode_fast(text, false).map_err(|source| PromptError::Encode { source })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens with their byte offsets in the text.
    pub(crate) fn encode(&self, text: &str) -> Result<Encoding, PromptError> {
        self.inner.encode(text, false).map_err(|source| PromptError::Encode { source })
    }

    /// The text of token ids, as the tokenizer's own decoder joins them.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String, PromptError> {
        self.inner.decode(ids, true).map_err(|source| PromptError::Encode { source })
    }

    /// The vocabulary in the order of its ids; `added` with the tokens beside the model's own.
    pub(crate) fn vocabulary(&self, added: bool) -> Vec<(u32, String)> {
        let mut tokens: Vec<_> =
            self.inner.get_vocab(added).into_iter().map(|(token, id)| (id, token)).collect();
        tokens.sort_unstable();
        tokens
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The vocabulary would fill screens.
        f.debug_struct("Tokenizer")
            .field("name", &self.name)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}
