//! `tics bench`: synthetic load, all at once or with a fixed number in flight.

use std::num::NonZeroU64;
use std::sync::Arc;

use tics_record::{Clock, LoadModel, PromptSource, TraceSource};
use tics_trace::{Format, OpenOptions, Schedule, Selection, Trace};

use crate::cli::{BenchArgs, Cache};
use crate::commands::probe::prepare;
use crate::commands::replay::finish;
use crate::fetch::open_trace;
use crate::outcome::{Failed, OrStatus, USAGE, failed};
use crate::play::{Origin, Plan, play};
use crate::progress::say;
use crate::prompts::{Feed, Recipe, Salts, TokenizerChoice, foreign_ids, too_short};
use crate::server::Server;

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<u8, Failed> {
    args.run.asked.asked().or_status(USAGE)?;
    let origin = Origin::now();
    let clock: Arc<dyn Clock> = Arc::new(origin.clock);
    let tokenizer = TokenizerChoice::load(&args.maker)?;
    if args.served.cache == Cache::Warm {
        return Err(failed(
            USAGE,
            "--cache warm: no two prompts of a bench share blocks to warm the cache with; use --cache cold or keep",
        ));
    }
    let salt = Salts::new(&args.served, origin.unix_ns)?.of_run(0);
    let given = given_prompts(args, &tokenizer)?;
    let maker = Arc::new(tokenizer.maker(&args.maker)?);
    let token_ids = args.target.endpoint.token_ids;
    if let Some(text) = foreign_ids(&args.target, &args.maker).filter(|_| !args.run.quiet) {
        say(text);
    }
    let mut recipe = Recipe { token_ids, ..Recipe::from(maker) }.salted(salt);
    let server = Server::find(&args.target, &clock)?;
    prepare(&server, &mut recipe, &clock, &args.run, args.served.raw_lengths || given.is_some())?;
    if let (Some(tokens @ 1..), false) = (recipe.template_tokens, args.run.quiet)
        && let Some(text) = too_short(schedule(args, given.as_ref())?, tokens)?
    {
        say(text);
    }
    let load = match args.concurrency {
        Some(concurrency) => format!("closed loop, {concurrency} in flight"),
        None => "all at once".to_owned(),
    };
    let source: Option<TraceSource> = given.as_ref().map(Trace::source);
    let plan = Plan {
        name: args.run.name.clone().unwrap_or_else(|| "bench".to_owned()),
        title: load,
        model: if args.concurrency.is_some() { LoadModel::ClosedLoop } else { LoadModel::AllAtOnce },
        concurrency: args.concurrency,
        scale: None,
        window: None,
        limit: args.requests.filter(|_| given.is_some()),
        trace: source,
        sessions: None,
        prompts: PromptSource {
            cache: given.is_none().then(|| args.served.cache.name().to_owned()),
            ..tokenizer.describe(&args.maker, Some(&recipe).filter(|_| given.is_none()))
        },
    };
    let feed = |run: &str| {
        let schedule = schedule(args, given.as_ref())?;
        Ok(Feed::new(schedule, recipe.clone(), Arc::clone(&server.template), run))
    };
    let played = play(&plan, &args.run, origin, &server, &feed)?;
    finish(&[played], &args.run)
}

/// The texts of `--prompts`, counted.
fn given_prompts(args: &BenchArgs, tokenizer: &TokenizerChoice) -> Result<Option<Trace>, Failed> {
    let Some(path) = &args.prompts else { return Ok(None) };
    let options = OpenOptions {
        format: Some(Format::Prompts),
        // Rows that say nothing get the most that the range allows.
        output_length: Some(args.output_tokens.most()),
        count_tokens: Some(tokenizer.counter()),
        ..OpenOptions::default()
    };
    open_trace(path, &options, args.fetch, args.run.quiet).map(Some)
}

fn schedule(args: &BenchArgs, given: Option<&Trace>) -> Result<Schedule, Failed> {
    match given {
        Some(trace) => trace
            .schedule(&Selection { limit: args.requests.and_then(NonZeroU64::new), ..Selection::default() })
            .or_status(USAGE),
        None => Ok(Schedule::drawn(
            args.requests.unwrap_or_default(),
            args.input_tokens,
            args.output_tokens,
            args.maker.seed,
        )),
    }
}
