//! Request bodies: parsed in one pass, prompts counted where they lie and copied only where JSON escapes
//! something in them.

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
    #[serde(borrow)]
    pub(crate) messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    pub(crate) prompt: Option<Prompt<'a>>,
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
    #[serde(borrow)]
    pub(crate) messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    pub(crate) prompt: Option<Prompt<'a>>,
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

/// A message.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    pub(crate) role: Role,
    #[serde(default, borrow)]
    pub(crate) content: Content<'a>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    /// One of the three that mini-sglang knows: system, user, assistant.
    pub(crate) is_basic: bool,
}

/// A message's content: the text of its parts, how many words that has, and whether it was a plain string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content<'a> {
    pub(crate) words: u64,
    pub(crate) texts: Vec<Cow<'a, str>>,
    pub(crate) is_string: bool,
}

/// A prompt of `/v1/completions`: text, token ids, or a list with one of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt<'a> {
    pub(crate) tokens: u64,
    /// How many prompts the list holds.
    pub(crate) prompts: u64,
    pub(crate) is_string: bool,
    /// What they are: texts, or ids.
    pub(crate) texts: Vec<Cow<'a, str>>,
    pub(crate) ids: Vec<u64>,
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

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Content<'de>, E> {
                Ok(Content { words: count_words(text), texts: vec![Cow::Borrowed(text)], is_string: true })
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Content<'de>, E> {
                let copy = Cow::Owned(text.to_owned());
                Ok(Content { words: count_words(text), texts: vec![copy], is_string: true })
            }
            fn visit_unit<E: Error>(self) -> Result<Content<'de>, E> {
                Ok(Content::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content<'de>, A::Error> {
                let (mut words, mut texts) = (0, Vec::new());
                while let Some(part) = parts.next_element::<Part<'de>>()? {
                    for text in part.0 {
                        words += count_words(&text);
                        texts.push(text);
                    }
                }
                Ok(Content { words, texts, is_string: false })
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A part of a content list: its text; parts without (images) count nothing.
struct Part<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Part<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartVisitor;
        impl<'de> Visitor<'de> for PartVisitor {
            type Value = Part<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a content part (an object)")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part<'de>, A::Error> {
                let mut texts = Vec::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "text" {
                        texts.push(map.next_value::<Text<'de>>()?.0);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Part(texts))
            }
        }
        deserializer.deserialize_map(PartVisitor)
    }
}

/// A string where it lies, or a copy of it unescaped.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'a> Prompt<'a> {
    fn of_text(text: Cow<'a, str>) -> Self {
        let tokens = count_words(&text);
        Prompt { tokens, prompts: 1, is_string: true, texts: vec![text], ids: Vec::new() }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Prompt<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PromptVisitor;
        impl<'de> Visitor<'de> for PromptVisitor {
            type Value = Prompt<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of token ids, or a list of either")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Prompt<'de>, E> {
                Ok(Prompt::of_text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Prompt<'de>, E> {
                Ok(Prompt::of_text(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Prompt<'de>, A::Error> {
                let (mut single_ids, mut prompts) = (false, 0);
                let (mut texts, mut ids) = (Vec::new(), Vec::new());
                while let Some(item) = items.next_element::<PromptItem<'de>>()? {
                    prompts += u64::from(!matches!(item, PromptItem::Id(_)));
                    match item {
                        PromptItem::Id(id) => {
                            single_ids = true;
                            ids.push(id);
                        }
                        PromptItem::Ids(mut more) => ids.append(&mut more),
                        PromptItem::Text(text) => texts.push(text),
                    }
                }
                if single_ids && prompts > 0 {
                    return Err(A::Error::custom("a prompt list mixes token ids with prompts"));
                }
                prompts += u64::from(single_ids);
                let words: u64 = texts.iter().map(|text: &Cow<'_, str>| count_words(text)).sum();
                Ok(Prompt { tokens: words + ids.len() as u64, prompts, is_string: false, texts, ids })
            }
        }
        deserializer.deserialize_any(PromptVisitor)
    }
}

/// An item of a prompt list.
enum PromptItem<'a> {
    Id(u64),
    /// A prompt of ids.
    Ids(Vec<u64>),
    /// A prompt of text.
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for PromptItem<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = PromptItem<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id or a list of token ids")
            }
            fn visit_u64<E: Error>(self, id: u64) -> Result<PromptItem<'de>, E> {
                Ok(PromptItem::Id(id))
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<PromptItem<'de>, E> {
                Ok(PromptItem::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<PromptItem<'de>, E> {
                Ok(PromptItem::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<PromptItem<'de>, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = items.next_element::<u32>()? {
                    ids.push(id.into());
                }
                Ok(PromptItem::Ids(ids))
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
        let prompt =
            |text: &str| serde_json::from_str::<Prompt<'_>>(text).map(|p| (p.tokens, p.prompts)).ok();
        assert_eq!(prompt(r#""a b""#), Some((2, 1)));
        assert_eq!(prompt("[5, 6, 7]"), Some((3, 1)));
        assert_eq!(prompt("[[5, 6]]"), Some((2, 1)));
        assert_eq!(prompt(r#"["a", "b c"]"#), Some((3, 2)));
        assert_eq!(prompt("[]"), Some((0, 0)));
        assert_eq!(prompt("[[], []]"), Some((0, 2)));
        assert_eq!(prompt(r#"["a", 5]"#), None);
        assert_eq!(prompt("[-1]"), None);
        assert_eq!(prompt("5"), None);
    }
}
