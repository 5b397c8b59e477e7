//! The formats that can be read, and how to tell them apart.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::dialect::{Dialect, MOONCAKE, PAYLOAD, PROMPTS, QWEN, Spoken, TICS, Time};
use crate::error::Fault;
use crate::json::Defaults;
use crate::open::OpenOptions;
use crate::view::RowView;
use crate::{azure, burstgpt, servegen};

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
    /// BurstGPT, 6 or 8 columns: CSV with seconds. A response of 0 tokens failed in the original.
    BurstGpt,
    /// ShareGPT: a JSON array of conversations, one request a turn; every request at time zero.
    ShareGpt,
    /// ServeGen: parameters, from which rows are drawn.
    ServeGen,
    /// JSON lines of a `prompt` and perhaps an `output_length`; every request at time zero.
    Prompts,
    /// JSON lines of request bodies, sent as they are; every request at time zero.
    Payload,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 9] = [
        Format::Tics,
        Format::Mooncake,
        Format::Qwen,
        Format::Azure,
        Format::BurstGpt,
        Format::ShareGpt,
        Format::ServeGen,
        Format::Prompts,
        Format::Payload,
    ];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Tics => "tics",
            Format::Mooncake => "mooncake",
            Format::Qwen => "qwen",
            Format::Azure => "azure",
            Format::BurstGpt => "burstgpt",
            Format::ShareGpt => "sharegpt",
            Format::ServeGen => "servegen",
            Format::Prompts => "prompts",
            Format::Payload => "payload",
        }
    }

    /// The unit of its times where nothing in a row says it: a file in the other one looks alike.
    pub(crate) const fn silent_unit(self) -> Option<&'static str> {
        match self {
            Format::Mooncake => Some("milliseconds"),
            Format::Qwen => Some("seconds"),
            _ => None,
        }
    }

    /// Its table, if it is one of JSON lines. ShareGPT and ServeGen are rewritten as our own rows.
    pub(crate) const fn dialect(self) -> Option<&'static Dialect> {
        match self {
            Format::Tics | Format::ShareGpt | Format::ServeGen => Some(&TICS),
            Format::Mooncake => Some(&MOONCAKE),
            Format::Qwen => Some(&QWEN),
            Format::Prompts => Some(&PROMPTS),
            Format::Payload => Some(&PAYLOAD),
            Format::Azure | Format::BurstGpt => None,
        }
    }

    /// Names of the fields that may have another one in a file.
    pub(crate) fn field_names(self) -> Vec<&'static str> {
        match self {
            Format::Azure => azure::NAMES.to_vec(),
            Format::BurstGpt => burstgpt::NAMES.to_vec(),
            Format::ShareGpt | Format::ServeGen => Vec::new(),
            _ => self.dialect().map_or(&[][..], |dialect| dialect.names).iter().map(|(n, _)| *n).collect(),
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
        Format::detect_with(line, &OpenOptions::default())
    }

    /// The same with what is known of the file: names of fields, and the size of its blocks.
    pub(crate) fn detect_with(line: &str, options: &OpenOptions) -> Option<Format> {
        let fields = &*options.fields;
        if azure::Columns::from_header(line, fields).is_ok() {
            return Some(Format::Azure);
        }
        if burstgpt::Columns::from_header(line, fields).is_ok() {
            return Some(Format::BurstGpt);
        }
        if servegen::recognise(line) {
            return Some(Format::ServeGen);
        }
        let Ok(Value::Object(mut row)) = serde_json::from_str(line) else { return None };
        for (ours, theirs) in fields {
            if let Some(value) = row.remove(theirs) {
                row.insert(ours.clone(), value);
            }
        }
        Format::of_object(&row, options.block_size.is_some())
    }

    fn of_object(row: &Map<String, Value>, knows_blocks: bool) -> Option<Format> {
        let has = |name: &str| row.contains_key(name);
        let has_length = has("input_length") || has("output_length") || has("hash_ids");
        let has_chat = has("messages") || has("payload");
        if has("timestamp_s") {
            return Some(Format::Tics);
        }
        if has("model") && (has("messages") || has("prompt") && has("max_tokens")) && !has_length {
            return Some(Format::Payload);
        }
        if has("timestamp") && (has_length || has_chat) {
            let length = row.get("input_length").and_then(Value::as_u64);
            let blocks = row.get("hash_ids").and_then(Value::as_array).map(|ids| ids.len() as u64);
            let fits = |size: u64| length.zip(blocks).is_some_and(|(length, n)| length.div_ceil(size) == n);
            // Blocks whose size is given say nothing about the format.
            let fits_qwen = !knows_blocks && fits(16) && !fits(512);
            let qwen = has("chat_id") || has("parent_chat_id") || fits_qwen;
            return Some(if qwen { Format::Qwen } else { Format::Mooncake });
        }
        if has("conversations") {
            return Some(Format::ShareGpt);
        }
        if !has("timestamp") && (has("session_id") && has_length || has_chat) {
            return Some(Format::Mooncake);
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
#[derive(Debug, Clone)]
pub(crate) enum Decoder {
    Json(Arc<Spoken>, Defaults),
    Azure(azure::Columns),
    BurstGpt(burstgpt::Columns, Defaults),
}

impl Decoder {
    /// `first` is the first line that is not blank; `fields` are names that the format has.
    pub(crate) fn new(
        format: Format,
        first: &str,
        fields: &[(String, String)],
        defaults: Defaults,
    ) -> Result<Decoder, Fault> {
        Ok(match format {
            Format::BurstGpt => Decoder::BurstGpt(burstgpt::Columns::from_header(first, fields)?, defaults),
            _ => match format.dialect() {
                Some(dialect) => {
                    let spoken = Spoken::new(dialect, fields)
                        .map_err(|name| Fault::field(&name, "a field of the format", &name))?;
                    Decoder::Json(Arc::new(spoken), defaults)
                }
                None => Decoder::Azure(azure::Columns::from_header(first, fields)?),
            },
        })
    }

    /// Whether the first line that is not blank is a header.
    pub(crate) const fn has_header(&self) -> bool {
        !matches!(self, Decoder::Json(..))
    }

    /// Whether times are dates, so that the trace's zero is its first request.
    pub(crate) const fn has_dates(&self) -> bool {
        matches!(self, Decoder::Azure(_))
    }

    /// Whether there may be rows that follow another in time.
    pub(crate) fn may_lack_time(&self) -> bool {
        matches!(self, Decoder::Json(spoken, _) if spoken.dialect.time == Time::Optional)
    }

    pub(crate) fn read<'a>(&self, line: &'a [u8]) -> Result<RowView<'a>, Fault> {
        let text = std::str::from_utf8(line).map_err(|error| Fault::not_text(line, &error))?;
        match self {
            Decoder::Json(spoken, defaults) => spoken.read(text, defaults),
            Decoder::Azure(columns) => columns.read(text),
            Decoder::BurstGpt(columns, defaults) => columns.read(text, defaults.keep_failed),
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
        check("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", Some(Format::BurstGpt));
        check(
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
            Some(Format::BurstGpt),
        );
        check("0,1.16,0.98,Gamma,1.03,0.82", Some(Format::ServeGen));
        check("600,0,0,,0,0", Some(Format::ServeGen));
        check(
            r#"{"session_id": "abc-123", "delay": 2, "input_length": 150, "output_length": 20}"#,
            Some(Format::Mooncake),
        );
        check(r#"{"timestamp": 1000, "payload": {"model": "m", "messages": []}}"#, Some(Format::Mooncake));
        check(
            r#"{"messages": [{"role": "user", "content": "Hi"}], "output_length": 4}"#,
            Some(Format::Mooncake),
        );
        check(r#"{"model": "m", "messages": [], "max_tokens": 5}"#, Some(Format::Payload));
        check(r#"{"prompt": "Hi", "output_tokens": 128}"#, Some(Format::Prompts));
        check(r#"{"id": "1", "conversations": []}"#, Some(Format::ShareGpt));
        check("[1, 2]", None);
        check("", None);
    }

    #[test]
    fn names_read_back() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert!(
            "csv".parse::<Format>().unwrap_err().contains("tics, mooncake, qwen, azure, burstgpt, sharegpt")
        );
    }
}
