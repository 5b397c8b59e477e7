//! What is wrong with a body that did not parse: the cold path, which may look at it as a tree.

use serde_json::{Value, json};

/// One thing that is wrong, as pydantic (under vLLM and mini-sglang alike) reports it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// Its machine-readable name, such as `string_type`.
    pub(crate) kind: &'static str,
    /// Where: field names and indices.
    pub(crate) at: Vec<Value>,
    pub(crate) message: &'static str,
    pub(crate) input: Value,
}

impl Problem {
    /// As an element of FastAPI's `detail`.
    pub(crate) fn detail(&self) -> Value {
        let mut at = vec![json!("body")];
        at.extend(self.at.iter().cloned());
        json!({"type": self.kind, "loc": at, "msg": self.message, "input": self.input})
    }

    /// As a line for people: `messages.0.content: Input should be a valid string`.
    pub(crate) fn line(&self) -> String {
        let at: Vec<String> = self
            .at
            .iter()
            .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
            .collect();
        if at.is_empty() { self.message.to_owned() } else { format!("{}: {}", at.join("."), self.message) }
    }
}

/// Which shape a body must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    VllmChat,
    VllmCompletions,
    /// `/tokenize`: a prompt or messages.
    Tokenize,
    /// SGLang's `/generate`.
    Generate,
    MiniSgl,
}

/// Everything that is wrong with `body`, in the order of the fields; empty if nothing known is.
pub(crate) fn problems(body: &Value, shape: Shape) -> Vec<Problem> {
    let mut found = Vec::new();
    let Value::Object(fields) = body else {
        let message = "Input should be a valid dictionary or object to extract fields from";
        found.push(Problem { kind: "model_attributes_type", at: vec![], message, input: body.clone() });
        return found;
    };
    // An explicit null is as good as no field where the field has a default.
    let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let mut wrong = |kind, at: Vec<Value>, message, input: &Value| {
        found.push(Problem { kind, at, message, input: input.clone() });
    };
    if shape == Shape::MiniSgl && !fields.contains_key("model") {
        wrong("missing", vec![json!("model")], "Field required", body);
    }
    if let Some(model) = fields.get("model").filter(|m| !m.is_string())
        && (shape == Shape::MiniSgl || !model.is_null())
    {
        wrong("string_type", vec![json!("model")], "Input should be a valid string", model);
    }
    match (shape, given("messages")) {
        (Shape::VllmChat, None) => wrong("missing", vec![json!("messages")], "Field required", body),
        (Shape::VllmChat | Shape::MiniSgl | Shape::Tokenize, Some(messages)) => match messages {
            Value::Array(messages) => {
                if shape == Shape::VllmChat && messages.is_empty() {
                    wrong("too_short", vec![json!("messages")], "List should have at least 1 item", body);
                }
                for (i, message) in messages.iter().enumerate() {
                    message_problems(i, message, shape, &mut wrong);
                }
            }
            other => wrong("list_type", vec![json!("messages")], "Input should be a valid list", other),
        },
        _ => {}
    }
    match (shape, given("prompt")) {
        (Shape::VllmCompletions, None) => wrong("missing", vec![json!("prompt")], "Field required", body),
        (Shape::MiniSgl | Shape::Tokenize, Some(prompt)) if !prompt.is_string() => {
            wrong("string_type", vec![json!("prompt")], "Input should be a valid string", prompt);
        }
        (Shape::VllmCompletions, Some(prompt)) if !(prompt.is_string() || prompt.is_array()) => {
            wrong("string_type", vec![json!("prompt")], "Input should be a valid string or list", prompt);
        }
        _ => {}
    }
    if shape == Shape::Generate
        && let Some(value) = given("sampling_params").and_then(|params| params.get("max_new_tokens"))
        && !(value.is_i64() || value.is_null())
    {
        let at = vec![json!("sampling_params"), json!("max_new_tokens")];
        wrong("int_type", at, "Input should be a valid integer", value);
    }
    let limits: &[&str] =
        if shape == Shape::MiniSgl { &["max_tokens"] } else { &["max_tokens", "max_completion_tokens"] };
    for &name in limits {
        if let Some(value) = given(name).filter(|value| !value.is_i64()) {
            wrong("int_type", vec![json!(name)], "Input should be a valid integer", value);
        }
    }
    for name in ["stream", "ignore_eos"] {
        if let Some(value) = given(name).filter(|value| !value.is_boolean()) {
            wrong("bool_type", vec![json!(name)], "Input should be a valid boolean", value);
        }
    }
    if let Some(options) = given("stream_options").filter(|_| shape != Shape::MiniSgl) {
        let flags = ["include_usage", "continuous_usage_stats"];
        if options.is_object() {
            for name in flags {
                if let Some(value) = options.get(name).filter(|v| !v.is_boolean() && !v.is_null()) {
                    let at = vec![json!("stream_options"), json!(name)];
                    wrong("bool_type", at, "Input should be a valid boolean", value);
                }
            }
        } else {
            wrong("model_type", vec![json!("stream_options")], "Input should be a valid object", options);
        }
    }
    found
}

fn message_problems(
    i: usize,
    message: &Value,
    shape: Shape,
    wrong: &mut impl FnMut(&'static str, Vec<Value>, &'static str, &Value),
) {
    let at = |field: &str| vec![json!("messages"), json!(i), json!(field)];
    let Value::Object(fields) = message else {
        let message_text = "Input should be a valid dictionary";
        wrong("model_attributes_type", vec![json!("messages"), json!(i)], message_text, message);
        return;
    };
    match fields.get("role") {
        None => wrong("missing", at("role"), "Field required", message),
        Some(Value::String(role))
            if shape != Shape::MiniSgl || matches!(role.as_str(), "system" | "user" | "assistant") => {}
        Some(role) if shape == Shape::MiniSgl => {
            wrong("literal_error", at("role"), "Input should be 'system', 'user' or 'assistant'", role);
        }
        Some(role) => wrong("string_type", at("role"), "Input should be a valid string", role),
    }
    match (shape, fields.get("content")) {
        (Shape::MiniSgl, None) => wrong("missing", at("content"), "Field required", message),
        (Shape::MiniSgl, Some(content)) if !content.is_string() => {
            wrong("string_type", at("content"), "Input should be a valid string", content);
        }
        (Shape::MiniSgl, _) | (_, None | Some(Value::Null | Value::String(_))) => {}
        (_, Some(Value::Array(parts))) => {
            for (k, part) in parts.iter().enumerate() {
                let text = part.get("text");
                if !part.is_object() || text.is_some_and(|text| !text.is_string()) {
                    let mut at = at("content");
                    at.push(json!(k));
                    wrong("part_type", at, "Input should be a content part with a string as its text", part);
                }
            }
        }
        (_, Some(content)) => {
            wrong("content_type", at("content"), "Input should be a string or a list of parts", content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: Shape, body: &Value, expect: &[&str]) {
        let lines: Vec<String> = problems(body, shape).iter().map(Problem::line).collect();
        assert_eq!(lines, expect, "{body}");
    }

    #[test]
    fn each_wrong_field_is_named() {
        let fine = json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4});
        for shape in [Shape::VllmChat, Shape::MiniSgl] {
            check(shape, &fine, &[]);
        }
        check(Shape::VllmChat, &json!({}), &["messages: Field required"]);
        check(Shape::VllmChat, &json!({"messages": []}), &["messages: List should have at least 1 item"]);
        check(
            Shape::VllmChat,
            &json!({"model": 1, "messages": [{"content": 5}], "max_tokens": "4", "stream": 1, "stream_options": []}),
            &[
                "model: Input should be a valid string",
                "messages.0.role: Field required",
                "messages.0.content: Input should be a string or a list of parts",
                "max_tokens: Input should be a valid integer",
                "stream: Input should be a valid boolean",
                "stream_options: Input should be a valid object",
            ],
        );
        check(Shape::VllmCompletions, &json!({"prompt": null}), &["prompt: Field required"]);
        check(Shape::VllmCompletions, &json!([]), &[problems(&json!([]), Shape::MiniSgl)[0].message]);
        let parts =
            json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]});
        check(Shape::VllmChat, &parts, &[]);
        check(Shape::MiniSgl, &parts, &["messages.0.content: Input should be a valid string"]);
        let role = json!({"messages": [{"role": "tool", "content": "x"}], "max_completion_tokens": "x"});
        check(
            Shape::MiniSgl,
            &role,
            &["model: Field required", "messages.0.role: Input should be 'system', 'user' or 'assistant'"],
        );
    }

    #[test]
    fn details_have_fastapis_shape() {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [1]}]});
        assert_eq!(
            problems(&body, Shape::MiniSgl)[0].detail(),
            json!({"type": "string_type", "loc": ["body", "messages", 0, "content"],
                   "msg": "Input should be a valid string", "input": [1]})
        );
    }
}
