//! Words out and words in: the text of the tokens, and how many words a prompt has.

#![expect(clippy::needless_bitwise_bool, reason = "without branches, text is looked at many bytes a cycle")]

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
/// Text without wide spaces, the rule, is counted at many bytes a cycle: a prompt of 100 KB takes about 10 µs.
pub(crate) fn count_words(text: &str) -> u64 {
    if has_plain_spaces(text) { count_plain(text.as_bytes()) } else { text.split_whitespace().count() as u64 }
}

/// Words begin where a byte that is no space follows one that is.
fn count_plain(bytes: &[u8]) -> u64 {
    let Some((&first, rest)) = bytes.split_first() else { return 0 };
    let mut words = u64::from(!is_space(first));
    // Blocks of 255 pairs: their sum fits the u8 lanes that the vectoriser keeps.
    for (before, here) in bytes.chunks(255).zip(rest.chunks(255)) {
        let starts = before.iter().zip(here).map(|(&b, &h)| u8::from(is_space(b) & !is_space(h)));
        words += u64::from(starts.sum::<u8>());
    }
    words
}

/// Writes the words of `text` to `out`, in place of what is there, one space behind each.
pub(crate) fn spell_out(text: &str, out: &mut Vec<u8>) {
    out.clear();
    if !has_plain_spaces(text) {
        for word in text.split_whitespace() {
            out.extend_from_slice(word.as_bytes());
            out.push(b' ');
        }
        return;
    }
    let text = text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8));
    if text.is_empty() {
        return;
    }
    out.extend(text.bytes().map(|byte| if is_space(byte) { b' ' } else { byte }));
    out.push(b' ');
    // Most text has no two spaces in a row.
    if has_gap(out) {
        close_gaps(out);
    }
}

/// Whether there are two spaces in a row.
fn has_gap(text: &[u8]) -> bool {
    // Folded rather than searched, so that it goes many bytes at a time.
    let pairs = text.iter().zip(text.get(1..).unwrap_or_default());
    pairs.fold(0, |gaps, (&b, &h)| gaps | u8::from((b == b' ') & (h == b' '))) != 0
}

/// Leaves one of several spaces in a row; the first byte is none.
fn close_gaps(text: &mut Vec<u8>) {
    const STEP: usize = 32;
    let (mut kept, mut at) = (1, 1);
    while at < text.len() {
        let end = (at + STEP).min(text.len());
        // What was kept is never ahead of what is read: the byte before is still what it was.
        let mut before = text[at - 1];
        if has_gap(&text[at - 1..end]) {
            for i in at..end {
                // Copied in any case, and the next one over it unless it counts: no branch to guess.
                let here = text[i];
                text[kept] = here;
                kept += usize::from((before != b' ') | (here != b' '));
                before = here;
            }
        } else {
            text.copy_within(at..end, kept);
            kept += end - at;
        }
        at = end;
    }
    text.truncate(kept);
}

/// Where the first `at_most` words of what [`spell_out`] wrote end, or all if there are fewer: the index,
/// and the number of words before it.
pub(crate) fn end_of_words(spelt: &[u8], at_most: u64) -> (usize, u64) {
    /// So short that little is left to look at byte by byte.
    const STEP: usize = 32;
    let (mut at, mut words) = (0, 0);
    for step in spelt.as_chunks::<STEP>().0 {
        let ends: u8 = step.iter().map(|&byte| u8::from(byte == b' ')).sum();
        if words + u64::from(ends) >= at_most {
            break;
        }
        words += u64::from(ends);
        at += STEP;
    }
    for &byte in &spelt[at..] {
        at += 1;
        words += u64::from(byte == b' ');
        if words == at_most {
            break;
        }
    }
    (at, words)
}

/// Cuts `text` into pieces of some KB, where a cache is fast, and never within a word.
pub(crate) fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    const PIECE: usize = 8 << 10;
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        let cut = match bytes.get(..PIECE) {
            None => bytes.len(),
            Some(piece) => match piece.iter().rposition(|&byte| is_space(byte)) {
                Some(at) => at + 1,
                None => bytes.iter().position(|&byte| is_space(byte)).map_or(bytes.len(), |at| at + 1),
            },
        };
        // An ASCII byte is never a part of another character.
        let (piece, rest) = text.split_at(cut);
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Whether all white space in `text` is ASCII, as far as the first bytes of characters tell: every other
/// space (U+0085, U+00A0, U+1680, U+2000 to U+205F, U+3000) begins with one of these.
fn has_plain_spaces(text: &str) -> bool {
    let wide = |byte| (byte == 0xc2) | (byte == 0xe1) | (byte == 0xe2) | (byte == 0xe3);
    text.bytes().fold(0, |any, byte| any | u8::from(wide(byte))) == 0
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

    proptest! {
        #[test]
        fn what_is_spelt_out_are_the_words(text in "[ a\n\u{b}\u{85}\u{a0}é\u{2003}\u{3000}]{0,200}") {
            check_spelling(&text)?;
        }

        #[test]
        fn so_it_is_without_wide_spaces(text in "[ abc\n\u{b}é字]{0,200}", at_most in 1_u64..40) {
            let spelt = check_spelling(&text)?;
            let (at, words) = end_of_words(&spelt, at_most);
            let before = std::str::from_utf8(&spelt[..at]).unwrap();
            prop_assert_eq!(words, count_words(&text).min(at_most));
            prop_assert_eq!(words, count_words(before));
            prop_assert!(before.is_empty() || before.ends_with(' '));
        }
    }

    fn check_spelling(text: &str) -> Result<Vec<u8>, TestCaseError> {
        let mut spelt = b"before".to_vec();
        spell_out(text, &mut spelt);
        let expected: String = text.split_whitespace().flat_map(|word| [word, " "]).collect();
        prop_assert_eq!(std::str::from_utf8(&spelt).unwrap(), expected);
        prop_assert_eq!(count_words(text), text.split_whitespace().count() as u64);
        Ok(spelt)
    }

    #[test]
    fn pieces_are_cut_between_words() {
        for text in
            ["", "a", &"ab cé\n".repeat(5_000), &format!("{} b", "a".repeat(20_000)), &"é".repeat(9_000)]
        {
            let cut: Vec<&str> = pieces(text).collect();
            assert_eq!(cut.concat(), text);
            assert_eq!(cut.iter().map(|piece| count_words(piece)).sum::<u64>(), count_words(text));
        }
        assert_eq!(pieces(&"ab cé\n".repeat(5_000)).count(), 5);
    }

    #[test]
    fn every_space_is_known_by_its_first_byte() {
        for space in ('\u{80}'..=char::MAX).filter(|c| c.is_whitespace()) {
            assert!(!has_plain_spaces(&space.to_string()), "{space:?}");
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
