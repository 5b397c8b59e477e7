//! SGLang's `/generate`: each event has all text so far and the counts so far; the last one says why it ends.

use super::{Piece, Script, frame::chunk};
use crate::order::{Ask, Order};
use crate::words::word;

/// `data:` up to the text.
pub(super) fn open() -> (Vec<u8>, usize) {
    let open = b"data: {\"text\":\"".to_vec();
    let shared = open.len();
    (open, shared)
}

/// `","meta_info":{…}` after `completion` tokens, and the end of the object.
fn close(ask: &Ask, id: &str, completion: u32) -> String {
    let reason = match (completion == ask.output_tokens, ask.stops) {
        (false, _) => "null".to_owned(),
        (true, true) => "{\"type\":\"stop\",\"matched\":2}".to_owned(),
        (true, false) => format!("{{\"type\":\"length\",\"length\":{completion}}}"),
    };
    let cached = ask.found.map_or(0, |found| found.cached_tokens);
    format!(
        "\",\"meta_info\":{{\"id\":\"{id}\",\"finish_reason\":{reason},\"prompt_tokens\":{},\
         \"weight_version\":\"default\",\"completion_tokens\":{completion},\"cached_tokens\":{cached}}}}}",
        ask.prompt_tokens
    )
}

/// The text of the first `n` tokens, each with its padding.
fn text(n: u32, padding: &[u8], out: &mut Vec<u8>) {
    for k in 0..n {
        out.extend_from_slice(word(k).as_bytes());
        out.extend_from_slice(padding);
    }
}

impl Script {
    pub(super) fn sglang(&self, piece: Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Token(k) => {
                // It grows with every token, as the server's does.
                let mut so_far = Vec::new();
                text(k + 1, self.pad(), &mut so_far);
                let close = close(&self.ask, "tics", k + 1);
                chunk(self.chunked, &[&self.open, &so_far, close.as_bytes(), b"\n\n"], out);
            }
            Piece::Done => chunk(self.chunked, &[b"data: [DONE]\n\n"], out),
            Piece::Role | Piece::Usage | Piece::Finish => {}
        }
    }
}

/// A response in one piece, head and body.
pub(super) fn whole(order: &Order, padding: usize) -> Vec<u8> {
    let ask = &order.ask;
    let mut body = b"{\"text\":\"".to_vec();
    text(ask.output_tokens, &vec![b'x'; padding], &mut body);
    body.extend_from_slice(close(ask, "tics", ask.output_tokens).as_bytes());
    let mut response = crate::reader::head_of_json(body.len(), &order.connection);
    response.extend_from_slice(&body);
    response
}
