//! The fast reader of an event: one pass over the bytes, nothing built, nothing allocated.
//!
//! It knows JSON as servers write it and answers only when it is sure: what it has not been taught
//! (an error object, a key written with escapes, a key given twice, a number where text belongs, bytes
//! that are no JSON) makes it give up with `None`, and [`by_serde`](super::by_serde) decides. So it
//! never has to tell a rare event from a broken one, and can be wrong only by answering wrongly, which
//! the tests look for.
//!
//! Strings are most of an event, so they are read eight bytes at a time, in a plain register: their
//! median length is near ten bytes, for which a call of a vectorised search costs more than it saves.

use std::borrow::Cow;
use std::ops::Range;

use super::{Carried, Decoded, PromptDetails, Usage};

/// What the scanner says of an event.
pub(super) struct Scanned<'a> {
    pub(super) decoded: Decoded<'a>,
    /// Where the last of its texts that decide its class is, without its quotes; empty if there is none.
    pub(super) text: Range<usize>,
}

/// Reads one event that is an object without an error in it.
pub(super) fn scan(data: &[u8]) -> Option<Scanned<'_>> {
    let mut scan = Scan { data, at: 0, text: 0..0 };
    let mut keys = Keys::default();
    let (mut minisgl, mut carried, mut finish_reason, mut usage) = (false, Carried::default(), None, None);
    scan.object(|scan, key| match key {
        b"object" => {
            keys.once(0)?;
            if scan.null()? {
                return Some(());
            }
            let object = scan.plain_text()?;
            minisgl = object == super::MINISGL;
            (object != super::ERROR).then_some(())
        }
        b"choices" => {
            keys.once(1)?;
            if scan.null()? {
                return Some(());
            }
            scan.array(|scan| scan.choice(&mut carried, &mut finish_reason))
        }
        b"usage" => {
            keys.once(2)?;
            usage = if scan.null()? { None } else { Some(scan.usage()?) };
            Some(())
        }
        b"error" => {
            keys.once(3)?;
            scan.null()?.then_some(())
        }
        _ => scan.skip(),
    })?;
    if white(data, scan.at) != data.len() {
        return None;
    }
    let class = carried.class(minisgl, usage.is_some());
    let finish_reason = finish_reason.map(Cow::Borrowed);
    Some(Scanned { decoded: Decoded { class, finish_reason, usage, error: None }, text: scan.text })
}

/// Which of an object's known keys were seen.
#[derive(Default)]
struct Keys(u8);

impl Keys {
    /// `None` if key number `n` was there before.
    fn once(&mut self, n: u8) -> Option<()> {
        let bit = 1 << n;
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new.then_some(())
    }
}

/// A document and how far it has been read. Every method gives up with `None`, and then nothing more
/// may be read.
///
/// What is called rather than inlined is given the position and returns the new one, so that the
/// position lives in a register.
struct Scan<'a> {
    data: &'a [u8],
    at: usize,
    /// The last text that was there and not empty.
    text: Range<usize>,
}

impl<'a> Scan<'a> {
    /// The next byte that is no white space; it stays.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        if byte > b' ' {
            return Some(byte);
        }
        self.at = white(self.data, self.at);
        self.data.get(self.at).copied()
    }

    /// Takes the next byte that is no white space.
    #[inline]
    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.take()? == byte).then_some(())
    }

    /// Takes `null` if that is what comes.
    #[inline]
    fn null(&mut self) -> Option<bool> {
        if self.peek()? != b'n' {
            return Some(false);
        }
        self.at = word(self.data, self.at, *b"null")?;
        Some(true)
    }

    /// Reads an object; `member` is given each key and reads its value.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            return self.expect(b'}');
        }
        loop {
            let key = self.plain_text()?;
            self.expect(b':')?;
            member(self, key)?;
            match self.take()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads an array; `element` reads each element.
    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            return self.expect(b']');
        }
        loop {
            element(self)?;
            match self.take()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Adds one choice to what all of them carried, and to the first finish reason.
    fn choice(&mut self, all: &mut Carried, finish_reason: &mut Option<&'a str>) -> Option<()> {
        let mut keys = Keys::default();
        all.any = true;
        self.object(|scan, key| match key {
            b"delta" => {
                keys.once(0)?;
                if scan.null()? { Some(()) } else { scan.delta(all) }
            }
            b"text" => {
                keys.once(1)?;
                all.content |= scan.filled()?;
                Some(())
            }
            b"finish_reason" => {
                keys.once(2)?;
                if !scan.null()? {
                    // Plain text is ASCII.
                    let reason = std::str::from_utf8(scan.plain_text()?).ok()?;
                    finish_reason.get_or_insert(reason);
                    all.finish = true;
                }
                Some(())
            }
            _ => scan.skip(),
        })
    }

    fn delta(&mut self, all: &mut Carried) -> Option<()> {
        let mut keys = Keys::default();
        self.object(|scan, key| {
            let (number, fact) = match key {
                b"content" => (0, &mut all.content),
                b"role" => (1, &mut all.role),
                b"reasoning_content" => (2, &mut all.reasoning),
                b"reasoning" => (3, &mut all.reasoning),
                b"tool_calls" => (4, &mut all.tool_call),
                b"function_call" => (5, &mut all.tool_call),
                b"refusal" => (6, &mut all.content),
                _ => return scan.skip(),
            };
            keys.once(number)?;
            *fact |= scan.filled()?;
            Some(())
        })
    }

    fn usage(&mut self) -> Option<Usage> {
        let mut keys = Keys::default();
        let mut usage = Usage::default();
        self.object(|scan, key| {
            match key {
                b"prompt_tokens" => {
                    keys.once(0)?;
                    scan.count(&mut usage.prompt_tokens)?;
                }
                b"completion_tokens" => {
                    keys.once(1)?;
                    scan.count(&mut usage.completion_tokens)?;
                }
                b"prompt_tokens_details" => {
                    keys.once(2)?;
                    if !scan.null()? {
                        usage.prompt_tokens_details = Some(scan.prompt_details()?);
                    }
                }
                _ => scan.skip()?,
            }
            Some(())
        })?;
        Some(usage)
    }

    fn prompt_details(&mut self) -> Option<PromptDetails> {
        let mut keys = Keys::default();
        let mut details = PromptDetails::default();
        self.object(|scan, key| {
            if key != b"cached_tokens" {
                return scan.skip();
            }
            keys.once(0)?;
            scan.count(&mut details.cached_tokens)
        })?;
        Some(details)
    }

    /// Null or a number of tokens, in plain digits, into `count`.
    fn count(&mut self, count: &mut Option<u32>) -> Option<()> {
        if self.null()? {
            return Some(());
        }
        let start = self.at;
        self.at = digits(self.data, start)?;
        let digits = self.data.get(start..self.at)?;
        if digits.len() > 1 && digits[0] == b'0' {
            return None;
        }
        // What follows the digits of another sort of number is none of `,`, `}` and white space, on
        // which the caller insists.
        let add = |sum: u32, digit: &u8| sum.checked_mul(10)?.checked_add(u32::from(digit - b'0'));
        *count = Some(digits.iter().try_fold(0, add)?);
        Some(())
    }

    /// Whether a value is there and not empty: null, `""`, `[]` and `{}` are not.
    fn filled(&mut self) -> Option<bool> {
        match self.peek()? {
            b'"' => {
                let start = self.at + 1;
                let end = string_end(self.data, start)?;
                self.at = end + 1;
                if end > start {
                    self.text = start..end;
                }
                Some(end > start)
            }
            b'n' => self.null().map(|_| false),
            b'[' => {
                let mut filled = false;
                self.array(|scan| {
                    filled = true;
                    scan.skip()
                })?;
                Some(filled)
            }
            b'{' => {
                self.expect(b'{')?;
                self.expect(b'}')?;
                Some(false)
            }
            _ => None,
        }
    }

    /// A string of ASCII without escapes.
    #[inline]
    fn plain_text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        let run = run(self.data, start);
        if run.wide != 0 || *self.data.get(run.end)? != b'"' {
            return None;
        }
        self.at = run.end + 1;
        self.data.get(start..run.end)
    }

    /// Skips a value of any kind.
    #[inline]
    fn skip(&mut self) -> Option<()> {
        self.at = match self.peek()? {
            b'{' | b'[' => skip_nested(self.data, self.at)?,
            _ => skip_scalar(self.data, self.at)?,
        };
        Some(())
    }
}

/// The quote that ends the string whose inside begins at `start`, if that is text: in UTF-8, with halves
/// of surrogate pairs in pairs.
#[inline]
pub(super) fn string_end(data: &[u8], start: usize) -> Option<usize> {
    let Run { mut end, mut wide } = run(data, start);
    if *data.get(end)? != b'"' {
        let rest = escapes(data, end, true)?;
        (end, wide) = (rest.end, wide | rest.wide);
    }
    if wide != 0 {
        std::str::from_utf8(data.get(start..end)?).ok()?;
    }
    Some(end)
}

/// Behind the white space at `at`.
fn white(data: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = data.get(at) {
        at += 1;
    }
    at
}

/// Behind `word`, which must be at `at`.
fn word<const N: usize>(data: &[u8], at: usize, word: [u8; N]) -> Option<usize> {
    (data.get(at..)?.first_chunk::<N>()? == &word).then_some(at + N)
}

/// Bytes of a string up to the one at `end`.
#[derive(Clone, Copy)]
struct Run {
    end: usize,
    /// Not 0 if one of them is above 0x7f.
    wide: u64,
}

/// Passes the bytes that mean only themselves: up to a quote, a backslash or a control character, or
/// to the end of the data.
#[inline(never)]
fn run(data: &[u8], mut end: usize) -> Run {
    let mut wide = 0;
    while let Some(chunk) = data.get(end..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let special = equal(word, b'"') | equal(word, b'\\') | control(word);
        if special != 0 {
            // The bytes below the special one, bit 7 of which is the lowest bit of `special`.
            wide |= word & HIGH & (special & special.wrapping_neg()).wrapping_sub(1);
            return Run { end: end + special.trailing_zeros() as usize / 8, wide };
        }
        wide |= word & HIGH;
        end += 8;
    }
    while let Some(byte) = data.get(end).filter(|byte| !matches!(byte, b'"' | b'\\' | ..0x20)) {
        wide |= u64::from(byte & 0x80);
        end += 1;
    }
    Run { end, wide }
}

/// From an escape, or a control character, to the string's closing quote. `paired`: halves of surrogate
/// pairs must come in pairs, as they must where the text is wanted; where it is skipped, they need not.
#[inline(never)]
fn escapes(data: &[u8], mut at: usize, paired: bool) -> Option<Run> {
    let mut wide = 0;
    loop {
        match data.get(at)? {
            b'"' => return Some(Run { end: at, wide }),
            b'\\' => {
                let run = run(data, escape(data, at + 1, paired)?);
                at = run.end;
                wide |= run.wide;
            }
            _ => return None,
        }
    }
}

/// Behind the escape whose letter is at `at`; both halves of a pair.
fn escape(data: &[u8], at: usize, paired: bool) -> Option<usize> {
    match data.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => match hex(data, at + 1)? {
            0xdc00..=0xdfff if paired => None,
            0xd800..=0xdbff if paired => {
                let low = word(data, at + 5, *b"\\u")?;
                matches!(hex(data, low)?, 0xdc00..=0xdfff).then_some(low + 4)
            }
            _ => Some(at + 5),
        },
        _ => None,
    }
}

fn hex(data: &[u8], at: usize) -> Option<u32> {
    let digits = data.get(at..)?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// Behind the string that opens at `at`, whatever it says.
fn skip_string(data: &[u8], at: usize) -> Option<usize> {
    let at = word(data, at, *b"\"")?;
    let mut end = run(data, at).end;
    if data.get(end)? != &b'"' {
        end = escapes(data, end, false)?.end;
    }
    Some(end + 1)
}

/// Behind the string, number or word at `at`.
#[inline(never)]
fn skip_scalar(data: &[u8], at: usize) -> Option<usize> {
    match data.get(at)? {
        b'"' => skip_string(data, at),
        b'n' => word(data, at, *b"null"),
        b't' => word(data, at, *b"true"),
        b'f' => word(data, at, *b"false"),
        _ => number(data, at),
    }
}

/// Behind the object or array at `at`, without recursion: its depth is the server's choice.
#[inline(never)]
fn skip_nested(data: &[u8], at: usize) -> Option<usize> {
    let mut scan = Scan { data, at, text: 0..0 };
    // The kinds of what is open, the innermost in bit 0, 1 for an object; above them a 1 that ends
    // the list. Deeper than 63 is nothing that a server means.
    let mut open = 1u64;
    loop {
        match scan.peek()? {
            bracket @ (b'{' | b'[') => {
                scan.at += 1;
                if open >> 63 != 0 {
                    return None;
                }
                let object = bracket == b'{';
                open = open << 1 | u64::from(object);
                if scan.peek()? != closing(open) {
                    if object {
                        scan.skip_key()?;
                    }
                    continue;
                }
            }
            _ => scan.at = skip_scalar(data, scan.at)?,
        }
        // A value has ended, or the bracket comes that closes an empty one.
        loop {
            match scan.take()? {
                b',' => {
                    if open & 1 == 1 {
                        scan.skip_key()?;
                    }
                    break;
                }
                bracket if bracket == closing(open) => open >>= 1,
                _ => return None,
            }
            if open == 1 {
                return Some(scan.at);
            }
        }
    }
}

impl Scan<'_> {
    fn skip_key(&mut self) -> Option<()> {
        self.peek()?;
        self.at = skip_string(self.data, self.at)?;
        self.expect(b':')
    }
}

/// Behind the number at `at`. A digit behind a leading zero is left, and none of what may come next.
fn number(data: &[u8], mut at: usize) -> Option<usize> {
    if data.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if data.get(at) == Some(&b'0') { at + 1 } else { digits(data, at)? };
    if data.get(at) == Some(&b'.') {
        at = digits(data, at + 1)?;
    }
    if let Some(b'e' | b'E') = data.get(at) {
        let signed = matches!(data.get(at + 1), Some(b'+' | b'-'));
        at = digits(data, at + 1 + usize::from(signed))?;
    }
    Some(at)
}

/// Behind the digits at `at`, of which there must be one.
fn digits(data: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while data.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    (end > at).then_some(end)
}

/// The bracket that ends the innermost of what is open.
fn closing(open: u64) -> u8 {
    if open & 1 == 1 { b'}' } else { b']' }
}

const ONES: u64 = u64::MAX / 0xff;
const HIGH: u64 = ONES << 7;

/// Bit 7 of each byte that equals `byte`. Exact up to the lowest such byte; above it, a carry may mark
/// a byte that differs.
fn equal(word: u64, byte: u8) -> u64 {
    let x = word ^ (ONES * u64::from(byte));
    x.wrapping_sub(ONES) & !x & HIGH
}

/// Bit 7 of each byte below 0x20; exact as [`equal`] is.
fn control(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGH
}
