//! One request of a trace.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tics_record::Nanos;

/// One request of a trace, as recorded.
///
/// Rows are streamed, so the layout is for clarity: a row is a few hundred bytes and its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Line in the file, from 1; in formats that are not made of lines, number of the request.
    pub line: u64,
    /// When it arrived, from the trace's own zero as recorded, exact to the nanosecond.
    pub at: Nanos,
    /// Length of the prompt, tokens, from 1. 0 only where the row carries its own text and nobody
    /// has counted it: see [`OpenOptions::count_tokens`](crate::OpenOptions::count_tokens).
    pub input_length: u32,
    /// Length of the answer, tokens, from 1.
    pub output_length: u32,
    /// Prefix blocks of the prompt: the same id means the same tokens behind the same prefix.
    pub hash_ids: Option<Vec<u64>>,
    /// Tokens in a block; known whenever `hash_ids` is. The last block may be partial.
    pub block_size: Option<u32>,
    /// The request's own name.
    pub id: Option<Id>,
    /// `id` of the request that it continues. It may be missing from the file.
    pub parent: Option<Id>,
    /// The conversation that it belongs to.
    pub session: Option<String>,
    /// Think time: from the end of the turn before to this one.
    pub delay: Option<Nanos>,
    /// What sort of request (`text`, `search`, `image` …), in the trace's own words.
    pub kind: Option<String>,
    /// Turn of the conversation, from 1.
    pub turn: Option<u32>,
    /// The prompt itself.
    pub prompt: Option<String>,
    /// The chat messages themselves, a JSON array. `input_length` then counts their texts, without
    /// what a chat template adds.
    pub messages: Option<RawJson>,
    /// The whole request body, a JSON object.
    pub payload: Option<RawJson>,
}

/// Name of a request: a number or a text, as the trace has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number, such as Qwen-Bailian's `chat_id`.
    Number(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(n) => n.fmt(f),
            Id::Text(text) => text.fmt(f),
        }
    }
}

impl From<i64> for Id {
    fn from(n: i64) -> Self {
        Id::Number(n)
    }
}

/// A JSON value as the text it was written in: it is passed on byte for byte.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// `None` if the text is not JSON.
    pub fn parse(text: String) -> Option<RawJson> {
        RawValue::from_string(text).ok().map(RawJson)
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl From<&RawValue> for RawJson {
    fn from(value: &RawValue) -> Self {
        RawJson(value.to_owned())
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawJson {}
