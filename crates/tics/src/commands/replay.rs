//! `tics replay`: a trace at its timestamps.

use std::num::NonZeroU64;
use std::sync::Arc;

use tics_record::{Clock, LoadModel};
use tics_trace::{OpenOptions, Scale, Selection, Trace};

use crate::cli::{ReplayArgs, RunArgs};
use crate::commands::probe::probe_first;
use crate::commands::trace::print;
use crate::outcome::{Failed, OrStatus, USAGE, failed, worst};
use crate::play::{Origin, Plan, Played, play};
use crate::progress::say;
use crate::prompts::{Feed, TokenizerChoice};
use crate::server::Server;

/// Runs the command: one run a scale, one table at the end.
pub fn run(args: &ReplayArgs) -> Result<u8, Failed> {
    finish(&play_scales(args)?, &args.run)
}

/// Plays each scale, one run after the other.
pub fn play_scales(args: &ReplayArgs) -> Result<Vec<Played>, Failed> {
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
    let options = OpenOptions {
        format: args.format,
        skip_bad_rows: args.skip_bad_rows,
        count_tokens: Some(tokenizer.counter()),
        ..OpenOptions::default()
    };
    let trace = Trace::open(&args.trace, &options).or_status(USAGE)?;
    report_skipped(&trace, args.run.quiet);
    let maker = Arc::new(tokenizer.maker(&args.prompts)?);
    let selection = |scale| Selection {
        window: args.window,
        sample: args.sample,
        limit: args.limit.and_then(NonZeroU64::new),
        spread: args.spread,
        scale,
        seed: args.prompts.seed,
    };
    // Every schedule is known to be good before the first request of the first run.
    for scale in scales {
        trace.schedule(&selection(*scale)).or_status(USAGE)?;
    }
    let server = Server::find(&args.target, &clock)?;
    if !args.run.no_probe {
        probe_first(&server, &maker, &clock)?;
    }
    let mut played = Vec::new();
    for scale in scales {
        let plan = plan(args, &trace, *scale, scales.len() > 1, &tokenizer);
        let feed = |run: &str| {
            let schedule = trace.schedule(&selection(*scale)).or_status(USAGE)?;
            Ok(Feed::new(schedule, Arc::clone(&maker), Arc::clone(&server.template), run))
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

fn report_skipped(trace: &Trace, quiet: bool) {
    let skipped = trace.source().skipped;
    if skipped > 0 && !quiet {
        say(format_args!("{}: {skipped} rows were not valid and are left out", trace.path()));
    }
}

fn plan(args: &ReplayArgs, trace: &Trace, scale: Scale, several: bool, tokenizer: &TokenizerChoice) -> Plan {
    let stem = args.trace.file_stem().filter(|_| args.trace.as_os_str() != "-");
    let stem = stem.map_or_else(|| "replay".to_owned(), |s| s.to_string_lossy().into_owned());
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
        title: format!("{stem}{factor}, open loop"),
        model: LoadModel::OpenLoop,
        concurrency: None,
        scale: Some(scale.factor()),
        window: args.window,
        limit: args.limit,
        trace: Some(trace.source()),
        prompts: tokenizer.describe(&args.prompts, false),
    }
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
