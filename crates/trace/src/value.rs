//! Single values of a row, from the JSON text they were written in.
//!
//! Each function takes valid JSON and returns the value, or what was expected instead.

use crate::decimal::{is_exact, parse_decimal};

/// What a length is.
pub(crate) const TOKENS: &str = "a whole number of tokens from 1 to 4294967295";
const WHOLE: &str = "a whole number from 0 to 4294967295";
const BLOCKS: &str = "an array of whole numbers from 0 to 18446744073709551615";

/// A length in tokens. `500.0` is one: tables with gaps are often written so.
pub(crate) fn expect_tokens(text: &str) -> Result<u32, &'static str> {
    match whole(text) {
        Some(n) if n > 0 => Ok(n),
        _ => Err(TOKENS),
    }
}

pub(crate) fn expect_whole(text: &str) -> Result<u32, &'static str> {
    whole(text).ok_or(WHOLE)
}

fn whole(text: &str) -> Option<u32> {
    if let Ok(n) = text.parse() {
        return Some(n);
    }
    let n = parse_decimal(text, 0).ok()?;
    is_exact(text, 0).then(|| u32::try_from(n).ok())?
}

/// The number of block ids, each checked, none kept.
pub(crate) fn expect_blocks(text: &str) -> Result<u32, &'static str> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or(BLOCKS)?.as_bytes();
    // In valid JSON, digits, commas and blanks alone can only be an array of whole numbers. These
    // are loops over bytes without a branch: a long row is mostly its blocks.
    let plain = inner.iter().fold(true, |plain, b| plain & matches!(b, b'0'..=b'9' | b',' | b' ' | b'\t'));
    if !plain || has_overlong_id(inner) {
        return Err(BLOCKS);
    }
    let commas = inner.iter().map(|b| usize::from(*b == b',')).sum::<usize>();
    let is_empty = commas == 0 && inner.trim_ascii().is_empty();
    u32::try_from(commas + usize::from(!is_empty)).map_err(|_| BLOCKS)
}

/// Whether some run of digits is above 2^64 - 1. Only 20 digits or more can be, and so many cover
/// one of every 20 places: the others need not be looked at.
fn has_overlong_id(digits_and_gaps: &[u8]) -> bool {
    let is_digit = |at: &usize| digits_and_gaps.get(*at).is_some_and(u8::is_ascii_digit);
    (19..digits_and_gaps.len()).step_by(20).filter(is_digit).any(|at| {
        let first = (0..at).rev().take_while(is_digit).last().unwrap_or(at);
        let end = first + (first..digits_and_gaps.len()).take_while(is_digit).count();
        let id = std::str::from_utf8(&digits_and_gaps[first..end]);
        end - first >= 20 && id.is_ok_and(|id| id.parse::<u64>().is_err())
    })
}

pub(crate) fn expect_text(text: &str) -> Result<(), &'static str> {
    // The row was scanned, not decoded: a lone surrogate shows only now.
    if text.starts_with('"') && serde_json::from_str::<std::borrow::Cow<'_, str>>(text).is_ok() {
        Ok(())
    } else {
        Err("a text")
    }
}

/// The number, or `None` for a text.
pub(crate) fn expect_id(text: &str) -> Result<Option<i64>, &'static str> {
    if expect_text(text).is_ok() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "a text or a whole number")
}

pub(crate) fn expect_object(text: &str) -> Result<(), &'static str> {
    if text.starts_with('{') { Ok(()) } else { Err("an object") }
}

pub(crate) fn expect_list(text: &str) -> Result<(), &'static str> {
    if text.starts_with('[') { Ok(()) } else { Err("an array") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_are_counted_or_refused() {
        let check = |text: &str, expect: Option<u32>| assert_eq!(expect_blocks(text).ok(), expect, "{text}");
        check("[]", Some(0));
        check("[ ]", Some(0));
        check("[7]", Some(1));
        check("[0, 1,\t2 ]", Some(3));
        check("[18446744073709551615]", Some(1));
        check("[18446744073709551616]", None);
        check("[1, 2, 3, 99999999999999999999, 4]", None);
        for text in ["[-1]", "[1.5]", "[1e3]", "[\"1\"]", "[[1]]", "[null]", "7", "{}"] {
            check(text, None);
        }
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_point() {
        assert_eq!(expect_tokens("500"), Ok(500));
        assert_eq!(expect_tokens("500.0"), Ok(500));
        assert_eq!(expect_tokens("5e2"), Ok(500));
        for text in ["0", "-1", "1.5", "\"5\"", "4294967296", "null", "true", "1e99"] {
            assert_eq!(expect_tokens(text), Err(TOKENS), "{text}");
        }
        assert_eq!(expect_whole("0"), Ok(0));
    }

    #[test]
    fn ids_are_numbers_or_texts() {
        assert_eq!(expect_id("-1"), Ok(Some(-1)));
        assert_eq!(expect_id("\"a\""), Ok(None));
        for text in ["1.5", "[1]", "\"\\ud800\"", "true"] {
            assert!(expect_id(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn blocks_agree_with_a_json_parser(ids in prop::collection::vec(any::<u128>().prop_map(|n| n >> 60), 0..12)) {
            let text = serde_json::to_string(&ids).unwrap();
            let oracle = serde_json::from_str::<Vec<u64>>(&text).ok().map(|ids| ids.len() as u32);
            prop_assert_eq!(expect_blocks(&text).ok(), oracle);
        }
    }
}
