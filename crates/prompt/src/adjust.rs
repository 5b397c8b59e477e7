//! The slow way: random tokens, decoded, encoded again, cut or extended until the length is right.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use crate::compose::Alphabet;
use crate::draw::{Key, Part, draw, rng};
use crate::words::Ids;
use crate::{PromptError, Tokenizer};

/// Encodings of one prompt before it is given up.
const MAX_ATTEMPTS: u32 = 64;

/// Makes prompts for a tokenizer that joins tokens differently than it decodes them.
#[derive(Debug)]
pub(crate) struct Adjuster {
    tokenizer: Arc<Tokenizer>,
    /// Ids of tokens whose text is printable and needs no escaping in JSON.
    pieces: Vec<u32>,
    /// Mean length of a piece's text, in bytes.
    mean_bytes: f64,
}

impl Adjuster {
    /// # Errors
    /// [`PromptError::NoPieces`] when no token has usable text.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, PromptError> {
        let mut plain = Vec::new();
        let mut any = Vec::new();
        for (id, _) in tokenizer.vocabulary(false) {
            let text = tokenizer.decode(&[id])?;
            if text.chars().all(char::is_whitespace) || !text.chars().all(is_safe) {
                continue;
            }
            if text.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ') {
                plain.push((id, text.len()));
            }
            any.push((id, text.len()));
        }
        // Letters and digits where there are enough of them: other text is prone to normalisation.
        let pieces = if plain.len() >= 16 { plain } else { any };
        if pieces.is_empty() {
            return Err(PromptError::NoPieces { tokenizer: tokenizer.name().to_owned() });
        }
        let mean_bytes = pieces.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / pieces.len() as f64;
        Ok(Adjuster { tokenizer, pieces: pieces.into_iter().map(|(id, _)| id).collect(), mean_bytes })
    }

    /// Mean length of a token's text, in bytes.
    pub(crate) fn mean_bytes(&self) -> f64 {
        self.mean_bytes
    }

    /// How many pieces there are; any of them can begin a prompt.
    pub(crate) fn alphabet(&self) -> Alphabet {
        Alphabet { first: self.pieces.len(), words: self.pieces.len() }
    }

    /// Takes pieces as the tokens that they are: without text between, no length needs adjusting.
    pub(crate) fn ids<'a>(&'a self, out: &'a mut Vec<u32>) -> Ids<'a> {
        Ids { first: &self.pieces, tokens: &self.pieces, out }
    }

    /// A text of exactly `n` tokens.
    ///
    /// # Errors
    /// [`PromptError::NotExact`] when [`MAX_ATTEMPTS`] encodings did not get there.
    pub(crate) fn make(&self, key: Key, index: u64, n: u32) -> Result<String, PromptError> {
        let asked = n as usize;
        let mut random = rng(key, Part::Prompt, index);
        let mut ids = Vec::with_capacity(asked);
        let mut closest = 0;
        for attempt in 0..MAX_ATTEMPTS {
            self.extend(&mut ids, asked, &mut random);
            let text = self.text(&ids)?;
            ids = self.tokenizer.encode(&text)?.get_ids().to_vec();
            if ids.len() == asked {
                return Ok(text);
            }
            if ids.len().abs_diff(asked) < usize::abs_diff(closest, asked) {
                closest = ids.len();
            }
            // The first cut is to length; where that runs in circles, a few tokens are drawn afresh.
            ids.truncate(asked.saturating_sub(attempt as usize % 8));
        }
        Err(PromptError::NotExact { asked: n, closest, attempts: MAX_ATTEMPTS })
    }

    fn extend(&self, ids: &mut Vec<u32>, asked: usize, random: &mut ChaCha8Rng) {
        while ids.len() < asked {
            ids.push(self.pieces[draw(random, self.pieces.len())]);
        }
    }

    /// Decoded text without outer spaces and without what decoding may have brought in.
    fn text(&self, ids: &[u32]) -> Result<String, PromptError> {
        let mut text = self.tokenizer.decode(ids)?;
        text.retain(is_safe);
        let inner = text.trim();
        if inner.len() < text.len() {
            text = inner.to_owned();
        }
        Ok(text)
    }
}

/// Whether a character stands for itself in a JSON string and is a whole one.
fn is_safe(c: char) -> bool {
    !c.is_control() && !matches!(c, '"' | '\\' | char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joined at random, its words fall apart into letters, which is as bad as it gets.
    #[test]
    fn it_reaches_every_length_with_a_tokenizer_it_does_not_suit() {
        let tokenizer = Arc::new(Tokenizer::embedded());
        let adjuster = Adjuster::new(Arc::clone(&tokenizer)).unwrap();
        for n in 1..=300 {
            let text = adjuster.make(Key { seed: 1, salt: 0 }, u64::from(n), n).unwrap();
            assert_eq!(tokenizer.count(&text).unwrap(), n as usize);
        }
    }
}
