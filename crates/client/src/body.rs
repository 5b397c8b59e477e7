//! The request body: written once as a template, then filled with a prompt and a length.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::endpoint::Endpoint;

/// How bodies look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BodyOptions {
    /// The model asked for.
    pub model: String,
    /// Send `input_length_override` with the prompt's length (mini-sglang's field).
    pub input_length_override: bool,
    /// Keys that replace or, with `null`, remove those of the template.
    pub extra: Map<String, Value>,
}

/// A body with holes for the prompt and the lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyTemplate {
    endpoint: Endpoint,
    /// Alternately text and hole: `parts[0] hole[0] parts[1] hole[1] …`.
    parts: Vec<Vec<u8>>,
    holes: Vec<Hole>,
    fixed: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    Input,
    OutputLength,
    InputLength,
}

/// What a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// The text of one user message; it is escaped here.
    Prompt(&'a str),
    /// The messages, a JSON array that is passed on as it is.
    Messages(&'a str),
    /// The tokens of the prompt.
    Ids(&'a [u32]),
}

impl Content<'_> {
    /// Writes what stands in the place of the mark: a value, or for `/generate` the name before it, too.
    fn write(self, endpoint: Endpoint, body: &mut Vec<u8>) {
        let generate = endpoint == Endpoint::Generate;
        match self {
            Content::Messages(json) => body.extend_from_slice(json.as_bytes()),
            Content::Prompt(text) => {
                let (before, behind): (&[u8], &[u8]) = match endpoint {
                    Endpoint::Chat => (b"[{\"role\":\"user\",\"content\":", b"}]"),
                    Endpoint::Completions => (b"", b""),
                    Endpoint::Generate => (b"\"text\":", b""),
                };
                body.extend_from_slice(before);
                serde_json::to_writer(&mut *body, text).expect("a string into memory cannot fail");
                body.extend_from_slice(behind);
            }
            Content::Ids(ids) => {
                body.extend_from_slice(if generate { b"\"input_ids\":[" } else { b"[" });
                let mut digits = itoa::Buffer::new();
                for (at, id) in ids.iter().enumerate() {
                    if at > 0 {
                        body.push(b',');
                    }
                    body.extend_from_slice(digits.format(*id).as_bytes());
                }
                body.push(b']');
            }
        }
    }

    /// About how many bytes it takes.
    fn bytes(self) -> usize {
        match self {
            Content::Prompt(text) | Content::Messages(text) => text.len() + text.len() / 16,
            Content::Ids(ids) => 6 * ids.len(),
        }
    }
}

/// Stands for a hole while the template is serialised. A private-use character keeps it apart
/// from any text of a user's.
const MARKS: [(&str, Hole); 3] = [
    ("\u{e000}tics:input\u{e000}", Hole::Input),
    ("\u{e000}tics:output\u{e000}", Hole::OutputLength),
    ("\u{e000}tics:length\u{e000}", Hole::InputLength),
];

impl BodyTemplate {
    /// The template of mini-sglang's client, with usage asked for, under `options`.
    pub fn chat(options: &BodyOptions) -> Self {
        BodyTemplate::new(Endpoint::Chat, options)
    }

    /// The same for any endpoint, in its words.
    pub fn new(endpoint: Endpoint, options: &BodyOptions) -> Self {
        let [(prompt, _), (output, _), (input, _)] = MARKS;
        let mut body = Map::new();
        let sampling = json!({"temperature": 0.0, "ignore_eos": true, "top_k": 1});
        body.insert("stream".into(), json!(true));
        if endpoint == Endpoint::Generate {
            // It serves one model, and counts in every event.
            body.insert("text".into(), json!(prompt));
            body.insert("sampling_params".into(), sampling);
            body["sampling_params"]["max_new_tokens"] = json!(output);
        } else {
            let name = if endpoint == Endpoint::Chat { "messages" } else { "prompt" };
            body.insert("model".into(), json!(options.model));
            body.insert(name.into(), json!(prompt));
            body.insert("stream_options".into(), json!({ "include_usage": true }));
            body.insert("max_tokens".into(), json!(output));
            body.extend(sampling.as_object().cloned().unwrap_or_default());
        }
        if options.input_length_override {
            body.insert("input_length_override".into(), json!(input));
        }
        for (key, value) in &options.extra {
            if value.is_null() {
                body.remove(key);
            } else {
                body.insert(key.clone(), value.clone());
            }
        }
        let mut fixed = body.clone();
        for key in ["model", "messages", "prompt", "text"] {
            fixed.remove(key);
        }
        fixed.values_mut().for_each(name_holes);
        let mut text = Value::Object(body).to_string();
        if endpoint == Endpoint::Generate {
            // The name depends on what the prompt is, so it is part of the hole.
            text = text.replace(&format!("\"text\":\"{prompt}\""), &format!("\"{prompt}\""));
        }
        let (parts, holes) = split(text.as_bytes());
        BodyTemplate { endpoint, parts, holes, fixed: Value::Object(fixed) }
    }

    /// Where the bodies go.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The keys beside the model and the prompt, with holes named: for `run.json`.
    pub fn fixed(&self) -> &Value {
        &self.fixed
    }

    /// A body. `content` must be of a sort that the endpoint takes ([`Endpoint::takes_token_ids`],
    /// [`Endpoint::takes_messages`]); the server refuses another.
    pub fn fill(&self, content: Content<'_>, input_length: u32, output_length: u32) -> Bytes {
        let size = self.parts.iter().map(Vec::len).sum::<usize>() + content.bytes() + 96;
        let mut body = Vec::with_capacity(size);
        for (part, hole) in self.parts.iter().zip(self.holes.iter().map(Some).chain([None])) {
            body.extend_from_slice(part);
            match hole {
                None => {}
                Some(Hole::Input) => content.write(self.endpoint, &mut body),
                Some(Hole::OutputLength) => body.extend_from_slice(output_length.to_string().as_bytes()),
                Some(Hole::InputLength) => body.extend_from_slice(input_length.to_string().as_bytes()),
            }
        }
        Bytes::from(body)
    }
}

/// Gives the marks in a value the names that they have in print.
fn name_holes(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(name_holes),
        Value::String(text) => {
            if let Some((_, hole)) = MARKS.iter().find(|(mark, _)| text == mark) {
                *value = json!(match hole {
                    Hole::Input => "<prompt>",
                    Hole::OutputLength => "<output_length>",
                    Hole::InputLength => "<input_length>",
                });
            }
        }
        _ => {}
    }
}

/// Cuts the serialised template at its marks, quotes included.
fn split(text: &[u8]) -> (Vec<Vec<u8>>, Vec<Hole>) {
    let (mut parts, mut holes) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let next = MARKS
            .iter()
            .filter_map(|(mark, hole)| {
                let quoted = format!("\"{mark}\"");
                memchr::memmem::find(rest, quoted.as_bytes()).map(|at| (at, quoted.len(), *hole))
            })
            .min_by_key(|(at, ..)| *at);
        let Some((at, len, hole)) = next else {
            parts.push(rest.to_vec());
            return (parts, holes);
        };
        parts.push(rest[..at].to_vec());
        holes.push(hole);
        rest = &rest[at + len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(options: &BodyOptions) -> Value {
        serde_json::from_slice(&BodyTemplate::chat(options).fill(Content::Prompt("say \"hi\"\n"), 7, 9))
            .unwrap()
    }

    #[test]
    fn the_seed_s_body_with_usage() {
        let options = BodyOptions { model: "m".into(), ..BodyOptions::default() };
        let expect = json!({
            "model": "m", "messages": [{"role": "user", "content": "say \"hi\"\n"}], "stream": true,
            "stream_options": {"include_usage": true}, "max_tokens": 9, "temperature": 0.0,
            "ignore_eos": true, "top_k": 1,
        });
        assert_eq!(filled(&options), expect);
    }

    #[test]
    fn keys_can_be_added_replaced_and_removed() {
        let extra = json!({"top_k": null, "temperature": 0.7, "max_tokens": null, "seed": 1});
        let Value::Object(extra) = extra else { unreachable!() };
        let body = filled(&BodyOptions { model: "m".into(), input_length_override: true, extra });
        assert_eq!(body["temperature"], json!(0.7));
        assert_eq!(body["seed"], json!(1));
        assert_eq!(body["input_length_override"], json!(7));
        assert!(body.get("top_k").is_none() && body.get("max_tokens").is_none());
    }

    #[test]
    fn prompts_may_be_texts_or_ids_where_the_endpoint_takes_them() {
        let options =
            BodyOptions { model: "m".into(), input_length_override: true, ..BodyOptions::default() };
        let body = |endpoint, content: Content<'_>| -> Value {
            let body = BodyTemplate::new(endpoint, &options).fill(content, 3, 9);
            serde_json::from_slice(&body).unwrap()
        };
        let sampling = json!({"temperature": 0.0, "ignore_eos": true, "top_k": 1, "max_new_tokens": 9});
        let ids = &[7, 0, u32::MAX];
        let text = body(Endpoint::Completions, Content::Prompt("say \"hi\""));
        assert_eq!((&text["prompt"], &text["max_tokens"]), (&json!("say \"hi\""), &json!(9)));
        assert_eq!((&text["model"], &text["input_length_override"]), (&json!("m"), &json!(3)));
        assert_eq!(body(Endpoint::Completions, Content::Ids(ids))["prompt"], json!(ids));
        assert_eq!(body(Endpoint::Completions, Content::Ids(&[]))["prompt"], json!([]));
        let expect = json!({"input_ids": ids, "stream": true, "sampling_params": sampling, "input_length_override": 3});
        assert_eq!(body(Endpoint::Generate, Content::Ids(ids)), expect);
        let expect =
            json!({"text": "a", "stream": true, "sampling_params": sampling, "input_length_override": 3});
        assert_eq!(body(Endpoint::Generate, Content::Prompt("a")), expect);
        let fixed = BodyTemplate::new(Endpoint::Generate, &options).fixed().clone();
        assert_eq!(fixed["sampling_params"]["max_new_tokens"], json!("<output_length>"));
        assert!(fixed.get("text").is_none());
    }

    #[test]
    fn the_description_names_the_holes_and_has_no_prompt() {
        let template = BodyTemplate::chat(&BodyOptions { model: "m".into(), ..BodyOptions::default() });
        assert_eq!(template.fixed()["max_tokens"], json!("<output_length>"));
        assert!(template.fixed().get("messages").is_none());
    }
}
