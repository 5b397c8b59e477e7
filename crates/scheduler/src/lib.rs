//! Keeps time: the real clock, the pacer, workers, open and closed loops, draining.
//!
//! The decision that explains the rest: a request is *armed* well before it is due (its prompt made,
//! its connection open, its bytes serialised and waiting), so that the only thing left at the due
//! instant is one system call, made by a thread that does nothing else. What the server does cannot
//! move it: arrivals never wait for completions in an open loop, and a failed request never ends the
//! run. The price is a connection held for each request that waits, a quarter of a second each.
//!
//! It drives anything that can be armed and fired ([`Exchanger`], [`Fire`]); it knows no HTTP, no
//! JSON and no file, and neither computes nor shows a statistic.
//!
//! ```
//! use tics_record::{Clock, Stamp};
//! use tics_scheduler::RealClock;
//!
//! let (clock, unix_ns) = RealClock::start();
//! assert!(clock.now() >= Stamp::ORIGIN && unix_ns > 0);
//! ```
#![warn(missing_docs)]

mod clock;
mod exchange;
mod feeder;
mod follow;
mod live;
mod pacer;
mod place;
mod run;
mod shot;
mod state;
mod worker;

#[cfg(test)]
mod run_tests;

pub use clock::RealClock;
pub use exchange::{Exchanger, ExchangerFactory, Planned, Turn};
pub use follow::{Follower, Followers};
pub use live::{Live, Totals, Tracker};
pub use run::{Control, Run, RunEnd, RunHandle, RunOptions, StartError};
pub use shot::{Fire, Report, Shot};
