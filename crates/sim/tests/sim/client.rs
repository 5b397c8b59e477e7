//! A client as plain as it can be: sockets and bytes, nothing between the test and the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tics_sim::{Sim, SimOptions};

/// Longer than anything takes, shorter than a hung test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A response, taken apart.
#[derive(Debug)]
pub struct Response {
    pub head: String,
    pub status: u16,
    /// The HTTP chunks, or the one body.
    pub chunks: Vec<Vec<u8>>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8(self.chunks.concat()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.chunks.concat()).unwrap()
    }

    pub fn has_header(&self, line: &str) -> bool {
        self.head.split("\r\n").any(|one| one == line)
    }

    /// The JSON of each event but `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    /// The text of all tokens.
    pub fn content(&self) -> String {
        let content = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        self.events().iter().filter_map(content).collect()
    }
}

pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Reads one response.
    pub fn receive(&mut self) -> Response {
        let head = self.head();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let header = |name: &str| {
            let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        let mut chunks = Vec::new();
        if let Some(length) = header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut body).unwrap();
            chunks.push(body);
        } else if header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                chunks.push(chunk);
            }
        } else {
            chunks.push(self.rest());
        }
        Response { head, status, chunks }
    }

    pub fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "closed within a head: {head:?}");
        }
        head
    }

    /// The next HTTP chunk; `None` for the last.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.strip_suffix("\r\n").unwrap(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// All there is up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }
}

pub fn start(options: SimOptions) -> Sim {
    Sim::start(options).unwrap()
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: sim\r\n\r\n")
}

/// A POST with extra header lines, each with its line end.
pub fn post_with(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: sim\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

pub fn post(path: &str, body: &str) -> String {
    post_with(path, "", body)
}

pub const CHAT: &str = "/v1/chat/completions";

/// The body of a streamed chat request with a prompt of `words` words.
pub fn chat_body(words: usize, max_tokens: u32) -> String {
    let prompt = vec!["word"; words].join(" ");
    format!(
        r#"{{"model":"tics-sim","messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":{max_tokens},"stream":true}}"#
    )
}

pub fn chat(id: &str, words: usize, max_tokens: u32) -> String {
    post_with(CHAT, &format!("x-request-id: {id}\r\n"), &chat_body(words, max_tokens))
}

/// The lines of the truth log after its header.
pub fn truth(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let header = lines.next().unwrap();
    assert_eq!((&header["format"], &header["clock"]), (&"tics-truth".into(), &"CLOCK_MONOTONIC".into()));
    lines.collect()
}

/// The truth of the request with that id.
pub fn truth_of<'a>(lines: &'a [Value], id: &str) -> &'a Value {
    lines.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("no truth about {id}"))
}

/// `tokens` of a truth line.
pub fn stamps(line: &Value) -> Vec<(u64, u64)> {
    let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap());
    line["tokens"].as_array().unwrap().iter().map(pair).collect()
}

pub fn numbers(line: &Value, key: &str) -> Vec<u64> {
    line[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect()
}

/// What must hold of every line, whatever happened.
pub fn check_consistent(line: &Value) {
    let at = |key: &str| line[key].as_u64().unwrap();
    let tokens = stamps(line);
    assert_eq!(tokens.len() as u64, at("output_tokens"), "{line}");
    assert!(at("accepted_ns") <= at("first_byte_ns"), "{line}");
    assert!(at("first_byte_ns") <= at("received_ns"), "{line}");
    assert!(at("received_ns") <= at("end_ns"), "{line}");
    let mut last = at("received_ns");
    for (before, after) in tokens {
        assert!(last <= before && before <= after, "{line}");
        last = if line["stream"] == true { before } else { last };
        assert!(after <= at("end_ns"), "{line}");
    }
}
