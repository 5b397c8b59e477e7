//! JSON lines: every JSONL format is a table of names and units, a [`Dialect`](crate::dialect::Dialect).

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tics_record::Nanos;

use crate::decimal::{MICROS, MILLIS, NANOS, parse_decimal};
use crate::dialect::{Content, Spoken, Time};
use crate::error::Fault;
use crate::value::{
    TOKENS, expect_blocks, expect_id, expect_list, expect_object, expect_text, expect_tokens, expect_whole,
};
use crate::view::{Field, Fields, RowView};

/// What the caller knows beside the file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defaults {
    /// Tokens in a block, instead of the format's.
    pub(crate) block_size: Option<u32>,
    /// Output length of rows that carry their text and give none.
    pub(crate) output_length: Option<u32>,
    /// Whether requests that failed in the original are kept.
    pub(crate) keep_failed: bool,
}

impl Spoken {
    /// Validates a line in full.
    pub(crate) fn read<'a>(&self, line: &'a str, defaults: &Defaults) -> Result<RowView<'a>, Fault> {
        let found = self.split(line)?;
        if let Some(field) = found.twice {
            return Err(Fault::field(self.name(field), "it once", "it twice"));
        }
        let mut fields = found.fields;
        if self.dialect.content == Content::Body
            && let Ok(body) = serde_json::from_str(line.trim())
        {
            fields.set(Field::Payload, body);
        }
        let at = self.time(&fields, Field::At)?;
        let block_size = match self.optional(&fields, Field::BlockSize, expect_tokens)? {
            None => defaults.block_size.or(self.dialect.block_size),
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
        if self.dialect.content == Content::Prompt && fields.get(Field::Prompt).is_none() {
            return Err(Fault::field(self.name(Field::Prompt), "a text", "nothing"));
        }
        if at.is_none() && !self.may_lack_time(&fields) {
            return Err(Fault::field(self.name(Field::At), self.expected_time(Field::At), "nothing"));
        }
        Ok(RowView {
            at: at.unwrap_or(0),
            has_time: at.is_some() || self.dialect.time == Time::None,
            input_length: self.length(&fields, Field::InputLength, Some(0))?,
            output_length: self.output_length(&fields, defaults)?,
            blocks,
            block_size,
            delay: self.time(&fields, Field::Delay)?.map(Nanos::new),
            turn: self.optional(&fields, Field::Turn, expect_whole)?,
            is_root: self.dialect.root.is_some() && parent.flatten() == self.dialect.root,
            fields,
            ..RowView::default()
        })
    }

    fn may_lack_time(&self, fields: &Fields<'_>) -> bool {
        match self.dialect.time {
            Time::Required => false,
            Time::Optional => fields.get(Field::Session).is_some() || fields.has_text(),
            Time::None => true,
        }
    }

    /// A body says itself how long its answer may be.
    fn output_length(&self, fields: &Fields<'_>, defaults: &Defaults) -> Result<u32, Fault> {
        let limit = match (fields.get(Field::OutputLength), fields.get(Field::Payload)) {
            (None, Some(body)) => limit_of(body)?,
            _ => None,
        };
        limit.map_or_else(|| self.length(fields, Field::OutputLength, defaults.output_length), Ok)
    }

    /// A length in tokens; `default` stands in where the row carries its own text.
    fn length(&self, fields: &Fields<'_>, field: Field, default: Option<u32>) -> Result<u32, Fault> {
        match self.optional(fields, field, expect_tokens)? {
            Some(length) => Ok(length),
            None if self.dialect.content.may_be_text() && fields.has_text() => default.ok_or_else(|| {
                let name = if self.name(field).is_empty() { "max_tokens" } else { self.name(field) };
                Fault::field(name, "a number of tokens, or a default on the command line", "nothing")
            }),
            None => Err(Fault::field(self.name(field), TOKENS, "nothing")),
        }
    }

    fn time(&self, fields: &Fields<'_>, field: Field) -> Result<Option<u64>, Fault> {
        let Some(raw) = fields.get(field) else { return Ok(None) };
        match parse_decimal(raw.get(), self.places(field)) {
            Ok(ns) => Ok(Some(ns)),
            Err(_) => Err(Fault::field(self.name(field), self.expected_time(field), raw.get())),
        }
    }

    fn expected_time(&self, field: Field) -> &'static str {
        // The largest span is 2^64 ns.
        match self.places(field) {
            NANOS => "nanoseconds from 0 to 18446744073709551615",
            MICROS => "microseconds from 0 to 18446744073709551",
            MILLIS => "milliseconds from 0 to 18446744073709",
            _ => "seconds from 0 to 18446744073",
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
        let known = key.and_then(|key| self.names.iter().find(|(name, _)| name == key));
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

/// The most tokens that a request body allows its answer.
fn limit_of(body: &RawValue) -> Result<Option<u32>, Fault> {
    #[derive(Deserialize)]
    struct Limits<'a> {
        #[serde(borrow, default)]
        max_completion_tokens: Option<&'a RawValue>,
        #[serde(borrow, default)]
        max_tokens: Option<&'a RawValue>,
    }
    let limits: Limits<'_> = serde_json::from_str(body.get())
        .map_err(|_| Fault::field("payload", "an object with each field once", body.get()))?;
    let named = [("max_completion_tokens", limits.max_completion_tokens), ("max_tokens", limits.max_tokens)];
    let given = named.into_iter().find_map(|(name, raw)| raw.map(|raw| (name, raw.get())));
    given
        .filter(|(_, text)| *text != "null")
        .map(|(name, text)| expect_tokens(text).map_err(|expected| Fault::field(name, expected, text)))
        .transpose()
}

struct Found<'a> {
    fields: Fields<'a>,
    /// A field that was given more than once.
    twice: Option<Field>,
}

/// Reads an object into [`Found`].
struct Object<'d>(&'d Spoken);

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
struct Name<'d>(&'d Spoken);

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
        Ok(self.0.names.iter().find(|(known, _)| known == name).map(|(_, field)| *field))
    }
}
