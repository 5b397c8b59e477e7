//! `tics probe`: one request, explained event by event; and the short form of it before a run.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tics_client::{Exchange, Observer};
use tics_record::{Clock, Event, EventClass, RequestRecord, Stamp};

use crate::cli::{ProbeArgs, RunArgs};
use crate::commands::trace::print;
use crate::outcome::{Failed, OrStatus, SERVER, USAGE, failed};
use crate::play::Origin;
use crate::progress::say;
use crate::prompts::{Recipe, TokenizerChoice};
use crate::server::{Server, block_on};

/// Collects what an event said, beside what the record keeps.
#[derive(Default)]
struct Listener {
    data: Vec<String>,
}

impl Observer for Listener {
    fn event(&mut self, _: &Event, _: bool) {}

    fn data(&mut self, data: &[u8]) {
        let text: String =
            String::from_utf8_lossy(data).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.data.push(text);
    }
}

struct Probe {
    record: RequestRecord,
    data: Vec<String>,
}

fn probe(
    server: &Server,
    recipe: &Recipe,
    clock: &Arc<dyn Clock>,
    (input, output): (u32, u32),
) -> Result<Probe, Failed> {
    // The last index of all: no request of a run gets the same prompt, which a cache would keep.
    let prompt = recipe.unrelated(u64::MAX, input).or_status(USAGE)?;
    let exchange = Exchange {
        path: Arc::from(server.template.endpoint().path()),
        id: format!("probe-{}", clock.now().as_nanos()),
        body: server.template.fill(prompt.content(), input, output),
    };
    let mut record = RequestRecord::not_sent(0, clock.now());
    record.input.asked = input;
    record.output.asked = output;
    let mut listener = Listener::default();
    block_on(async {
        let client = server.connections.client(Arc::clone(clock));
        let fire = |trigger: tics_client::Trigger, _: &mut RequestRecord| {
            trigger.fire(&**clock);
        };
        let mut answered = std::pin::pin!(client.exchange(&exchange, &mut record, &mut listener, fire));
        if tokio::time::timeout(PATIENCE, answered.as_mut()).await.is_err() {
            say("the probe request has no answer yet; --first-byte-timeout says how long it may take");
            answered.await;
        }
    })?;
    Ok(Probe { record, data: listener.data })
}

/// How long nothing is said of a probe that is not answered: a model that is loaded answers sooner.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lengths of the two probe prompts, tokens: far enough apart that another tokenizer than the server's
/// shows, both short.
const PROBE_LENGTHS: [u32; 2] = [16, 61];

/// Sends one small request before a run; a broken stream ends the command with a clear line. Returns the
/// tokens that the server counted in its prompt, if it said them.
fn probe_first(server: &Server, recipe: &Recipe, clock: &Arc<dyn Clock>) -> Result<Option<u32>, Failed> {
    counted(server, recipe, clock, PROBE_LENGTHS[0])
}

/// Sends another one, of another length, and compares: the tokens that the server adds to every prompt, or
/// why they are not known.
///
/// - `first`: what [`probe_first`] returned.
fn template_tokens(
    server: &Server,
    recipe: &Recipe,
    clock: &Arc<dyn Clock>,
    first: Option<u32>,
) -> Result<Result<u32, String>, Failed> {
    const SILENT: &str = "the server does not say how many tokens a prompt has";
    let Some(first) = first else { return Ok(Err(SILENT.to_owned())) };
    let Some(second) = counted(server, recipe, clock, PROBE_LENGTHS[1])? else {
        return Ok(Err(SILENT.to_owned()));
    };
    let added =
        PROBE_LENGTHS.into_iter().zip([first, second]).map(|(made, counted)| counted.checked_sub(made));
    let added: Vec<Option<u32>> = added.collect();
    Ok(match added[..] {
        [Some(one), Some(other)] if one == other => Ok(one),
        _ => Err(format!(
            "the server counts {first} tokens in a prompt of {} and {second} in one of {}, so its tokenizer is \
             another one (--tokenizer names it)",
            PROBE_LENGTHS[0], PROBE_LENGTHS[1]
        )),
    })
}

/// What the server counts in a prompt of `n_tokens`, if it says it.
fn counted(
    server: &Server,
    recipe: &Recipe,
    clock: &Arc<dyn Clock>,
    n_tokens: u32,
) -> Result<Option<u32>, Failed> {
    let record = probe(server, recipe, clock, (n_tokens, 4))?.record;
    if record.outcome.is_answered() {
        return Ok(record.input.usage);
    }
    let url = &server.description.url;
    let detail = record.detail.as_deref().unwrap_or("no generated token came");
    Err(failed(
        SERVER,
        format!(
            "{url}: the probe request ended as {}: {detail}; `tics probe` shows its stream, --extra-body changes \
             what is asked, --no-probe skips this",
            record.outcome.name()
        ),
    ))
}

/// Speaks to the server before a run, unless `args` say not to, and finds out what it adds to the prompts
/// of `recipe`, unless lengths are to be raw.
pub fn prepare(
    server: &Server,
    recipe: &mut Recipe,
    clock: &Arc<dyn Clock>,
    args: &RunArgs,
    raw_lengths: bool,
) -> Result<(), Failed> {
    if args.no_probe {
        return Ok(());
    }
    let first = probe_first(server, recipe, clock)?;
    if raw_lengths {
        return Ok(());
    }
    match template_tokens(server, recipe, clock, first)? {
        Ok(tokens) => recipe.template_tokens = Some(tokens),
        Err(why) if !args.quiet => {
            say(format_args!("{why}; lengths are those of the texts, without what its chat template adds"));
        }
        Err(_) => {}
    }
    Ok(())
}

/// Runs the command.
pub fn run(args: &ProbeArgs) -> Result<u8, Failed> {
    let clock: Arc<dyn Clock> = Arc::new(Origin::now().clock);
    let maker = TokenizerChoice::load(&args.prompts)?.maker(&args.prompts)?;
    let server = Server::find(&args.target, &clock)?;
    let token_ids = args.target.endpoint.token_ids;
    let recipe = Recipe { token_ids, ..Recipe::from(Arc::new(maker)) };
    let probe = probe(&server, &recipe, &clock, (args.input_tokens, args.output_tokens))?;
    let text = if args.json {
        let json = serde_json::json!({
            "url": server.description.url, "model": server.model, "body": server.description.body,
            "record": probe.record, "data": probe.data,
        });
        tics_report::to_json(&json).or_status(USAGE)?
    } else {
        explain(&server, &probe)
    };
    print(&text)?;
    Ok(if probe.record.outcome.is_answered() { 0 } else { SERVER })
}

fn explain(server: &Server, probe: &Probe) -> String {
    let record = &probe.record;
    let mut text = String::new();
    let sent = record.sent.unwrap_or(record.due);
    let _ = writeln!(
        text,
        "POST {}{} as model {:?}",
        server.description.url,
        server.template.endpoint().path(),
        server.model
    );
    if let Some(connection) = &record.connection {
        let ms = |span: Option<tics_record::Nanos>| {
            span.map_or_else(|| "-".to_owned(), |s| format!("{:.3} ms", s.as_millis_f64()))
        };
        let _ = writeln!(text, "connection: TCP {}, TLS {}", ms(connection.connect), ms(connection.tls));
    }
    if let (Some(head), Some(status)) = (record.head, record.status) {
        let _ = writeln!(text, "{:>12}  HTTP {status}", after(sent, head));
    }
    for (event, data) in record.events.iter().zip(&probe.data) {
        let shared = if event.shared { " (read together with the next)" } else { "" };
        let tokens = event.tokens().map_or_else(String::new, |n| format!(", {n} tokens"));
        let _ = writeln!(text, "{:>12}  {}{tokens}{shared}", after(sent, event.at), event.class.name());
        let _ = writeln!(text, "{:>12}  {}", "", shorten(data));
    }
    conclusions(&mut text, record);
    text
}

fn conclusions(text: &mut String, record: &RequestRecord) {
    let detail = record.detail.as_ref().map_or_else(String::new, |d| format!(": {d}"));
    let _ = writeln!(text, "outcome: {}{detail}", record.outcome.name());
    let input = record.input.usage.map_or_else(|| "not said".to_owned(), |n| n.to_string());
    let _ = writeln!(text, "prompt tokens: {} made, {input} by the server's count", record.input.asked);
    let usage = record.output.usage.map_or_else(|| "not said".to_owned(), |n| n.to_string());
    let _ = writeln!(
        text,
        "output tokens: {} asked, {} tics, {usage} by the server's count",
        record.output.asked, record.output.tics
    );
    let has = |class| record.events.iter().any(|e| e.class == class);
    let reason = record.finish_reason.as_deref().unwrap_or("none");
    let done = if has(EventClass::Done) { "yes" } else { "no" };
    let role = if has(EventClass::RoleOnly) {
        "in an event of its own, not counted as a token"
    } else {
        "not alone"
    };
    let _ = writeln!(text, "finish reason: {reason}; [DONE]: {done}; role: {role}");
    if let Some(ttft) = record.ttft() {
        let _ = writeln!(text, "TTFT: {:.3} ms", ttft.as_millis_f64());
    }
    if let Some(tpot) = record.tpot_ns() {
        let _ = writeln!(text, "TPOT: {:.3} ms", tpot / 1e6);
    }
}

fn after(sent: Stamp, at: Stamp) -> String {
    format!("+{:.3} ms", at.since(sent).unwrap_or_default().as_millis_f64())
}

fn shorten(data: &str) -> String {
    if data.chars().count() <= 160 {
        return data.to_owned();
    }
    data.chars().take(159).collect::<String>() + "…"
}
