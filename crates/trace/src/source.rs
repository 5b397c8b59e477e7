//! Where the bytes come from: a file that can be read from any place, as often as needed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::TraceError;
use crate::unpack::{MOST_BYTES, Packing, Unpack};

/// Bytes that tell how a file is compressed.
const HEAD: usize = 6;

/// A file opened once. Readers have their own position, so that two passes never disturb each other,
/// and a file that is replaced under its name stays the one that was validated.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
}

impl Source {
    /// Opens a file. What cannot be read twice (a pipe), or not as it is (compressed), is spooled.
    pub(crate) fn open(path: &Path) -> Result<Source, Opening> {
        let file = File::open(path)?;
        let kind = file.metadata()?;
        if kind.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
        }
        if !kind.is_file() {
            return Source::spool(file);
        }
        let mut head = [0; HEAD];
        let n = file.read_at(&mut head, 0)?;
        match Packing::recognise(&head[..n]) {
            None => Ok(Source { file }),
            Some(packing) => Source::unpack(packing, file),
        }
    }

    /// Copies a stream to an unlinked temporary file: it is gone when the process is, whatever happens.
    pub(crate) fn spool(mut stream: impl Read) -> Result<Source, Opening> {
        let mut head = Vec::with_capacity(HEAD);
        (&mut stream).take(HEAD as u64).read_to_end(&mut head)?;
        let packing = Packing::recognise(&head);
        let mut stream = io::Cursor::new(head).chain(stream);
        if let Some(packing) = packing {
            return Source::unpack(packing, stream);
        }
        let mut file = tempfile::tempfile()?;
        io::copy(&mut stream, &mut file)?;
        Ok(Source { file })
    }

    fn unpack(packing: Packing, packed: impl Read) -> Result<Source, Opening> {
        let mut file = tempfile::tempfile()?;
        match packing.unpack(packed, &mut file, MOST_BYTES) {
            Ok(()) => Ok(Source { file }),
            Err(fault) => Err(Opening::Packed(packing, fault)),
        }
    }

    /// What was written to an unlinked temporary file.
    pub(crate) fn written(file: File) -> Source {
        Source { file }
    }

    pub(crate) fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    /// Its size, bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// A reader from the start.
    pub(crate) fn reader(self: &Arc<Self>) -> SourceReader {
        self.reader_from(0)
    }

    /// A reader from a place, in bytes from the start.
    pub(crate) fn reader_from(self: &Arc<Self>, offset: u64) -> SourceReader {
        SourceReader { source: Arc::clone(self), offset }
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

/// Why there is nothing to read.
#[derive(Debug)]
pub(crate) enum Opening {
    /// It cannot be opened, read or spooled.
    Io(io::Error),
    /// It is compressed and was not unpacked.
    Packed(Packing, Unpack),
}

impl From<io::Error> for Opening {
    fn from(error: io::Error) -> Self {
        Opening::Io(error)
    }
}

impl Opening {
    /// The same with the name of the file.
    pub(crate) fn at(self, path: &str) -> TraceError {
        let path = path.to_owned();
        match self {
            Opening::Io(source) | Opening::Packed(_, Unpack::Spool(source)) => {
                TraceError::Read { path, source }
            }
            Opening::Packed(packing, Unpack::Damaged(source)) => {
                TraceError::Damaged { path, with: packing.tool(), source }
            }
            Opening::Packed(packing, Unpack::TooLarge) => {
                TraceError::TooLarge { path, with: packing.tool(), most: MOST_BYTES }
            }
            Opening::Packed(packing, Unpack::NotRead) => {
                TraceError::Compressed { path, with: packing.tool() }
            }
        }
    }
}
