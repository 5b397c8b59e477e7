//! The leaf of Tics: what every other crate speaks.
//!
//! Points and spans of time ([`Stamp`], [`Nanos`], [`Clock`]), what came down a stream ([`Event`],
//! [`EventClass`]), how a request ended ([`Outcome`]), its record ([`RequestRecord`]), the journal
//! that holds the records ([`JournalWriter`], [`JournalReader`]), the description of the run
//! ([`RunDescription`]), and its live view ([`Snapshot`]).
//!
//! The one decision that explains the rest: a record keeps *events* with their stamps and classes,
//! not derived numbers, so that every definition of every latency can be computed later. The price
//! is 16 bytes an event in memory and about 40 in the journal.
//!
//! It knows no file, no network, no runtime and no statistics beyond the live percentiles.
//!
//! ```
//! use tics_record::{Event, EventClass, RequestRecord, Nanos, Stamp};
//!
//! let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
//! record.sent = Some(Stamp::from_nanos(1_000));
//! record.events.push(Event::new(Stamp::from_nanos(5_000), EventClass::Content));
//! assert_eq!(record.ttft(), Some(Nanos::new(4_000)));
//! ```
#![warn(missing_docs)]

mod event;
mod journal;
mod live;
mod outcome;
mod prompt;
mod request;
mod run;
mod server;
mod time;

pub use event::{Event, EventClass};
pub use journal::{Closing, Header, JOURNAL_FORMAT, JournalError, JournalReader, JournalWriter, Line, Sent};
pub use live::{Gauge, LiveHistogram, LivePercentiles, Phase, Progress, Snapshot};
pub use outcome::{LateCause, Outcome};
pub use prompt::{BlockHits, ExpectedHits, PromptFacts};
pub use request::{ConnectionInfo, InputTokens, OutputTokens, ReadDelay, RequestRecord};
pub use run::{
    Asked, Download, Host, Load, LoadModel, PromptSource, RUN_FORMAT, RunDescription, Sessions, Target,
    TraceSource, Warmed,
};
pub use server::ServerSample;
pub use time::{Clock, ManualClock, Nanos, Stamp};
