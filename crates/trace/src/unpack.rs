//! Compressed files, recognised by their first bytes.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Most bytes that a compressed file may come to: some twenty times the largest public trace. More is
/// taken for a mistake, before the disk is full.
pub(crate) const MOST_BYTES: u64 = 32 << 30;

/// The largest window that a zstd file may ask for, as zstd's own tool has it.
const MOST_WINDOW: u64 = 128 << 20;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
    /// Recognised, to say so; not read.
    Bzip2,
    /// The same.
    Xz,
}

impl Packing {
    pub(crate) fn recognise(head: &[u8]) -> Option<Packing> {
        // A zstd file may begin with a frame that is to be skipped, as pzstd writes it.
        let skippable = head.len() >= 4 && head[0] & 0xF0 == 0x50 && head[1..4] == *b"\x2A\x4D\x18";
        match head {
            [0x1F, 0x8B, ..] => Some(Packing::Gzip),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Some(Packing::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Packing::Bzip2),
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            _ => skippable.then_some(Packing::Zstd),
        }
    }

    /// The tool that unpacks it.
    pub(crate) const fn tool(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
            Packing::Bzip2 => "bzip2",
            Packing::Xz => "xz",
        }
    }

    /// Unpacks `packed` into `into`, at most `most` bytes.
    pub(crate) fn unpack(self, packed: impl Read, into: &mut impl Write, most: u64) -> Result<(), Unpack> {
        let mut packed = BufReader::with_capacity(256 * 1024, packed);
        match self {
            Packing::Gzip => copy(&mut MultiGzDecoder::new(packed), into, most).map(drop),
            Packing::Zstd => unpack_zstd(&mut packed, into, most),
            Packing::Bzip2 | Packing::Xz => Err(Unpack::NotRead),
        }
    }
}

/// Why a file was not unpacked.
#[derive(Debug)]
pub(crate) enum Unpack {
    /// It is damaged or cut short, or cannot be read.
    Damaged(io::Error),
    /// The temporary file cannot be written.
    Spool(io::Error),
    /// It comes to more bytes than allowed.
    TooLarge,
    /// There is no decoder for it here.
    NotRead,
}

/// Copies at most `most` bytes and says how many there were.
fn copy(from: &mut impl Read, into: &mut impl Write, most: u64) -> Result<u64, Unpack> {
    let mut buffer = vec![0; 256 * 1024];
    let mut copied = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Unpack::Damaged(error)),
        };
        copied += n as u64;
        if copied > most {
            return Err(Unpack::TooLarge);
        }
        into.write_all(&buffer[..n]).map_err(Unpack::Spool)?;
    }
}

/// A zstd file is any number of frames, one behind the other.
fn unpack_zstd(packed: &mut impl BufRead, into: &mut impl Write, most: u64) -> Result<(), Unpack> {
    let mut left = most;
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MOST_WINDOW);
    while !packed.fill_buf().map_err(Unpack::Damaged)?.is_empty() {
        let mut frame = match StreamingDecoder::new_with_decoder(&mut *packed, &mut decoder) {
            Ok(frame) => frame,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                skip(packed, length.into())?;
                continue;
            }
            Err(error) => return Err(Unpack::Damaged(io::Error::other(error))),
        };
        left -= copy(&mut frame, into, left)?;
        let expected = decoder.get_checksum_from_data();
        if expected.is_some() && expected != decoder.get_calculated_checksum() {
            return Err(Unpack::Damaged(io::Error::other("the checksum of a frame does not fit")));
        }
    }
    Ok(())
}

fn skip(packed: &mut impl BufRead, length: u64) -> Result<(), Unpack> {
    let skipped = io::copy(&mut packed.take(length), &mut io::sink()).map_err(Unpack::Damaged)?;
    if skipped == length { Ok(()) } else { Err(Unpack::Damaged(io::ErrorKind::UnexpectedEof.into())) }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn unpacked(packed: &[u8], most: u64) -> Result<Vec<u8>, Unpack> {
        let mut into = Vec::new();
        Packing::recognise(packed).unwrap().unpack(packed, &mut into, most).map(|()| into)
    }

    #[test]
    fn files_of_several_parts_are_one() {
        assert_eq!(unpacked(&[gzip(b"one "), gzip(b"two")].concat(), 99).unwrap(), b"one two");
        let skipped = b"\x50\x2A\x4D\x18\x03\0\0\0abc";
        let parts = [skipped, &*zstd(b"one "), skipped, &zstd(b"two")].concat();
        assert_eq!(unpacked(&parts, 99).unwrap(), b"one two");
    }

    #[test]
    fn a_file_that_comes_to_too_much_is_refused() {
        let zeros = vec![0; 1 << 20];
        for packed in
            [gzip(&zeros), zstd(&zeros), [zstd(&zeros[..600_000]), zstd(&zeros[..600_000])].concat()]
        {
            assert!(packed.len() < 10_000);
            assert!(matches!(unpacked(&packed, 1_000_000), Err(Unpack::TooLarge)));
        }
    }

    #[test]
    fn other_tools_are_named() {
        assert_eq!(Packing::recognise(b"BZh91AY&SY"), Some(Packing::Bzip2));
        assert_eq!(Packing::recognise(b"\xFD7zXZ\0\0"), Some(Packing::Xz));
        assert_eq!(Packing::recognise(b"{\"timestamp\""), None);
        assert_eq!(Packing::recognise(b""), None);
        assert!(matches!(unpacked(b"BZh91AY&SY", 9), Err(Unpack::NotRead)));
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(bytes in prop::collection::vec(0_u8..4, 0..5_000), cut in 0.0..1.0_f64) {
            for packed in [gzip(&bytes), zstd(&bytes)] {
                prop_assert_eq!(&unpacked(&packed, 5_000).unwrap(), &bytes);
                let cut = 6 + (cut * (packed.len() - 6) as f64) as usize;
                prop_assert!(unpacked(&packed[..cut], 5_000).is_err(), "cut after {} of {}", cut, packed.len());
            }
        }

        #[test]
        fn damage_is_an_error_or_harmless(bytes in prop::collection::vec(0_u8..4, 0..2_000), at: usize, bit in 0_u8..8) {
            for mut packed in [gzip(&bytes), zstd(&bytes)] {
                let at = 4 + at % (packed.len() - 4);
                packed[at] ^= 1 << bit;
                // The gzip head has a time and a flag or two that change nothing.
                if let Ok(found) = unpacked(&packed, 1 << 20) {
                    prop_assert_eq!(&found, &bytes);
                }
            }
        }
    }
}
