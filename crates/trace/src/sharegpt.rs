//! ShareGPT: conversations as a JSON array, rewritten as one request a turn.
//!
//! A request is a user's message that is answered: its messages are the conversation so far, its
//! output length is the number of tokens of the answer, its input length that of all texts before it
//! (what a chat template adds is not counted). All requests are due at once, in the order of the file;
//! each continues the one before in its conversation.
//!
//! What cannot be asked is left out: what an assistant says before the user has said anything (some
//! copies of the data begin so), a message without an answer, an answer without a token. It stays in
//! the history of what follows, except for an assistant's message at the very beginning, which chat
//! templates refuse.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::elements::{Broken, Element, Elements};
use crate::error::{Fault, TraceError, shorten};

use crate::open::OpenOptions;
use crate::prepare::Original;
use crate::row::{Id, RawJson, Row};
use crate::source::Source;
use crate::write::{RowWriter, WriteFormat};

#[derive(Deserialize)]
struct Conversation<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, alias = "messages", alias = "conversation")]
    conversations: Vec<Said<'a>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, alias = "role")]
    from: Cow<'a, str>,
    #[serde(borrow, alias = "content")]
    value: Cow<'a, str>,
}

/// Who speaks, in the words of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    fn of(name: &str) -> Option<Role> {
        match name {
            "system" => Some(Role::System),
            "human" | "user" => Some(Role::User),
            "gpt" | "chatgpt" | "bing" | "bard" | "assistant" | "model" => Some(Role::Assistant),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Message<'a> {
    role: Role,
    content: &'a str,
}

/// The conversation up to some message.
#[derive(Default)]
struct History {
    /// A JSON array without its closing bracket.
    json: String,
    tokens: u64,
    last: Option<Role>,
}

impl History {
    fn add(&mut self, role: Role, content: &str, tokens: u32) {
        self.json.push(if self.json.is_empty() { '[' } else { ',' });
        let message = serde_json::to_string(&Message { role, content });
        self.json.push_str(&message.unwrap_or_default());
        self.tokens += u64::from(tokens);
        self.last = Some(role);
    }

    fn messages(&self) -> Option<RawJson> {
        RawJson::parse(format!("{}]", self.json))
    }
}

/// Rewrites a file of conversations as rows.
pub(crate) fn rewrite(
    path: &str,
    source: &Arc<Source>,
    options: &OpenOptions,
) -> Result<(Source, Original), TraceError> {
    let failed = |source| TraceError::Read { path: path.to_owned(), source };
    let file = tempfile::tempfile().map_err(failed)?;
    let mut writer = Rewriter {
        output: RowWriter::new(WriteFormat::Tics, BufWriter::with_capacity(256 * 1024, file)),
        options,
        requests: 0,
        names: HashSet::new(),
    };
    let mut elements = Elements::new(source.reader());
    let mut original = Original::default();
    let mut conversations = 0;
    loop {
        let element = match elements.next_element() {
            Ok(Some(element)) => element,
            Ok(None) => break,
            Err(Broken::Io(error)) => return Err(failed(error)),
            // Behind a place where the brackets do not close, nothing can be told apart.
            Err(Broken::Fault(line, fault)) => {
                return Err(TraceError::Row { path: path.to_owned(), line, fault });
            }
        };
        conversations += 1;
        match parse(element).and_then(|messages| writer.requests_of(conversations, &messages)) {
            Ok(Ok(0)) => original.empty_conversations += 1,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(failed(error)),
            Err((line, fault)) => {
                let error = TraceError::Row { path: path.to_owned(), line, fault };
                if !options.skip_bad_rows {
                    return Err(error);
                }
                original.skipped.add(&error);
            }
        }
    }
    let requests = writer.requests;
    let output = writer.output.finish().map_err(failed)?;
    let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
    (original.bytes, original.sha256) = elements.finish();
    if requests == 0 && conversations > 0 && original.skipped.count == 0 {
        let why = format!("none of its {conversations} conversations has a user's message that is answered");
        return Err(TraceError::NothingLeft { path: path.to_owned(), why });
    }
    Ok((Source::written(file), original))
}

type Parsed<'a> = (u64, Option<Id>, Vec<(Role, Cow<'a, str>)>);

/// Reads one conversation; its line, its name and what was said.
fn parse(element: Element<'_>) -> Result<Parsed<'_>, (u64, Fault)> {
    let at = |line: usize, column: usize| {
        let first = line <= 1;
        let column = if first { element.column + column.max(1) - 1 } else { column.max(1) };
        (element.line + line.max(1) as u64 - 1, column)
    };
    let text = std::str::from_utf8(element.text).map_err(|error| {
        let before = &element.text[..error.valid_up_to()];
        let lines = memchr::memchr_iter(b'\n', before).count();
        let begins = memchr::memrchr(b'\n', before).map_or(0, |n| n + 1);
        let (line, column) = at(lines + 1, before.len() - begins + 1);
        (line, Fault::NotText { byte: element.text[before.len()], column })
    })?;
    let conversation: Conversation<'_> = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let (line, column) = at(error.line(), error.column());
        (line, Fault::Conversation { message, column })
    })?;
    let id = conversation.id.and_then(|id| serde_json::from_str(id.get()).ok());
    let mut messages = Vec::with_capacity(conversation.conversations.len());
    for said in conversation.conversations {
        let role = Role::of(&said.from).ok_or_else(|| {
            let found = format!("\"{}\"", shorten(&said.from));
            let expected = "system, human or user, gpt or assistant (or chatgpt, bing, bard, model)";
            (element.line, Fault::field("from", expected, &found))
        })?;
        messages.push((role, said.value));
    }
    Ok((element.line, id, messages))
}

struct Rewriter<'o, W: Write> {
    output: RowWriter<W>,
    options: &'o OpenOptions,
    requests: u64,
    /// Hashes of the sessions' names: 8 bytes a conversation.
    names: HashSet<u64>,
}

impl<W: Write> Rewriter<'_, W> {
    /// Writes the requests of a conversation and says how many there are.
    fn requests_of(
        &mut self,
        number: u64,
        (line, id, messages): &Parsed<'_>,
    ) -> Result<std::io::Result<u32>, (u64, Fault)> {
        let session = self.session(number, id.as_ref());
        let mut history = History::default();
        let mut turn = 0;
        let mut parent = None;
        for (role, text) in messages {
            let tokens = self.options.count_tokens.as_ref().map(|count| count(text));
            let speaks_first = history.last.is_none_or(|last| last == Role::System);
            if *role == Role::Assistant && speaks_first {
                continue;
            }
            if *role == Role::Assistant
                && history.last == Some(Role::User)
                && tokens != Some(0)
                && !text.is_empty()
            {
                turn += 1;
                let output_length = tokens.or(self.options.output_length).ok_or_else(|| {
                    let expected = "a tokenizer that counts the answers, or a default on the command line";
                    (*line, Fault::field("value", expected, "neither"))
                })?;
                let id = Some(Id::Number(self.requests.cast_signed()));
                let row = Row {
                    input_length: u32::try_from(history.tokens).unwrap_or(u32::MAX),
                    output_length,
                    id: id.clone(),
                    parent: std::mem::replace(&mut parent, id),
                    session: Some(session.clone()),
                    turn: Some(turn),
                    messages: history.messages(),
                    ..Row::default()
                };
                if let Err(error) = self.output.write(&row) {
                    return Ok(Err(error));
                }
                self.requests += 1;
            }
            history.add(*role, text, tokens.unwrap_or(0));
        }
        Ok(Ok(turn))
    }

    /// The conversation's own name, or its number where it has none or another had it before.
    fn session(&mut self, number: u64, id: Option<&Id>) -> String {
        let Some(id) = id else { return number.to_string() };
        let name = id.to_string();
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        if self.names.insert(hasher.finish()) { name } else { format!("{name}#{number}") }
    }
}
