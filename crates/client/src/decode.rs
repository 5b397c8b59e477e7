//! What an event's data says: its class, the finish reason, token counts, an error.
//!
//! Only what decides the class is looked at. Three readers, each for what the one before leaves, and all
//! of the same mind: [`Decoder`] compares an event with the last of its stream, [`scan`] reads in one
//! pass what servers usually send, [`by_serde`] reads everything else.

use std::borrow::Cow;

use serde::Deserialize;
use tics_record::EventClass;

mod by_serde;
mod decoder;
mod scan;

#[cfg(test)]
mod agreement_tests;

pub use by_serde::decode as decode_by_serde;
pub use decoder::Decoder;

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

/// What a chunk of mini-sglang's calls itself.
const MINISGL: &[u8] = b"text_completion.chunk";

/// What vLLM and SGLang call an error that is the whole event.
const ERROR: &[u8] = b"error";

/// Reads one event by itself. `name` is the SSE event name, empty for the default.
pub fn decode<'a>(name: &[u8], data: &'a [u8]) -> Decoded<'a> {
    // By its name alone, an event can be an error whatever it holds.
    match scan::scan(data) {
        Some(scanned) if name != ERROR => scanned.decoded,
        _ => decode_by_serde(name, data),
    }
}

/// All choices of a chunk, folded into one: what any of them carried.
#[derive(Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct Carried {
    any: bool,
    content: bool,
    reasoning: bool,
    tool_call: bool,
    role: bool,
    finish: bool,
}

impl Carried {
    /// The class of a chunk without an error. `minisgl`: it is mini-sglang's; `usage`: it has token counts.
    fn class(self, minisgl: bool, usage: bool) -> EventClass {
        if self.content {
            EventClass::Content
        } else if self.reasoning {
            EventClass::Reasoning
        } else if self.tool_call {
            EventClass::ToolCall
        } else if self.finish {
            EventClass::Finish
        } else if minisgl && self.any {
            // mini-sglang sends one event a token; a token that ends inside a character has no text.
            EventClass::Token
        } else if self.role {
            EventClass::RoleOnly
        } else if self.any {
            EventClass::Empty
        } else if usage {
            EventClass::Usage
        } else {
            EventClass::Unknown
        }
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
