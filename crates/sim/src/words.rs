//! Words out and words in: the text of the tokens, and how many words a prompt has.

/// Sixty-four words, each sent with a space before it. Lengths differ on purpose: a client that
/// assumes equal events is found out.
const WORDS: [&str; 64] = [
    " amber", " and", " apple", " as", " autumn", " bay", " blue", " bridge", " by", " calm", " cedar",
    " clear", " cloud", " coast", " dawn", " deep", " door", " drift", " east", " ember", " evening", " far",
    " fern", " field", " for", " garden", " glass", " green", " harbour", " hill", " house", " in",
    " island", " lake", " lantern", " leaf", " light", " long", " meadow", " moon", " morning", " north",
    " oak", " of", " on", " open", " path", " quiet", " rain", " river", " sea", " shade", " silver",
    " slow", " snow", " south", " stone", " summer", " the", " tide", " to", " valley", " wind", " winter",
];

/// The text of token `k` (from 0): the same for every request, so that answers can be compared.
pub(crate) fn word(k: u32) -> &'static str {
    // Knuth's multiplicative hash: neighbours are unlike, and k = 0 is not special.
    WORDS[(k.wrapping_add(1).wrapping_mul(2_654_435_761) >> 26) as usize]
}

/// The number of words in `text`, separated by Unicode white space as [`str::split_whitespace`] has it.
///
/// ASCII text, the rule, is counted at many bytes a cycle: a prompt of 100 KB takes about 10 µs.
pub(crate) fn count_words(text: &str) -> u64 {
    if text.is_ascii() { count_ascii(text.as_bytes()) } else { text.split_whitespace().count() as u64 }
}

/// Words begin where a byte that is no space follows one that is.
fn count_ascii(bytes: &[u8]) -> u64 {
    let Some((&first, rest)) = bytes.split_first() else { return 0 };
    let mut words = u64::from(!is_space(first));
    // Blocks of 255 pairs: their sum fits the u8 lanes that the vectoriser keeps.
    for (before, here) in bytes.chunks(255).zip(rest.chunks(255)) {
        let starts = before.iter().zip(here).map(|(&b, &h)| u8::from(is_space(b) & !is_space(h)));
        words += u64::from(starts.sum::<u8>());
    }
    words
}

/// White space below 128 by Unicode: tab, LF, VT, FF, CR and space.
const fn is_space(byte: u8) -> bool {
    byte == b' ' || byte.wrapping_sub(b'\t') < 5
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_are_what_the_standard_library_splits(text in "[ a-z\t\n\u{b}\u{c}\r\u{1c}é\u{3000}]{0,700}") {
            prop_assert_eq!(count_words(&text), text.split_whitespace().count() as u64);
        }

        #[test]
        fn ascii_words_too(text in "[ a\n]{0,1200}") {
            prop_assert_eq!(count_words(&text), text.split_whitespace().count() as u64);
        }
    }

    #[test]
    fn each_token_is_one_word_that_json_needs_not_escape() {
        for k in 0..1000 {
            let word = word(k);
            assert!(word.starts_with(' ') && word[1..].bytes().all(|b| b.is_ascii_lowercase()), "{word:?}");
        }
    }
}
