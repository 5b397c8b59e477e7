//! Lines of a file with their numbers and offsets, without an allocation a line.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Room for the first read; grows with the longest line.
const BUFFER: usize = 256 * 1024;

/// A longer line is not a trace: a binary file without line ends must not fill the memory.
pub(crate) const MAX_LINE: usize = 256 * 1024 * 1024;

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// Where it starts, in bytes from the start of the file.
    pub(crate) offset: u64,
    /// Without LF, CRLF, or a byte order mark.
    pub(crate) bytes: &'a [u8],
}

/// Reads lines and, where asked, hashes every byte on the way.
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The bytes not yet handed out are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Offset in the file of `buffer[start]`.
    offset: u64,
    number: u64,
    at_end: bool,
    hasher: Option<Sha256>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Lines {
            reader,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            offset: 0,
            number: 0,
            at_end: false,
            hasher: None,
        }
    }

    /// Also computes the SHA-256 of the whole file; see [`Lines::finish`].
    pub(crate) fn hashed(reader: R) -> Self {
        Lines { hasher: Some(Sha256::new()), ..Lines::new(reader) }
    }

    /// The next line; `None` at the end of the file. A last line without an end counts.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = self.start;
        let (stop, next) = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..self.end]) {
                break (searched + at, searched + at + 1);
            }
            if self.at_end {
                if self.start == self.end {
                    return Ok(None);
                }
                break (self.end, self.end);
            }
            let pending = self.end - self.start;
            self.fill()?;
            searched = self.start + pending;
        };
        let first = self.start;
        let offset = self.offset;
        self.offset += (next - first) as u64;
        self.start = next;
        self.number += 1;
        let mut bytes = &self.buffer[first..stop];
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if offset == 0 {
            bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        }
        Ok(Some(Line { number: self.number, offset, bytes }))
    }

    /// Moves the pending bytes to the front and reads behind them once.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.end >= MAX_LINE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("line {} is longer than {MAX_LINE} bytes", self.number + 1),
                ));
            }
            self.buffer.resize(self.end * 2, 0);
        }
        let n = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.buffer[self.end..self.end + n]);
        }
        self.end += n;
        self.at_end = n == 0;
        Ok(())
    }

    /// Bytes handed out so far and the hash of all bytes read, in hexadecimal; for the end of the file.
    pub(crate) fn finish(self) -> (u64, String) {
        let hash = self.hasher.map(|hasher| format!("{:x}", hasher.finalize()));
        (self.offset, hash.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out at most `step` bytes a read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(into.len()).min(self.0.len());
            let (now, later) = self.0.split_at(n);
            into[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    fn all(bytes: &[u8], step: usize) -> Vec<(u64, u64, Vec<u8>)> {
        let mut lines = Lines::new(Slow(bytes, step));
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push((line.number, line.offset, line.bytes.to_vec()));
        }
        found
    }

    #[test]
    fn ends_and_marks_are_not_part_of_a_line() {
        let expect = vec![(1, 0, b"a".to_vec()), (2, 6, b"".to_vec()), (3, 7, b"bc".to_vec())];
        assert_eq!(all(b"\xEF\xBB\xBFa\r\n\nbc", 3), expect);
        assert!(all(b"", 3).is_empty());
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_whole() {
        let long = vec![b'x'; 3 * BUFFER + 7];
        let mut bytes = long.clone();
        bytes.extend_from_slice(b"\nend");
        let lines = all(&bytes, BUFFER);
        assert_eq!(lines[0].2, long);
        assert_eq!(lines[1], (2, long.len() as u64 + 1, b"end".to_vec()));
    }

    #[test]
    fn every_byte_is_hashed() {
        let mut lines = Lines::hashed(&b"abc"[..]);
        while lines.next_line().unwrap().is_some() {}
        let (bytes, hash) = lines.finish();
        assert_eq!(bytes, 3);
        // FIPS 180-2, appendix B.1.
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    proptest! {
        #[test]
        fn the_size_of_a_read_is_invisible(bytes in "[ab\r\n]{0,60}", step in 1_usize..9) {
            let mut expect: Vec<_> = bytes.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l).as_bytes()).collect();
            if bytes.is_empty() || bytes.ends_with('\n') {
                // Nothing stands behind the last line end.
                expect.pop();
            }
            let found = all(bytes.as_bytes(), step);
            prop_assert_eq!(found.iter().map(|f| &f.2[..]).collect::<Vec<_>>(), expect);
            for (_, offset, line) in &found {
                prop_assert_eq!(&bytes.as_bytes()[*offset as usize..][..line.len()], &line[..]);
            }
        }
    }
}
