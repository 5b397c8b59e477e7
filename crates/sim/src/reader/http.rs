//! HTTP/1.1 requests, from bytes.

use memchr::memchr;

/// The longest request head.
pub(crate) const MAX_HEAD: usize = 64 << 10;
/// The longest request body.
pub(crate) const MAX_BODY: usize = 256 << 20;
/// Header fields in a request.
const MAX_FIELDS: usize = 100;

/// A request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// Without query.
    pub(crate) path: String,
    pub(crate) http10: bool,
    /// The client wants the connection to end with the response.
    pub(crate) close: bool,
    /// It waits for a `100 Continue`.
    pub(crate) expects_continue: bool,
    pub(crate) framing: Framing,
    /// `X-Request-Id`.
    pub(crate) id: Option<String>,
    pub(crate) authorization: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Other,
}

/// How the body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// That many bytes, perhaps 0.
    Length(usize),
    Chunked,
}

/// A request that HTTP itself refuses; the connection cannot go on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) status: u16,
    pub(crate) what: String,
}

fn malformed(status: u16, what: impl Into<String>) -> Malformed {
    Malformed { status, what: what.into() }
}

/// A head and its length from the beginning of `bytes`; `None` if it is not there in full yet.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err(malformed(431, format!("request head is longer than {MAX_HEAD} bytes"))),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(malformed(431, format!("request has more than {MAX_FIELDS} header fields")));
        }
        Err(error) => return Err(malformed(400, format!("request is not HTTP/1.1: {error}"))),
    };
    let mut head = Head {
        method: match request.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("POST") => Method::Post,
            _ => Method::Other,
        },
        path: path_of(request.path.unwrap_or_default()).to_owned(),
        http10: request.version == Some(0),
        close: request.version == Some(0),
        expects_continue: false,
        framing: Framing::Length(0),
        id: None,
        authorization: None,
    };
    let mut length_seen = None;
    for field in request.headers.iter() {
        read_field(&mut head, &mut length_seen, field)?;
    }
    if let (Framing::Length(_), Some(length)) = (head.framing, length_seen) {
        head.framing = Framing::Length(length);
    }
    Ok(Some((head, length)))
}

fn read_field(
    head: &mut Head,
    length_seen: &mut Option<usize>,
    field: &httparse::Header<'_>,
) -> Result<(), Malformed> {
    let name = field.name;
    let text = || String::from_utf8_lossy(field.value).trim().to_owned();
    if name.eq_ignore_ascii_case("content-length") {
        let text = text();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = digits.then(|| text.parse::<usize>().unwrap_or(usize::MAX));
        let Some(length) = length else {
            return Err(malformed(400, format!("content-length is not a number: {text:?}")));
        };
        if length_seen.is_some_and(|seen| seen != length) {
            return Err(malformed(400, "two content-length fields that differ"));
        }
        if length > MAX_BODY {
            return Err(malformed(413, format!("body is longer than {MAX_BODY} bytes")));
        }
        *length_seen = Some(length);
    } else if name.eq_ignore_ascii_case("transfer-encoding") {
        if !text().eq_ignore_ascii_case("chunked") {
            return Err(malformed(501, "transfer-encoding other than chunked"));
        }
        head.framing = Framing::Chunked;
    } else if name.eq_ignore_ascii_case("connection") {
        head.close |= text().split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
    } else if name.eq_ignore_ascii_case("expect") {
        head.expects_continue = text().eq_ignore_ascii_case("100-continue");
    } else if name.eq_ignore_ascii_case("x-request-id") {
        head.id = Some(text());
    } else if name.eq_ignore_ascii_case("authorization") {
        head.authorization = Some(text());
    }
    Ok(())
}

/// The path of a request target: `/v1/models` of `http://host/v1/models?x=1`.
fn path_of(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// A chunked request body, taken apart as it comes.
#[derive(Debug, Default)]
pub(crate) struct Dechunker {
    pub(crate) body: Vec<u8>,
    state: ChunkState,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Data(usize),
    /// The line end after the data.
    DataEnd,
    Trailer,
    Done,
}

impl Dechunker {
    /// Takes what it can from the front of `input`: how many bytes, and whether the body is complete.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut at = 0;
        while self.state != ChunkState::Done {
            if let ChunkState::Data(left) = self.state {
                let n = left.min(input.len() - at);
                self.body.extend_from_slice(&input[at..at + n]);
                at += n;
                if n < left {
                    self.state = ChunkState::Data(left - n);
                    break;
                }
                self.state = ChunkState::DataEnd;
                continue;
            }
            let Some(end) = memchr(b'\n', &input[at..]) else {
                if input.len() - at > MAX_HEAD {
                    return Err(malformed(400, "endless line in a chunked body"));
                }
                break;
            };
            let line = &input[at..at + end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += end + 1;
            self.line(line)?;
        }
        Ok((at, self.state == ChunkState::Done))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        self.state = match self.state {
            ChunkState::Size => {
                let digits = memchr(b';', line).map_or(line, |at| &line[..at]).trim_ascii();
                let text = std::str::from_utf8(digits).unwrap_or_default();
                let size = usize::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
                match size {
                    Some(0) => ChunkState::Trailer,
                    Some(size) if size <= MAX_BODY - self.body.len() => ChunkState::Data(size),
                    Some(_) => return Err(malformed(413, format!("body is longer than {MAX_BODY} bytes"))),
                    None => {
                        let line = String::from_utf8_lossy(line).into_owned();
                        return Err(malformed(400, format!("chunk size is not hexadecimal: {line:?}")));
                    }
                }
            }
            ChunkState::DataEnd if line.is_empty() => ChunkState::Size,
            ChunkState::DataEnd => return Err(malformed(400, "chunk is longer than its size")),
            ChunkState::Trailer if line.is_empty() => ChunkState::Done,
            state => state,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    fn head(text: &str) -> Head {
        parse_head(text.as_bytes()).unwrap().unwrap().0
    }

    fn status(text: &str) -> u16 {
        parse_head(text.as_bytes()).unwrap_err().status
    }

    #[test]
    fn what_matters_of_a_head_is_read() {
        let text = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\n\
                    X-REQUEST-ID: r-1 \r\nauthorization: Bearer k\r\nExpect: 100-continue\r\n\
                    Connection: keep-alive, Close\r\n\r\n";
        let (head, length) = parse_head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len());
        assert_eq!((head.method, head.path.as_str()), (Method::Post, "/v1/chat/completions"));
        assert_eq!(head.framing, Framing::Length(12));
        assert_eq!((head.id.as_deref(), head.authorization.as_deref()), (Some("r-1"), Some("Bearer k")));
        assert!(head.expects_continue && head.close && !head.http10);
    }

    #[test]
    fn targets_and_versions() {
        assert_eq!(head("GET http://h:1/health?q HTTP/1.1\r\n\r\n").path, "/health");
        assert_eq!(head("GET http://h:1 HTTP/1.1\r\n\r\n").path, "/");
        let old = head("GET /health HTTP/1.0\r\n\r\n");
        assert!(old.http10 && old.close);
    }

    #[test]
    fn what_cannot_be_delimited_is_refused() {
        assert_eq!(status("GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n"), 413);
        assert_eq!(status("GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n"), 501);
        assert_eq!(status("\x16\x03\x01\x02\x00"), 400);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD))), 431);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1))), 431);
    }

    #[test]
    fn chunk_sizes_that_lie_are_refused() {
        let feed = |text: &str| Dechunker::default().feed(text.as_bytes()).map(|(_, done)| done);
        assert_eq!(feed("3\r\nabcd\r\n").unwrap_err().status, 400);
        assert_eq!(feed("x\r\n").unwrap_err().status, 400);
        assert_eq!(feed("+3\r\nabc\r\n").unwrap_err().status, 400);
        assert_eq!(feed("ffffffffff\r\n").unwrap_err().status, 413);
        assert_eq!(feed("3\r\nabc\r\n"), Ok(false));
        assert_eq!(feed("3;ext=1\r\nabc\r\n0\r\ntrailer: x\r\n\r\n"), Ok(true));
    }

    proptest! {
        #[test]
        fn cuts_do_not_change_a_chunked_body(
            parts in prop::collection::vec("[a-z\r\n]{1,30}", 0..5),
            cuts in prop::collection::vec(0usize..200, 0..6),
        ) {
            let mut wire = String::new();
            for part in &parts {
                write!(wire, "{:x}\r\n{part}\r\n", part.len()).unwrap();
            }
            wire += "0\r\n\r\n";
            let sent = wire.len();
            wire += "GET";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            cuts.push(wire.len());
            cuts.sort_unstable();
            let (mut decoder, mut taken, mut done) = (Dechunker::default(), 0, false);
            for cut in cuts {
                let (n, complete) = decoder.feed(&wire.as_bytes()[taken..cut.max(taken)]).unwrap();
                taken += n;
                done = complete;
            }
            prop_assert!(done);
            prop_assert_eq!(taken, sent);
            prop_assert_eq!(decoder.body, parts.concat().into_bytes());
        }
    }
}
