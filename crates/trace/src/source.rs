//! Where the bytes come from: a file that can be read from any place, as often as needed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A file opened once. Readers have their own position, so that two passes never disturb each other,
/// and a file that is replaced under its name stays the one that was validated.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
}

impl Source {
    /// Opens a file. What cannot be read twice (a pipe) is spooled.
    pub(crate) fn open(path: &Path) -> io::Result<Source> {
        let file = File::open(path)?;
        let kind = file.metadata()?;
        if kind.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if kind.is_file() { Ok(Source { file }) } else { Source::spool(file) }
    }

    /// Copies a stream to an unlinked temporary file: it is gone when the process is, whatever happens.
    pub(crate) fn spool(mut stream: impl Read) -> io::Result<Source> {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut stream, &mut file)?;
        Ok(Source { file })
    }

    pub(crate) fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    /// A reader from the start.
    pub(crate) fn reader(self: &Arc<Self>) -> SourceReader {
        SourceReader { source: Arc::clone(self), offset: 0 }
    }
}

/// Reads a [`Source`] from front to back.
#[derive(Debug)]
pub(crate) struct SourceReader {
    source: Arc<Source>,
    offset: u64,
}

impl Read for SourceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read_at(into, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// The tool that made a file, by its first bytes.
pub(crate) fn compressed_with(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"\x1F\x8B") {
        Some("gzip")
    } else if head.starts_with(b"\x28\xB5\x2F\xFD") {
        Some("zstd")
    } else {
        None
    }
}
