//! The text of an answer, for whoever sends it on as the history of a conversation.

use std::borrow::Cow;

use serde::Deserialize;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(default, borrow)]
    delta: Option<Delta<'a>>,
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default, borrow)]
    content: Option<Cow<'a, str>>,
}

/// Appends to `answer` what the event's `data` adds to the text of the first choice: its `delta.content`,
/// or `text`. Reasoning and tool calls are no part of it.
pub fn append_answer(data: &[u8], answer: &mut String) {
    // What is no such chunk (`[DONE]`, usage, an error) says nothing.
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else { return };
    for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
        let content = choice.delta.and_then(|delta| delta.content);
        if let Some(text) = content.or(choice.text) {
            answer.push_str(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_the_first_choice_is_kept_and_nothing_else() {
        let mut answer = String::new();
        for data in [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"He said \"hi"}}]}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"\"\n\u00e9"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm","content":null}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"text":" end","finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3}}"#,
            r#"{"choices":[{"delta":{"content":[1]}}]}"#,
            "[DONE]",
        ] {
            append_answer(data.as_bytes(), &mut answer);
        }
        assert_eq!(answer, "He said \"hi\"\né end");
    }
}
