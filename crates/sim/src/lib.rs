//! A simulated inference server with a real HTTP face and a truth log.
//!
//! It speaks as vLLM or mini-sglang do over loopback, gives its tokens by a [`Timetable`] (an engine's
//! continuous batching, fixed latencies, or a flood), and writes down what really happened: when each
//! request was read in full, and when each token was handed to the kernel. Measurements of others are
//! judged by that log, so this crate shares no code with the client it judges.
//!
//! The one decision that explains the rest: tokens are written by one thread that owns the timetable,
//! with a direct non-blocking `send` on the socket, and each event's stamps are taken around that very
//! call. No runtime, task or buffer stands between a token's due time and the kernel, and every byte on
//! the wire is made here, so that broken ones can be made as well. The price: sockets, HTTP framing and
//! back-pressure are our own to get right, it runs on Linux only, and one core is all it writes with.
//!
//! Two more threads serve that one. The reader accepts, reads and understands; it counts a prompt's
//! tokens (its words) as it parses, and the timetable is anchored at the receive stamp taken *before*
//! that, so counting never moves a token. The log thread owns the files.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//! use tics_sim::{Sim, SimOptions, Timetable};
//!
//! let timetable = Timetable::Fixed { ttft: Duration::from_millis(2), itl: Duration::from_millis(1) };
//! let sim = Sim::start(SimOptions { timetable, ..SimOptions::default() })?;
//! let body = r#"{"messages": [{"role": "user", "content": "two words"}], "max_tokens": 3, "stream": true}"#;
//! let mut client = TcpStream::connect(sim.addr())?;
//! write!(client, "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n")?;
//! write!(client, "content-length: {}\r\n\r\n{body}", body.len())?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.contains("data: [DONE]"));
//! assert_eq!(sim.stop()?.tokens, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The truth log
//! JSON lines; the first is a header (`format`, `version`, `clock`, …). Then one for each request that
//! ended, all instants in ns of CLOCK_MONOTONIC:
//!
//! | key | meaning |
//! | --- | --- |
//! | `id` | its `X-Request-Id`, or null |
//! | `conn`, `accepted_ns` | number of its connection, and when that was accepted |
//! | `path` | where it was sent |
//! | `first_byte_ns` | after the read that had its first byte |
//! | `received_ns` | after the read that completed it (for a request pipelined behind a response: after that response) |
//! | `kernel_ns` | the kernel's receive stamp of the last byte of that read; null where there is none |
//! | `prompt_tokens`, `output_tokens` | counted; tokens whose last byte the kernel took |
//! | `cached_tokens` | of the prompt, found in the prefix cache; 0 without one |
//! | `prompt_blocks`, `cached_blocks` | blocks of the prompt, and how many of them were found; 0 without a cache |
//! | `stream` | whether they went out one by one |
//! | `head_ns` | after the write of the response's head |
//! | `tokens` | `[before, after]` the write of each token's event; `after` is when its last byte was taken |
//! | `due_ns` | when each of these tokens was planned; empty when flooding |
//! | `end_ns`, `ended` | `complete`, `client_gone`, `rejected:<status>` or `shutdown` |
#![warn(missing_docs)]

mod clock;
mod engine;
mod link;
mod metrics;
mod options;
mod order;
mod prefix;
mod reader;
mod sim;
mod truth;
mod wire;
mod words;

pub use options::{ApiKey, BatchOptions, Dialect, HeadTiming, PrefixCache, SimOptions, Timetable};
pub use sim::{Sim, SimError, Stopper, Totals};
