//! The formats that can be read, and how to tell them apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::azure::Columns;
use crate::error::Fault;
use crate::json::{Defaults, Dialect, MOONCAKE, PROMPTS, QWEN, TICS};
use crate::view::RowView;

/// A trace format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Tics' own rows: JSON lines, `timestamp_s` in seconds.
    Tics,
    /// Mooncake: JSON lines, `timestamp` in milliseconds, blocks of 512 tokens.
    Mooncake,
    /// Qwen-Bailian: JSON lines, `timestamp` in seconds, `chat_id`, blocks of 16 tokens.
    Qwen,
    /// Azure LLM inference 2023 and 2024: CSV with dates.
    Azure,
    /// JSON lines of a `prompt` and perhaps an `output_length`; every request at time zero.
    Prompts,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 5] =
        [Format::Tics, Format::Mooncake, Format::Qwen, Format::Azure, Format::Prompts];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Tics => "tics",
            Format::Mooncake => "mooncake",
            Format::Qwen => "qwen",
            Format::Azure => "azure",
            Format::Prompts => "prompts",
        }
    }

    /// The unit of its times where nothing in a row says it: a file in the other one looks alike.
    pub(crate) const fn silent_unit(self) -> Option<&'static str> {
        match self {
            Format::Mooncake => Some("milliseconds"),
            Format::Qwen => Some("seconds"),
            Format::Tics | Format::Azure | Format::Prompts => None,
        }
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        Format::ALL.map(Format::name).join(", ")
    }

    /// Recognises a format by one line of a file, its first or any other row of JSON lines.
    ///
    /// Mooncake and Qwen-Bailian rows differ in their unit of time, so a name decides where there is
    /// one (`chat_id`), and the number of blocks where there is none.
    pub fn detect(line: &str) -> Option<Format> {
        if Columns::recognise(line) {
            return Some(Format::Azure);
        }
        let Ok(Value::Object(row)) = serde_json::from_str(line) else { return None };
        let has = |name: &str| row.contains_key(name);
        if has("timestamp_s") {
            return Some(Format::Tics);
        }
        if has("timestamp") && (has("input_length") || has("output_length") || has("hash_ids")) {
            let length = row.get("input_length").and_then(Value::as_u64);
            let blocks = row.get("hash_ids").and_then(Value::as_array).map(|ids| ids.len() as u64);
            let fits = |size: u64| length.zip(blocks).is_some_and(|(length, n)| length.div_ceil(size) == n);
            let qwen = has("chat_id") || has("parent_chat_id") || (fits(16) && !fits(512));
            return Some(if qwen { Format::Qwen } else { Format::Mooncake });
        }
        (has("prompt") && !has("timestamp")).then_some(Format::Prompts)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Format::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| format!("no trace format of this name; there are {}", Format::names()))
    }
}

/// Reads the lines of one file: the seam at which a new format is added.
///
/// A decoder is given one line and returns a validated row that borrows from it. A format whose rows
/// are not lines (a JSON array, say) belongs before it: rewritten as Tics rows into the spool file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decoder {
    Json(&'static Dialect, Defaults),
    Azure(Columns),
}

impl Decoder {
    /// `first` is the first line that is not blank.
    pub(crate) fn new(format: Format, first: &str, defaults: Defaults) -> Result<Decoder, Fault> {
        Ok(match format {
            Format::Tics => Decoder::Json(&TICS, defaults),
            Format::Mooncake => Decoder::Json(&MOONCAKE, defaults),
            Format::Qwen => Decoder::Json(&QWEN, defaults),
            Format::Prompts => Decoder::Json(&PROMPTS, defaults),
            Format::Azure => Decoder::Azure(Columns::from_header(first)?),
        })
    }

    /// Whether the first line that is not blank is a header.
    pub(crate) const fn has_header(&self) -> bool {
        matches!(self, Decoder::Azure(_))
    }

    /// Whether times are dates, so that the trace's zero is its first request.
    pub(crate) const fn has_dates(&self) -> bool {
        matches!(self, Decoder::Azure(_))
    }

    pub(crate) fn read<'a>(&self, line: &'a [u8]) -> Result<RowView<'a>, Fault> {
        let text = std::str::from_utf8(line).map_err(|error| Fault::NotText {
            byte: line[error.valid_up_to()],
            column: error.valid_up_to() + 1,
        })?;
        match self {
            Decoder::Json(dialect, defaults) => dialect.read(text, defaults),
            Decoder::Azure(columns) => columns.read(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_the_format() {
        let check = |line: &str, expect| assert_eq!(Format::detect(line), expect, "{line}");
        check(r#"{"timestamp_s": 0.2, "input_length": 521, "output_length": 132}"#, Some(Format::Tics));
        check(
            r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}"#,
            Some(Format::Mooncake),
        );
        check(r#"{"timestamp": 9, "input_length": 600, "output_length": 5}"#, Some(Format::Mooncake));
        check(
            r#"{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.0, "input_length": 5, "output_length": 5}"#,
            Some(Format::Qwen),
        );
        check(
            r#"{"timestamp": 0.0, "input_length": 33, "output_length": 5, "hash_ids": [1,2,3]}"#,
            Some(Format::Qwen),
        );
        check("TIMESTAMP,ContextTokens,GeneratedTokens", Some(Format::Azure));
        check("TIMESTAMP,NumImages,ContextTokens,GeneratedTokens", Some(Format::Azure));
        check(r#"{"prompt": "Hello"}"#, Some(Format::Prompts));
        check(r#"{"text": "Hello"}"#, None);
        check("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", None);
        check("[1, 2]", None);
        check("", None);
    }

    #[test]
    fn names_read_back() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!("csv".parse::<Format>().unwrap_err().contains("tics, mooncake, qwen, azure, prompts"));
    }
}
