//! The elements of a JSON array one at a time, however they are laid out over lines.

use std::io::{self, BufRead, BufReader, Read};

use sha2::{Digest, Sha256};

use crate::error::{Fault, shorten};
use crate::lines::MAX_LINE;

/// One element: a JSON object, as far as its brackets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Line on which it begins, from 1.
    pub(crate) line: u64,
    /// Byte of that line, from 1.
    pub(crate) column: usize,
    pub(crate) text: &'a [u8],
}

/// Why there is no next element.
#[derive(Debug)]
pub(crate) enum Broken {
    Io(io::Error),
    Fault(u64, Fault),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Io(error)
    }
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// Behind the opening bracket.
    First,
    /// Behind an element of the array.
    Behind,
    /// Behind a comma.
    Comma,
    /// Behind the closing bracket.
    Closed,
    /// Objects one behind the other, without an array around them.
    Bare,
}

/// Reads `[{…}, {…}]`, or `{…} {…}` (one object a line, say), and hashes every byte on the way.
pub(crate) struct Elements<R> {
    reader: BufReader<R>,
    hasher: Sha256,
    bytes: u64,
    line: u64,
    column: usize,
    place: Place,
    element: Vec<u8>,
}

impl<R: Read> Elements<R> {
    pub(crate) fn new(reader: R) -> Self {
        Elements {
            reader: BufReader::with_capacity(256 * 1024, reader),
            hasher: Sha256::new(),
            bytes: 0,
            line: 1,
            column: 1,
            place: Place::Start,
            element: Vec::new(),
        }
    }

    /// The next element; `None` at the end of the file.
    pub(crate) fn next_element(&mut self) -> Result<Option<Element<'_>>, Broken> {
        if self.place == Place::Start && self.reader.fill_buf()?.starts_with(b"\xEF\xBB\xBF") {
            self.consume(3);
            self.column = 1;
        }
        while let Some(byte) = self.peek()? {
            self.place = match (self.place, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => self.place,
                (Place::Start, b'[') => Place::First,
                (Place::Behind, b',') => Place::Comma,
                (Place::First | Place::Behind, b']') => Place::Closed,
                (Place::First | Place::Comma, b'{') => return self.object(Place::Behind).map(Some),
                (Place::Start | Place::Bare, b'{') => return self.object(Place::Bare).map(Some),
                (place, _) => return Err(self.unexpected(place)),
            };
            self.consume(1);
        }
        match self.place {
            Place::Closed | Place::Start | Place::Bare => Ok(None),
            place => Err(self.unexpected(place)),
        }
    }

    fn unexpected(&mut self, place: Place) -> Broken {
        let expected = match place {
            Place::Start => "an array of conversations",
            Place::First => "a conversation as one JSON object, or ]",
            Place::Behind => "a comma or ] behind a conversation",
            Place::Comma | Place::Bare => "a conversation as one JSON object",
            Place::Closed => "nothing behind the array",
        };
        let rest = String::from_utf8_lossy(self.reader.buffer()).into_owned();
        let found = match shorten(rest.lines().next().unwrap_or("").trim()) {
            end if rest.is_empty() && end.is_empty() => "the end of the file".to_owned(),
            found => found,
        };
        Broken::Fault(self.line, Fault::Layout { expected, found })
    }

    /// The object that begins here, up to its closing bracket.
    fn object(&mut self, then: Place) -> Result<Element<'_>, Broken> {
        let (line, column) = (self.line, self.column);
        let (mut depth, mut in_text, mut escaped) = (0_u64, false, false);
        self.element.clear();
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                let found = "the end of the file inside one".to_owned();
                return Err(Broken::Fault(line, Fault::Layout { expected: "a whole conversation", found }));
            }
            let end = buffer.iter().position(|byte| {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_text => escaped = true,
                    b'"' => in_text = !in_text,
                    b'{' | b'[' if !in_text => depth += 1,
                    b'}' | b']' if !in_text => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            let taken = end.map_or(buffer.len(), |end| end + 1);
            self.element.extend_from_slice(&buffer[..taken]);
            self.consume(taken);
            if self.element.len() > MAX_LINE {
                let found = "a longer one".to_owned();
                let expected = "a conversation of at most 256 MiB";
                return Err(Broken::Fault(line, Fault::Layout { expected, found }));
            }
            if end.is_some() {
                self.place = then;
                return Ok(Element { line, column, text: &self.element });
            }
        }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    fn consume(&mut self, n: usize) {
        let taken = &self.reader.buffer()[..n];
        self.hasher.update(taken);
        self.bytes += n as u64;
        match memchr::memrchr(b'\n', taken) {
            None => self.column += n,
            Some(last) => {
                self.line += memchr::memchr_iter(b'\n', taken).count() as u64;
                self.column = n - last;
            }
        }
        self.reader.consume(n);
    }

    /// Bytes read and their hash in hexadecimal; for the end of the file.
    pub(crate) fn finish(self) -> (u64, String) {
        (self.bytes, format!("{:x}", self.hasher.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Result<Vec<(u64, usize, String)>, String> {
        let mut elements = Elements::new(text.as_bytes());
        let mut found = Vec::new();
        loop {
            match elements.next_element() {
                Ok(Some(e)) => found.push((e.line, e.column, String::from_utf8_lossy(e.text).into_owned())),
                Ok(None) => return Ok(found),
                Err(Broken::Fault(line, fault)) => return Err(format!("{line}: {fault}")),
                Err(Broken::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn brackets_and_quotes_decide() {
        let check = |text: &str, expect: &[(u64, usize, &str)]| {
            let expect: Vec<_> = expect.iter().map(|(l, c, t)| (*l, *c, (*t).to_owned())).collect();
            assert_eq!(all(text), Ok(expect), "{text}");
        };
        check("[]", &[]);
        check("\u{feff}[{}]", &[(1, 2, "{}")]);
        check(
            "[{\"a\": \"}]\\\"\"},\n {\"b\": [{}]}]\n",
            &[(1, 2, "{\"a\": \"}]\\\"\"}"), (2, 2, "{\"b\": [{}]}")],
        );
        check("\n{\"a\": 1}\n{\"b\":\n2} {}", &[(2, 1, "{\"a\": 1}"), (3, 1, "{\"b\":\n2}"), (4, 4, "{}")]);
    }

    #[test]
    fn what_is_no_array_of_objects_is_explained() {
        let check = |text: &str, expect: &str| assert_eq!(all(text), Err(expect.to_owned()), "{text}");
        check("7", "1: expected an array of conversations, found 7");
        check("[\n7]", "2: expected a conversation as one JSON object, or ], found 7]");
        check("[{} {}]", "1: expected a comma or ] behind a conversation, found {}]");
        check("[{},]", "1: expected a conversation as one JSON object, found ]");
        check("[{}", "1: expected a comma or ] behind a conversation, found the end of the file");
        check("[{}]\nx", "2: expected nothing behind the array, found x");
        check("[{}, {\"a\": \"", "1: expected a whole conversation, found the end of the file inside one");
    }

    proptest! {
        #[test]
        fn elements_agree_with_a_json_parser(values in prop::collection::vec("[a{}\\[\\]\"\\\\,\n]{0,12}", 0..6), pretty: bool) {
            let objects: Vec<_> = values.iter().map(|v| serde_json::json!({"v": v, "w": [v]})).collect();
            let text = if pretty { serde_json::to_string_pretty(&objects) } else { serde_json::to_string(&objects) }.unwrap();
            let found = all(&text).unwrap();
            let read: Vec<serde_json::Value> = found.iter().map(|(_, _, t)| serde_json::from_str(t).unwrap()).collect();
            prop_assert_eq!(read, objects);
            for (line, column, element) in &found {
                let at = text.lines().nth(*line as usize - 1).unwrap();
                prop_assert!(at[column - 1..].starts_with(element.lines().next().unwrap()));
            }
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]{}\",a\\\\ \n]{0,40}") {
            let _ = all(&text);
        }
    }
}
