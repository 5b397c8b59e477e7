//! What came down the stream: one [`Event`] an SSE event, with its stamp and its class.

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Stamp;

/// What an SSE event carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EventClass {
    /// Announces the role and no output.
    RoleOnly,
    /// A choice with neither output nor finish reason.
    Empty,
    /// Visible generated text. May end the choice as well (vLLM's last token carries the finish reason).
    Content,
    /// Generated text of a reasoning channel.
    Reasoning,
    /// A part of a tool call.
    ToolCall,
    /// A generated token without text: mini-sglang's `{}` delta (a token that ends inside a character).
    Token,
    /// The finish reason and no output.
    Finish,
    /// Token counts and no choices.
    Usage,
    /// An error object inside the stream.
    Error,
    /// The `[DONE]` marker.
    Done,
    /// Anything else: not JSON, or JSON of no known shape.
    Unknown,
}

impl EventClass {
    /// Every class, in the order of the codes.
    pub const ALL: [EventClass; 11] = [
        EventClass::RoleOnly,
        EventClass::Empty,
        EventClass::Content,
        EventClass::Reasoning,
        EventClass::ToolCall,
        EventClass::Token,
        EventClass::Finish,
        EventClass::Usage,
        EventClass::Error,
        EventClass::Done,
        EventClass::Unknown,
    ];

    /// Whether the event is a tic: it carried generated output.
    pub const fn is_tic(self) -> bool {
        matches!(self, EventClass::Content | EventClass::Reasoning | EventClass::ToolCall | EventClass::Token)
    }

    /// The name used in files and in print.
    pub const fn name(self) -> &'static str {
        match self {
            EventClass::RoleOnly => "role_only",
            EventClass::Empty => "empty",
            EventClass::Content => "content",
            EventClass::Reasoning => "reasoning",
            EventClass::ToolCall => "tool_call",
            EventClass::Token => "token",
            EventClass::Finish => "finish",
            EventClass::Usage => "usage",
            EventClass::Error => "error",
            EventClass::Done => "done",
            EventClass::Unknown => "unknown",
        }
    }
}

/// One SSE event.
///
/// In files it is the array `[t_ns, class, tokens or null, shared]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When the read that completed the event arrived.
    pub at: Stamp,
    /// Tokens it carried, where the server says so; `u32::MAX` stands for "not said" so that an event
    /// stays at 16 bytes (10,000 streams keep theirs in memory). Use [`Event::tokens`].
    tokens: u32,
    /// What it carried.
    pub class: EventClass,
    /// Whether a later event was completed by the same read: its true time is then between the
    /// previous read's stamp and `at`.
    pub shared: bool,
}

impl Event {
    const NOT_SAID: u32 = u32::MAX;

    /// An event of `class`, completed by the read stamped `at`.
    pub const fn new(at: Stamp, class: EventClass) -> Self {
        Event { at, tokens: Self::NOT_SAID, class, shared: false }
    }

    /// The same event, carrying `tokens` tokens by the server's word.
    #[must_use]
    pub const fn with_tokens(mut self, tokens: Option<u32>) -> Self {
        self.tokens = match tokens {
            Some(n) => n,
            None => Self::NOT_SAID,
        };
        self
    }

    /// The same event, having shared its read with a later one or not.
    #[must_use]
    pub const fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Tokens it carried, where the server says so.
    pub const fn tokens(&self) -> Option<u32> {
        if self.tokens == Self::NOT_SAID { None } else { Some(self.tokens) }
    }

    /// Whether the event is a tic.
    pub const fn is_tic(&self) -> bool {
        self.class.is_tic()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&self.at)?;
        tuple.serialize_element(self.class.name())?;
        tuple.serialize_element(&self.tokens())?;
        tuple.serialize_element(&self.shared)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Four;
        impl<'de> Visitor<'de> for Four {
            type Value = Event;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("[t_ns, class, tokens or null, shared]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Event, A::Error> {
                let missing = |n| de::Error::invalid_length(n, &"four elements");
                let at = seq.next_element()?.ok_or_else(|| missing(0))?;
                let class = seq.next_element()?.ok_or_else(|| missing(1))?;
                let tokens: Option<u32> = seq.next_element()?.ok_or_else(|| missing(2))?;
                let shared = seq.next_element()?.ok_or_else(|| missing(3))?;
                Ok(Event::new(at, class).with_tokens(tokens).with_shared(shared))
            }
        }
        deserializer.deserialize_tuple(4, Four)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_small_and_keeps_its_shape_in_json() {
        assert_eq!(size_of::<Event>(), 16);
        let event = Event::new(Stamp::from_nanos(7), EventClass::ToolCall).with_shared(true);
        let json = serde_json::to_string(&event.with_tokens(Some(2))).unwrap();
        assert_eq!(json, r#"[7,"tool_call",2,true]"#);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event.with_tokens(Some(2)));
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(json, r#"[7,"tool_call",null,true]"#);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn names_are_those_of_serde() {
        for class in EventClass::ALL {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{}\"", class.name()));
        }
    }
}
