//! The SSE parser: bytes in, events out, whatever the packet boundaries.
//!
//! To the WHATWG rules: lines end in LF, CRLF or CR; a comment starts with a colon; one space after
//! the colon belongs to the syntax; several `data` lines are joined by LF; a blank line dispatches
//! the event if it has data; a byte order mark at the very start is skipped. It works on bytes, so a
//! character split over two reads is nobody's business.

/// Longest event kept; a server that sends more without a blank line is broken or hostile.
const MAX_EVENT: usize = 64 << 20;

/// Why the stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event longer than {} MiB", MAX_EVENT >> 20)]
pub struct TooLong;

/// An incremental SSE parser.
#[derive(Debug, Default)]
pub struct SseParser {
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    /// The data lines of the event so far, joined by LF.
    data: Vec<u8>,
    has_data: bool,
    /// The event's name; empty for the default.
    name: Vec<u8>,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Bytes of a byte order mark seen at the start of the stream; 3 once past it.
    bom: u8,
}

const BOM: &[u8; 3] = b"\xef\xbb\xbf";

impl SseParser {
    /// A parser at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and calls `sink(name, data)` for each event that they complete.
    ///
    /// `name` is empty unless the event has an `event` line.
    ///
    /// # Errors
    /// [`TooLong`] if an event outgrows 64 MiB.
    pub fn feed(&mut self, mut bytes: &[u8], mut sink: impl FnMut(&[u8], &[u8])) -> Result<(), TooLong> {
        while self.bom < 3 {
            let Some(first) = bytes.first() else { return Ok(()) };
            if *first == BOM[self.bom as usize] {
                self.bom += 1;
                bytes = &bytes[1..];
            } else {
                // A mark that broke off was the start of a line.
                self.line.extend_from_slice(&BOM[..self.bom as usize]);
                self.bom = 3;
            }
        }
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            if bytes[0] == b'\n' {
                bytes = &bytes[1..];
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (line, mut rest) = (&bytes[..end], &bytes[end + 1..]);
            if bytes[end] == b'\r' {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if self.line.is_empty() {
                bytes = self.whole_line(line, rest, &mut sink);
            } else {
                let mut held = std::mem::take(&mut self.line);
                held.extend_from_slice(line);
                bytes = self.whole_line(&held, rest, &mut sink);
                held.clear();
                self.line = held; // keeps its capacity
            }
            if self.data.len() > MAX_EVENT {
                return Err(TooLong);
            }
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > MAX_EVENT { Err(TooLong) } else { Ok(()) }
    }

    /// Ends the stream: an event whose blank line never came is given out all the same, as some
    /// servers close right after their last line.
    pub fn finish(&mut self, mut sink: impl FnMut(&[u8], &[u8])) {
        let held = std::mem::take(&mut self.line);
        if !held.is_empty() {
            self.whole_line(&held, &[], &mut sink);
        }
        self.dispatch(&mut sink);
    }

    /// Handles one line, its end removed. Returns what is left of `rest`: a blank line that follows
    /// a single data line is taken along, so that the data need not be copied.
    fn whole_line<'a>(
        &mut self,
        line: &[u8],
        rest: &'a [u8],
        sink: &mut impl FnMut(&[u8], &[u8]),
    ) -> &'a [u8] {
        if line.is_empty() {
            self.dispatch(sink);
            return rest;
        }
        let colon = memchr::memchr(b':', line);
        let (field, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if !self.has_data && rest.first() == Some(&b'\n') {
                    sink(&self.name, value);
                    self.name.clear();
                    return &rest[1..];
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // A comment has an empty field; `id` and `retry` mean nothing to a reader that never
            // reconnects; other fields are to be ignored.
            _ => {}
        }
        rest
    }

    fn dispatch(&mut self, sink: &mut impl FnMut(&[u8], &[u8])) {
        if self.has_data {
            sink(&self.name, &self.data);
        }
        self.data.clear();
        self.has_data = false;
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Events = Vec<(String, String)>;

    fn parse(pieces: &[&[u8]]) -> Events {
        let mut events = Vec::new();
        let mut sink = |name: &[u8], data: &[u8]| {
            events.push((
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(data).into_owned(),
            ));
        };
        let mut parser = SseParser::new();
        for piece in pieces {
            parser.feed(piece, &mut sink).unwrap();
        }
        parser.finish(&mut sink);
        events
    }

    fn check(stream: &str, expect: &[(&str, &str)]) {
        let expect: Events = expect.iter().map(|(n, d)| ((*n).to_owned(), (*d).to_owned())).collect();
        assert_eq!(parse(&[stream.as_bytes()]), expect, "{stream:?} whole");
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(parse(&bytes), expect, "{stream:?} byte by byte");
    }

    #[test]
    fn the_rules() {
        check("data: a\n\n", &[("", "a")]);
        check("data:a\r\n\r\n", &[("", "a")]);
        check("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]);
        check("data:  a\n\n", &[("", " a")]);
        check("data: a  \n\n", &[("", "a  ")]);
        check("data: a\ndata: b\n\n", &[("", "a\nb")]);
        check("data: a\ndata\n\n", &[("", "a\n")]);
        check("data\n\n", &[("", "")]);
        check("data:\n\n", &[("", "")]);
        check(": ping\n\ndata: a\n\n", &[("", "a")]);
        check(": ping\ndata: a\n\n", &[("", "a")]);
        check(":\ndata: a\n\n", &[("", "a")]);
        check("event: error\ndata: a\n\ndata: b\n\n", &[("error", "a"), ("", "b")]);
        check("event: x\n\ndata: b\n\n", &[("", "b")]);
        check("id: 1\nretry: 5\nother: 2\ndata: b\n\n", &[("", "b")]);
        check("\u{feff}data: a\n\n", &[("", "a")]);
        check("\n\n\ndata: a\n\n\n\n", &[("", "a")]);
        check("data: a\n\ndata: [DONE]", &[("", "a"), ("", "[DONE]")]);
        check("data: a\n\ndata: [DONE]\n", &[("", "a"), ("", "[DONE]")]);
        check("dat: a\n\n", &[]);
        check("data: é\u{1F600}\n\n", &[("", "é\u{1F600}")]);
        check("data: a\r\n\ndata: b\n\r\n", &[("", "a"), ("", "b")]);
        check("data: a\n\r\ndata: b\n\n", &[("", "a"), ("", "b")]);
        check("", &[]);
    }

    #[test]
    fn a_broken_mark_is_text() {
        assert_eq!(parse(&[b"\xef\xbbdata: a\n\n", b"data: b\n\n"]), [(String::new(), "b".to_owned())]);
    }

    /// Pieces of streams that meet each other's corner cases.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just("data: {\"a\":1}".to_owned()),
            Just("data:x".to_owned()),
            Just("data".to_owned()),
            Just(": ping".to_owned()),
            Just("event: error".to_owned()),
            Just(String::new()),
            Just(String::new()),
            Just("\u{feff}".to_owned()),
            "data: [a-zé ]{0,6}",
        ];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
        prop::collection::vec((line, end), 0..20)
            .prop_map(|lines| lines.into_iter().flat_map(|(l, e)| (l + e).into_bytes()).collect())
    }

    proptest! {
        #[test]
        fn chunking_is_invisible(bytes in stream(), cuts in prop::collection::vec(0usize..200, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(parse(&pieces), parse(&[&bytes]));
        }

        #[test]
        fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(parse(&singles), parse(&[&bytes]));
        }
    }
}
