//! From the schedule to requests that are ready to be armed: prompts, then bodies.

mod expected;
mod prefixes;
mod served;

use std::sync::Arc;

use bytes::Bytes;
use tics_client::{BodyTemplate, Content, Exchange};
use tics_prompt::{Blocks, HubCache, Mode, PromptError, PromptMaker, Tokenizer};
use tics_record::{Nanos, PromptSource};
use tics_scheduler::{Followers, Planned, Turn};
use tics_trace::{Row, Schedule, TokenCounter, UnboundedCache};

use crate::cli::PromptArgs;
use crate::outcome::{Failed, OrStatus, USAGE, failed};
use crate::sessions::{Answers, FeedTurns, Sessions};

use self::expected::Expectations;

pub use prefixes::follow;
pub use served::{Salts, foreign_ids, too_short};

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
        TokenizerChoice::named(args.tokenizer.as_deref())
    }

    /// Loads the tokenizer that the user names.
    pub fn named(source: Option<&str>) -> Result<Self, Failed> {
        let Some(source) = source else { return Ok(TokenizerChoice::Embedded) };
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

    /// For `run.json`: prompts by `recipe`, or, without one, texts that are all given.
    pub fn describe(&self, args: &PromptArgs, recipe: Option<&Recipe>) -> PromptSource {
        let mode = match (recipe, args.dummy) {
            (None, _) => "given",
            (_, true) => "dummy",
            _ => "random",
        };
        let (tokenizer, sha256) = match self {
            TokenizerChoice::Embedded => ("embedded".to_owned(), None),
            TokenizerChoice::Given(t) => (t.name().to_owned(), Some(t.sha256().to_owned())),
        };
        PromptSource {
            tokenizer,
            tokenizer_sha256: sha256,
            mode: mode.to_owned(),
            seed: args.seed,
            prefixes: recipe.is_some_and(|recipe| recipe.prefixes),
            salt: recipe.map(|recipe| recipe.maker.salt()).filter(|salt| *salt != 0),
            template_tokens: recipe.and_then(|recipe| recipe.template_tokens),
            token_ids: recipe.is_some_and(|recipe| recipe.token_ids),
            cache: None,
            warmed: None,
        }
    }
}

/// What the prompts of one run are made by.
#[derive(Clone)]
pub struct Recipe {
    pub maker: Arc<PromptMaker>,
    /// Whether they share the prefixes that the trace's blocks describe.
    pub prefixes: bool,
    /// Tokens that the server adds to each, where they are known and left out of it.
    pub template_tokens: Option<u32>,
    /// Whether they go out as token ids.
    pub token_ids: bool,
}

/// A prompt that was made.
pub enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

impl Prompt {
    /// As what a body has.
    pub fn content(&self) -> Content<'_> {
        match self {
            Prompt::Text(text) => Content::Prompt(text),
            Prompt::Ids(ids) => Content::Ids(ids),
        }
    }
}

impl Recipe {
    /// The same for a run of its own `salt`.
    #[must_use]
    pub fn salted(&self, salt: Option<u64>) -> Self {
        Recipe { maker: Arc::new(self.maker.with_salt(salt.unwrap_or_default())), ..self.clone() }
    }

    fn prompt(&self, index: u64, row: &Row) -> Result<Prompt, PromptError> {
        let n_tokens = served::content_length(row.input_length, self.template_tokens.unwrap_or_default());
        let Some(blocks) = prefixes::blocks(row).filter(|_| self.prefixes) else {
            return self.unrelated(index, n_tokens);
        };
        self.of_blocks(blocks, n_tokens)
    }

    /// The prompt that `blocks` describe, of `n_tokens`. How they fit their lengths was said before the run.
    pub fn of_blocks(&self, blocks: Blocks<'_>, n_tokens: u32) -> Result<Prompt, PromptError> {
        if self.token_ids {
            let mut ids = Vec::new();
            self.maker.make_block_ids_into(&mut ids, blocks, n_tokens);
            return Ok(Prompt::Ids(ids));
        }
        self.maker.make_blocks(blocks, n_tokens).map(|(text, _)| Prompt::Text(text))
    }

    /// The prompt of the request `index`, which shares nothing with others.
    pub fn unrelated(&self, index: u64, n_tokens: u32) -> Result<Prompt, PromptError> {
        if self.token_ids {
            let mut ids = Vec::new();
            self.maker.make_ids_into(&mut ids, index, n_tokens);
            return Ok(Prompt::Ids(ids));
        }
        self.maker.make(index, n_tokens).map(Prompt::Text)
    }
}

impl From<Arc<PromptMaker>> for Recipe {
    /// Prompts as the maker has them.
    fn from(maker: Arc<PromptMaker>) -> Self {
        Recipe { maker, prefixes: false, template_tokens: None, token_ids: false }
    }
}

/// The blocks that the prompt of `row` is made of, and the tokens that they may fill; none where it is made
/// of no blocks.
pub fn prefix_of<'a>(recipe: &Recipe, row: &'a Row) -> Option<(Blocks<'a>, u32)> {
    let blocks = prefixes::blocks(row).filter(|_| recipe.prefixes)?;
    Some((blocks, served::content_length(row.input_length, recipe.template_tokens.unwrap_or_default())))
}

/// Whether a request brings the text that it sends.
pub fn has_own_text(row: &Row) -> bool {
    row.payload.is_some() || row.messages.is_some() || row.prompt.is_some()
}

/// Makes requests of rows.
#[derive(Clone)]
pub struct Bodies {
    recipe: Recipe,
    template: Arc<BodyTemplate>,
    expected: Expectations,
    /// Name of the run, for `X-Request-Id`.
    run: String,
    path: Arc<str>,
}

impl Bodies {
    fn body(&self, index: u64, row: &Row) -> Result<Bytes, Failed> {
        if let Some(payload) = &row.payload {
            return Ok(Bytes::from(payload.as_str().to_owned()));
        }
        let (input, output) = (row.input_length, row.output_length);
        if let Some(messages) = &row.messages {
            let endpoint = self.template.endpoint();
            if !endpoint.takes_messages() {
                return Err(failed(
                    USAGE,
                    format!(
                        "request {index} (line {}) has messages, which --endpoint {endpoint} does not take; choose chat",
                        row.line
                    ),
                ));
            }
            return Ok(self.template.fill(Content::Messages(messages.as_str()), input, output));
        }
        if let Some(prompt) = &row.prompt {
            return Ok(self.template.fill(Content::Prompt(prompt), input, output));
        }
        let prompt = self
            .recipe
            .prompt(index, row)
            .map_err(|e| failed(USAGE, format!("request {index} (line {}): {e}", row.line)))?;
        Ok(self.template.fill(prompt.content(), input, output))
    }

    /// The request of `row`.
    pub fn planned(
        &self,
        index: u64,
        due: Nanos,
        row: &Row,
        turn: Turn,
    ) -> Result<Planned<Exchange>, Failed> {
        let body = self.body(index, row)?;
        Ok(Planned {
            index,
            due,
            row: (row.line > 0).then_some(row.line),
            session: row.session.clone(),
            input_tokens: row.input_length,
            prompt: self.expected.of(&self.recipe, row),
            output_tokens: row.output_length,
            turn,
            bytes: body.len() + 512,
            job: Exchange { path: Arc::clone(&self.path), id: format!("{}-{index}", self.run), body },
        })
    }
}

/// Requests in the order of the schedule, made one at a time.
pub struct Feed {
    pub schedule: Schedule,
    bodies: Bodies,
    turns: FeedTurns,
}

impl Feed {
    /// Requests of `schedule`.
    pub fn new(
        schedule: Schedule,
        recipe: impl Into<Recipe>,
        template: Arc<BodyTemplate>,
        run: &str,
    ) -> Self {
        let recipe = recipe.into();
        let path = Arc::from(template.endpoint().path());
        let expected = Expectations::default();
        let bodies = Bodies { recipe, template, expected, run: run.to_owned(), path };
        Feed { schedule, bodies, turns: FeedTurns::None }
    }

    /// Requests that are turns of conversations, by the rules of `sessions`.
    #[must_use]
    pub fn with_sessions(self, sessions: &Sessions) -> Self {
        Feed { turns: sessions.feed(), ..self }
    }

    /// Requests to a server whose prefix cache holds `chains` before the first of them.
    #[must_use]
    pub fn warmed(self, chains: UnboundedCache) -> Self {
        Feed { bodies: Bodies { expected: Expectations::warmed(chains), ..self.bodies }, ..self }
    }

    /// What makes the requests that wait for others, if any do; this feed leaves them out.
    pub fn followers(&self) -> Option<Box<dyn Followers<Exchange>>> {
        self.turns.followers(&self.bodies)
    }

    /// Where answers go that others need, if any do.
    pub fn answers(&self) -> Option<Arc<Answers>> {
        self.turns.answers()
    }
}

impl Iterator for Feed {
    type Item = Result<Planned<Exchange>, Failed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let request = match self.schedule.next()? {
                Ok(request) => request,
                Err(error) => return Some(Err(error).or_status(USAGE)),
            };
            if let Some(turn) = self.turns.of(&request) {
                return Some(self.bodies.planned(request.index, request.due, &request.row, turn));
            }
        }
    }
}
