//! The events of SGLang's `/generate`: all text so far, and the counts so far beside it.
//!
//! `{"text": "…", "meta_info": {"finish_reason": null, "prompt_tokens": 5, "completion_tokens": 1,
//! "cached_tokens": 0, …}}`, then `[DONE]`. The text grows from event to event (or, with the server's
//! `--stream-output`, is what is new), so that the counts tell what an event brought.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tics_record::EventClass;

use crate::decode::{Decoded, error_text, excerpt};

/// Token counts as the server gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Tokens of the prompt.
    pub(crate) prompt: Option<u32>,
    /// Tokens generated so far.
    pub(crate) completion: Option<u32>,
    /// Prompt tokens found in the server's cache.
    pub(crate) cached: Option<u32>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    meta_info: Option<Meta<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
    #[serde(default)]
    cached_tokens: Option<u32>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// `{"type": "length", "length": 16}`, or the type alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reason {
    Name(String),
    Named {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        message: Option<String>,
    },
}

/// Reads one event. `counted`: tokens generated up to the event before.
pub(crate) fn decode<'a>(name: &[u8], data: &'a [u8], counted: u32) -> (Decoded<'a>, Option<Counts>) {
    let bare = |class| Decoded { class, finish_reason: None, usage: None, error: None };
    let broken = |line: String| (Decoded { error: Some(line), ..bare(EventClass::Error) }, None);
    if data.trim_ascii() == b"[DONE]" {
        return (bare(EventClass::Done), None);
    }
    let Ok(event) = serde_json::from_slice::<Event<'a>>(data) else {
        return if name == b"error" { broken(excerpt(data)) } else { (bare(EventClass::Unknown), None) };
    };
    if event.error.is_some() || name == b"error" {
        return broken(error_text(data));
    }
    let has_text = event.text.is_some_and(|text| !matches!(text.get(), "null" | "\"\""));
    let Some(meta) = event.meta_info else {
        return (bare(if has_text { EventClass::Content } else { EventClass::Unknown }), None);
    };
    let reason = meta.finish_reason.and_then(|raw| serde_json::from_str::<Option<Reason>>(raw.get()).ok()?);
    let (reason, message) = match reason {
        Some(Reason::Named { kind, message }) => (Some(kind), message),
        Some(Reason::Name(name)) => (Some(name), None),
        None => (None, None),
    };
    if reason.as_deref() == Some("abort") {
        return broken(message.unwrap_or_else(|| "the server aborted the request".to_owned()));
    }
    let brought = meta.completion_tokens.map_or(has_text, |tokens| tokens > counted);
    let class = match (brought, has_text, &reason) {
        (true, true, _) => EventClass::Content,
        (true, false, _) => EventClass::Token,
        (false, _, Some(_)) => EventClass::Finish,
        (false, ..) => EventClass::Empty,
    };
    let decoded = Decoded { finish_reason: reason.map(Cow::Owned), ..bare(class) };
    let counts =
        Counts { prompt: meta.prompt_tokens, completion: meta.completion_tokens, cached: meta.cached_tokens };
    (decoded, Some(counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str, finish: &str, tokens: u32) -> String {
        format!(
            r#"{{"text":{text},"meta_info":{{"id":"a","finish_reason":{finish},"prompt_tokens":7,"completion_tokens":{tokens},"cached_tokens":4}}}}"#
        )
    }

    #[test]
    fn counts_tell_what_an_event_brought() {
        let check = |data: &str, counted, class| {
            assert_eq!(decode(b"", data.as_bytes(), counted).0.class, class, "{data}");
        };
        let length = r#"{"type":"length","length":3}"#;
        check(&event("\"a\"", "null", 1), 0, EventClass::Content);
        check(&event("\"a b\"", "null", 3), 1, EventClass::Content);
        check(&event("\"\"", "null", 1), 0, EventClass::Token);
        check(&event("\"a b\"", length, 3), 2, EventClass::Content);
        check(&event("\"a b\"", length, 3), 3, EventClass::Finish);
        check(&event("\"a b\"", "null", 3), 3, EventClass::Empty);
        check(r#"{"text":"a","meta_info":{}}"#, 0, EventClass::Content);
        check("[DONE]", 3, EventClass::Done);
        check("plain text", 0, EventClass::Unknown);
        check("{}", 0, EventClass::Unknown);
    }

    #[test]
    fn reasons_counts_and_errors_are_read() {
        let of = |data: &str| {
            let (decoded, counts) = decode(b"", data.as_bytes(), 0);
            (decoded.finish_reason.map(Cow::into_owned), decoded.error, counts)
        };
        let (reason, error, counts) = of(&event("\"a\"", r#"{"type":"stop","matched":2}"#, 1));
        assert_eq!((reason.as_deref(), error), (Some("stop"), None));
        assert_eq!(counts, Some(Counts { prompt: Some(7), completion: Some(1), cached: Some(4) }));
        assert_eq!(of(&event("\"a\"", "\"stop\"", 1)).0.as_deref(), Some("stop"));
        assert_eq!(of(r#"{"error":{"message":"full"}}"#).1.as_deref(), Some("full"));
        let aborted = of(&event("\"\"", r#"{"type":"abort","message":"too long"}"#, 0));
        assert_eq!(aborted.1.as_deref(), Some("too long"));
    }
}
