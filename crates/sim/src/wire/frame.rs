//! Chunked transfer encoding.

/// The end of a chunked body.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

/// Appends `parts`, joined, as one HTTP chunk, or bare where the body is not chunked.
pub(crate) fn chunk(chunked: bool, parts: &[&[u8]], out: &mut Vec<u8>) {
    if chunked {
        hex(parts.iter().map(|part| part.len()).sum(), out);
        out.extend_from_slice(b"\r\n");
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}

/// A chunk size: lower-case hexadecimal without leading zeros.
fn hex(n: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(n >> (4 * i)) & 15]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_plain_hexadecimal() {
        for n in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 0xdead_beef] {
            let mut out = Vec::new();
            hex(n, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{n:x}"));
        }
    }
}
