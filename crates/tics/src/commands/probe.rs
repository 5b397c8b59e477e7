//! `tics probe`: one request, explained event by event; and the short form of it before a run.

use std::fmt::Write;
use std::sync::Arc;

use tics_client::{Content, Exchange, Observer};
use tics_prompt::PromptMaker;
use tics_record::{Clock, Event, EventClass, RequestRecord, Stamp};

use crate::cli::ProbeArgs;
use crate::commands::trace::print;
use crate::outcome::{Failed, OrStatus, SERVER, USAGE, failed};
use crate::play::Origin;
use crate::prompts::TokenizerChoice;
use crate::server::{CHAT, Server, block_on};

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
    maker: &PromptMaker,
    clock: &Arc<dyn Clock>,
    (input, output): (u32, u32),
) -> Result<Probe, Failed> {
    // The last index of all: no request of a run gets the same prompt, which a cache would keep.
    let prompt = maker.make(u64::MAX, input).or_status(USAGE)?;
    let exchange = Exchange {
        path: Arc::from(CHAT),
        id: format!("probe-{}", clock.now().as_nanos()),
        body: server.template.fill(Content::Prompt(&prompt), input, output),
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
        client.exchange(&exchange, &mut record, &mut listener, fire).await;
    })?;
    Ok(Probe { record, data: listener.data })
}

/// Sends one small request before a run; a broken stream ends the command with a clear line.
pub fn probe_first(server: &Server, maker: &PromptMaker, clock: &Arc<dyn Clock>) -> Result<(), Failed> {
    let record = probe(server, maker, clock, (16, 4))?.record;
    if record.outcome.is_answered() {
        return Ok(());
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

/// Runs the command.
pub fn run(args: &ProbeArgs) -> Result<u8, Failed> {
    let clock: Arc<dyn Clock> = Arc::new(Origin::now().clock);
    let maker = TokenizerChoice::load(&args.prompts)?.maker(&args.prompts)?;
    let server = Server::find(&args.target, &clock)?;
    let probe = probe(&server, &maker, &clock, (args.input_tokens, args.output_tokens))?;
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
    let _ = writeln!(text, "POST {}{} as model {:?}", server.description.url, CHAT, server.model);
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
