//! vLLM's `/tokenize`: how many tokens a prompt has for this server, and an id for each.

use serde::Serialize;

use super::body::{Body, Prompt};
use super::invalid::Shape;
use super::reply::Reply;
use super::routes::{explain, known_model};
use crate::prefix::token_id;
use crate::{Dialect, SimOptions};

/// The id of the chat template's tokens.
const TEMPLATE: u32 = 0;

#[derive(Serialize)]
struct Tokenized {
    count: usize,
    max_model_len: u32,
    tokens: Vec<u32>,
    /// vLLM's `return_token_strs` is not served.
    token_strs: Option<Vec<String>>,
}

/// Answers `{"prompt"}` or `{"messages"}`, as vLLM understands them.
pub(super) fn tokenize(options: &SimOptions, bytes: &[u8]) -> Result<Reply, Reply> {
    let body: Body<'_> =
        serde_json::from_slice(bytes).map_err(|error| explain(bytes, Shape::Tokenize, &error))?;
    known_model(options, body.model)?;
    let mut tokens = Vec::new();
    let mut words = |text: &str| tokens.extend(text.split_whitespace().map(token_id));
    match (&body.messages, &body.prompt) {
        (_, Some(Prompt { is_string: true, texts, .. })) => texts.iter().for_each(|text| words(text)),
        (Some(messages), None) if !messages.is_empty() => {
            messages.iter().flat_map(|message| &message.content.texts).for_each(|text| words(text));
            tokens.splice(0..0, vec![TEMPLATE; options.template_tokens as usize]);
        }
        _ => {
            let message = "a prompt (a string) or messages (at least one) are required";
            return Err(Reply::error(Dialect::Vllm, 400, message, Some("prompt")));
        }
    }
    let max_model_len = options.max_model_len;
    Ok(Reply::json(200, &Tokenized { count: tokens.len(), max_model_len, tokens, token_strs: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn asked(options: &SimOptions, body: &Value) -> (u16, Value) {
        let reply = tokenize(options, body.to_string().as_bytes()).unwrap_or_else(|refused| refused);
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    #[test]
    fn words_and_the_template_are_counted() {
        let options = SimOptions { template_tokens: 3, max_model_len: 99, ..SimOptions::default() };
        let (status, prompt) = asked(&options, &json!({"model": "tics-sim", "prompt": "a b\na"}));
        assert_eq!((status, &prompt["count"], &prompt["max_model_len"]), (200, &json!(3), &json!(99)));
        assert!(prompt["tokens"][0] == prompt["tokens"][2] && prompt["tokens"][0] != prompt["tokens"][1]);
        let messages = [json!({"role": "system", "content": "b"}), json!({"role": "user", "content": "a"})];
        let (status, chat) = asked(&options, &json!({"messages": messages}));
        let word = |k: usize| prompt["tokens"][k].clone();
        assert_eq!((status, &chat["count"]), (200, &json!(5)));
        assert_eq!(chat["tokens"], json!([0, 0, 0, word(1), word(0)]));
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let options = SimOptions::default();
        for (body, status) in [
            (json!({}), 400),
            (json!({"prompt": [1, 2]}), 400),
            (json!({"prompt": 5}), 400),
            (json!({"messages": []}), 400),
            (json!({"model": "x", "prompt": "a"}), 404),
        ] {
            let (found, error) = asked(&options, &body);
            assert_eq!((found, &error["error"]["code"]), (status, &json!(status)), "{body}");
        }
    }
}
