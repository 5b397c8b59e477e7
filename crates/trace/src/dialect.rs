//! The JSONL formats: tables of names and units, read by [`json`](crate::json).

use std::borrow::Cow;

use crate::decimal::{MILLIS, SECONDS};
use crate::renames::places_of;
use crate::view::Field;

/// How one JSONL format calls things.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Names of the fields that the format has; a field may have several, the first is its own.
    pub(crate) names: &'static [(&'static str, Field)],
    /// Decimal places from its unit of time to nanoseconds.
    pub(crate) places: u32,
    /// Tokens in a block, where rows do not say.
    pub(crate) block_size: Option<u32>,
    /// The parent of a request that begins a conversation.
    pub(crate) root: Option<i64>,
    /// Whether rows have a time.
    pub(crate) time: Time,
    /// What a row is about.
    pub(crate) content: Content,
}

/// Whether rows have a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// Every row.
    Required,
    /// Rows of a session, and those with a text of their own, may be without.
    Optional,
    /// No row: all are due at once.
    None,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Lengths.
    Lengths,
    /// Lengths, or a text of its own, and then a length may be missing.
    LengthsOrText,
    /// A prompt.
    Prompt,
    /// The row itself is the request body.
    Body,
}

impl Content {
    pub(crate) fn may_be_text(self) -> bool {
        self != Content::Lengths
    }
}

pub(crate) static MOONCAKE: Dialect = Dialect {
    names: &[
        ("timestamp", Field::At),
        ("input_length", Field::InputLength),
        ("output_length", Field::OutputLength),
        ("hash_ids", Field::HashIds),
        ("session_id", Field::Session),
        ("delay", Field::Delay),
        ("messages", Field::Messages),
        ("payload", Field::Payload),
    ],
    places: MILLIS,
    block_size: Some(512),
    root: None,
    time: Time::Optional,
    content: Content::LengthsOrText,
};

pub(crate) static QWEN: Dialect = Dialect {
    names: &[
        ("chat_id", Field::Id),
        ("parent_chat_id", Field::Parent),
        ("timestamp", Field::At),
        ("input_length", Field::InputLength),
        ("output_length", Field::OutputLength),
        ("type", Field::Kind),
        ("turn", Field::Turn),
        ("hash_ids", Field::HashIds),
    ],
    places: SECONDS,
    block_size: Some(16),
    root: Some(-1),
    time: Time::Required,
    content: Content::Lengths,
};

pub(crate) static TICS: Dialect = Dialect {
    names: &[
        ("timestamp_s", Field::At),
        ("input_length", Field::InputLength),
        ("output_length", Field::OutputLength),
        ("hash_ids", Field::HashIds),
        ("block_size", Field::BlockSize),
        ("id", Field::Id),
        ("parent", Field::Parent),
        ("session_id", Field::Session),
        ("delay_s", Field::Delay),
        ("type", Field::Kind),
        ("turn", Field::Turn),
        ("prompt", Field::Prompt),
        ("messages", Field::Messages),
        ("payload", Field::Payload),
    ],
    places: SECONDS,
    block_size: None,
    root: None,
    time: Time::Required,
    content: Content::LengthsOrText,
};

pub(crate) static PROMPTS: Dialect = Dialect {
    names: &[
        ("prompt", Field::Prompt),
        ("input_length", Field::InputLength),
        ("output_length", Field::OutputLength),
        // As vLLM's own files of prompts have it.
        ("output_tokens", Field::OutputLength),
        ("id", Field::Id),
    ],
    places: SECONDS,
    block_size: None,
    root: None,
    time: Time::None,
    content: Content::Prompt,
};

pub(crate) static PAYLOAD: Dialect = Dialect {
    names: &[],
    places: SECONDS,
    block_size: None,
    root: None,
    time: Time::None,
    content: Content::Body,
};

/// A dialect as one file speaks it: some fields may have another name there.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) dialect: &'static Dialect,
    pub(crate) names: Vec<(Cow<'static, str>, Field)>,
    at_places: u32,
    delay_places: u32,
}

impl Spoken {
    /// `fields` are pairs of a name in the format and the name in the file, which takes its place.
    ///
    /// # Errors
    /// The first name that the format does not have.
    pub(crate) fn new(dialect: &'static Dialect, fields: &[(String, String)]) -> Result<Spoken, String> {
        let mut spoken = Spoken {
            dialect,
            names: dialect.names.iter().map(|(name, field)| (Cow::Borrowed(*name), *field)).collect(),
            at_places: dialect.places,
            delay_places: dialect.places,
        };
        for (ours, theirs) in fields {
            let known = dialect.names.iter().find(|(name, _)| name == ours);
            let (_, field) = known.ok_or_else(|| ours.clone())?;
            spoken.names.retain(|(_, f)| f != field);
            spoken.names.push((Cow::Owned(theirs.clone()), *field));
            match (field, places_of(theirs)) {
                (Field::At, Some(places)) => spoken.at_places = places,
                (Field::Delay, Some(places)) => spoken.delay_places = places,
                _ => {}
            }
        }
        Ok(spoken)
    }

    /// The name of a field in the file.
    pub(crate) fn name(&self, field: Field) -> &str {
        self.names.iter().find(|(_, f)| *f == field).map_or("", |(name, _)| name)
    }

    /// Decimal places from the unit of a time field to nanoseconds.
    pub(crate) fn places(&self, field: Field) -> u32 {
        if field == Field::Delay { self.delay_places } else { self.at_places }
    }
}
