//! A connection on the reader's side: bytes in, requests out.

use std::sync::Arc;

use super::http::{Dechunker, Framing, Head, Malformed, parse_head};
use crate::link::Link;

/// Input kept while a response is on its way; what a client pipelines beyond it stays in the kernel.
pub(crate) const MAX_AHEAD: usize = 1 << 20;

/// Room kept for the next request on a connection; more is given back.
const KEPT_CAPACITY: usize = 64 << 10;

/// A connection and what was read of its next request.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) link: Arc<Link>,
    pub(crate) accepted: u64,
    /// Received and not yet used.
    pub(crate) input: Vec<u8>,
    phase: Phase,
    /// When the first byte of the present request was read.
    pub(crate) first_byte: Option<u64>,
    /// The wall stamp the kernel put on the last byte of the last read.
    pub(crate) kernel_realtime: Option<u64>,
    /// Requests so far.
    pub(crate) served: u32,
    /// Bytes of the reader's own answers that the kernel did not take yet.
    pub(crate) output: Vec<u8>,
    /// Nothing more is read as a request: the connection ends when the peer ends it, or at this instant.
    pub(crate) closing: Option<u64>,
    /// Input was left in the kernel.
    pub(crate) held_back: bool,
}

#[derive(Debug)]
enum Phase {
    /// The head is not there in full; this much of the input has no end of it.
    Head { searched: usize },
    /// The head was read and removed from the input.
    Body { head: Head, body: Pending },
}

#[derive(Debug)]
enum Pending {
    Length(usize),
    Chunked(Dechunker),
}

/// What [`Conn::next`] has.
#[derive(Debug)]
pub(crate) enum Next {
    /// The request is not there in full. If it waits for a `100 Continue`, it is time to send it.
    Incomplete { send_continue: bool },
    /// A whole request.
    Request(Head, Vec<u8>),
}

impl Conn {
    pub(crate) fn new(link: Arc<Link>, accepted: u64) -> Self {
        Conn {
            link,
            accepted,
            input: Vec::new(),
            phase: Phase::Head { searched: 0 },
            first_byte: None,
            kernel_realtime: None,
            served: 0,
            output: Vec::new(),
            closing: None,
            held_back: false,
        }
    }

    /// Whether a part of a request was read.
    pub(crate) fn is_mid_request(&self) -> bool {
        !self.input.is_empty() || matches!(self.phase, Phase::Body { .. })
    }

    /// The next request of the input, if it is there in full.
    pub(crate) fn next(&mut self) -> Result<Next, Malformed> {
        let mut send_continue = false;
        if let Phase::Head { searched } = self.phase {
            // A head ends in a line end: without a new one there is no need to parse it all again.
            if memchr::memchr(b'\n', &self.input[searched..]).is_none()
                && self.input.len() < super::http::MAX_HEAD
            {
                self.phase = Phase::Head { searched: self.input.len() };
                return Ok(Next::Incomplete { send_continue });
            }
            let Some((head, length)) = parse_head(&self.input)? else {
                self.phase = Phase::Head { searched: self.input.len() };
                return Ok(Next::Incomplete { send_continue });
            };
            self.input.drain(..length);
            let body = match head.framing {
                Framing::Length(length) => {
                    self.input.reserve(length.saturating_sub(self.input.len()));
                    Pending::Length(length)
                }
                Framing::Chunked => Pending::Chunked(Dechunker::default()),
            };
            send_continue = head.expects_continue;
            self.phase = Phase::Body { head, body };
        }
        let Phase::Body { body, .. } = &mut self.phase else { unreachable!("the head was read above") };
        let body = match body {
            Pending::Length(length) if self.input.len() >= *length => {
                let rest = self.input.split_off(*length);
                std::mem::replace(&mut self.input, rest)
            }
            Pending::Length(_) => return Ok(Next::Incomplete { send_continue }),
            Pending::Chunked(decoder) => {
                let (used, done) = decoder.feed(&self.input)?;
                self.input.drain(..used);
                if !done {
                    return Ok(Next::Incomplete { send_continue });
                }
                std::mem::take(&mut decoder.body)
            }
        };
        let before = std::mem::replace(&mut self.phase, Phase::Head { searched: 0 });
        let Phase::Body { head, .. } = before else { unreachable!("the body was read above") };
        self.served += 1;
        Ok(Next::Request(head, body))
    }

    /// Takes the buffer of a request back, so that the next one needs no new one.
    pub(crate) fn recycle(&mut self, mut body: Vec<u8>) {
        if self.input.is_empty() && body.capacity() <= KEPT_CAPACITY {
            body.clear();
            self.input = body;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{TcpListener, TcpStream};

    fn conn() -> Conn {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Conn::new(Arc::new(Link::new(socket, 0, 0, 0)), 0)
    }

    /// The requests found when `wire` comes in pieces that end at `cuts`.
    fn requests(wire: &[u8], cuts: &[usize]) -> Vec<(String, Vec<u8>)> {
        let mut conn = conn();
        let mut found = Vec::new();
        let mut start = 0;
        for &cut in cuts.iter().chain([&wire.len()]) {
            let cut = cut.clamp(start, wire.len());
            conn.input.extend_from_slice(&wire[start..cut]);
            start = cut;
            while let Next::Request(head, body) = conn.next().unwrap() {
                found.push((head.path, body.clone()));
                conn.recycle(body);
            }
        }
        assert!(!conn.is_mid_request());
        found
    }

    proptest! {
        #[test]
        fn cuts_do_not_change_the_requests(mut cuts in prop::collection::vec(0usize..260, 0..8)) {
            let wire = b"POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhelloPOST /b HTTP/1.1\r\n\
                transfer-encoding: chunked\r\n\r\n4\r\nab\r\n\r\n1\r\nc\r\n0\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
            cuts.sort_unstable();
            let found = requests(wire, &cuts);
            let expected = vec![
                ("/a".to_owned(), b"hello".to_vec()),
                ("/b".to_owned(), b"ab\r\nc".to_vec()),
                ("/c".to_owned(), Vec::new()),
            ];
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_client_that_waits_is_told_to_go_on_once() {
        let mut conn = conn();
        conn.input.extend_from_slice(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
        assert!(matches!(conn.next().unwrap(), Next::Incomplete { send_continue: true }));
        conn.input.extend_from_slice(b"a");
        assert!(matches!(conn.next().unwrap(), Next::Incomplete { send_continue: false }));
        conn.input.extend_from_slice(b"b");
        assert!(matches!(conn.next().unwrap(), Next::Request(_, body) if body == b"ab"));
    }
}
