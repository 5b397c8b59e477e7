//! The server from outside: over real sockets, byte by byte.
#![allow(clippy::unwrap_used, reason = "the whole file is a test, its helpers too")]

mod client;
mod framing;
mod http;
mod load;
mod prefix;
mod timetables;
