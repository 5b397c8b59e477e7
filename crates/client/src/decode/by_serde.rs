//! The careful reader of an event, by way of serde_json: knows every form of JSON and what is none.
//!
//! It has the last word on what [`scan`](super::scan) does not answer: errors, `[DONE]`, rare forms,
//! garbage. And it is the oracle that the scanner is compared with.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tics_record::EventClass;

use super::{Carried, Decoded, ERROR, MINISGL, Usage, error_text, excerpt};

/// The same as [`decode`](super::decode), always by way of serde_json, and several times slower: what
/// tests, fuzzing and benches compare it with.
pub fn decode<'a>(name: &[u8], data: &'a [u8]) -> Decoded<'a> {
    if data.trim_ascii() == b"[DONE]" {
        return Decoded::bare(EventClass::Done);
    }
    let Ok(chunk) = serde_json::from_slice::<Chunk<'a>>(data) else {
        let mut decoded = Decoded::bare(EventClass::Unknown);
        if name == ERROR {
            decoded.class = EventClass::Error;
            decoded.error = Some(excerpt(data));
        }
        return decoded;
    };
    if let Some(error) = chunk.error {
        return Decoded { error: Some(error_line(error.get())), ..Decoded::bare(EventClass::Error) };
    }
    if name == ERROR || chunk.calls_itself(ERROR) {
        return Decoded { error: Some(error_text(data)), ..Decoded::bare(EventClass::Error) };
    }
    let choices = chunk.choices.as_ref();
    let carried = choices.map(|all| all.carried).unwrap_or_default();
    let finish = choices.and_then(|all| all.finish);
    Decoded {
        class: carried.class(chunk.calls_itself(MINISGL), chunk.usage.is_some()),
        finish_reason: finish.and_then(|raw| serde_json::from_str::<Reason<'a>>(raw.get()).ok()?.0),
        usage: chunk.usage,
        error: None,
    }
}

fn error_line(raw: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(raw) {
        Ok(serde_json::Value::String(text)) => excerpt(text.as_bytes()),
        Ok(value) => match value.get("message") {
            Some(serde_json::Value::String(text)) => excerpt(text.as_bytes()),
            _ => excerpt(raw.as_bytes()),
        },
        Err(_) => excerpt(raw.as_bytes()),
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow)]
    object: Option<&'a RawValue>,
    #[serde(default, borrow)]
    choices: Option<Choices<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

impl Chunk<'_> {
    /// Whether its `object` is this very text.
    fn calls_itself(&self, name: &[u8]) -> bool {
        let object = self.object.map(|raw| raw.get().as_bytes());
        object
            .is_some_and(|raw| raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")) == Some(name))
    }
}

#[derive(Deserialize)]
struct Reason<'a>(#[serde(borrow)] Option<Cow<'a, str>>);

/// All choices of a chunk, folded into one, and the first finish reason.
#[derive(Default)]
struct Choices<'a> {
    carried: Carried,
    finish: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    text: Filled,
    #[serde(default, borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Delta {
    #[serde(default)]
    role: Filled,
    #[serde(default)]
    content: Filled,
    #[serde(default)]
    refusal: Filled,
    #[serde(default)]
    reasoning: Filled,
    #[serde(default)]
    reasoning_content: Filled,
    #[serde(default)]
    tool_calls: Filled,
    #[serde(default)]
    function_call: Filled,
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fold;
        impl<'de> Visitor<'de> for Fold {
            type Value = Choices<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Choices::default();
                while let Some(choice) = seq.next_element::<Choice<'de>>()? {
                    let delta = choice.delta.unwrap_or_default();
                    let carried = &mut all.carried;
                    carried.any = true;
                    carried.content |= delta.content.0 || delta.refusal.0 || choice.text.0;
                    carried.reasoning |= delta.reasoning.0 || delta.reasoning_content.0;
                    carried.tool_call |= delta.tool_calls.0 || delta.function_call.0;
                    carried.role |= delta.role.0;
                    carried.finish |= choice.finish_reason.is_some();
                    all.finish = all.finish.or(choice.finish_reason);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_seq(Fold)
    }
}

/// Whether a value is there and not empty: null, `""`, `[]` and `{}` are not.
#[derive(Default, Clone, Copy)]
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Filled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Filled, E> {
                Ok(Filled(!text.is_empty()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Filled, E> {
                Ok(Filled(false))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Filled, E> {
                Ok(Filled(true))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Filled, A::Error> {
                let mut filled = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    filled = true;
                }
                Ok(Filled(filled))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filled, A::Error> {
                let mut filled = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    filled = true;
                }
                Ok(Filled(filled))
            }
        }
        deserializer.deserialize_any(Look)
    }
}
