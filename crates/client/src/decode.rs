//! What an event's data says: its class, the finish reason, token counts, an error.
//!
//! One pass over the JSON, nothing allocated in the common case. Only what decides the class is
//! looked at; text is never kept.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tics_record::EventClass;

/// Token counts as the server gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(default)]
    pub prompt_tokens: Option<u32>,
    /// Tokens generated so far.
    #[serde(default)]
    pub completion_tokens: Option<u32>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl Usage {
    /// Prompt tokens found in the server's cache.
    pub fn cached_tokens(&self) -> Option<u32> {
        self.prompt_tokens_details?.cached_tokens
    }
}

/// What one event said.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Its class.
    pub class: EventClass,
    /// The finish reason, if it gave one; any class may.
    pub finish_reason: Option<Cow<'a, str>>,
    /// Token counts, if it gave any; any class may.
    pub usage: Option<Usage>,
    /// One line on the error, if it was one.
    pub error: Option<String>,
}

impl Decoded<'_> {
    fn bare(class: EventClass) -> Self {
        Decoded { class, finish_reason: None, usage: None, error: None }
    }
}

/// Reads one event. `name` is the SSE event name, empty for the default.
pub fn decode<'a>(name: &[u8], data: &'a [u8]) -> Decoded<'a> {
    if data.trim_ascii() == b"[DONE]" {
        return Decoded::bare(EventClass::Done);
    }
    let Ok(chunk) = serde_json::from_slice::<Chunk<'a>>(data) else {
        let mut decoded = Decoded::bare(EventClass::Unknown);
        if name == b"error" {
            decoded.class = EventClass::Error;
            decoded.error = Some(excerpt(data));
        }
        return decoded;
    };
    let whole_is_error = name == b"error" || chunk.object.is_some_and(|o| o.get() == "\"error\"");
    if let Some(error) = chunk.error {
        return Decoded { error: Some(error_line(error.get())), ..Decoded::bare(EventClass::Error) };
    }
    if whole_is_error {
        return Decoded { error: Some(error_text(data)), ..Decoded::bare(EventClass::Error) };
    }
    let minisgl = chunk.object.is_some_and(|o| o.get() == "\"text_completion.chunk\"");
    let choice = chunk.choices.unwrap_or_default();
    Decoded {
        class: class_of(&choice, minisgl, chunk.usage.is_some()),
        finish_reason: choice.finish.and_then(|raw| serde_json::from_str::<Reason<'a>>(raw.get()).ok()?.0),
        usage: chunk.usage,
        error: None,
    }
}

fn class_of(choice: &Choices<'_>, minisgl: bool, usage: bool) -> EventClass {
    if choice.content {
        EventClass::Content
    } else if choice.reasoning {
        EventClass::Reasoning
    } else if choice.tool_call {
        EventClass::ToolCall
    } else if choice.finish.is_some() {
        EventClass::Finish
    } else if minisgl && choice.any {
        // mini-sglang sends one event a token; a token that ends inside a character has no text.
        EventClass::Token
    } else if choice.role {
        EventClass::RoleOnly
    } else if choice.any {
        EventClass::Empty
    } else if usage {
        EventClass::Usage
    } else {
        EventClass::Unknown
    }
}

/// One line of at most 200 characters of what the server sent, control characters blanked.
pub fn excerpt(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(&data[..data.len().min(800)]);
    let mut line: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(201).collect();
    if line.chars().count() > 200 {
        line = line.chars().take(199).collect::<String>() + "…";
    }
    line
}

/// The server's own words out of an error body: `error.message`, `error` as a string, `detail`,
/// `message`, or the body itself.
pub fn error_text(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return excerpt(body) };
    let message = match &value["error"] {
        serde_json::Value::Null => [&value["detail"], &value["message"]].into_iter().find(|v| !v.is_null()),
        error => error.get("message").or(Some(error)),
    };
    match message {
        Some(serde_json::Value::String(text)) => excerpt(text.as_bytes()),
        Some(other) => excerpt(other.to_string().as_bytes()),
        None => excerpt(body),
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

#[derive(Deserialize)]
struct Reason<'a>(#[serde(borrow)] Option<Cow<'a, str>>);

/// All choices of a chunk, folded into one: what any of them carried.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct Choices<'a> {
    any: bool,
    content: bool,
    reasoning: bool,
    tool_call: bool,
    role: bool,
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
                    all.any = true;
                    all.content |= delta.content.0 || delta.refusal.0 || choice.text.0;
                    all.reasoning |= delta.reasoning.0 || delta.reasoning_content.0;
                    all.tool_call |= delta.tool_calls.0 || delta.function_call.0;
                    all.role |= delta.role.0;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, class: EventClass) {
        assert_eq!(decode(b"", data.as_bytes()).class, class, "{data}");
    }

    fn chat(delta: &str, finish: &str) -> String {
        format!(
            r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}"#
        )
    }

    #[test]
    fn classes_of_real_frames() {
        check("[DONE]", EventClass::Done);
        check(" [DONE]\n", EventClass::Done);
        check("hello", EventClass::Unknown);
        check("{}", EventClass::Unknown);
        check("[1,2]", EventClass::Unknown);
        check(&chat(r#"{"role":"assistant","content":""}"#, "null"), EventClass::RoleOnly);
        check(&chat(r#"{"role":"assistant","content":null}"#, "null"), EventClass::RoleOnly);
        check(&chat(r#"{"role":"assistant"}"#, "null"), EventClass::RoleOnly);
        check(&chat(r#"{"role":"assistant","content":"Hi"}"#, "null"), EventClass::Content);
        check(&chat(r#"{"content":"\u00e9"}"#, "null"), EventClass::Content);
        check(&chat(r#"{"content":" ","reasoning_content":null}"#, "null"), EventClass::Content);
        check(&chat(r#"{"content":null,"reasoning_content":"Hm"}"#, "null"), EventClass::Reasoning);
        check(&chat(r#"{"reasoning":"Hm"}"#, "null"), EventClass::Reasoning);
        check(&chat(r#"{"tool_calls":[{"index":0}]}"#, "null"), EventClass::ToolCall);
        check(&chat(r#"{"tool_calls":[],"content":""}"#, "null"), EventClass::Empty);
        check(&chat("{}", "null"), EventClass::Empty);
        check(&chat("{}", r#""stop""#), EventClass::Finish);
        check(&chat(r#"{"content":"last"}"#, r#""length""#), EventClass::Content);
        check(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#, EventClass::Usage);
        check(r#"{"choices":[{"text":" a","finish_reason":null}]}"#, EventClass::Content);
        check(r#"{"error":{"message":"no","code":500}}"#, EventClass::Error);
        check(r#"{"error":"no"}"#, EventClass::Error);
        check(r#"{"error":null,"choices":[{"text":"a"}]}"#, EventClass::Content);
        check(r#"{"object":"error","message":"no"}"#, EventClass::Error);
    }

    #[test]
    fn mini_sglang_sends_an_event_a_token() {
        let chunk = |delta: &str, finish: &str| {
            format!(
                r#"{{"id":"cmpl-0","object":"text_completion.chunk","choices":[{{"delta":{delta},"index":0,"finish_reason":{finish}}}]}}"#
            )
        };
        check(&chunk(r#"{"role":"assistant","content":"a"}"#, "null"), EventClass::Content);
        check(&chunk(r#"{"role":"assistant"}"#, "null"), EventClass::Token);
        check(&chunk("{}", "null"), EventClass::Token);
        check(&chunk("{}", r#""stop""#), EventClass::Finish);
    }

    #[test]
    fn counts_reasons_and_errors_are_read() {
        let decoded = decode(
            b"",
            br#"{"choices":[{"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        );
        assert_eq!(decoded.finish_reason.as_deref(), Some("length"));
        let usage = decoded.usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(7), Some(9)));
        assert_eq!(usage.cached_tokens(), Some(4));
        let error = |name: &str, data: &str| decode(name.as_bytes(), data.as_bytes()).error;
        assert_eq!(error("", r#"{"error":{"message":"full","type":"x"}}"#).as_deref(), Some("full"));
        assert_eq!(error("", r#"{"error":"full"}"#).as_deref(), Some("full"));
        assert_eq!(error("", r#"{"error":{"code":5}}"#).as_deref(), Some(r#"{"code":5}"#));
        assert_eq!(error("error", r#"{"detail":"full"}"#).as_deref(), Some("full"));
        assert_eq!(error("error", "plain").as_deref(), Some("plain"));
        assert_eq!(error_text(br#"{"detail":[{"msg":"x"}]}"#), r#"[{"msg":"x"}]"#);
        assert_eq!(error_text(b"<html>\n429"), "<html> 429");
    }
}
