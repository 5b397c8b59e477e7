//! SGLang's `/generate`: a text or token ids, and the sampling parameters in an object of their own.

use serde::Deserialize;

use super::body::Prompt;
use super::invalid::Shape;
use super::prompt::prompt_chain;
use super::reply::Reply;
use super::routes::{explain, stop_early};
use crate::order::{Ask, Endpoint, Usage};
use crate::prefix::Chain;
use crate::{Dialect, SimOptions};

/// `max_new_tokens` where a request has none.
const DEFAULT_NEW_TOKENS: i64 = 128;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GenerateBody<'a> {
    #[serde(borrow)]
    text: Option<Prompt<'a>>,
    #[serde(borrow)]
    input_ids: Option<Prompt<'a>>,
    sampling_params: Option<Sampling>,
    stream: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sampling {
    max_new_tokens: Option<i64>,
    ignore_eos: Option<bool>,
}

/// What was asked for.
pub(super) fn generate_ask(options: &SimOptions, bytes: &[u8]) -> Result<(Ask, Chain), Reply> {
    let refuse = |message: &str| Reply::error(Dialect::Vllm, 400, message, None);
    let body: GenerateBody<'_> =
        serde_json::from_slice(bytes).map_err(|error| explain(bytes, Shape::Generate, &error))?;
    let prompt = match (&body.text, &body.input_ids) {
        (Some(text), None) if text.ids.is_empty() => text,
        (None, Some(ids)) if ids.texts.is_empty() => ids,
        (Some(_), None) => return Err(refuse("text: expected a text")),
        (None, Some(_)) => return Err(refuse("input_ids: expected a list of token ids")),
        _ => return Err(refuse("Either text or input_ids should be provided, and not both.")),
    };
    if prompt.prompts != 1 {
        let message = format!("exactly one prompt a request is simulated, got {}", prompt.prompts);
        return Err(refuse(&message));
    }
    let sampling = body.sampling_params.unwrap_or_default();
    let max_tokens = sampling.max_new_tokens.unwrap_or(DEFAULT_NEW_TOKENS);
    if max_tokens < 1 {
        return Err(refuse(&format!("max_new_tokens must be at least 1, got {max_tokens}.")));
    }
    let longest = u64::from(options.max_model_len);
    if prompt.tokens.saturating_add(max_tokens.cast_unsigned()) > longest {
        return Err(refuse(&format!(
            "The input ({} tokens) and the requested output ({max_tokens} tokens) are longer than the \
             model's context length ({longest} tokens).",
            prompt.tokens
        )));
    }
    let (output_tokens, stops) = stop_early(options, max_tokens, sampling.ignore_eos);
    let ask = Ask {
        endpoint: Endpoint::Generate,
        model: options.models.first().cloned().unwrap_or_default(),
        prompt_tokens: prompt.tokens,
        found: None,
        output_tokens,
        stops,
        stream: body.stream.unwrap_or(false),
        // It counts in every event in any case.
        usage: Usage::None,
        silent: false,
    };
    Ok((ask, prompt_chain(options, prompt)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrefixCache;

    fn asked(body: &str) -> Result<(Ask, Chain), (u16, String)> {
        let prefix_cache = Some(PrefixCache { block_tokens: 2, capacity_blocks: 10 });
        let options = SimOptions { max_model_len: 100, prefix_cache, ..SimOptions::default() };
        generate_ask(&options, body.as_bytes())
            .map_err(|reply| (reply.status, String::from_utf8(reply.body).unwrap()))
    }

    #[test]
    fn texts_and_ids_are_counted() {
        let body = r#"{"text": "a b c", "stream": true, "sampling_params": {"max_new_tokens": 9}}"#;
        let (text, _) = asked(body).unwrap();
        assert_eq!((text.prompt_tokens, text.stream), (3, true));
        assert!(asked(r#"{"text": "a b c"}"#).unwrap_err().1.contains("longer than"), "128 are asked for");
        let body = r#"{"input_ids": [5, 6, 7], "sampling_params": {"max_new_tokens": 9, "top_k": 1}}"#;
        let (ids, chain) = asked(body).unwrap();
        assert_eq!((ids.prompt_tokens, ids.output_tokens, ids.stops, ids.stream), (3, 9, false, false));
        assert_eq!((chain.tokens, chain.blocks.len()), (3, 2));
        let other = asked(&body.replace("7]", "8]")).unwrap().1;
        assert!(chain.blocks[0] == other.blocks[0] && chain.blocks[1] != other.blocks[1]);
    }

    #[test]
    fn what_is_refused() {
        for (body, what) in [
            ("{", "not valid JSON"),
            ("{}", "Either text or input_ids"),
            (r#"{"text": "a", "input_ids": [1]}"#, "Either text or input_ids"),
            (r#"{"input_ids": "a"}"#, "expected a list of token ids"),
            (r#"{"input_ids": [-1]}"#, "invalid"),
            (r#"{"text": [1]}"#, "expected a text"),
            (r#"{"text": ["a", "b"]}"#, "exactly one prompt"),
            (r#"{"text": "a", "sampling_params": {"max_new_tokens": 0}}"#, "at least 1"),
            (r#"{"text": "a", "sampling_params": {"max_new_tokens": "5"}}"#, "max_new_tokens"),
        ] {
            let (status, text) = asked(body).unwrap_err();
            assert!(status == 400 && text.contains(what), "{body}: {status} {text}");
        }
    }
}
