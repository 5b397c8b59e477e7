//! One streaming exchange over raw hyper: connect, arm, fire, read, stamp, class.
//!
//! The decision that explains the rest: the I/O below hyper (and below rustls) is ours. On the way
//! in it stamps each read with the kernel's own receive time, so that a token is stamped when it
//! reached this machine and not when a task got round to it. On the way out it can hold a serialised
//! request back, so that another thread hands it to the kernel at the very instant it is due, with
//! one `send` and nothing in between. The price is a copy of each read, and a connection that is
//! driven by hand.
//!
//! It knows no trace, no schedule, no statistics and no terminal.
//!
//! ```
//! use tics_client::{BaseUrl, SseParser};
//!
//! let base = BaseUrl::parse("http://localhost:8000/v1").unwrap();
//! assert_eq!(base.path("/v1/chat/completions"), "/v1/chat/completions");
//!
//! let mut events = Vec::new();
//! let mut parser = SseParser::new();
//! for piece in [&b"data: {\"a\""[..], b": 1}\n", b"\ndata: [DONE]\n\n"] {
//!     parser.feed(piece, |_, data| events.push(data.to_vec())).unwrap();
//! }
//! assert_eq!(events, [b"{\"a\": 1}".to_vec(), b"[DONE]".to_vec()]);
//! ```
#![warn(missing_docs)]

mod address;
mod answer;
mod body;
mod client;
mod connection;
mod decode;
mod download;
mod endpoint;
mod failure;
mod gate;
mod generate;
mod limits;
mod offset;
mod receive;
mod sse;
mod target;
mod tls;
mod transport;
mod wire;

#[cfg(test)]
mod exchange_tests;

pub use address::FileUrl;
pub use answer::append_answer;
pub use body::{BodyOptions, BodyTemplate, Content};
pub use client::{Client, Exchange};
pub use connection::Connector;
pub use decode::{Decoded, Decoder, Usage, decode, decode_by_serde, error_text};
pub use download::Head;
pub use endpoint::Endpoint;
pub use failure::Failure;
pub use limits::{Limits, ReusePolicy};
pub use receive::Observer;
/// The TLS configuration, as [`tls_config`] makes it.
pub use rustls::ClientConfig;
pub use sse::{SseParser, TooLong};
pub use target::{BadHeader, BadUrl, BaseUrl, Target};
pub use tls::{TlsError, Trust, tls_config};
pub use wire::{Fired, Trigger};
