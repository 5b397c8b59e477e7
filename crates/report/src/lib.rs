//! A summary as text, as JSON, and as other tools' files.
//!
//! The one decision that explains the rest: everything here is a pure function of a
//! [`Summary`](tics_stats::Summary) (or of records) and the run's description, with no clock, locale,
//! terminal or width to ask, so the report printed at the end of a run and the one printed later from
//! its directory are the same bytes. The price is a fixed layout of at most 100 columns, without
//! colour; who wants colour adds it at the edge.
//!
//! ```
//! use tics_report::{read_minisgl, render_minisgl};
//! use tics_stats::definitions::minisgl::Collector;
//!
//! // Two requests as mini-sglang's client keeps them: input and output length, then seconds.
//! let file = "[[521, 2, 10.0, 10.25, 10.5], [16, 1, 11.0, 11.5]]";
//! let mut collector = Collector::default();
//! for request in read_minisgl(file.as_bytes())? {
//!     collector.tics(request.tics);
//! }
//! assert!(render_minisgl(&collector.finish()).contains("250.000"));
//! # Ok::<(), tics_report::MinisglFileError>(())
//! ```
#![warn(missing_docs)]

mod achieved;
mod latency;
mod layout;
mod minisgl;
mod minisgl_file;
mod runs;
mod tables;
mod text;
mod turns;
mod workload;

pub use minisgl::render_minisgl;
pub use minisgl_file::{Exported, MinisglFileError, MinisglRequest, export_minisgl, read_minisgl};
pub use runs::render_runs;
pub use text::{render, render_full};

/// `value` as indented JSON with a final newline: a [`Summary`](tics_stats::Summary), or another
/// tool's figures.
///
/// # Errors
/// Those of a `Serialize` that fails; the types of `tics-stats` do not.
pub fn to_json<T: serde::Serialize>(value: &T) -> serde_json::Result<String> {
    let mut json = serde_json::to_string_pretty(value)?;
    json.push('\n');
    Ok(json)
}
