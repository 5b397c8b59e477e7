//! mini-sglang's API server: Python's default JSON with its spaces, the role in the first token's
//! delta, an empty delta for a token without text, a finish event of its own, no usage.

use super::{Piece, Script, frame::chunk};
use crate::order::Order;
use crate::words::word;

/// `data:` up to the delta, which every event shares.
pub(super) fn open(order: &Order) -> (Vec<u8>, usize) {
    let serial = order.serial;
    let open = format!(
        "data: {{\"id\": \"cmpl-{serial}\", \"object\": \"text_completion.chunk\", \"choices\": [{{\"delta\": {{"
    );
    let shared = open.len();
    (open.into_bytes(), shared)
}

impl Script {
    pub(super) fn minisgl(&self, piece: Piece, out: &mut Vec<u8>) {
        let open = &self.open;
        let tail: &[u8] = b"}, \"index\": 0, \"finish_reason\": null}]}\n\n";
        match piece {
            Piece::Token(k) => {
                let textless = self.textless_every > 0 && (k + 1).is_multiple_of(self.textless_every);
                let role: &[u8] = match (k == 0, textless) {
                    (true, true) => b"\"role\": \"assistant\"",
                    (true, false) => b"\"role\": \"assistant\", ",
                    (false, _) => b"",
                };
                if textless {
                    chunk(self.chunked, &[open, role, tail], out);
                } else {
                    let text: &[u8] = b"\"content\": \"";
                    chunk(
                        self.chunked,
                        &[open, role, text, word(k).as_bytes(), self.pad(), b"\"", tail],
                        out,
                    );
                }
            }
            Piece::Finish => {
                chunk(self.chunked, &[open, b"}, \"index\": 0, \"finish_reason\": \"stop\"}]}\n\n"], out);
            }
            Piece::Done => chunk(self.chunked, &[b"data: [DONE]\n\n"], out),
            Piece::Role | Piece::Usage => {}
        }
    }
}
