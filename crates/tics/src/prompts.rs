//! From the schedule to requests that are ready to be armed: prompts, then bodies.

use std::sync::Arc;

use bytes::Bytes;
use tics_client::{BodyTemplate, Content, Exchange};
use tics_prompt::{HubCache, Mode, PromptMaker, Tokenizer};
use tics_record::PromptSource;
use tics_scheduler::Planned;
use tics_trace::{Row, Schedule, TokenCounter};

use crate::cli::PromptArgs;
use crate::outcome::{Failed, OrStatus, USAGE, failed};
use crate::server::CHAT;

/// The tokenizer of a run; the embedded one is only read when something must be counted.
pub enum TokenizerChoice {
    /// Made by the project, known by construction.
    Embedded,
    /// The user's.
    Given(Arc<Tokenizer>),
}

impl TokenizerChoice {
    /// Loads the tokenizer of `args`.
    pub fn load(args: &PromptArgs) -> Result<Self, Failed> {
        let Some(source) = &args.tokenizer else { return Ok(TokenizerChoice::Embedded) };
        let cache = HubCache::from_vars(|name| std::env::var_os(name));
        let tokenizer = Tokenizer::load(source, &cache).or_status(USAGE)?;
        Ok(TokenizerChoice::Given(Arc::new(tokenizer)))
    }

    /// What makes prompts under `args`.
    pub fn maker(&self, args: &PromptArgs) -> Result<PromptMaker, Failed> {
        let mode = if args.dummy { Mode::Dummy } else { Mode::Random };
        match self {
            TokenizerChoice::Embedded => Ok(PromptMaker::embedded(mode, args.seed)),
            TokenizerChoice::Given(tokenizer) => {
                PromptMaker::new(tokenizer, mode, args.seed).or_status(USAGE)
            }
        }
    }

    /// Counts the tokens of texts that the user gives.
    pub fn counter(&self) -> TokenCounter {
        let tokenizer = match self {
            TokenizerChoice::Embedded => Arc::new(Tokenizer::embedded()),
            TokenizerChoice::Given(tokenizer) => Arc::clone(tokenizer),
        };
        // A text that cannot be encoded has no length; 0 is reported as uncounted.
        Arc::new(move |text| tokenizer.count(text).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)))
    }

    /// For `run.json`.
    pub fn describe(&self, args: &PromptArgs, given: bool) -> PromptSource {
        let mode = match (given, args.dummy) {
            (true, _) => "given",
            (_, true) => "dummy",
            _ => "random",
        };
        let (tokenizer, sha256) = match self {
            TokenizerChoice::Embedded => ("embedded".to_owned(), None),
            TokenizerChoice::Given(t) => (t.name().to_owned(), Some(t.sha256().to_owned())),
        };
        PromptSource { tokenizer, tokenizer_sha256: sha256, mode: mode.to_owned(), seed: args.seed }
    }
}

/// Requests in the order of the schedule, made one at a time.
pub struct Feed {
    pub schedule: Schedule,
    pub maker: Arc<PromptMaker>,
    pub template: Arc<BodyTemplate>,
    /// Name of the run, for `X-Request-Id`.
    pub run: String,
    path: Arc<str>,
}

impl Feed {
    /// Requests of `schedule`.
    pub fn new(schedule: Schedule, maker: Arc<PromptMaker>, template: Arc<BodyTemplate>, run: &str) -> Self {
        Feed { schedule, maker, template, run: run.to_owned(), path: Arc::from(CHAT) }
    }

    fn body(&self, index: u64, row: &Row) -> Result<Bytes, Failed> {
        if let Some(payload) = &row.payload {
            return Ok(Bytes::from(payload.as_str().to_owned()));
        }
        let (input, output) = (row.input_length, row.output_length);
        if let Some(messages) = &row.messages {
            return Ok(self.template.fill(Content::Messages(messages.as_str()), input, output));
        }
        if let Some(prompt) = &row.prompt {
            return Ok(self.template.fill(Content::Prompt(prompt), input, output));
        }
        let prompt = self
            .maker
            .make(index, input)
            .map_err(|e| failed(USAGE, format!("request {index} (line {}): {e}", row.line)))?;
        Ok(self.template.fill(Content::Prompt(&prompt), input, output))
    }
}

impl Iterator for Feed {
    type Item = Result<Planned<Exchange>, Failed>;

    fn next(&mut self) -> Option<Self::Item> {
        let request = match self.schedule.next()? {
            Ok(request) => request,
            Err(error) => return Some(Err(error).or_status(USAGE)),
        };
        let row = &request.row;
        let body = match self.body(request.index, row) {
            Ok(body) => body,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Planned {
            index: request.index,
            due: request.due,
            row: (row.line > 0).then_some(row.line),
            session: row.session.clone(),
            input_tokens: row.input_length,
            output_tokens: row.output_length,
            bytes: body.len() + 512,
            job: Exchange {
                path: Arc::clone(&self.path),
                id: format!("{}-{}", self.run, request.index),
                body,
            },
        }))
    }
}
