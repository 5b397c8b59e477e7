//! The server of a run: found, spoken to once, and described.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::{Map, Value};
use tics_client::{
    BaseUrl, BodyOptions, BodyTemplate, Client, Connector, Endpoint, Limits, ReusePolicy, Target, Trust,
    error_text, tls_config,
};
use tics_record::Clock;

use crate::cli::TargetArgs;
use crate::outcome::{Failed, OrStatus, SERVER, USAGE, failed};
use crate::simulated::SimulatedServer;

/// What connections to the server are made from; cheap to clone, any thread may.
#[derive(Clone)]
pub struct Connections {
    target: Arc<Target>,
    tls: Option<Arc<tics_client::ClientConfig>>,
    limits: Limits,
    ids: Arc<AtomicU64>,
    reuse: ReusePolicy,
}

impl Connections {
    /// A client for the calling worker.
    pub fn client(&self, clock: Arc<dyn Clock>) -> Client {
        let connector = Connector::new(Arc::clone(&self.target), self.tls.clone(), self.limits, clock);
        Client::new(connector, Arc::clone(&self.ids), self.reuse)
    }
}

/// The server of a run.
pub struct Server {
    /// How to reach it.
    pub connections: Connections,
    /// The model that is asked for.
    pub model: String,
    /// What bodies are made from.
    pub template: Arc<BodyTemplate>,
    /// The first part of its description in `run.json`.
    pub description: tics_record::Target,
    /// Its process, if it is this run's own. Ends when the server is dropped.
    _simulated: Option<SimulatedServer>,
}

impl Server {
    /// Finds the server of `args` (or starts the simulated one), asks it for its models and prepares
    /// the requests. `clock` is for its time limits.
    pub fn find(args: &TargetArgs, clock: &Arc<dyn Clock>) -> Result<Self, Failed> {
        let extra = extra_body(args.extra_body.as_deref())?;
        let endpoint = Endpoint::from(args.endpoint.endpoint);
        if args.endpoint.token_ids && !endpoint.takes_token_ids() {
            return Err(failed(
                USAGE,
                format!(
                    "--token-ids: --endpoint {endpoint} takes no token ids; choose completions or generate"
                ),
            ));
        }
        let simulated = match &args.url {
            Some(_) => None,
            None => Some(SimulatedServer::start(args.sim.as_deref())?),
        };
        let url = args.url.as_deref().or(simulated.as_ref().map(|s| s.url.as_str())).unwrap_or_default();
        let connections = connect(url, args, &**clock)?;
        let model = find_model(&connections, args.model.as_deref(), clock)?;
        let options =
            BodyOptions { model: model.clone(), input_length_override: args.input_length_override, extra };
        let template = Arc::new(BodyTemplate::new(endpoint, &options));
        let target = &connections.target;
        let description = tics_record::Target {
            url: target.base.display(),
            path: target.base.path(endpoint.path()),
            model: model.clone(),
            simulated: simulated.is_some(),
            addresses: target.addresses.iter().map(ToString::to_string).collect(),
            insecure: args.insecure,
            limits: args.limits.to_string(),
            body: template.fixed().clone(),
        };
        Ok(Server { connections, model, template, description, _simulated: simulated })
    }
}

fn extra_body(text: Option<&str>) -> Result<Map<String, Value>, Failed> {
    let Some(text) = text else { return Ok(Map::new()) };
    let expected = "--extra-body: expected a JSON object such as '{\"top_p\": 0.9, \"top_k\": null}'";
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(failed(USAGE, expected)),
        Err(error) => Err(failed(USAGE, format!("{expected}: {error}"))),
    }
}

fn connect(url: &str, args: &TargetArgs, clock: &dyn Clock) -> Result<Connections, Failed> {
    let base = BaseUrl::parse(url).map_err(|e| failed(USAGE, format!("--url: {e}")))?;
    let trust = match (&args.ca_file, args.insecure) {
        (_, true) => Trust::Anyone,
        (Some(path), _) => {
            let pem = std::fs::read(path)
                .map_err(|e| failed(USAGE, format!("--ca-file {}: cannot be read: {e}", path.display())))?;
            Trust::Authorities(pem)
        }
        (None, false) => Trust::Platform,
    };
    let tls = if base.tls {
        let config = tls_config(&trust).map_err(|e| match &args.ca_file {
            Some(path) => failed(USAGE, format!("--ca-file {}: {e}", path.display())),
            None => failed(USAGE, e),
        })?;
        Some(config)
    } else {
        None
    };
    let before = clock.now();
    let addresses = base
        .resolve()
        .map_err(|e| failed(SERVER, format!("{}: {e}; check the name in --url", base.display())))?;
    let literal = base.host.parse::<std::net::IpAddr>().is_ok();
    let dns = (!literal).then(|| clock.now().since(before)).flatten();
    let key = std::env::var("OPENAI_API_KEY").ok().filter(|k| !k.is_empty());
    let mut target = Target::new(base, addresses, dns, key.as_deref())
        .map_err(|e| failed(USAGE, format!("OPENAI_API_KEY: {e}")))?;
    for header in &args.header {
        target.add_header(header).map_err(|e| failed(USAGE, format!("--header: {e}")))?;
    }
    Ok(Connections {
        target: Arc::new(target),
        tls,
        limits: args.limits.limits(),
        ids: Arc::default(),
        reuse: args.connections.into(),
    })
}

/// Runs `future` on a runtime of its own: for what is asked before and after a run.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failed> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().or_status(SERVER)?;
    Ok(runtime.block_on(future))
}

/// The model to ask for; the server is asked in any case, to learn now whether it is there.
fn find_model(
    connections: &Connections,
    given: Option<&str>,
    clock: &Arc<dyn Clock>,
) -> Result<String, Failed> {
    let url = connections.target.base.display();
    let clock = Arc::clone(clock);
    let answer = block_on(async { connections.client(clock).get("/v1/models").await })?;
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            return Err(failed(
                SERVER,
                format!("{url}: {failure}; is the server up, and is this its address?"),
            ));
        }
    };
    if let Some(model) = given {
        return Ok(model.to_owned());
    }
    if status != 200 {
        let remedy = match status {
            401 | 403 => "give its key in OPENAI_API_KEY",
            404 => "check the path in --url, or name a model with --model",
            _ => "name a model with --model if the server has no such list",
        };
        let said = error_text(&body);
        return Err(failed(SERVER, format!("{url}/v1/models: HTTP {status}: {said}; {remedy}")));
    }
    let list: Value = serde_json::from_slice(&body).unwrap_or_default();
    let first = list["data"].get(0).and_then(|m| m["id"].as_str());
    first.map(str::to_owned).ok_or_else(|| {
        failed(SERVER, format!("{url}/v1/models: lists no model; load one, or name one with --model"))
    })
}
