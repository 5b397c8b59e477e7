//! Whole responses: the small endpoints, the errors, and the heads of streams.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::{Dialect, SimOptions};

/// What the reader answers by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// One more header line, with its line end, or nothing.
    pub(crate) extra: &'static str,
    pub(crate) body: Vec<u8>,
}

/// vLLM's error, its fields in vLLM's order.
#[derive(Serialize)]
struct VllmErrorBody<'a> {
    error: VllmError<'a>,
}

#[derive(Serialize)]
struct VllmError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: u16,
}

/// The content type of JSON.
const JSON: &str = "application/json";

impl Reply {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("bodies have string keys and finite numbers");
        Reply { status, content_type: JSON, extra: "", body }
    }

    /// 200 with text.
    pub(crate) fn text(content_type: &'static str, text: String) -> Self {
        Reply { status: 200, content_type, extra: "", body: text.into_bytes() }
    }

    /// 200 without a body.
    pub(crate) fn empty() -> Self {
        Reply { status: 200, content_type: JSON, extra: "", body: Vec::new() }
    }

    /// FastAPI's own 404 and 405, which both servers have.
    pub(crate) fn detail(status: u16) -> Self {
        Reply::json(status, &json!({"detail": reason(status)}))
    }

    /// An error as the dialect says it: vLLM's error object, FastAPI's `detail`, or plain text for what
    /// went wrong inside.
    pub(crate) fn error(dialect: Dialect, status: u16, message: &str, param: Option<&str>) -> Self {
        match dialect {
            _ if status == 500 => Reply {
                status,
                content_type: "text/plain; charset=utf-8",
                extra: "",
                body: b"Internal Server Error".to_vec(),
            },
            Dialect::MiniSgl => Reply::json(status, &json!({"detail": message})),
            Dialect::Vllm => {
                let kind = match status {
                    401 => "AuthenticationError",
                    404 => "NotFoundError",
                    _ => "BadRequestError",
                };
                let error = VllmError { message, kind, param, code: status };
                Reply::json(status, &VllmErrorBody { error })
            }
        }
    }

    pub(crate) fn with_header(mut self, line: &'static str) -> Self {
        self.extra = line;
        self
    }

    /// The bytes of the response, without the body where the request was a HEAD.
    pub(crate) fn to_bytes(&self, connection: &str, without_body: bool) -> Vec<u8> {
        let length = self.body.len();
        let mut bytes = head(self.status, self.content_type, Length::Bytes(length), self.extra, connection);
        if !without_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// How a head says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Bytes(usize),
    Chunked,
    /// By the end of the connection.
    Open,
}

/// A response head. `connection` is what [`connection_lines`] gave.
pub(crate) fn head(
    status: u16,
    content_type: &str,
    length: Length,
    extra: &str,
    connection: &str,
) -> Vec<u8> {
    let reason = reason(status);
    let mut head =
        format!("HTTP/1.1 {status} {reason}\r\nserver: tics-sim\r\ncontent-type: {content_type}\r\n");
    match length {
        Length::Bytes(n) => _ = write!(head, "content-length: {n}\r\n"),
        Length::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Length::Open => {}
    }
    head.push_str(extra);
    head.push_str(connection);
    head.push_str("\r\n");
    head.into_bytes()
}

/// The header lines about the connection, when `left` requests more may be sent on it.
pub(crate) fn connection_lines(options: &SimOptions, close: bool, left: Option<u32>) -> String {
    if close {
        return "connection: close\r\n".to_owned();
    }
    if !options.announce_keep_alive {
        return String::new();
    }
    let timeout = options.keep_alive.map(|span| format!("timeout={}", span.as_secs()));
    let max = left.map(|left| format!("max={left}"));
    let limits: Vec<String> = [timeout, max].into_iter().flatten().collect();
    if limits.is_empty() { String::new() } else { format!("keep-alive: {}\r\n", limits.join(", ")) }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        422 => "Unprocessable Entity",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_reply_says_its_length_and_how_the_connection_goes_on() {
        let reply = Reply::error(Dialect::Vllm, 400, "no", Some("model"));
        assert_eq!(
            String::from_utf8(reply.to_bytes("connection: close\r\n", false)).unwrap(),
            "HTTP/1.1 400 Bad Request\r\nserver: tics-sim\r\ncontent-type: application/json\r\n\
             content-length: 78\r\nconnection: close\r\n\r\n\
             {\"error\":{\"message\":\"no\",\"type\":\"BadRequestError\",\"param\":\"model\",\"code\":400}}"
        );
        assert!(reply.to_bytes("", true).ends_with(b"content-length: 78\r\n\r\n"));
    }

    #[test]
    fn limits_are_announced_only_when_told_to() {
        let mut options = SimOptions { keep_alive: Some(Duration::from_secs(5)), ..SimOptions::default() };
        assert_eq!(connection_lines(&options, false, Some(99)), "");
        options.announce_keep_alive = true;
        assert_eq!(connection_lines(&options, false, Some(99)), "keep-alive: timeout=5, max=99\r\n");
        assert_eq!(connection_lines(&options, true, Some(0)), "connection: close\r\n");
    }
}
