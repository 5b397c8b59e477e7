//! The tokenizer that the project made itself: pronounceable words without meaning.
//!
//! Byte-level BPE as GPT-2 splits text, with all 256 byte symbols and no merges: a word of the
//! vocabulary is one token (`ignore_merges`), any other text is one token a byte. All words are
//! lower-case ASCII, so in the text made from it the number of words is the number of tokens, and
//! a reader without any tokenizer can count them.

use std::collections::HashSet;
use std::fmt::Write as _;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::draw::draw;
use crate::words::WordTable;

/// The embedded `tokenizer.json`, as [`generate_tokenizer`] makes it.
pub const EMBEDDED_TOKENIZER: &[u8] = include_bytes!("../assets/tokenizer.json");

/// Number of words; each is in the vocabulary with and without its leading space.
const WORDS: usize = 16_384;

/// Changing the seed, a letter or a weight changes every prompt that was ever made with this
/// tokenizer, and the hash that old runs name.
const SEED: u64 = 0x7469_6373;

const ONSETS: [&str; 15] = ["b", "d", "f", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w"];
const VOWELS: [&str; 5] = ["a", "e", "i", "o", "u"];
const CODAS: [&str; 3] = ["l", "n", "r"];

/// The words, in the order of their ids: 3 to 8 letters, all different.
///
/// One to four syllables of consonant and vowel, the last one closed by a consonant in half of the
/// cases; about five letters on average, as in running English text.
fn words() -> Vec<String> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut seen = HashSet::with_capacity(WORDS);
    let mut words = Vec::with_capacity(WORDS);
    while words.len() < WORDS {
        let syllables = match draw(&mut random, 100) {
            0..2 => 1,
            2..62 => 2,
            62..97 => 3,
            _ => 4,
        };
        let mut word = String::with_capacity(8);
        for _ in 0..syllables {
            word.push_str(ONSETS[draw(&mut random, ONSETS.len())]);
            word.push_str(VOWELS[draw(&mut random, VOWELS.len())]);
        }
        if draw(&mut random, 2) == 0 {
            word.push_str(CODAS[draw(&mut random, CODAS.len())]);
        }
        if (3..=8).contains(&word.len()) && seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

/// The word table of the embedded tokenizer, without reading its file: that each word is one token,
/// with its space and at the beginning of a text, is how the file is made.
pub(crate) fn word_table() -> WordTable {
    let words = words();
    let tokens = |first: u32| first..first + WORDS as u32;
    let n_spaced = 256 + WORDS as u32;
    WordTable::new(words.iter().map(String::as_str).zip(tokens(256)), (0..).zip(tokens(n_spaced)))
}

/// The symbol that byte-level BPE writes for a byte: itself where printable, else the next free code
/// point from 256 on.
///
/// Source: GPT-2's `bytes_to_unicode`.
fn byte_symbols() -> Vec<char> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    let mut symbol = |byte: u8| {
        if printable(byte) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).expect("256 to 323 are code points")
    };
    (0..=255).map(&mut symbol).collect()
}

/// Makes the bytes of the embedded `tokenizer.json`; always the same ones.
///
/// Ids: 256 byte symbols, then the words with their leading space, then the words without it.
pub fn generate_tokenizer() -> Vec<u8> {
    let mut json = String::with_capacity(1 << 20);
    json.push_str(concat!(
        r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"#,
        r#""pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"#,
        r#""post_processor":null,"#,
        r#""decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"#,
        r#""model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"#,
        r#""end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":true,"vocab":{"#,
    ));
    let words = words();
    let symbols = byte_symbols().into_iter().map(String::from);
    let spaced = words.iter().map(|word| format!("Ġ{word}"));
    for (id, token) in symbols.chain(spaced).chain(words.iter().cloned()).enumerate() {
        let comma = if id == 0 { "" } else { "," };
        let token = serde_json::Value::String(token);
        write!(json, "{comma}{token}:{id}").expect("writing to a string does not fail");
    }
    json.push_str("},\"merges\":[]}}\n");
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;

    #[test]
    fn the_committed_file_is_what_the_generator_makes() {
        assert!(
            generate_tokenizer() == EMBEDDED_TOKENIZER,
            "run `cargo xtask tokenizer` and commit its file"
        );
    }

    #[test]
    fn words_are_lower_case_and_different() {
        let words = words();
        assert!(words.iter().all(|word| (3..=8).contains(&word.len())));
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), WORDS);
    }

    #[test]
    fn every_word_is_one_token_with_and_without_its_space() {
        let tokenizer = Tokenizer::embedded();
        for word in words() {
            assert_eq!(tokenizer.count(&word).unwrap(), 1, "{word}");
            assert_eq!(tokenizer.count(&format!(" {word}")).unwrap(), 1, "{word}");
        }
    }

    #[test]
    fn other_text_is_one_token_a_byte_and_comes_back() {
        let tokenizer = Tokenizer::embedded();
        for text in ["Q", "x\ty\r\n", "naïve – 東京 🦀", "\u{0}\u{7f}\u{ad}"] {
            let ids = tokenizer.encode(text).unwrap().get_ids().to_vec();
            assert_eq!(ids.len(), text.len(), "{text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }
}
