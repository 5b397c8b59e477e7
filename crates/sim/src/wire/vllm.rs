//! vLLM's OpenAI server: compact JSON, the finish reason on the last token's event.

use super::{Piece, Script, frame::chunk};
use crate::order::{Ask, Endpoint, Order, Usage};
use crate::words::word;

/// `data:` up to the first choice, and on to the text of a token; and how long the former is.
pub(super) fn open(order: &Order, created: u64) -> (Vec<u8>, usize) {
    let (object, text): (&str, &str) = match order.ask.endpoint {
        Endpoint::Chat => ("chat.completion.chunk", "{\"index\":0,\"delta\":{\"content\":\""),
        _ => ("text_completion", "{\"index\":0,\"text\":\""),
    };
    let mut open = format!("data: {}\"choices\":[", fields(order, object, created)).into_bytes();
    let shared = open.len();
    open.extend_from_slice(text.as_bytes());
    (open, shared)
}

/// `{"id":…,"object":…,"created":…,"model":…,`: what every object begins with.
fn fields(order: &Order, object: &str, created: u64) -> String {
    let prefix = match order.ask.endpoint {
        Endpoint::Chat => "chatcmpl-",
        _ => "cmpl-",
    };
    let id = match &order.received.id {
        Some(id) => quoted(&format!("{prefix}{id}")),
        None => format!("\"{prefix}{:032x}\"", unlike(order.serial)),
    };
    let model = quoted(&order.ask.model);
    format!("{{\"id\":{id},\"object\":\"{object}\",\"created\":{created},\"model\":{model},")
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every string can be written as JSON")
}

/// 128 bits that are unlike those of the neighbours (two rounds of splitmix64), as a UUID would be.
fn unlike(serial: u64) -> u128 {
    let mix = |n: u64| {
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    let golden = 0x9e37_79b9_7f4a_7c15;
    let high = mix(serial.wrapping_add(1).wrapping_mul(golden));
    (u128::from(high) << 64) | u128::from(mix(high.wrapping_add(golden)))
}

/// `,"usage":{…}` of a finished response: with what the prefix cache had, where there is one.
fn final_usage(ask: &Ask, out: &mut Vec<u8>) {
    usage(ask.prompt_tokens, ask.output_tokens, out);
    if let Some(found) = ask.found {
        out.pop();
        out.extend_from_slice(b",\"prompt_tokens_details\":{\"cached_tokens\":");
        out.extend_from_slice(itoa::Buffer::new().format(found.cached_tokens).as_bytes());
        out.extend_from_slice(b"}}");
    }
}

/// `,"usage":{…}` after `completion` tokens.
fn usage(prompt: u64, completion: u32, out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b",\"usage\":{\"prompt_tokens\":");
    out.extend_from_slice(number.format(prompt).as_bytes());
    out.extend_from_slice(b",\"total_tokens\":");
    out.extend_from_slice(number.format(prompt + u64::from(completion)).as_bytes());
    out.extend_from_slice(b",\"completion_tokens\":");
    out.extend_from_slice(number.format(completion).as_bytes());
    out.push(b'}');
}

impl Script {
    pub(super) fn vllm(&self, piece: Piece, out: &mut Vec<u8>) {
        let base = &self.open[..self.shared];
        // Only asked for by few: the common event is written without another buffer.
        let usage_after = |tokens: u32| {
            let mut bytes = Vec::new();
            if self.ask.usage == Usage::Continuous {
                usage(self.ask.prompt_tokens, tokens, &mut bytes);
            }
            bytes
        };
        match piece {
            Piece::Role => {
                let role = b"{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\
                             \"logprobs\":null,\"finish_reason\":null}]";
                chunk(self.chunked, &[base, role, &usage_after(0), b"}\n\n"], out);
            }
            Piece::Token(k) => {
                let tail = self.tail(k + 1 == self.ask.output_tokens);
                let parts = [&self.open, word(k).as_bytes(), self.pad(), tail, &usage_after(k + 1), b"}\n\n"];
                chunk(self.chunked, &parts, out);
            }
            Piece::Usage => {
                let mut bytes = Vec::new();
                final_usage(&self.ask, &mut bytes);
                chunk(self.chunked, &[base, b"]", &bytes, b"}\n\n"], out);
            }
            Piece::Done => chunk(self.chunked, &[b"data: [DONE]\n\n"], out),
            // vLLM's finish reason is on the last token's event.
            Piece::Finish => {}
        }
    }

    /// From the end of a token's text to the end of the choices.
    fn tail(&self, last: bool) -> &'static [u8] {
        match (self.ask.endpoint, last, self.ask.stops) {
            (Endpoint::Chat, false, _) => b"\"},\"logprobs\":null,\"finish_reason\":null}]",
            (Endpoint::Chat, true, false) => {
                b"\"},\"logprobs\":null,\"finish_reason\":\"length\",\"stop_reason\":null}]"
            }
            (Endpoint::Chat, true, true) => {
                b"\"},\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null}]"
            }
            (_, false, _) => b"\",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}]",
            (_, true, false) => b"\",\"logprobs\":null,\"finish_reason\":\"length\",\"stop_reason\":null}]",
            (_, true, true) => b"\",\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null}]",
        }
    }
}

/// A response in one piece, head and body.
pub(super) fn whole(order: &Order, created: u64, padding: usize) -> Vec<u8> {
    let ask = &order.ask;
    let mut text = String::new();
    for k in 0..ask.output_tokens {
        text.push_str(word(k));
        text.extend(std::iter::repeat_n('x', padding));
    }
    let text = quoted(&text);
    let reason = if ask.stops { "stop" } else { "length" };
    let end = format!("\"logprobs\":null,\"finish_reason\":\"{reason}\",\"stop_reason\":null}}]");
    let mut body = match ask.endpoint {
        Endpoint::Chat => format!(
            "{}\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":{text}}},{end}",
            fields(order, "chat.completion", created)
        ),
        _ => format!(
            "{}\"choices\":[{{\"index\":0,\"text\":{text},{end}",
            fields(order, "text_completion", created)
        ),
    }
    .into_bytes();
    final_usage(ask, &mut body);
    body.push(b'}');
    let mut response = crate::reader::head_of_json(body.len(), &order.connection);
    response.extend_from_slice(&body);
    response
}
