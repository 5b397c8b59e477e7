//! Why a request failed: an outcome and one line.

use std::error::Error;
use std::io::{self, ErrorKind};

use tics_record::Outcome;

/// A failed step of an exchange. It is data, not the end of the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The class.
    pub outcome: Outcome,
    /// One line: what happened.
    pub detail: String,
}

impl Failure {
    /// A failure of class `outcome`.
    pub fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Failure { outcome, detail: detail.into() }
    }

    /// The failure behind an error of hyper, given whether the response's head had come.
    pub(crate) fn from_hyper(error: &hyper::Error, head_seen: bool) -> Self {
        if let Some(io) = find_io(error) {
            match io.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                    return Failure::new(Outcome::Reset, format!("connection reset: {io}"));
                }
                ErrorKind::UnexpectedEof if head_seen => {
                    return Failure::new(
                        Outcome::Truncated,
                        "the body was cut: the connection closed inside it",
                    );
                }
                ErrorKind::UnexpectedEof => {}
                _ => return Failure::new(Outcome::Truncated, format!("the response cannot be read: {io}")),
            }
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return if head_seen {
                Failure::new(Outcome::Truncated, "the body was cut: the connection closed inside it")
            } else {
                Failure::new(Outcome::Reset, "the connection closed before the response")
            };
        }
        if error.is_parse() {
            return Failure::new(Outcome::Truncated, format!("the response is not HTTP/1.1: {error}"));
        }
        Failure::new(Outcome::Truncated, format!("the response cannot be read: {error}"))
    }

    /// The failure of making a TCP connection to `address`.
    pub(crate) fn connect(address: std::net::SocketAddr, error: &io::Error) -> Self {
        Failure::new(Outcome::Refused, format!("cannot connect to {address}: {}", plain(error)))
    }
}

/// An I/O error without the operating system's number, which says nothing more.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::TimedOut => "timed out".to_owned(),
        ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// The I/O error at the bottom of an error, if there is one.
fn find_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}
