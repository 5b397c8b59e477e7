//! Finds the words that a tokenizer encodes to one token each, wherever they stand.
//!
//! Three steps: candidates from the vocabulary's spelling; those out that a token reaching across
//! two words could swallow; the rest encoded, between other words and at the beginning of a text.
//! After the second step no token can span a space between two words of the table, so what holds
//! for a word in one place holds in every place: that is what makes the joined text exact.

use std::collections::HashSet;
use std::thread;

use crate::words::{MAX_LETTERS, WordTable};
use crate::{PromptError, Tokenizer};

/// Fewest words, and words to begin with, that make texts different enough.
const MIN_WORDS: usize = 256;
const MIN_FIRST: usize = 64;

/// Most words taken, the tokenizer's most frequent ones: more would cost time at the start and
/// cache misses while writing, and buy nothing.
const MAX_WORDS: usize = 32_768;

/// Words encoded together in the check.
const CHUNK: usize = 256;

/// The word table of a tokenizer, or the reason why it has none.
///
/// # Errors
/// [`PromptError::Encode`] when the tokenizer refuses a text.
pub(crate) fn discover(tokenizer: &Tokenizer) -> Result<Result<WordTable, String>, PromptError> {
    let vocabulary = tokenizer.vocabulary(true);
    let mut candidates = candidates(vocabulary.iter().map(|(_, token)| token.as_str()));
    Crossings::of(vocabulary.iter().map(|(_, token)| token.as_str())).remove_from(&mut candidates);
    candidates.truncate(MAX_WORDS);

    let words = in_parallel(&candidates, |words| one_token_between_words(tokenizer, words))?;
    let can_begin = in_parallel(&words, |words| one_token_alone(tokenizer, words))?;
    if words.len() < MIN_WORDS || can_begin.len() < MIN_FIRST {
        return Ok(Err(format!(
            "{} words are one token each after another word and {} at the beginning of a text, {MIN_WORDS} and {MIN_FIRST} are needed",
            words.len(),
            can_begin.len(),
        )));
    }
    // Both lists are in the order of the candidates.
    let mut first = Vec::with_capacity(can_begin.len());
    let mut begins = can_begin.iter().peekable();
    for (i, (word, _)) in (0..).zip(&words) {
        if let Some((_, token)) = begins.next_if(|(begin, _)| begin == word) {
            first.push((i, *token));
        }
    }
    Ok(Ok(WordTable::new(words, first)))
}

/// How vocabularies spell the space before a word: byte-level BPE, SentencePiece, plainly.
fn is_space(c: char) -> bool {
    matches!(c, 'Ġ' | '▁' | ' ')
}

/// The word that a token spells, without the space before it and CLIP's mark after it.
fn spelled(token: &str) -> &str {
    let token = token.strip_suffix("</w>").unwrap_or(token);
    token.strip_prefix(is_space).unwrap_or(token)
}

/// Words of two or more ASCII letters, lower-case ones first, else in the vocabulary's order, which
/// is that of their frequency in most tokenizers.
fn candidates<'a>(tokens: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
    let is_word = |word: &str| {
        (2..=MAX_LETTERS).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    // Where words carry their space, a token without one is the inside of a word.
    let spaced = tokens.clone().any(|token| token.starts_with(is_space) && is_word(spelled(token)));
    let mut seen = HashSet::new();
    let (mut lower, other): (Vec<&str>, Vec<&str>) = tokens
        .filter(|token| !spaced || token.starts_with(is_space))
        .map(spelled)
        .filter(|word| is_word(word) && seen.insert(*word))
        .partition(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    lower.extend(other);
    lower
}

/// What stands before a space inside a token that reaches from one word into the next.
#[derive(Debug, Default)]
struct Crossings<'a> {
    /// Whole words: the token holds the space before them too.
    words: HashSet<&'a str>,
    /// Ends of words.
    ends: HashSet<&'a str>,
}

impl<'a> Crossings<'a> {
    fn of(tokens: impl Iterator<Item = &'a str>) -> Self {
        let mut crossings = Crossings::default();
        for token in tokens {
            let parts: Vec<&str> = token.split(is_space).collect();
            let letters = |part: &&str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
            // Our texts have letters and single spaces only.
            let [begin, inside @ .., _] = &parts[..] else { continue };
            if !parts.iter().all(letters) || inside.iter().any(|part| part.is_empty()) {
                continue;
            }
            if !begin.is_empty() {
                crossings.ends.insert(begin);
            }
            crossings.words.extend(inside);
        }
        crossings
    }

    /// Removes the words that such a token could begin in.
    fn remove_from(&self, words: &mut Vec<&str>) {
        if self.words.is_empty() && self.ends.is_empty() {
            return;
        }
        let ends_so = |word: &str| (0..word.len()).any(|start| self.ends.contains(&word[start..]));
        words.retain(|word| !self.words.contains(word) && !ends_so(word));
    }
}

/// A word and the token that it is.
type OneToken<'a> = (&'a str, u32);

/// Those of the words that are one token after another word.
fn one_token_between_words<'a>(
    tokenizer: &Tokenizer,
    words: &[&'a str],
) -> Result<Vec<OneToken<'a>>, PromptError> {
    let mut good = Vec::with_capacity(words.len());
    for chunk in words.chunks(CHUNK) {
        // The first word only gives the others something to stand after.
        let text = format!("{} {}", chunk[0], chunk.join(" "));
        let encoding = tokenizer.encode(&text)?;
        let named = encoding.get_tokens().iter().zip(encoding.get_ids());
        let mut tokens = encoding.get_offsets().iter().zip(named).peekable();
        let mut end = chunk[0].len();
        while tokens.next_if(|(offsets, _)| offsets.1 <= end).is_some() {}
        for word in chunk {
            let begin = end;
            end += 1 + word.len();
            let token = tokens.next_if(|(offsets, _)| offsets.1 <= end);
            let mut more = 0;
            while tokens.next_if(|(offsets, _)| offsets.1 <= end).is_some() {
                more += 1;
            }
            if let Some((&(from, to), (token, id))) = token
                && (from >= begin && to == end && more == 0)
                && spelled(token) == *word
            {
                good.push((*word, *id));
            }
        }
    }
    Ok(good)
}

/// Those of the words that are one token as a text of their own.
fn one_token_alone<'a>(
    tokenizer: &Tokenizer,
    words: &[OneToken<'a>],
) -> Result<Vec<OneToken<'a>>, PromptError> {
    let mut good = Vec::with_capacity(words.len());
    for (word, _) in words {
        let encoding = tokenizer.encode(word)?;
        if let ([token], [id]) = (encoding.get_tokens(), encoding.get_ids())
            && spelled(token) == *word
        {
            good.push((*word, *id));
        }
    }
    Ok(good)
}

/// Runs a filter over slices of the words on a few threads; the order is kept.
fn in_parallel<'a, T: Sync>(
    words: &[T],
    filter: impl Fn(&[T]) -> Result<Vec<OneToken<'a>>, PromptError> + Sync,
) -> Result<Vec<OneToken<'a>>, PromptError> {
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = words.len().div_ceil(n_threads).max(CHUNK);
    thread::scope(|scope| {
        let threads: Vec<_> = words.chunks(share).map(|words| scope.spawn(|| filter(words))).collect();
        let mut good = Vec::with_capacity(words.len());
        for thread in threads {
            good.extend(thread.join().expect("the filter does not panic")?);
        }
        Ok(good)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_come_from_every_spelling() {
        let check = |tokens: &[&str], expect: &[&str]| {
            assert_eq!(candidates(tokens.iter().copied()), expect);
        };
        check(&["Ġthe", "ing", "ĠOf", "Ġan", "Ġa", "Ġthe", "Ġx1", "Ġnaïve"], &["the", "an", "Of"]);
        check(&["▁the", "▁", "▁▁an", "ing"], &["the"]);
        check(&["[UNK]", "the", "##ing", "of"], &["the", "of"]);
        check(&["the</w>", "an", "!</w>"], &["the", "an"]);
        check(&["Ġfifteenletterss", "Ġfourteenletter"], &["fourteenletter"]);
    }

    #[test]
    fn words_that_a_longer_token_could_swallow_go() {
        let check = |tokens: &[&str], expect: &[&str]| {
            let mut words = vec!["of", "off", "the", "cats"];
            Crossings::of(tokens.iter().copied()).remove_from(&mut words);
            assert_eq!(words, expect);
        };
        check(&["Ġof", "Ġthe", "ĠĠ", "Ġ"], &["of", "off", "the", "cats"]);
        check(&["ĠofĠthe"], &["off", "the", "cats"]);
        check(&["f▁"], &["the", "cats"]);
        check(&["s▁t"], &["of", "off", "the"]);
        check(&["▁of▁the▁"], &["off", "cats"]);
        // Not in any text of words with single spaces.
        check(&["s▁▁", "s▁(", "1▁the"], &["of", "off", "the", "cats"]);
    }
}
