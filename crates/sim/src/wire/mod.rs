//! What a response looks like on the wire, event by event.
//!
//! A response is a sequence of [`Piece`]s, each of which is one event and one HTTP chunk; a
//! [`Script`] turns a piece into bytes. Whoever wants to plant a fault stands between the two and the
//! socket: leave out a piece, cut its bytes, put others in their place.

mod frame;
mod minisgl;
mod sglang;
mod vllm;

use std::sync::Arc;

use crate::order::{Ask, Endpoint, Order, Usage};
use crate::{Dialect, SimOptions};

pub(crate) use self::frame::END;

/// One part of a response, in the order of its sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The event with the role and no text.
    Role,
    /// Token k, from 0.
    Token(u32),
    /// The event with the finish reason, where it is one of its own.
    Finish,
    /// The event with the usage.
    Usage,
    /// `[DONE]` and the end of the body.
    Done,
}

/// The constant parts of a response's events, so that a token is one copy of a few pieces of bytes.
#[derive(Debug)]
pub(crate) struct Script {
    dialect: Dialect,
    ask: Ask,
    chunked: bool,
    /// From `data:` to the text of a token (vLLM) or to the delta's fields (mini-sglang).
    open: Vec<u8>,
    /// How much of `open` every event shares.
    shared: usize,
    /// Extra text of each token; shared by all responses.
    padding: Arc<[u8]>,
    textless_every: u32,
}

impl Script {
    pub(crate) fn new(options: &SimOptions, padding: &Arc<[u8]>, order: &Order, created: u64) -> Self {
        let (open, shared) = match (options.dialect, order.ask.endpoint) {
            (_, Endpoint::Generate) => sglang::open(),
            (Dialect::Vllm, _) => vllm::open(order, created),
            (Dialect::MiniSgl, _) => minisgl::open(order),
        };
        Script {
            dialect: options.dialect,
            ask: order.ask.clone(),
            chunked: order.delivery.chunked,
            open,
            shared,
            padding: Arc::clone(padding),
            textless_every: options.textless_every,
        }
    }

    /// Whether an event with the role comes before the first token.
    pub(crate) fn has_role(&self) -> bool {
        self.dialect == Dialect::Vllm && self.ask.endpoint == Endpoint::Chat
    }

    /// What follows the last token.
    pub(crate) fn epilogue(&self) -> &'static [Piece] {
        match (self.dialect, self.ask.usage) {
            (Dialect::Vllm, Usage::None) => &[Piece::Done],
            (Dialect::Vllm, _) => &[Piece::Usage, Piece::Done],
            (Dialect::MiniSgl, _) => &[Piece::Finish, Piece::Done],
        }
    }

    /// About how many bytes the event of a token has.
    pub(crate) fn token_bytes(&self) -> usize {
        self.open.len() + self.padding.len() + 64
    }

    fn pad(&self) -> &[u8] {
        &self.padding
    }

    /// Appends the bytes of `piece` to `out`.
    pub(crate) fn write(&self, piece: Piece, out: &mut Vec<u8>) {
        match (self.dialect, self.ask.endpoint) {
            (_, Endpoint::Generate) => self.sglang(piece, out),
            (Dialect::Vllm, _) => self.vllm(piece, out),
            (Dialect::MiniSgl, _) => self.minisgl(piece, out),
        }
        if piece == Piece::Done && self.chunked {
            out.extend_from_slice(END);
        }
    }
}

/// The extra text of each token.
pub(crate) fn padding(options: &SimOptions) -> Arc<[u8]> {
    vec![b'x'; options.event_padding].into()
}

/// Whole responses (`stream: false`), head and body.
pub(crate) fn whole(options: &SimOptions, order: &Order, created: u64) -> Vec<u8> {
    match order.ask.endpoint {
        Endpoint::Generate => sglang::whole(order, options.event_padding),
        Endpoint::Chat | Endpoint::Completions => vllm::whole(order, created, options.event_padding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;
    use crate::order::Delivery;
    use crate::prefix::Found;
    use crate::truth::Arrival;
    use std::net::{TcpListener, TcpStream};

    fn order(endpoint: Endpoint, change: impl FnOnce(&mut Ask)) -> Order {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut ask = Ask {
            endpoint,
            model: "m\"1".to_owned(),
            prompt_tokens: 5,
            found: None,
            output_tokens: 2,
            stops: false,
            stream: true,
            usage: Usage::AtEnd,
            silent: false,
        };
        change(&mut ask);
        Order {
            link: Arc::new(Link::new(socket, 0, 0, 0)),
            serial: 7,
            ask,
            delivery: Delivery { chunked: false, close: false },
            received: Arrival { id: Some("r-1".to_owned()), ..Arrival::default() },
            head_at: None,
            unsent_head: Vec::new(),
            connection: String::new(),
        }
    }

    fn events(options: &SimOptions, order: &Order) -> Vec<String> {
        let script = Script::new(options, &padding(options), order, 1_700_000_000);
        let role = script.has_role().then_some(Piece::Role);
        let tokens = (0..order.ask.output_tokens).map(Piece::Token);
        let mut wire = Vec::new();
        for piece in role.into_iter().chain(tokens).chain(script.epilogue().iter().copied()) {
            script.write(piece, &mut wire);
        }
        String::from_utf8(wire).unwrap().split_inclusive("\n\n").map(str::to_owned).collect()
    }

    #[test]
    fn vllm_chat_events() {
        let base = "data: {\"id\":\"chatcmpl-r-1\",\"object\":\"chat.completion.chunk\",\
                    \"created\":1700000000,\"model\":\"m\\\"1\",\"choices\":[";
        assert_eq!(
            events(&SimOptions::default(), &order(Endpoint::Chat, |_| {})),
            [
                format!(
                    "{base}{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
                ),
                format!(
                    "{base}{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n",
                    crate::words::word(0)
                ),
                format!(
                    "{base}{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"logprobs\":null,\"finish_reason\":\"length\",\"stop_reason\":null}}]}}\n\n",
                    crate::words::word(1)
                ),
                format!(
                    "{base}],\"usage\":{{\"prompt_tokens\":5,\"total_tokens\":7,\"completion_tokens\":2}}}}\n\n"
                ),
                "data: [DONE]\n\n".to_owned(),
            ]
        );
    }

    #[test]
    fn usage_in_every_event_counts_up() {
        let found =
            events(&SimOptions::default(), &order(Endpoint::Chat, |ask| ask.usage = Usage::Continuous));
        let usage = |n: u32| {
            format!(
                "\"usage\":{{\"prompt_tokens\":5,\"total_tokens\":{},\"completion_tokens\":{n}}}}}\n\n",
                5 + n
            )
        };
        for (event, n) in found.iter().zip([0, 1, 2, 2]) {
            assert!(event.ends_with(&usage(n)), "{event}");
        }
    }

    #[test]
    fn with_a_cache_the_last_usage_says_what_it_had() {
        let found = Found { cached_tokens: 4, cached_blocks: 1, prompt_blocks: 2 };
        let usage = "\"usage\":{\"prompt_tokens\":5,\"total_tokens\":7,\"completion_tokens\":2,\
                     \"prompt_tokens_details\":{\"cached_tokens\":4}}}";
        let streamed = order(Endpoint::Completions, |ask| ask.found = Some(found));
        let events = events(&SimOptions::default(), &streamed);
        assert!(events[2].ends_with(&format!("{usage}\n\n")), "{events:?}");
        let whole = whole(&SimOptions::default(), &streamed, 9);
        assert!(String::from_utf8(whole).unwrap().ends_with(usage));
    }

    #[test]
    fn vllm_completions_events() {
        let options = SimOptions { event_padding: 3, ..SimOptions::default() };
        let base = "data: {\"id\":\"cmpl-r-1\",\"object\":\"text_completion\",\
                    \"created\":1700000000,\"model\":\"m\\\"1\",\"choices\":[";
        let found = events(
            &options,
            &order(Endpoint::Completions, |ask| {
                ask.usage = Usage::None;
                ask.stops = true;
            }),
        );
        assert_eq!(
            found,
            [
                format!(
                    "{base}{{\"index\":0,\"text\":\"{}xxx\",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}}]}}\n\n",
                    crate::words::word(0)
                ),
                format!(
                    "{base}{{\"index\":0,\"text\":\"{}xxx\",\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null}}]}}\n\n",
                    crate::words::word(1)
                ),
                "data: [DONE]\n\n".to_owned(),
            ]
        );
    }

    #[test]
    fn sglang_s_own_events_have_all_text_so_far() {
        let found = Found { cached_tokens: 4, cached_blocks: 1, prompt_blocks: 2 };
        let order = order(Endpoint::Generate, |ask| {
            ask.usage = Usage::None;
            ask.found = Some(found);
        });
        let events = events(&SimOptions::default(), &order);
        let (one, two) = (crate::words::word(0), crate::words::word(1));
        let event = |text: &str, reason: &str, n: u32| {
            format!(
                "data: {{\"text\":\"{text}\",\"meta_info\":{{\"id\":\"tics\",\"finish_reason\":{reason},\
                 \"prompt_tokens\":5,\"weight_version\":\"default\",\"completion_tokens\":{n},\
                 \"cached_tokens\":4}}}}\n\n"
            )
        };
        let last = event(&format!("{one}{two}"), "{\"type\":\"length\",\"length\":2}", 2);
        assert_eq!(events, [event(one, "null", 1), last.clone(), "data: [DONE]\n\n".to_owned()]);
        let whole = String::from_utf8(whole(&SimOptions::default(), &order, 9)).unwrap();
        assert_eq!(whole.split_once("\r\n\r\n").unwrap().1, &last["data: ".len()..last.len() - 2]);
    }

    #[test]
    fn minisgl_events() {
        let options = SimOptions { dialect: Dialect::MiniSgl, textless_every: 2, ..SimOptions::default() };
        let base =
            "data: {\"id\": \"cmpl-7\", \"object\": \"text_completion.chunk\", \"choices\": [{\"delta\": ";
        let (none, stop) = (
            "\"index\": 0, \"finish_reason\": null}]}\n\n",
            "\"index\": 0, \"finish_reason\": \"stop\"}]}\n\n",
        );
        assert_eq!(
            events(&options, &order(Endpoint::Chat, |ask| ask.output_tokens = 3)),
            [
                format!(
                    "{base}{{\"role\": \"assistant\", \"content\": \"{}\"}}, {none}",
                    crate::words::word(0)
                ),
                format!("{base}{{}}, {none}"),
                format!("{base}{{\"content\": \"{}\"}}, {none}", crate::words::word(2)),
                format!("{base}{{}}, {stop}"),
                "data: [DONE]\n\n".to_owned(),
            ]
        );
        let every = SimOptions { textless_every: 1, ..options };
        let found = events(&every, &order(Endpoint::Chat, |ask| ask.output_tokens = 1));
        assert_eq!(found[0], format!("{base}{{\"role\": \"assistant\"}}, {none}"));
    }

    #[test]
    fn each_event_is_one_chunk() {
        let mut order = order(Endpoint::Chat, |_| {});
        order.delivery.chunked = true;
        let script = Script::new(&SimOptions::default(), &padding(&SimOptions::default()), &order, 0);
        let mut bare = Vec::new();
        frame::chunk(false, &[b"abc"], &mut bare);
        assert_eq!(bare, b"abc");
        let mut wire = Vec::new();
        script.write(Piece::Done, &mut wire);
        assert_eq!(wire, b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    }

    #[test]
    fn a_whole_response_has_a_head_of_its_length() {
        let order = order(Endpoint::Chat, |ask| ask.stream = false);
        let text = String::from_utf8(whole(&SimOptions::default(), &order, 9)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let words = format!("{}{}", crate::words::word(0), crate::words::word(1));
        assert_eq!(body["choices"][0]["message"]["content"], words);
        assert_eq!(body["usage"]["total_tokens"], 7);
    }
}
