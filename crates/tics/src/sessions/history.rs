//! The history of a conversation with the server's own answers in it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tics_trace::{Links, RawJson, ScheduledRequest, Turn};

/// Number of messages of each request that others continue: the answer comes behind them.
pub type Positions = HashMap<u64, usize>;

/// The part of a message that says whose it is.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(default, borrow)]
    tool_calls: Option<&'a RawValue>,
}

/// Sees to it that every turn repeats the conversation before it, so that there is a place for each answer.
#[derive(Default)]
pub struct Checker {
    /// Messages of each request, and a hash of their texts.
    seen: HashMap<u64, (usize, u64)>,
}

impl Checker {
    /// The next request of the schedule. An error is the end of a line that begins with the trace's path.
    pub fn see(&mut self, request: &ScheduledRequest, turn: Turn) -> Result<(), String> {
        let line = request.row.line;
        let Some(messages) = &request.row.messages else {
            return match turn.parent {
                None => Ok(()),
                Some(_) => Err(format!(
                    "{line}: --history live needs messages that repeat the conversation so far, and this \
                     request, which continues another one, has none"
                )),
            };
        };
        let messages = parse(messages).map_err(|why| format!("{line}: {why}"))?;
        if let Some(parent) = turn.parent {
            self.fits(parent, &messages).map_err(|why| {
                format!(
                    "{line}: --history live needs messages that repeat the conversation so far, but {why}"
                )
            })?;
        }
        self.seen.insert(request.index, (messages.len(), digest(&messages)));
        Ok(())
    }

    fn fits(&self, parent: u64, messages: &[&RawValue]) -> Result<(), String> {
        let Some((n, digest_of_parent)) = self.seen.get(&parent) else {
            return Err(format!("request {parent}, which it continues, has none"));
        };
        let begins_alike = messages.get(..*n).is_some_and(|begin| digest(begin) == *digest_of_parent);
        if !begins_alike {
            return Err(format!("they do not begin with those of request {parent}, which it continues"));
        }
        let answer =
            messages.get(*n).and_then(|message| serde_json::from_str::<Said<'_>>(message.get()).ok());
        match answer {
            Some(Said { role, tool_calls }) if role == "assistant" => match tool_calls.map(RawValue::get) {
                None | Some("null" | "[]") => Ok(()),
                Some(_) => Err(format!("the answer of request {parent} there calls tools")),
            },
            _ => Err(format!(
                "there is no answer of request {parent}, which it continues, behind those of that"
            )),
        }
    }

    /// Where answers come in the messages of those that follow.
    pub fn positions(self, links: &Links) -> Positions {
        let followed = self.seen.into_iter().filter(|(index, _)| links.of(*index).len() > 0);
        followed.map(|(index, (n, _))| (index, n)).collect()
    }
}

fn parse(messages: &RawJson) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(messages.as_str()).map_err(|error| format!("\"messages\" is no list: {error}"))
}

fn digest(messages: &[&RawValue]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for message in messages {
        message.get().hash(&mut hasher);
    }
    hasher.finish()
}

/// An answer of the server and those before it in its conversation.
pub struct Answered {
    /// Its place among the messages of those that follow.
    pub at: usize,
    /// Its text.
    pub text: String,
    /// The one before.
    pub before: Option<Arc<Answered>>,
}

/// `messages` with the server's answers instead of the recorded ones.
pub fn relive(messages: &RawJson, last: &Arc<Answered>) -> Result<RawJson, String> {
    let messages = parse(messages)?;
    let mut texts: Vec<Cow<'_, str>> = messages.iter().map(|message| Cow::Borrowed(message.get())).collect();
    let mut next = Some(last);
    while let Some(answered) = next {
        let message = serde_json::json!({"role": "assistant", "content": answered.text});
        let place = texts.get_mut(answered.at).ok_or("the trace has changed while it was in use")?;
        *place = Cow::Owned(message.to_string());
        next = answered.before.as_ref();
    }
    let joined = format!("[{}]", texts.join(","));
    RawJson::parse(joined).ok_or_else(|| "the messages are no JSON".to_owned())
}

#[cfg(test)]
mod tests {
    use tics_record::Nanos;
    use tics_trace::Row;

    use super::*;

    fn request(index: u64, messages: Option<&str>) -> ScheduledRequest {
        let messages = messages.map(|text| RawJson::parse(text.to_owned()).unwrap());
        ScheduledRequest { index, due: Nanos::ZERO, row: Row { line: index + 1, messages, ..Row::default() } }
    }

    const ASKED: &str = r#"[{"role":"user","content":"a"}]"#;

    #[test]
    fn turns_that_do_not_repeat_the_conversation_are_refused() {
        let check = |second: Option<&str>, expect: Option<&str>| {
            let mut checker = Checker::default();
            checker.see(&request(0, Some(ASKED)), Turn::default()).unwrap();
            let turn = Turn { parent: Some(0), ..Turn::default() };
            let error = checker.see(&request(1, second), turn).err();
            match expect {
                None => assert_eq!(error, None, "{second:?}"),
                Some(part) => {
                    let error = error.unwrap_or_else(|| panic!("{second:?} is taken"));
                    assert!(error.starts_with("2: ") && error.contains(part), "{error}");
                }
            }
        };
        let after = |more: &str| format!(r#"[{{"role":"user","content":"a"}},{more}]"#);
        check(Some(&after(r#"{"role":"assistant","content":"b"},{"role":"user","content":"c"}"#)), None);
        check(Some(&after(r#"{"role":"assistant","content":"b","tool_calls":[]}"#)), None);
        check(None, Some("has none"));
        check(Some(ASKED), Some("no answer of request 0"));
        check(Some(&after(r#"{"role":"user","content":"b"}"#)), Some("no answer of request 0"));
        check(Some(&after(r#"{"role":"assistant","tool_calls":[{"id":"x"}]}"#)), Some("calls tools"));
        check(Some(r#"[{"role":"user","content":"other"}]"#), Some("do not begin with those of request 0"));
        check(Some("[]"), Some("do not begin"));
        check(Some("{}"), Some("no list"));
    }

    #[test]
    fn a_request_without_messages_can_stand_alone_and_not_be_continued() {
        let mut checker = Checker::default();
        checker.see(&request(0, None), Turn::default()).unwrap();
        let turn = Turn { parent: Some(0), ..Turn::default() };
        let error = checker.see(&request(1, Some(ASKED)), turn).unwrap_err();
        assert!(error.contains("request 0, which it continues, has none"), "{error}");
    }

    #[test]
    fn answers_take_the_places_of_recorded_ones_and_the_rest_stays_as_it_is() {
        let recorded = r#"[{"role":"system","content":"s"}, {"role":"user", "content":"a", "name":"x"},
            {"role":"assistant","content":"old"},{"role":"user","content":"b"},{"role":"assistant","content":"old 2"},
            {"role":"user","content":"c"}]"#;
        let recorded = RawJson::parse(recorded.to_owned()).unwrap();
        let first = Arc::new(Answered { at: 2, text: "new \"1\"\n".to_owned(), before: None });
        let second = Arc::new(Answered { at: 4, text: String::new(), before: Some(first) });
        let relived = relive(&recorded, &second).unwrap();
        let expect = r#"[{"role":"system","content":"s"},{"role":"user", "content":"a", "name":"x"},{"content":"new \"1\"\n","role":"assistant"},{"role":"user","content":"b"},{"content":"","role":"assistant"},{"role":"user","content":"c"}]"#;
        assert_eq!(relived.as_str(), expect);
        let beyond = Arc::new(Answered { at: 6, text: String::new(), before: None });
        assert!(relive(&recorded, &beyond).is_err());
    }
}
