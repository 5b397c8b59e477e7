//! `tics sim`: the simulated server on its own.

use std::io::{Read, Write};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tics_sim::{ApiKey, BatchOptions, HeadTiming, PrefixCache, Sim, SimOptions, Timetable};

use crate::cli::{Dialect, SimArgs};
use crate::cpu;
use crate::outcome::{Failed, OrStatus, RUN_DIR, USAGE, failed};
use crate::simulated::LISTENING;

/// Runs it until SIGINT, SIGTERM or, for a child, the end of standard input.
pub fn run(args: &SimArgs) -> Result<u8, Failed> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).or_status(USAGE)?;
    if let Some(core) = args.pin_cpu {
        // Before the server's threads start: they inherit it.
        cpu::pin_to(core).map_err(|e| failed(USAGE, format!("--pin-cpu {core}: {e}")))?;
    }
    let sim = Sim::start(options(args)?).or_status(USAGE)?;
    {
        let mut stdout = std::io::stdout().lock();
        let line = writeln!(stdout, "{LISTENING}http://{}", sim.addr()).and_then(|()| stdout.flush());
        line.or_status(USAGE)?;
    }
    if args.until_stdin_ends {
        // Nothing is expected on it; its end is the message.
        let _end = std::io::stdin().lock().read_to_end(&mut Vec::new());
    } else {
        signals.forever().next();
    }
    sim.stop().or_status(RUN_DIR)?;
    Ok(0)
}

fn options(args: &SimArgs) -> Result<SimOptions, Failed> {
    let timetable = match (args.flood, args.ttft, args.itl) {
        (true, ..) => Timetable::Flood,
        (_, Some(ttft), Some(itl)) => Timetable::Fixed { ttft, itl },
        _ => Timetable::Batch(BatchOptions {
            slots: args.slots,
            prefill_tokens_per_s: args.prefill_rate,
            decode_step: args.decode_step,
            step_tokens: args.step_tokens,
        }),
    };
    let api_key = match &args.api_key_env {
        None => None,
        Some(name) => {
            let key = std::env::var(name)
                .map_err(|_| failed(USAGE, format!("--api-key-env: the variable {name} is not set")))?;
            Some(ApiKey::new(key))
        }
    };
    Ok(SimOptions {
        listen: args.listen,
        dialect: match args.dialect {
            Dialect::Vllm => tics_sim::Dialect::Vllm,
            Dialect::Minisgl => tics_sim::Dialect::MiniSgl,
        },
        timetable,
        models: args.model.iter().filter(|m| !m.is_empty()).cloned().collect(),
        api_key,
        template_tokens: args.template_tokens,
        prefix_cache: args
            .prefix_cache
            .map(|block_tokens| PrefixCache { block_tokens, capacity_blocks: args.cache_blocks }),
        eos_after: args.eos_after,
        textless_every: args.textless_every,
        event_padding: args.event_padding,
        head: if args.late_head { HeadTiming::WithFirstToken } else { HeadTiming::AtOnce },
        keep_alive: args.keep_alive,
        max_requests: args.max_requests,
        truth: args.truth.clone(),
        dump: args.dump.clone(),
        ..SimOptions::default()
    })
}
