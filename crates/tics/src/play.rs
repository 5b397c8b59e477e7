//! One run from end to end: directory, journal, screen, signals, schedule, report.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::channel;

use tics_dashboard::Title;
use tics_record::{
    Asked, Clock, Load, LoadModel, Nanos, PromptSource, RUN_FORMAT, RunDescription, Stamp, TraceSource,
};
use tics_scheduler::{Control, Live, RealClock, Run, RunEnd, RunHandle, RunOptions, Totals};
use tics_stats::Summary;

use crate::cli::RunArgs;
use crate::counters::Counters;
use crate::cpu;
use crate::http::HttpFactory;
use crate::outcome::{Failed, INTERNAL, INTERRUPTED, OrStatus, Policy, SERVER, USAGE, failed, status_of};
use crate::progress::{Progress, Show, say};
use crate::prompts::Feed;
use crate::rundir::{JournalTime, RunDir, closing, host, redacted_command, wall_time};
use crate::server::Server;
use crate::signals::{Interruption, Listener, Wish};
use crate::terminal;

/// From the start of a run to its first request: time for the first prompts and connections.
const LEAD: Nanos = Nanos::from_secs(1);

/// What distinguishes one run from another.
pub struct Plan {
    /// In the directory's name.
    pub name: String,
    /// For the dashboard's title: `mooncake.jsonl × 0.5`.
    pub title: String,
    pub model: LoadModel,
    pub concurrency: Option<u64>,
    pub scale: Option<f64>,
    pub window: Option<(Nanos, Nanos)>,
    pub limit: Option<u64>,
    pub trace: Option<TraceSource>,
    pub sessions: Option<tics_record::Sessions>,
    pub prompts: PromptSource,
}

/// A finished run.
pub struct Played {
    pub dir: RunDir,
    pub run: RunDescription,
    pub summary: Summary,
    /// The exit status it stands for.
    pub status: u8,
    /// Whether it was stopped before its schedule was played.
    pub interrupted: bool,
    /// Processor time of this process from the first prompt to the last line of the journal.
    pub cpu: Nanos,
}

/// The clock of the process and its anchor in wall time.
#[derive(Clone, Copy)]
pub struct Origin {
    pub clock: RealClock,
    pub unix_ns: u64,
}

impl Origin {
    /// Now.
    pub fn now() -> Self {
        let (clock, unix_ns) = RealClock::start();
        Origin { clock, unix_ns }
    }
}

/// Makes the feed once the run has its name.
pub type MakeFeed<'a> = &'a dyn Fn(&str) -> Result<Feed, Failed>;

/// Plays a schedule against `server` and leaves a run directory with its summary.
pub fn play(
    plan: &Plan,
    args: &RunArgs,
    origin: Origin,
    server: &Server,
    make_feed: MakeFeed<'_>,
) -> Result<Played, Failed> {
    let clock: Arc<dyn Clock> = Arc::new(origin.clock);
    let (_, start) = wall_time(origin.unix_ns + clock.now().as_nanos());
    let dir = RunDir::create(args.run_dir.as_deref(), &start, &plan.name)?;
    let feed = make_feed(&dir.name)?;
    let counters = Counters::before(server, &clock, args)?;
    let totals = feed.schedule.totals();
    let workers = worker_count(args);
    let live = Arc::new(Live::new(live_totals(totals), workers));
    let (reports, reported) = channel();
    let factory = HttpFactory { connections: server.connections.clone(), answers: feed.answers() };
    let run =
        Run::new(run_options(plan, args, totals), Arc::clone(&clock), factory, Arc::clone(&live), reports);
    let run = match feed.followers() {
        Some(followers) => run.follow(followers),
        None => run,
    };
    let handle = run.handle();
    let stop = handle.clone();
    let cpu_before = cpu::of_process();
    let when = if args.late_journal { JournalTime::AfterRun } else { JournalTime::AsItHappens };
    let journal =
        dir.start_journal(reported, Arc::clone(&clock), when, move || stop.control(Control::Stop))?;
    let interruption = Interruption::default();
    let _listener = Listener::start(interruption.clone(), obey(&handle)).or_status(SERVER)?;
    if !args.quiet && !server.description.simulated {
        say(format_args!("a request may take: {}", server.description.limits));
    }
    let show = Show { live, clock, title: title(plan, &dir, server), span: open_span(plan, totals) };
    let (by_key, obeyed) = (interruption.clone(), obey(&handle));
    let progress = Progress::start(show, args, move || obeyed(by_key.note(INTERRUPTED))).or_status(SERVER)?;
    let mut description = describe(plan, origin, &dir, server, workers, totals, args);
    description.asked = args.asked.asked().or_status(USAGE)?;
    let written = Cell::new(Ok(()));
    let end = run.play(feed, |epoch: Stamp| {
        description.load.epoch = epoch;
        let result = dir.write_run(&description);
        if result.is_err() {
            handle.control(Control::Cancel);
        }
        written.set(result);
    });
    let screen_ok = progress.finish();
    let end = end.or_status(SERVER)?;
    if !args.quiet {
        end.refused.iter().for_each(say);
    }
    written.into_inner()?;
    let cpu_of_run = cpu::of_process();
    journal.close(&closing(&end))?;
    // A journal that is written afterwards is not part of the run.
    let cpu_after = if args.late_journal { cpu_of_run } else { cpu::of_process() };
    counters.after(&dir)?;
    let mut played = conclude(dir, args, &end, interruption.status())?;
    played.cpu = cpu_after.saturating_minus(cpu_before);
    if !screen_ok {
        // Its message is out; the results are whole all the same.
        played.status = INTERNAL;
    }
    Ok(played)
}

fn live_totals(totals: tics_trace::Totals) -> Totals {
    let tics_trace::Totals { scheduled, input_tokens, output_tokens, .. } = totals;
    Totals { scheduled, input_tokens, output_tokens }
}

fn run_options(plan: &Plan, args: &RunArgs, totals: tics_trace::Totals) -> RunOptions {
    RunOptions {
        scheduled: totals.scheduled,
        concurrency: plan.concurrency,
        lookahead: args.lookahead,
        lead: LEAD,
        drain: nanos(args.drain),
        pin: args.pin,
        realtime: args.realtime,
    }
}

fn title(plan: &Plan, dir: &RunDir, server: &Server) -> Title {
    Title {
        run: dir.name.clone(),
        url: server.description.url.clone(),
        model: server.model.clone(),
        load: plan.title.clone(),
    }
}

/// How long sending takes, where the schedule fixes it.
fn open_span(plan: &Plan, totals: tics_trace::Totals) -> Option<Nanos> {
    let waits = plan.sessions.as_ref().is_some_and(|sessions| sessions.followers > 0);
    (plan.model == LoadModel::OpenLoop && !waits).then_some(totals.span)
}

/// What is left to do when everything has ended.
fn conclude(dir: RunDir, args: &RunArgs, end: &RunEnd, interrupted: Option<u8>) -> Result<Played, Failed> {
    if let Some(error) = &end.feed_error {
        return Err(failed(
            USAGE,
            format!("{error}; the run was ended, what it sent is in {}", dir.path().display()),
        ));
    }
    if end.broken {
        // Its message is out already.
        return Err(failed(
            INTERNAL,
            format!("internal error: a request's record is lost; the rest is in {}", dir.path().display()),
        ));
    }
    let (run, summary) = dir.summarise()?;
    dir.write_summary(&summary)?;
    let policy = Policy { max_failed: args.max_failed, strict: args.strict };
    let status = match interrupted {
        Some(status) => status,
        None if end.interrupted => INTERRUPTED,
        None => status_of(&summary, policy),
    };
    Ok(Played { dir, run, summary, status, interrupted: end.interrupted, cpu: Nanos::ZERO })
}

/// Does to a run what keys and signals wish.
fn obey<J: Send + 'static>(handle: &RunHandle<J>) -> impl Fn(Wish) + Send + 'static {
    let handle = handle.clone();
    move |wish| match wish {
        Wish::Drain => handle.control(Control::Stop),
        Wish::Cancel => handle.control(Control::Cancel),
        Wish::Exit(status) => {
            terminal::give_back();
            std::process::exit(i32::from(status));
        }
    }
}

fn describe(
    plan: &Plan,
    origin: Origin,
    dir: &RunDir,
    server: &Server,
    workers: usize,
    totals: tics_trace::Totals,
    args: &RunArgs,
) -> RunDescription {
    let (started, _) = wall_time(origin.unix_ns);
    RunDescription {
        format: RUN_FORMAT,
        tics_version: env!("CARGO_PKG_VERSION").to_owned(),
        name: dir.name.clone(),
        started,
        origin_monotonic_ns: origin.clock.origin_monotonic_ns(),
        origin_unix_ns: origin.unix_ns,
        command: redacted_command(std::env::args_os().map(|arg| arg.to_string_lossy().into_owned())),
        target: server.description.clone(),
        load: Load {
            model: plan.model,
            scheduled: totals.scheduled,
            input_tokens: totals.input_tokens,
            output_tokens: totals.output_tokens,
            span_ns: totals.span.as_nanos(),
            concurrency: plan.concurrency,
            scale: plan.scale,
            window_s: plan.window.map(|(from, to)| (from.as_secs_f64(), to.as_secs_f64())),
            limit: plan.limit,
            epoch: Stamp::ORIGIN,
        },
        trace: plan.trace.clone(),
        sessions: plan.sessions.clone(),
        prompts: plan.prompts.clone(),
        host: host(workers),
        asked: Asked::default(),
        checks: args.validity.changed(),
    }
}

/// One worker a core that the pacer leaves free.
fn worker_count(args: &RunArgs) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    args.workers.map_or((cores - 1).max(1), usize::from)
}

fn nanos(duration: std::time::Duration) -> Nanos {
    Nanos::new(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
