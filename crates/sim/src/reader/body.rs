//! Request bodies: parsed in one pass, prompts counted where they lie and never copied.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::words::count_words;

/// What of a body counts; unknown fields are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Body<'a> {
    #[serde(borrow)]
    pub(crate) model: Option<Cow<'a, str>>,
    pub(crate) messages: Option<Vec<Message>>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) max_tokens: Option<i64>,
    pub(crate) max_completion_tokens: Option<i64>,
    pub(crate) ignore_eos: Option<bool>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
}

/// What mini-sglang knows of a body: `max_completion_tokens` and `stream_options` are strangers to it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MiniBody<'a> {
    #[serde(borrow)]
    pub(crate) model: Option<Cow<'a, str>>,
    pub(crate) messages: Option<Vec<Message>>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) max_tokens: Option<i64>,
    pub(crate) ignore_eos: Option<bool>,
    /// Checked and then ignored: everything is streamed.
    pub(crate) stream: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
    pub(crate) continuous_usage_stats: Option<bool>,
}

/// A message, of which only the number of words is kept.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) content: Content,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    /// One of the three that mini-sglang knows: system, user, assistant.
    pub(crate) is_basic: bool,
}

/// A message's content: its words, and whether it was a plain string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) words: u64,
    pub(crate) is_string: bool,
}

/// A prompt of `/v1/completions`: text, token ids, or a list with one of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) tokens: u64,
    /// How many prompts the list holds.
    pub(crate) prompts: u64,
    pub(crate) is_string: bool,
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RoleVisitor;
        impl Visitor<'_> for RoleVisitor {
            type Value = Role;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a role")
            }
            fn visit_str<E: Error>(self, role: &str) -> Result<Role, E> {
                Ok(Role { is_basic: matches!(role, "system" | "user" | "assistant") })
            }
        }
        deserializer.deserialize_str(RoleVisitor)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content { words: count_words(text), is_string: true })
            }
            fn visit_unit<E: Error>(self) -> Result<Content, E> {
                Ok(Content::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut words = 0;
                while let Some(part) = parts.next_element::<Part>()? {
                    words += part.words;
                }
                Ok(Content { words, is_string: false })
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A part of a content list; parts without text (images) count nothing.
struct Part {
    words: u64,
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartVisitor;
        impl<'de> Visitor<'de> for PartVisitor {
            type Value = Part;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a content part (an object)")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
                let mut words = 0;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "text" {
                        words += map.next_value::<Words>()?.0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Part { words })
            }
        }
        deserializer.deserialize_map(PartVisitor)
    }
}

/// A string, of which only the number of words is kept.
struct Words(u64);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;
        impl Visitor<'_> for WordsVisitor {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words(count_words(text)))
            }
        }
        deserializer.deserialize_str(WordsVisitor)
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PromptVisitor;
        impl<'de> Visitor<'de> for PromptVisitor {
            type Value = Prompt;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of token ids, or a list of either")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Prompt, E> {
                Ok(Prompt { tokens: count_words(text), prompts: 1, is_string: true })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Prompt, A::Error> {
                let (mut ids, mut tokens, mut prompts) = (0, 0, 0);
                while let Some(item) = items.next_element::<PromptItem>()? {
                    match item {
                        PromptItem::Id => ids += 1,
                        PromptItem::Prompt(n) => {
                            tokens += n;
                            prompts += 1;
                        }
                    }
                }
                if ids > 0 && prompts > 0 {
                    return Err(A::Error::custom("a prompt list mixes token ids with prompts"));
                }
                prompts += u64::from(ids > 0);
                Ok(Prompt { tokens: tokens + ids, prompts, is_string: false })
            }
        }
        deserializer.deserialize_any(PromptVisitor)
    }
}

/// An item of a prompt list.
enum PromptItem {
    Id,
    /// Of that many tokens.
    Prompt(u64),
}

impl<'de> Deserialize<'de> for PromptItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = PromptItem;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id or a list of token ids")
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<PromptItem, E> {
                Ok(PromptItem::Id)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<PromptItem, E> {
                Ok(PromptItem::Prompt(count_words(text)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<PromptItem, A::Error> {
                let mut n = 0;
                while ids.next_element::<u32>()?.is_some() {
                    n += 1;
                }
                Ok(PromptItem::Prompt(n))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(messages: &str) -> u64 {
        let text = format!("{{\"messages\":{messages}}}");
        let body: Body<'_> = serde_json::from_str(&text).unwrap();
        body.messages.unwrap().iter().map(|message| message.content.words).sum()
    }

    #[test]
    fn prompts_are_counted_in_words_over_all_messages() {
        assert_eq!(words(r#"[{"role":"user","content":"a b  c"}]"#), 3);
        assert_eq!(
            words(r#"[{"role":"system","content":"a\nb\u0020c"},{"role":"user","content":" d "}]"#),
            4
        );
        assert_eq!(
            words(
                r#"[{"role":"user","content":[{"type":"text","text":"a b"},{"type":"image_url","x":{}}]}]"#
            ),
            2
        );
        assert_eq!(words(r#"[{"role":"assistant","content":null},{"role":"tool"}]"#), 0);
    }

    #[test]
    fn completions_take_text_or_ids_alone_or_in_a_list() {
        let prompt = |text: &str| serde_json::from_str::<Prompt>(text).map(|p| (p.tokens, p.prompts)).ok();
        assert_eq!(prompt(r#""a b""#), Some((2, 1)));
        assert_eq!(prompt("[5, 6, 7]"), Some((3, 1)));
        assert_eq!(prompt("[[5, 6]]"), Some((2, 1)));
        assert_eq!(prompt(r#"["a", "b c"]"#), Some((3, 2)));
        assert_eq!(prompt("[]"), Some((0, 0)));
        assert_eq!(prompt(r#"["a", 5]"#), None);
        assert_eq!(prompt("[-1]"), None);
        assert_eq!(prompt("5"), None);
    }
}
