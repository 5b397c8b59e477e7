//! JSON lines: every JSONL format is a table of names and units.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tics_record::Nanos;

use crate::decimal::{MILLIS, SECONDS, parse_decimal};
use crate::error::Fault;
use crate::value::{
    TOKENS, expect_blocks, expect_id, expect_list, expect_object, expect_text, expect_tokens, expect_whole,
};
use crate::view::{Field, Fields, RowView};

/// How one JSONL format calls things.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Name of each field that the format has.
    pub(crate) names: &'static [(&'static str, Field)],
    /// Decimal places from its unit of time to nanoseconds.
    pub(crate) places: u32,
    /// Tokens in a block, where rows do not say.
    pub(crate) block_size: Option<u32>,
    /// The parent of a request that begins a conversation.
    pub(crate) root: Option<i64>,
    /// Whether rows have a time.
    pub(crate) timed: bool,
    /// Whether a row that carries its own text may leave out its lengths.
    pub(crate) may_carry_text: bool,
}

pub(crate) static MOONCAKE: Dialect = Dialect {
    names: &[
        ("timestamp", Field::At),
        ("input_length", Field::InputLength),
        ("output_length", Field::OutputLength),
        ("hash_ids", Field::HashIds),
        ("session_id", Field::Session),
        ("delay", Field::Delay),
    ],
    places: MILLIS,
    block_size: Some(512),
    root: None,
    timed: true,
    may_carry_text: false,
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
    timed: true,
    may_carry_text: false,
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
    timed: true,
    may_carry_text: true,
};

pub(crate) static PROMPTS: Dialect = Dialect {
    names: &[
        ("prompt", Field::Prompt),
        ("input_length", Field::InputLength),
        ("output_length", Field::OutputLength),
        ("id", Field::Id),
    ],
    places: SECONDS,
    block_size: None,
    root: None,
    timed: false,
    may_carry_text: true,
};

/// What the caller knows beside the file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defaults {
    /// Tokens in a block, instead of the format's.
    pub(crate) block_size: Option<u32>,
    /// Output length of rows that carry their text and give none.
    pub(crate) output_length: Option<u32>,
}

impl Dialect {
    fn name(&self, field: Field) -> &'static str {
        self.names.iter().find(|(_, f)| *f == field).map_or("", |(name, _)| name)
    }

    /// Validates a line in full.
    pub(crate) fn read<'a>(&self, line: &'a str, defaults: &Defaults) -> Result<RowView<'a>, Fault> {
        let found = self.split(line)?;
        if let Some(field) = found.twice {
            return Err(Fault::field(self.name(field), "it once", "it twice"));
        }
        let fields = found.fields;
        let at =
            if self.timed { self.time(&fields, Field::At)?.ok_or_else(|| self.missing_time())? } else { 0 };
        let block_size = match self.optional(&fields, Field::BlockSize, expect_tokens)? {
            None => defaults.block_size.or(self.block_size),
            given => given,
        };
        let blocks = self.optional(&fields, Field::HashIds, expect_blocks)?;
        if blocks.is_some() && block_size.is_none() {
            return Err(Fault::field("block_size", "the tokens in a block, beside \"hash_ids\"", "nothing"));
        }
        let parent = self.optional(&fields, Field::Parent, expect_id)?;
        self.optional(&fields, Field::Id, expect_id)?;
        self.optional(&fields, Field::Session, expect_id)?;
        self.optional(&fields, Field::Kind, expect_text)?;
        self.optional(&fields, Field::Prompt, expect_text)?;
        self.optional(&fields, Field::Messages, expect_list)?;
        self.optional(&fields, Field::Payload, expect_object)?;
        if !self.timed && fields.get(Field::Prompt).is_none() {
            return Err(Fault::field("prompt", "a text", "nothing"));
        }
        Ok(RowView {
            at,
            input_length: self.length(&fields, Field::InputLength, Some(0))?,
            output_length: self.length(&fields, Field::OutputLength, defaults.output_length)?,
            blocks,
            block_size,
            delay: self.time(&fields, Field::Delay)?.map(Nanos::new),
            turn: self.optional(&fields, Field::Turn, expect_whole)?,
            is_root: self.root.is_some() && parent.flatten() == self.root,
            fields,
        })
    }

    /// A length in tokens; `default` stands in where the row carries its own text.
    fn length(&self, fields: &Fields<'_>, field: Field, default: Option<u32>) -> Result<u32, Fault> {
        match self.optional(fields, field, expect_tokens)? {
            Some(length) => Ok(length),
            None if self.may_carry_text && fields.has_text() => default.ok_or_else(|| {
                Fault::field(
                    self.name(field),
                    "a number of tokens, or a default on the command line",
                    "nothing",
                )
            }),
            None => Err(Fault::field(self.name(field), TOKENS, "nothing")),
        }
    }

    fn time(&self, fields: &Fields<'_>, field: Field) -> Result<Option<u64>, Fault> {
        let Some(raw) = fields.get(field) else { return Ok(None) };
        match parse_decimal(raw.get(), self.places) {
            Ok(ns) => Ok(Some(ns)),
            Err(_) => Err(Fault::field(self.name(field), self.expected_time(), raw.get())),
        }
    }

    fn missing_time(&self) -> Fault {
        Fault::field(self.name(Field::At), self.expected_time(), "nothing")
    }

    fn expected_time(&self) -> &'static str {
        // The largest span is 2^64 ns.
        if self.places == MILLIS {
            "milliseconds from 0 to 18446744073709"
        } else {
            "seconds from 0 to 18446744073"
        }
    }

    fn optional<T>(
        &self,
        fields: &Fields<'_>,
        field: Field,
        expect: fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Fault> {
        let Some(raw) = fields.get(field) else { return Ok(None) };
        match expect(raw.get()) {
            Ok(value) => Ok(Some(value)),
            Err(expected) => Err(Fault::field(self.name(field), expected, raw.get())),
        }
    }

    /// The line as an object, taken apart into the fields that this format knows.
    fn split<'a>(&self, line: &'a str) -> Result<Found<'a>, Fault> {
        let mut parser = serde_json::Deserializer::from_str(line);
        let result = parser.deserialize_map(Object(self)).and_then(|found| parser.end().map(|()| found));
        result.map_err(|error| self.explain(line, &error))
    }

    /// A JSON error in the words of the format: with the field where it stands behind a known name.
    fn explain(&self, line: &str, error: &serde_json::Error) -> Fault {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let column = error.column().max(1);
        // At the end of the line the parser names its last byte, not the place behind it.
        let stop = if error.is_eof() { line.len() } else { column - 1 };
        let before = line.get(..stop).unwrap_or("").trim_end();
        let key = before
            .strip_suffix(':')
            .and_then(|b| b.trim_end().strip_suffix('"'))
            .and_then(|b| b.rsplit('"').next());
        let known = key.and_then(|key| self.names.iter().find(|(name, _)| *name == key));
        match known {
            Some((name, _)) => {
                let found = line[stop..].split([',', '}']).next().unwrap_or("").trim();
                let found = if found.is_empty() { "the end of the line" } else { found };
                Fault::field(name, "a JSON value", found)
            }
            None => Fault::Json { message, column },
        }
    }
}

struct Found<'a> {
    fields: Fields<'a>,
    /// A field that was given more than once.
    twice: Option<Field>,
}

/// Reads an object into [`Found`].
struct Object<'d>(&'d Dialect);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found { fields: Fields::default(), twice: None };
        while let Some(name) = map.next_key_seed(Name(self.0))? {
            let Some(field) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = map.next_value()?;
            if found.fields.get(field).is_some() {
                found.twice = Some(field);
            }
            found.fields.set(field, value);
        }
        Ok(found)
    }
}

/// Reads a name into the field that it stands for, without keeping it.
struct Name<'d>(&'d Dialect);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<Field>;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.names.iter().find(|(known, _)| *known == name).map(|(_, field)| *field))
    }
}
