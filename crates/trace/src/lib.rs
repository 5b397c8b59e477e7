//! The trace model of Tics: readers of trace formats, validation, scaling, slicing, synthesis, the schedule.
//!
//! A [`Trace`] is a file in one of the public formats or in Tics' own ([`Format`]), every row of which
//! has been validated; its [`Index`] has what there is to know about it as a whole. A [`Selection`]
//! makes a [`Schedule`] of it: totals that are known before the first request, and the requests
//! themselves in the order in which they are due. [`Trace::info`] describes a trace, [`Trace::check`]
//! doubts it, [`convert`] writes it in another format, [`SynthOptions`] draws one.
//!
//! The one decision that explains the rest: *the file is read twice and never kept*. The index pass
//! validates every row and adds up totals; the schedule reads the rows again as they are needed. So
//! a bad row is found before the first request, and memory does not grow with the trace. The price is
//! that input must be readable twice: standard input, compressed files and formats that are not made
//! of lines (ShareGPT, ServeGen, Parquet) are spooled to a temporary file that has no name, and a file whose
//! rows are not in time order costs 24 bytes a row for the order.
//!
//! Times are read from their decimal digits into whole nanoseconds; no binary float is in between.
//!
//! It knows no network, no runtime and no tokenizer: a caller that has one hands in
//! [`OpenOptions::count_tokens`].
//!
//! ```
//! use tics_record::Nanos;
//! use tics_trace::{OpenOptions, Scale, Selection, Trace};
//!
//! let file = r#"
//! {"timestamp": 0, "input_length": 600, "output_length": 20, "hash_ids": [0, 1]}
//! {"timestamp": 1500, "input_length": 400, "output_length": 7, "hash_ids": [2]}
//! "#;
//! let trace = Trace::read(file.as_bytes(), "example", &OpenOptions::default())?;
//! assert_eq!(trace.index().input_tokens, 1000);
//!
//! let twice_as_fast = Selection { scale: Scale::new(0.5).unwrap(), ..Selection::default() };
//! let requests: Vec<_> = trace.schedule(&twice_as_fast)?.collect::<Result<_, _>>()?;
//! assert_eq!(requests[1].due, Nanos::from_millis(750));
//! assert_eq!(requests[1].row.line, 3);
//! # Ok::<(), tics_trace::TraceError>(())
//! ```
#![warn(missing_docs)]

mod arrivals;
mod azure;
mod burstgpt;
mod check;
mod convert;
mod csv;
mod decimal;
mod dialect;
mod distribution;
mod draw;
mod elements;
mod error;
mod format;
mod index;
mod info;
mod json;
mod lengths;
mod lines;
mod links;
mod open;
mod options;
mod parquet;
mod plot;
mod prefix_cache;
mod prepare;
mod renames;
mod row;
mod sample;
mod samples;
mod schedule;
mod select;
mod servegen;
mod sessions;
mod sharegpt;
mod sharing;
mod source;
mod spread;
mod synth;
mod trace;
mod turns;
mod unpack;
mod value;
mod view;
mod write;

pub use arrivals::Arrivals;
pub use check::{CheckReport, Finding, Severity};
pub use convert::{ConvertError, Converted, convert};
pub use distribution::{Distribution, LengthOf};
pub use error::{Fault, TraceError};
pub use format::Format;
pub use index::{Bursts, Index};
pub use info::{Info, OverTime};
pub use lengths::{Bin, Lengths};
pub use links::{Follower, Link, Links, Pause};
pub use open::{OpenOptions, TokenCounter};
pub use parquet::GUARDED_THREAD;
pub use prefix_cache::{PrefixHits, SharedPrefixes, SharedTotals, UnboundedCache};
pub use renames::parse_field;
pub use row::{Id, RawJson, Row};
pub use samples::samples;
pub use schedule::{Schedule, ScheduledRequest, Totals};
pub use select::{LengthRange, Scale, Selection, parse_scales, parse_share, parse_window};
pub use servegen::ServeGen;
pub use sessions::Sessions;
pub use sharing::PrefixSharing;
pub use spread::Spread;
pub use synth::{PrefixTree, Synth, SynthError, SynthOptions, SynthSessions};
pub use trace::{Rows, Trace};
pub use turns::{Turn, TurnFinder};
pub use write::{RowWriter, WriteFormat};
