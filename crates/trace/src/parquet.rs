//! Parquet: rows as columns, read into JSON lines and written as columns of our own.
//!
//! A Parquet file is a way of packing rows, not a format: its columns have the names that one of the JSONL
//! formats gives its fields, and are rewritten as lines of that format into the spool file, line *n* being
//! row *n*. So a value is judged by the very code that judges it in a line, and a fault is named the same.
//! What we write ourselves are the fields of our own rows, with times as whole nanoseconds, as no binary
//! fraction of a second is exact:
//!
//! | column | type | for |
//! | --- | --- | --- |
//! | `timestamp_ns`, `delay_ns` | unsigned 64 bits | `timestamp_s`, `delay_s` |
//! | `input_length`, `output_length`, `turn`, `block_size` | unsigned 32 bits | the same |
//! | `id`, `parent` | 64 bits | those that are numbers |
//! | `id_text`, `parent_text` | text | those that are texts |
//! | `session_id`, `type`, `prompt` | text | the same |
//! | `messages`, `payload` | text | the same, as JSON |
//! | `hash_ids` | list of unsigned 64 bits | the same |

mod cells;
mod read;
mod write;

pub use read::GUARDED_THREAD;
pub(crate) use read::{Rewritten, is_parquet, rewrite};
pub(crate) use write::Columns;

/// Columns of ours that stand for a field of another name: the column, then the field.
const TIMES: [(&str, &str); 2] = [("timestamp_ns", "timestamp_s"), ("delay_ns", "delay_s")];

/// Columns with the values of a field that are texts, where its own column has the numbers.
const TEXTS: [(&str, &str); 2] = [("id_text", "id"), ("parent_text", "parent")];
