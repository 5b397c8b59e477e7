//! From a request to its answer: a pure function of the options and the bytes.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::body::{Body, MiniBody};
use super::generate::generate_ask;
use super::http::{Head, Method};
use super::invalid::{Shape, problems};
use super::prompt::{chat_chain, chat_tokens, prompt_chain};
use super::reply::Reply;
use super::tokenize::tokenize;
use crate::order::{Ask, Endpoint, Usage};
use crate::prefix::Chain;
use crate::{Dialect, SimOptions, clock};

/// `max_tokens` where a request has none.
const DEFAULT_MAX_TOKENS: i64 = 16;

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Say this, now.
    Reply(Reply),
    /// Say how the counters stand.
    Metrics,
    /// Let the engine answer; the prompt's blocks are for the prefix cache, and none without one.
    Generate(Ask, Chain),
}

/// Routes a request.
pub(crate) fn answer(options: &SimOptions, head: &Head, body: &[u8]) -> Answer {
    try_answer(options, head, body).unwrap_or_else(Answer::Reply)
}

fn try_answer(options: &SimOptions, head: &Head, body: &[u8]) -> Result<Answer, Reply> {
    let path = head.path.as_str();
    let guarded = path == "/v1" || path.starts_with("/v1/");
    if let Some(key) = options.api_key.as_ref().filter(|_| guarded)
        && !key.opens(head.authorization.as_deref())
    {
        let message = "this server needs its key: send it as `Authorization: Bearer KEY`";
        let reply = Reply::error(options.dialect, 401, message, None);
        return Err(reply.with_header("www-authenticate: Bearer\r\n"));
    }
    let minisgl = options.dialect == Dialect::MiniSgl;
    let method = |allowed: Method, line: &'static str| {
        if head.method == allowed { Ok(()) } else { Err(Reply::detail(405).with_header(line)) }
    };
    match path {
        // mini-sglang has none; ours has it anyway, so that whoever starts the server can wait for it.
        "/health" => {
            method(Method::Get, "allow: GET\r\n")?;
            Ok(Answer::Reply(Reply::empty()))
        }
        "/v1" if minisgl => Ok(Answer::Reply(Reply::json(200, &json!({"status": "ok"})))),
        "/v1/models" => {
            method(Method::Get, "allow: GET\r\n")?;
            Ok(Answer::Reply(Reply::json(200, &models(options))))
        }
        "/v1/chat/completions" => {
            method(Method::Post, "allow: POST\r\n")?;
            if minisgl { minisgl_ask(options, body) } else { vllm_ask(options, body, Endpoint::Chat) }
                .map(|(ask, chain)| Answer::Generate(ask, chain))
        }
        "/v1/completions" if !minisgl => {
            method(Method::Post, "allow: POST\r\n")?;
            vllm_ask(options, body, Endpoint::Completions).map(|(ask, chain)| Answer::Generate(ask, chain))
        }
        "/generate" if !minisgl => {
            method(Method::Post, "allow: POST\r\n")?;
            generate_ask(options, body).map(|(ask, chain)| Answer::Generate(ask, chain))
        }
        "/tokenize" if !minisgl => {
            method(Method::Post, "allow: POST\r\n")?;
            tokenize(options, body).map(Answer::Reply)
        }
        "/metrics" if !minisgl => {
            method(Method::Get, "allow: GET\r\n")?;
            Ok(Answer::Metrics)
        }
        _ => Err(Reply::detail(404)),
    }
}

/// The list of models in the dialect's shape.
fn models(options: &SimOptions) -> Value {
    let created = clock::wall_seconds();
    let model = |name: &String| match options.dialect {
        Dialect::Vllm => json!({"id": name, "object": "model", "created": created, "owned_by": "vllm",
            "root": name, "parent": null, "max_model_len": options.max_model_len}),
        Dialect::MiniSgl => json!({"id": name, "object": "model", "created": created,
            "owned_by": "mini-sglang", "root": name}),
    };
    json!({"object": "list", "data": options.models.iter().map(model).collect::<Vec<_>>()})
}

/// The model asked for, or the first one served.
pub(super) fn known_model(options: &SimOptions, model: Option<Cow<'_, str>>) -> Result<String, Reply> {
    match (model, options.models.first()) {
        (Some(model), Some(_)) if !options.models.iter().any(|served| *served == model) => {
            let message = format!("The model `{model}` does not exist.");
            Err(Reply::error(Dialect::Vllm, 404, &message, Some("model")))
        }
        (Some(model), _) => Ok(model.into_owned()),
        (None, served) => Ok(served.cloned().unwrap_or_default()),
    }
}

fn vllm_ask(options: &SimOptions, bytes: &[u8], endpoint: Endpoint) -> Result<(Ask, Chain), Reply> {
    let shape = if endpoint == Endpoint::Chat { Shape::VllmChat } else { Shape::VllmCompletions };
    let refuse = |message: &str, param| Reply::error(Dialect::Vllm, 400, message, param);
    let body: Body<'_> = serde_json::from_slice(bytes).map_err(|error| explain(bytes, shape, &error))?;
    let prompt_tokens = match (endpoint, &body.messages, &body.prompt) {
        (Endpoint::Chat, Some(messages), _) if !messages.is_empty() => chat_tokens(options, messages),
        (Endpoint::Completions, _, Some(prompt)) if prompt.prompts == 1 => prompt.tokens,
        (Endpoint::Completions, _, Some(prompt)) => {
            let message =
                format!("prompt: exactly one prompt a request is simulated, got {}", prompt.prompts);
            return Err(refuse(&message, Some("prompt")));
        }
        (Endpoint::Chat, ..) => return Err(refuse("messages: at least one is required", Some("messages"))),
        (Endpoint::Completions | Endpoint::Generate, ..) => {
            return Err(refuse("prompt: Field required", Some("prompt")));
        }
    };
    let model = known_model(options, body.model)?;
    let chat_limit = body.max_completion_tokens.filter(|_| endpoint == Endpoint::Chat);
    let max_tokens = chat_limit.or(body.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
    if max_tokens < 1 {
        let message = format!("max_tokens must be at least 1, got {max_tokens}.");
        return Err(refuse(&message, Some("max_tokens")));
    }
    let longest = u64::from(options.max_model_len);
    if prompt_tokens.saturating_add(max_tokens.cast_unsigned()) > longest {
        let message = format!(
            "This model's maximum context length is {longest} tokens. However, your request has \
             {prompt_tokens} prompt tokens and asks for {max_tokens} output tokens."
        );
        return Err(refuse(&message, None));
    }
    let (output_tokens, stops) = stop_early(options, max_tokens, body.ignore_eos);
    let stream = body.stream.unwrap_or(false);
    let stream_options = body.stream_options.unwrap_or_default();
    // As in vLLM, the second is nothing without the first.
    let usage = match (stream_options.include_usage, stream_options.continuous_usage_stats) {
        (Some(true), Some(true)) => Usage::Continuous,
        (Some(true), _) => Usage::AtEnd,
        _ => Usage::None,
    };
    let chain = match (endpoint, &body.messages, &body.prompt) {
        (Endpoint::Chat, Some(messages), _) => chat_chain(options, messages),
        (Endpoint::Completions, _, Some(prompt)) => prompt_chain(options, prompt),
        _ => unreachable!("a request without a prompt was refused above"),
    };
    let (silent, found) = (false, None);
    Ok((Ask { endpoint, model, prompt_tokens, found, output_tokens, stops, stream, usage, silent }, chain))
}

fn minisgl_ask(options: &SimOptions, bytes: &[u8]) -> Result<(Ask, Chain), Reply> {
    let body: MiniBody<'_> =
        serde_json::from_slice(bytes).map_err(|error| explain(bytes, Shape::MiniSgl, &error))?;
    let messages = body.messages.unwrap_or_default();
    let plain = messages.iter().all(|message| message.content.is_string && message.role.is_basic);
    let Some(model) =
        body.model.filter(|_| plain && body.prompt.as_ref().is_none_or(|prompt| prompt.is_string))
    else {
        return Err(unprocessable(bytes, "the body has not the shape of a request"));
    };
    let (prompt_tokens, chain) = match (messages.is_empty(), &body.prompt) {
        (false, _) => (chat_tokens(options, &messages), chat_chain(options, &messages)),
        (true, Some(prompt)) => (prompt.tokens, prompt_chain(options, prompt)),
        // The server asserts that there is one or the other, and an assertion is a 500.
        (true, None) => return Err(Reply::error(Dialect::MiniSgl, 500, "", None)),
    };
    let limit = body.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS).max(1);
    let left = u64::from(options.max_model_len).saturating_sub(prompt_tokens);
    let (output_tokens, _) = stop_early(options, limit.min(left.cast_signed()).max(1), body.ignore_eos);
    let ask = Ask {
        endpoint: Endpoint::Chat,
        model: model.into_owned(),
        prompt_tokens,
        found: None,
        output_tokens,
        // Whatever ended it, mini-sglang says "stop".
        stops: true,
        stream: true,
        usage: Usage::None,
        silent: left == 0,
    };
    // A prompt that is too long is never read, nor kept.
    let chain = if ask.silent { Chain::default() } else { chain };
    Ok((ask, chain))
}

/// How many tokens there will be, and whether they end before `max_tokens`.
pub(super) fn stop_early(options: &SimOptions, max_tokens: i64, ignore_eos: Option<bool>) -> (u32, bool) {
    let asked = u32::try_from(max_tokens).unwrap_or(u32::MAX);
    match options.eos_after.filter(|_| ignore_eos != Some(true)) {
        Some(eos) if eos < asked => (eos, true),
        _ => (asked, false),
    }
}

/// The answer to a body that did not parse.
pub(super) fn explain(bytes: &[u8], shape: Shape, error: &serde_json::Error) -> Reply {
    if shape == Shape::MiniSgl {
        return unprocessable(bytes, &error.to_string());
    }
    let message = match serde_json::from_slice::<Value>(bytes) {
        Err(error) => format!("The body is not valid JSON: {error}"),
        Ok(tree) => {
            let found = problems(&tree, shape);
            let lines: Vec<String> = found.iter().map(super::invalid::Problem::line).collect();
            if lines.is_empty() { error.to_string() } else { lines.join("; ") }
        }
    };
    Reply::error(Dialect::Vllm, 400, &message, None)
}

/// FastAPI's 422; `otherwise` where none of the known problems is there.
fn unprocessable(bytes: &[u8], otherwise: &str) -> Reply {
    let details: Vec<Value> = match serde_json::from_slice::<Value>(bytes) {
        Err(error) => vec![json!({"type": "json_invalid", "loc": ["body", error.column()],
            "msg": "JSON decode error", "input": {}, "ctx": {"error": error.to_string()}})],
        Ok(tree) => match problems(&tree, Shape::MiniSgl) {
            found if found.is_empty() => {
                vec![json!({"type": "value_error", "loc": ["body"], "msg": otherwise, "input": tree})]
            }
            found => found.iter().map(super::invalid::Problem::detail).collect(),
        },
    };
    Reply::json(422, &json!({"detail": details}))
}

#[cfg(test)]
mod tests {
    use super::super::http::Framing;
    use super::*;
    use crate::ApiKey;

    fn post(path: &str) -> Head {
        Head {
            method: Method::Post,
            path: path.to_owned(),
            http10: false,
            close: false,
            expects_continue: false,
            framing: Framing::Length(0),
            id: None,
            authorization: None,
        }
    }

    fn ask(options: &SimOptions, path: &str, body: &str) -> Ask {
        match answer(options, &post(path), body.as_bytes()) {
            Answer::Generate(ask, _) => ask,
            other => panic!("{other:?}"),
        }
    }

    fn refused(options: &SimOptions, path: &str, body: &str) -> (u16, String) {
        match answer(options, &post(path), body.as_bytes()) {
            Answer::Reply(reply) => (reply.status, String::from_utf8(reply.body).unwrap()),
            other => panic!("answered: {other:?}"),
        }
    }

    const CHAT: &str = "/v1/chat/completions";
    const MESSAGES: &str = r#""messages":[{"role":"user","content":"a b c"}]"#;

    fn minisgl() -> SimOptions {
        SimOptions { dialect: Dialect::MiniSgl, ..SimOptions::default() }
    }

    #[test]
    fn vllm_reads_both_limits_and_the_usage_flags() {
        let options = SimOptions { template_tokens: 7, ..SimOptions::default() };
        let plain = ask(&options, CHAT, &format!("{{{MESSAGES}}}"));
        assert_eq!((plain.prompt_tokens, plain.output_tokens, plain.stream), (10, 16, false));
        assert_eq!(plain.model, "tics-sim");
        let full = ask(
            &options,
            CHAT,
            &format!(
                r#"{{{MESSAGES},"max_tokens":3,"max_completion_tokens":5,"n":4,"stream":true,
                "stream_options":{{"include_usage":true,"continuous_usage_stats":true}}}}"#
            ),
        );
        assert!(full.stream && full.usage == Usage::Continuous && full.output_tokens == 5);
        let text = ask(&options, "/v1/completions", r#"{"prompt":"a b","max_tokens":2}"#);
        assert_eq!((text.prompt_tokens, text.output_tokens), (2, 2));
    }

    #[test]
    fn without_ignore_eos_an_answer_may_stop_early() {
        let options = SimOptions { eos_after: Some(4), ..SimOptions::default() };
        let early = ask(&options, CHAT, &format!(r#"{{{MESSAGES},"max_tokens":9}}"#));
        assert_eq!((early.output_tokens, early.stops), (4, true));
        let full = ask(&options, CHAT, &format!(r#"{{{MESSAGES},"max_tokens":9,"ignore_eos":true}}"#));
        assert_eq!((full.output_tokens, full.stops), (9, false));
    }

    #[test]
    fn what_vllm_refuses() {
        let options = SimOptions { max_model_len: 10, ..SimOptions::default() };
        let (status, text) = refused(&options, CHAT, "{\"messages\":");
        assert!(status == 400 && text.contains("not valid JSON"), "{text}");
        for (body, what) in [
            ("{}", "messages"),
            (r#"{"messages":[]}"#, "messages"),
            (r#"{"messages":[{"role":"user","content":7}]}"#, "messages.0.content"),
            (&format!(r#"{{{MESSAGES},"max_tokens":"5"}}"#), "max_tokens: Input should be a valid integer"),
            (&format!(r#"{{{MESSAGES},"max_tokens":0}}"#), "at least 1"),
            (&format!(r#"{{{MESSAGES},"max_tokens":8}}"#), "maximum context length is 10"),
        ] {
            let (status, text) = refused(&options, CHAT, body);
            assert!(status == 400 && text.contains(what), "{body}: {status} {text}");
            let error: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(error["error"]["code"], 400);
        }
        let (status, text) = refused(&options, CHAT, &format!(r#"{{{MESSAGES},"model":"x"}}"#));
        assert!(status == 404 && text.contains("NotFoundError"), "{text}");
        assert_eq!(refused(&options, "/v1/completions", r#"{"prompt":["a","b"]}"#).0, 400);
        assert_eq!(refused(&options, "/v1/other", ""), (404, r#"{"detail":"Not Found"}"#.to_owned()));
        assert_eq!(
            refused(&options, "/v1/models", ""),
            (405, r#"{"detail":"Method Not Allowed"}"#.to_owned())
        );
    }

    #[test]
    fn an_empty_list_of_models_answers_to_every_name() {
        let options = SimOptions { models: vec![], ..SimOptions::default() };
        assert_eq!(ask(&options, CHAT, &format!(r#"{{{MESSAGES},"model":"x"}}"#)).model, "x");
        assert_eq!(models(&options), json!({"object": "list", "data": []}));
    }

    #[test]
    fn what_minisgl_takes_and_refuses() {
        let options = SimOptions { max_model_len: 100, ..minisgl() };
        let body = format!(r#"{{"model":"any",{MESSAGES},"max_completion_tokens":"5","stream":false}}"#);
        let plain = ask(&options, CHAT, &body);
        assert_eq!((plain.prompt_tokens, plain.output_tokens, plain.stream), (3, 16, true));
        let raw = ask(&options, CHAT, r#"{"model":"m","prompt":"a b","max_tokens":4}"#);
        assert_eq!((raw.prompt_tokens, raw.output_tokens), (2, 4));

        let list = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}"#;
        let (status, text) = refused(&options, CHAT, list);
        let detail: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &detail["detail"][0]["type"]), (422, &json!("string_type")));
        assert_eq!(detail["detail"][0]["loc"], json!(["body", "messages", 0, "content"]));
        assert_eq!(refused(&options, CHAT, &format!("{{{MESSAGES}}}")).0, 422);
        assert_eq!(refused(&options, CHAT, "{").0, 422);
        assert_eq!(refused(&options, CHAT, r#"{"model":"m"}"#), (500, "Internal Server Error".to_owned()));
        assert_eq!(refused(&options, "/v1/completions", "{}").0, 404);
    }

    #[test]
    fn minisgl_takes_a_prompt_that_is_too_long_and_falls_silent() {
        let options = SimOptions { max_model_len: 3, ..minisgl() };
        assert!(ask(&options, CHAT, &format!(r#"{{"model":"m",{MESSAGES}}}"#)).silent);
        let options = SimOptions { max_model_len: 8, ..minisgl() };
        let cut = ask(&options, CHAT, &format!(r#"{{"model":"m",{MESSAGES}}}"#));
        assert_eq!((cut.silent, cut.output_tokens), (false, 5));
    }

    #[test]
    fn the_key_guards_v1_alone() {
        let options = SimOptions { api_key: Some(ApiKey::new("k")), ..SimOptions::default() };
        let get = |path: &str, authorization: Option<&str>| {
            let mut head = post(path);
            head.method = Method::Get;
            head.authorization = authorization.map(str::to_owned);
            match answer(&options, &head, b"") {
                Answer::Reply(reply) => reply.status,
                other => panic!("a GET generates nothing: {other:?}"),
            }
        };
        assert_eq!(get("/v1/models", None), 401);
        assert_eq!(get("/v1/models", Some("Bearer x")), 401);
        assert_eq!(get("/v1/models", Some("Bearer k")), 200);
        assert_eq!(get("/health", None), 200);
    }
}
