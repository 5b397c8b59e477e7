//! `--cache warm`: before the run, the server is sent what its requests have in common.
//!
//! What two or more requests of the schedule share is sent once, each longest such prefix as a request of
//! its own for one token; what only one request has is not. So the run finds the cache as a server has it
//! that has been serving such requests for a while: every shared prefix is found from its first request
//! on, and each request's own end is read as ever.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tics_client::{BodyTemplate, Client, Exchange, Observer, Trigger};
use tics_prompt::Blocks;
use tics_record::{Clock, Event, Nanos, RequestRecord, Stamp, Warmed};
use tics_trace::{Schedule, SharedPrefixes, UnboundedCache};
use tokio::task::{JoinSet, LocalSet};

use crate::cli::RunArgs;
use crate::outcome::{Failed, INTERNAL, OrStatus, SERVER, USAGE, failed};
use crate::progress::say;
use crate::prompts::{Prompt, Recipe, prefix_of};
use crate::server::{Server, block_on};

/// Requests in flight while the cache is warmed: enough to keep a server busy, few enough not to lose some
/// of it again to a full queue.
const IN_FLIGHT: usize = 8;

/// What warms the cache for one run.
pub struct Warming {
    shared: SharedPrefixes,
}

impl Warming {
    /// Whether prompts of `recipe` can be known to share anything.
    pub fn possible(recipe: &Recipe) -> Result<(), Failed> {
        if recipe.prefixes { Ok(()) } else { Err(nothing_shared()) }
    }

    /// Finds what the requests of `schedule` have in common as `recipe` makes them. Refused where they
    /// share nothing: a cache that cannot be warmed is no warm cache.
    pub fn find(schedule: Schedule, recipe: &Recipe) -> Result<Self, Failed> {
        let mut shared = SharedPrefixes::default();
        for request in schedule {
            let row = request.or_status(USAGE)?.row;
            if let Some((blocks, length)) = prefix_of(recipe, &row) {
                shared.add(blocks.ids, blocks.size, length);
            }
        }
        shared.settle();
        if shared.totals().prefixes == 0 {
            return Err(nothing_shared());
        }
        Ok(Warming { shared })
    }

    /// For `run.json`.
    pub fn describe(&self) -> Warmed {
        let totals = self.shared.totals();
        Warmed { prefixes: totals.prefixes, blocks: totals.blocks }
    }

    /// What a cache that never forgets holds before the run.
    pub fn cache(&self) -> UnboundedCache {
        self.shared.cache()
    }

    /// Sends the prefixes of `schedule`, the one that they were found in.
    pub fn send(
        &self,
        schedule: Schedule,
        recipe: &Recipe,
        server: &Server,
        clock: &Arc<dyn Clock>,
        args: &RunArgs,
    ) -> Result<(), Failed> {
        let every = Nanos::new(u64::try_from(args.progress_every.as_nanos()).unwrap_or(u64::MAX));
        let sender = Rc::new(Sender {
            prefixes: RefCell::new(Prefixes {
                schedule,
                shared: self.shared.clone(),
                recipe: recipe.clone(),
            }),
            progress: RefCell::new(Progress {
                total: self.shared.totals().prefixes,
                sent: 0,
                tokens: 0,
                every: (!args.quiet).then_some(every),
                began: clock.now(),
                said: clock.now(),
            }),
            client: server.connections.client(Arc::clone(clock)),
            template: Arc::clone(&server.template),
            url: server.description.url.clone(),
            clock: Arc::clone(clock),
        });
        let all = Rc::clone(&sender);
        block_on(LocalSet::new().run_until(async move {
            let mut tasks = JoinSet::new();
            for _ in 0..IN_FLIGHT {
                tasks.spawn_local(Rc::clone(&all).send_some());
            }
            while let Some(ended) = tasks.join_next().await {
                // The first failure ends them all: the set drops the others.
                ended.map_err(|error| failed(INTERNAL, format!("internal error: {error}")))??;
            }
            Ok(())
        }))??;
        sender.progress.borrow().say_end(clock.now());
        Ok(())
    }
}

/// Sends prefixes, several at a time.
struct Sender {
    prefixes: RefCell<Prefixes>,
    progress: RefCell<Progress>,
    client: Client,
    template: Arc<BodyTemplate>,
    url: String,
    clock: Arc<dyn Clock>,
}

impl Sender {
    /// Sends one after the other until none is left.
    async fn send_some(self: Rc<Self>) -> Result<(), Failed> {
        loop {
            // In a statement of its own, so that nothing is borrowed while the request is on its way.
            let next = self.prefixes.borrow_mut().next().transpose()?;
            let Some(prefix) = next else { return Ok(()) };
            self.send(&prefix).await?;
            self.progress.borrow_mut().sent(prefix.tokens, self.clock.now());
        }
    }

    async fn send(&self, prefix: &Prefix) -> Result<(), Failed> {
        let exchange = Exchange {
            path: Arc::from(self.template.endpoint().path()),
            id: format!("warm-{}", prefix.line),
            body: self.template.fill(prefix.prompt.content(), prefix.tokens, 1),
        };
        let mut record = RequestRecord::not_sent(0, self.clock.now());
        record.output.asked = 1;
        let fire = |trigger: Trigger, _: &mut RequestRecord| {
            trigger.fire(&*self.clock);
        };
        self.client.exchange(&exchange, &mut record, &mut Deaf, fire).await;
        if record.outcome.is_answered() { Ok(()) } else { Err(refused(&self.url, prefix.line, &record)) }
    }
}

fn nothing_shared() -> Failed {
    failed(
        USAGE,
        "--cache warm: no two requests share a prefix that hash_ids describe, so there is nothing to warm the \
         cache with; use --cache cold",
    )
}

fn refused(url: &str, line: u64, record: &RequestRecord) -> Failed {
    let detail = record.detail.as_deref().unwrap_or("no generated token came");
    failed(
        SERVER,
        format!(
            "{url}: --cache warm: what row {line} shares with others ended as {}: {detail}; the run was not begun",
            record.outcome.name()
        ),
    )
}

/// Nobody listens to what is generated.
struct Deaf;

impl Observer for Deaf {
    fn event(&mut self, _: &Event, _: bool) {}
}

/// The text of a shared prefix.
struct Prefix {
    line: u64,
    tokens: u32,
    prompt: Prompt,
}

/// Shared prefixes in the order of the schedule, made one at a time.
struct Prefixes {
    schedule: Schedule,
    shared: SharedPrefixes,
    recipe: Recipe,
}

impl Iterator for Prefixes {
    type Item = Result<Prefix, Failed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = match self.schedule.next()? {
                Ok(request) => request.row,
                Err(error) => return Some(Err(error).or_status(USAGE)),
            };
            let Some((blocks, length)) = prefix_of(&self.recipe, &row) else { continue };
            let Some((n_blocks, tokens)) = self.shared.take(blocks.ids, blocks.size, length) else {
                continue;
            };
            let blocks = Blocks { ids: &blocks.ids[..n_blocks], ..blocks };
            let made = self.recipe.of_blocks(blocks, tokens).or_status(USAGE);
            return Some(made.map(|prompt| Prefix { line: row.line, tokens, prompt }));
        }
    }
}

/// What is said meanwhile.
struct Progress {
    total: u64,
    sent: u64,
    tokens: u64,
    /// Time between two lines; none where nothing is to be said.
    every: Option<Nanos>,
    began: Stamp,
    said: Stamp,
}

impl Progress {
    fn sent(&mut self, tokens: u32, now: Stamp) {
        self.sent += 1;
        self.tokens += u64::from(tokens);
        let Some(every) = self.every else { return };
        if now > self.said.plus(every) {
            self.said = now;
            say(format_args!(
                "warming the cache: {} of {} shared prefixes sent, {} tokens",
                self.sent, self.total, self.tokens
            ));
        }
    }

    fn say_end(&self, now: Stamp) {
        if self.every.is_some() {
            let seconds = now.since(self.began).unwrap_or_default().as_secs_f64();
            say(format_args!(
                "the cache was warmed with {} shared prefixes, {} tokens, in {seconds:.1} s",
                self.sent, self.tokens
            ));
        }
    }
}
