//! A row still in the file's bytes: validated in full, nothing allocated.

use serde_json::value::RawValue;
use tics_record::Nanos;

use crate::row::{Id, RawJson, Row};

/// What a row can hold, in the order of [`Fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    At,
    InputLength,
    OutputLength,
    HashIds,
    BlockSize,
    Id,
    Parent,
    Session,
    Delay,
    Kind,
    Turn,
    Prompt,
    Messages,
    Payload,
}

/// Number of fields.
const FIELDS: usize = 14;

/// The JSON text of each field that the row has. A JSON null counts as absent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fields<'a>([Option<&'a RawValue>; FIELDS]);

impl<'a> Fields<'a> {
    pub(crate) fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.0[field as usize]
    }

    pub(crate) fn set(&mut self, field: Field, value: &'a RawValue) {
        self.0[field as usize] = (value.get() != "null").then_some(value);
    }

    /// Whether the row carries its own text, so that its lengths need not be given.
    pub(crate) fn has_text(&self) -> bool {
        [Field::Prompt, Field::Messages, Field::Payload].iter().any(|f| self.get(*f).is_some())
    }

    fn text(&self, field: Field) -> Option<String> {
        self.get(field).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    pub(crate) fn id(&self, field: Field) -> Option<Id> {
        self.get(field).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }
}

/// A valid row. What validation had to compute is here; the rest is still text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowView<'a> {
    /// Time in nanoseconds from the format's zero: for dates, 1970.
    pub(crate) at: u64,
    /// Whether the row says its time. Where it does not, the index pass settles it.
    pub(crate) has_time: bool,
    /// Whether it failed in the original and is not to be sent.
    pub(crate) failed: bool,
    /// Tokens; 0 when not known.
    pub(crate) input_length: u32,
    /// Tokens.
    pub(crate) output_length: u32,
    /// Number of blocks.
    pub(crate) blocks: Option<u32>,
    pub(crate) block_size: Option<u32>,
    pub(crate) delay: Option<Nanos>,
    pub(crate) turn: Option<u32>,
    /// Whether the parent is a value that means "none" in this format.
    pub(crate) is_root: bool,
    pub(crate) fields: Fields<'a>,
    /// The session, in formats that are not JSON.
    pub(crate) session: Option<&'a str>,
    /// What sort of request, in formats that are not JSON.
    pub(crate) kind: Option<&'a str>,
}

impl RowView<'_> {
    /// Whether the number of blocks is what the length asks for; `None` without blocks.
    pub(crate) fn blocks_fit(&self) -> Option<bool> {
        let (blocks, size) = (self.blocks?, self.block_size?);
        // A row whose length is not known cannot contradict its blocks.
        Some(self.input_length == 0 || blocks == self.input_length.div_ceil(size))
    }

    pub(crate) fn prompt(&self) -> Option<String> {
        self.fields.text(Field::Prompt)
    }

    pub(crate) fn block_ids(&self) -> Option<Vec<u64>> {
        self.fields.get(Field::HashIds).map(|raw| block_ids(raw.get(), self.blocks.unwrap_or(0)))
    }

    pub(crate) fn session_name(&self) -> Option<String> {
        self.fields.id(Field::Session).map(|id| id.to_string()).or_else(|| self.session.map(str::to_owned))
    }

    /// The row on its own. `origin` is the trace's zero in the format's time.
    pub(crate) fn to_row(self, line: u64, origin: u64) -> Row {
        let fields = &self.fields;
        Row {
            line,
            // A file that changed since the index pass may have rows before its zero.
            at: Nanos::new(self.at.saturating_sub(origin)),
            input_length: self.input_length,
            output_length: self.output_length,
            hash_ids: self.block_ids(),
            block_size: self.block_size.filter(|_| self.blocks.is_some()),
            id: fields.id(Field::Id),
            parent: if self.is_root { None } else { fields.id(Field::Parent) },
            session: self.session_name(),
            delay: self.delay,
            kind: fields.text(Field::Kind).or_else(|| self.kind.map(str::to_owned)),
            turn: self.turn,
            prompt: self.prompt(),
            messages: fields.get(Field::Messages).map(RawJson::from),
            payload: fields.get(Field::Payload).map(RawJson::from),
        }
    }
}

/// The `n` ids of an array that was validated.
fn block_ids(array: &str, n: u32) -> Vec<u64> {
    let mut ids = Vec::with_capacity(n as usize);
    let mut current: Option<u64> = None;
    for byte in array.bytes() {
        if byte.is_ascii_digit() {
            // Validation found every id below 2^64.
            current = Some(current.unwrap_or(0).wrapping_mul(10).wrapping_add(u64::from(byte - b'0')));
        } else {
            ids.extend(current.take());
        }
    }
    ids
}
