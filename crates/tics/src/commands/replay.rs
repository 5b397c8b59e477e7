//! `tics replay`: a trace at its timestamps.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use tics_client::Endpoint;
use tics_record::{Clock, LoadModel, PromptSource};
use tics_trace::{Format, OpenOptions, Scale, Selection, ServeGen, Trace};

use crate::cli::{Cache, ReplayArgs, RunArgs};
use crate::commands::probe::prepare;
use crate::commands::trace::{open_options, print};
use crate::fetch::open_trace;
use crate::outcome::{Failed, OrStatus, USAGE, failed, worst};
use crate::play::{Origin, Plan, Played, play};
use crate::progress::say;
use crate::prompts::{Feed, Recipe, Salts, TokenizerChoice, follow, foreign_ids, too_short};
use crate::server::Server;
use crate::sessions::Sessions;
use crate::warm::Warming;

/// Runs the command: one run a scale, one table at the end.
pub fn run(args: &ReplayArgs) -> Result<u8, Failed> {
    finish(&play_scales(args)?, &args.run)
}

/// Plays each scale, one run after the other.
pub fn play_scales(args: &ReplayArgs) -> Result<Vec<Played>, Failed> {
    args.run.asked.asked().or_status(USAGE)?;
    let origin = Origin::now();
    let clock: Arc<dyn Clock> = Arc::new(origin.clock);
    let scales = &args.scale.0;
    if scales.len() > 1 && args.run.run_dir.is_some() {
        return Err(failed(
            USAGE,
            "--run-dir names one folder, but several scales make several runs; use --name",
        ));
    }
    let tokenizer = TokenizerChoice::load(&args.prompts)?;
    let salts = Salts::new(&args.served, origin.unix_ns)?;
    let options = OpenOptions {
        count_tokens: Some(tokenizer.counter()),
        servegen: ServeGen { seed: args.prompts.seed, window: args.window },
        ..open_options(&args.format)
    };
    let trace = open_trace(&args.trace, &options, args.format.fetch, args.run.quiet)?;
    report_left_out(&trace, args.run.quiet);
    let endpoint = Endpoint::from(args.target.endpoint.endpoint);
    if trace.index().format == Format::ShareGpt && !endpoint.takes_messages() {
        let path = trace.path();
        return Err(failed(
            USAGE,
            format!("{path}: its rows are messages, which --endpoint {endpoint} does not take; choose chat"),
        ));
    }
    let selection = |scale| Selection {
        window: args.window,
        sample: args.sample,
        limit: args.limit.and_then(NonZeroU64::new),
        spread: args.spread,
        scale,
        seed: args.prompts.seed,
    };
    // Every schedule is known to be good before the first request of the first run.
    let sessions = scales
        .iter()
        .map(|scale| {
            trace.schedule(&selection(*scale)).or_status(USAGE)?;
            Sessions::find(&args.sessions, &trace, &selection(*scale))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let maker = tokenizer.maker(&args.prompts)?;
    let token_ids = args.target.endpoint.token_ids;
    if let Some(text) = foreign_ids(&args.target, &args.prompts).filter(|_| !args.run.quiet) {
        say(text);
    }
    let (maker, prefixes) = follow(maker, &trace, args.prefixes, &args.prompts, token_ids, args.run.quiet)?;
    let recipe = Recipe { maker: Arc::new(maker), prefixes, template_tokens: None, token_ids };
    if args.served.cache == Cache::Warm {
        Warming::possible(&recipe)?;
    }
    let mut recipe = recipe.salted(salts.of_run(0));
    let given = brings_all_texts(&trace);
    let server = Server::find(&args.target, &clock)?;
    prepare(&server, &mut recipe, &clock, &args.run, args.served.raw_lengths || given)?;
    if let (Some(tokens @ 1..), Some(scale), false) = (recipe.template_tokens, scales.first(), args.run.quiet)
    {
        // Whatever the scale, the requests are the same.
        let schedule = trace.schedule(&selection(*scale)).or_status(USAGE)?;
        if let Some(text) = too_short(schedule, tokens)? {
            say(format_args!("{}: {text}", trace.path()));
        }
    }
    // Whatever the scale, requests share the same prefixes.
    let warming = match args.served.cache {
        Cache::Warm => {
            let schedule = trace.schedule(&selection(scales[0])).or_status(USAGE)?;
            Some(Warming::find(schedule, &recipe)?)
        }
        Cache::Cold | Cache::Keep => None,
    };
    let mut played = Vec::new();
    for (number, (scale, sessions)) in scales.iter().zip(sessions).enumerate() {
        let recipe = recipe.salted(salts.of_run(number));
        let prompts = PromptSource {
            cache: (!given).then(|| args.served.cache.name().to_owned()),
            warmed: warming.as_ref().map(Warming::describe),
            ..tokenizer.describe(&args.prompts, Some(&recipe).filter(|_| !given))
        };
        let plan = plan(args, &trace, *scale, scales.len() > 1, (prompts, &sessions));
        let feed = |run: &str| {
            let schedule = || trace.schedule(&selection(*scale)).or_status(USAGE);
            let feed = Feed::new(schedule()?, recipe.clone(), Arc::clone(&server.template), run);
            let feed = feed.with_sessions(&sessions);
            let Some(warming) = &warming else { return Ok(feed) };
            warming.send(schedule()?, &recipe, &server, &clock, &args.run)?;
            Ok(feed.warmed(warming.cache()))
        };
        let one = play(&plan, &args.run, origin, &server, &feed)?;
        let interrupted = one.interrupted;
        played.push(one);
        if interrupted {
            break;
        }
    }
    Ok(played)
}

/// Whether every row of the trace's format has the text that it sends.
fn brings_all_texts(trace: &Trace) -> bool {
    matches!(trace.index().format, Format::Prompts | Format::Payload | Format::ShareGpt)
}

fn report_left_out(trace: &Trace, quiet: bool) {
    let (path, index) = (trace.path(), trace.index());
    if index.skipped > 0 && !quiet {
        say(format_args!("{path}: {} rows were not valid and are left out", index.skipped));
    }
    if index.failed > 0 && !quiet {
        let failed = index.failed;
        say(format_args!(
            "{path}: {failed} requests failed in the original and are left out (--keep-failed)"
        ));
    }
}

fn plan(
    args: &ReplayArgs,
    trace: &Trace,
    scale: Scale,
    several: bool,
    (prompts, sessions): (PromptSource, &Sessions),
) -> Plan {
    let stem = stem(args, trace);
    let mut name = args.run.name.clone().unwrap_or_else(|| stem.clone());
    if several {
        name = format!("{name}-x{}", scale.factor());
    }
    let factor = if (scale.factor() - 1.0).abs() < f64::EPSILON {
        String::new()
    } else {
        format!(" × {}", scale.factor())
    };
    Plan {
        name,
        title: format!("{stem}{factor}, {}", sessions.title()),
        model: LoadModel::OpenLoop,
        concurrency: None,
        scale: Some(scale.factor()),
        window: args.window,
        limit: args.limit,
        trace: Some(trace.source()),
        sessions: Some(sessions.describe()),
        prompts,
    }
}

/// What a run of the trace is called.
fn stem(args: &ReplayArgs, trace: &Trace) -> String {
    let stem = match trace.source().download {
        // What follows a question mark is not for names.
        Some(of) => Path::new(of.url.trim_end_matches("?…")).file_stem().map(ToOwned::to_owned),
        None => args.trace.file_stem().filter(|_| args.trace.as_os_str() != "-").map(ToOwned::to_owned),
    };
    stem.map_or_else(|| "replay".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Prints what was found and chooses the status: for one run its report, for several one table.
pub fn finish(played: &[Played], args: &RunArgs) -> Result<u8, Failed> {
    let text = if args.json {
        match played {
            [one] => tics_report::to_json(&one.summary).or_status(USAGE)?,
            many => {
                let runs: Vec<_> = many
                    .iter()
                    .map(|p| serde_json::json!({"run": p.run.name, "scale": p.run.load.scale, "summary": p.summary}))
                    .collect();
                tics_report::to_json(&serde_json::json!({ "runs": runs })).or_status(USAGE)?
            }
        }
    } else {
        match played {
            [one] => tics_report::render(&one.summary, &one.run),
            many => tics_report::render_runs(many.iter().map(|p| (&p.run, &p.summary))),
        }
    };
    print(&text)?;
    if !args.quiet {
        for one in played {
            say(format_args!("the run is in {}", one.dir.path().display()));
        }
    }
    Ok(worst(played.iter().map(|p| p.status)))
}
