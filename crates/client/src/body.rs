//! The request body: written once as a template, then filled with a prompt and a length.

use bytes::Bytes;
use serde_json::{Map, Value, json};

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

/// A chat-completions body with holes for the prompt and the lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyTemplate {
    /// Alternately text and hole: `parts[0] hole[0] parts[1] hole[1] …`.
    parts: Vec<Vec<u8>>,
    holes: Vec<Hole>,
    fixed: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    Messages,
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
}

impl Content<'_> {
    fn write(self, body: &mut Vec<u8>) {
        match self {
            Content::Messages(json) => body.extend_from_slice(json.as_bytes()),
            Content::Prompt(text) => {
                body.extend_from_slice(b"[{\"role\":\"user\",\"content\":");
                serde_json::to_writer(&mut *body, text).expect("a string into memory cannot fail");
                body.extend_from_slice(b"}]");
            }
        }
    }
}

/// Stands for a hole while the template is serialised. A private-use character keeps it apart
/// from any text of a user's.
const MARKS: [(&str, Hole); 3] = [
    ("\u{e000}tics:messages\u{e000}", Hole::Messages),
    ("\u{e000}tics:output\u{e000}", Hole::OutputLength),
    ("\u{e000}tics:input\u{e000}", Hole::InputLength),
];

impl BodyTemplate {
    /// The template of mini-sglang's client, with usage asked for, under `options`.
    pub fn chat(options: &BodyOptions) -> Self {
        let [(messages, _), (output, _), (input, _)] = MARKS;
        let mut body = Map::new();
        body.insert("model".into(), json!(options.model));
        body.insert("messages".into(), json!(messages));
        body.insert("stream".into(), json!(true));
        body.insert("stream_options".into(), json!({ "include_usage": true }));
        body.insert("max_tokens".into(), json!(output));
        body.insert("temperature".into(), json!(0.0));
        body.insert("ignore_eos".into(), json!(true));
        body.insert("top_k".into(), json!(1));
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
        for key in ["model", "messages"] {
            fixed.remove(key);
        }
        for value in fixed.values_mut() {
            if let Some((_, hole)) = MARKS.iter().find(|(mark, _)| value == mark) {
                *value = json!(match hole {
                    Hole::Messages => "<messages>",
                    Hole::OutputLength => "<output_length>",
                    Hole::InputLength => "<input_length>",
                });
            }
        }
        let text = Value::Object(body).to_string();
        let (parts, holes) = split(text.as_bytes());
        BodyTemplate { parts, holes, fixed: Value::Object(fixed) }
    }

    /// The keys beside `model` and `messages`, with holes named: for `run.json`.
    pub fn fixed(&self) -> &Value {
        &self.fixed
    }

    /// A body.
    pub fn fill(&self, content: Content<'_>, input_length: u32, output_length: u32) -> Bytes {
        let text = match content {
            Content::Prompt(text) | Content::Messages(text) => text,
        };
        let size = self.parts.iter().map(Vec::len).sum::<usize>() + text.len() + text.len() / 16 + 96;
        let mut body = Vec::with_capacity(size);
        for (part, hole) in self.parts.iter().zip(self.holes.iter().map(Some).chain([None])) {
            body.extend_from_slice(part);
            match hole {
                None => {}
                Some(Hole::Messages) => content.write(&mut body),
                Some(Hole::OutputLength) => body.extend_from_slice(output_length.to_string().as_bytes()),
                Some(Hole::InputLength) => body.extend_from_slice(input_length.to_string().as_bytes()),
            }
        }
        Bytes::from(body)
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
    fn the_description_names_the_holes_and_has_no_prompt() {
        let template = BodyTemplate::chat(&BodyOptions { model: "m".into(), ..BodyOptions::default() });
        assert_eq!(template.fixed()["max_tokens"], json!("<output_length>"));
        assert!(template.fixed().get("messages").is_none());
    }
}
