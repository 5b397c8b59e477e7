//! What a simulated server can be told.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::SimError;

/// Everything a [`Sim`](crate::Sim) can be told; [`Default`] is a mid-sized engine that speaks as vLLM.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// Where to listen; port 0 takes a free one, which [`Sim::addr`](crate::Sim::addr) names.
    pub listen: SocketAddr,
    /// Whose framing, defaults and errors are spoken.
    pub dialect: Dialect,
    /// When tokens are due.
    pub timetable: Timetable,
    /// The names in `/v1/models`; a request for another name is a 404 as vLLM has it. With none, the
    /// list is empty and every name is answered.
    pub models: Vec<String>,
    /// If given, paths under `/v1` need it as Bearer.
    pub api_key: Option<ApiKey>,
    /// Prompt tokens that the chat template adds to each chat request.
    pub template_tokens: u32,
    /// Remember the blocks of prompts, and read those that are found no more; `None` remembers nothing.
    /// Counted for every timetable, while only [`Timetable::Batch`] answers sooner for it.
    pub prefix_cache: Option<PrefixCache>,
    /// The longest prompt plus output, in tokens. Beyond it vLLM answers 400, and mini-sglang sends its
    /// head and then nothing (for it the prompt alone counts).
    pub max_model_len: u32,
    /// A request without `ignore_eos` stops after that many tokens, if it asked for more.
    pub eos_after: Option<u32>,
    /// mini-sglang only: each k-th token has no text (a partial UTF-8 character); 0 is never.
    pub textless_every: u32,
    /// Extra bytes of text in each token's event.
    pub event_padding: usize,
    /// When the head of a streamed response is sent.
    pub head: HeadTiming,
    /// An idle connection is closed after that long; `None` keeps it for ever.
    pub keep_alive: Option<Duration>,
    /// A connection is closed after that many requests; the last response says `connection: close`.
    pub max_requests: Option<u32>,
    /// Announce the two limits above in a `keep-alive: timeout=, max=` header, as llama.cpp does and
    /// uvicorn does not.
    pub announce_keep_alive: bool,
    /// How long before a due instant the engine wakes to spin up to it. Never more than a twentieth of
    /// the gap since it last had something to do, so at most 5 % of a core goes to spinning.
    pub spin: Duration,
    /// The engine rests at least that long after serving tokens; those that fall due in the meantime
    /// are served together when it wakes. Each costs half of what it would alone where events are denser
    /// than this; it matters nowhere else.
    pub gather: Duration,
    /// Where the truth log goes.
    pub truth: Option<PathBuf>,
    /// Where received bodies go, a JSON line each; those of `/tokenize`, which generate nothing, do not.
    pub dump: Option<PathBuf>,
    /// Told of what the operator should know while the server runs: no descriptors left, a log that
    /// cannot be written. One line without a newline.
    pub notice: fn(&str),
}

impl Default for SimOptions {
    fn default() -> Self {
        SimOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dialect: Dialect::Vllm,
            timetable: Timetable::Batch(BatchOptions::default()),
            models: vec!["tics-sim".to_owned()],
            api_key: None,
            template_tokens: 0,
            prefix_cache: None,
            max_model_len: 1 << 20,
            eos_after: None,
            textless_every: 0,
            event_padding: 0,
            head: HeadTiming::AtOnce,
            keep_alive: None,
            max_requests: None,
            announce_keep_alive: false,
            spin: Duration::from_micros(50),
            gather: Duration::from_micros(50),
            truth: None,
            dump: None,
            notice: |line| eprintln!("tics sim: {line}"),
        }
    }
}

impl SimOptions {
    /// Refuses what cannot be served, naming the option.
    pub(crate) fn check(&self) -> Result<(), SimError> {
        let refuse = |option, problem| Err(SimError::Option { option, problem });
        if let Timetable::Batch(batch) = &self.timetable {
            if batch.slots == 0 {
                return refuse("slots", "at least 1 is needed, or no request would ever be answered");
            }
            if batch.step_tokens == 0 {
                return refuse("step_tokens", "at least 1 is needed, or no prompt would ever be read");
            }
            if batch.prefill_tokens_per_s.is_nan() || batch.prefill_tokens_per_s <= 0.0 {
                return refuse("prefill_tokens_per_s", "must be above 0 (infinity means at once)");
            }
        }
        if let Some(cache) = &self.prefix_cache {
            if cache.block_tokens == 0 {
                return refuse("block_tokens", "at least 1 is needed, or a prompt would have no blocks");
            }
            if cache.capacity_blocks == 0 {
                return refuse("capacity_blocks", "at least 1 is needed; without a cache, leave it out");
            }
        }
        if self.max_requests == Some(0) {
            return refuse("max_requests", "at least 1 is needed, or no request could be sent");
        }
        if self.max_model_len == 0 {
            return refuse("max_model_len", "at least 1 is needed");
        }
        if self.eos_after == Some(0) {
            return refuse("eos_after", "at least 1 is needed");
        }
        Ok(())
    }
}

/// Whose framing, defaults and errors the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// vLLM's OpenAI server: role chunk, finish chunk with the last token's text, usage if asked, `[DONE]`.
    Vllm,
    /// mini-sglang's API server: role merged into the first token, `{}` for a token without text, no
    /// usage, always streamed, only `/v1/chat/completions`.
    MiniSgl,
}

/// When the tokens of a request are due. All instants are absolute: a late engine does not move the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Timetable {
    /// Continuous batching with a FIFO queue, as an engine does it.
    Batch(BatchOptions),
    /// Each request on its own, none waits: token k (from 0) is due at received + `ttft` + k · `itl`.
    Fixed {
        /// From the request's receive stamp to its first token.
        ttft: Duration,
        /// Between neighbouring tokens.
        itl: Duration,
    },
    /// As fast as the sockets take it, fair between the streams; many events share a write.
    Flood,
}

/// Continuous batching: a loop of steps, in each of which prompts are read and one token is made for
/// every request whose prompt has been.
///
/// A step takes `decode_step` if any request is decoding, plus the prompt tokens read in it over
/// `prefill_tokens_per_s`. A request's first token is due at the end of the step that read the last of
/// its prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchOptions {
    /// Requests that run at once; the others wait in order of arrival.
    pub slots: u32,
    /// Prompt tokens read a second.
    pub prefill_tokens_per_s: f64,
    /// Time for one token of every decoding request.
    pub decode_step: Duration,
    /// Most tokens (decoded and read) in one step: a longer prompt is read in several, as chunked
    /// prefill does it.
    pub step_tokens: u32,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            slots: 64,
            prefill_tokens_per_s: 20_000.0,
            decode_step: Duration::from_millis(15),
            step_tokens: 8192,
        }
    }
}

/// A block prefix cache, the least recently used blocks of which are given up first.
///
/// A block is known by its tokens and by all blocks before it in its prompt; the last one may be partial,
/// and is found by a partial one of as many tokens. (vLLM keeps full blocks alone; an analysis of a trace
/// counts the partial ones too, and this agrees with that.) Tokens are words, or ids as given; those of
/// the chat template come first and are all alike. A prompt is stored as it arrives, before the next is
/// looked up. At least one token of a prompt is read even if all of it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixCache {
    /// Tokens in a block.
    pub block_tokens: u32,
    /// Most blocks that are kept.
    pub capacity_blocks: u64,
}

/// When the head of a streamed response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadTiming {
    /// As soon as the request was understood (vLLM, mini-sglang).
    AtOnce,
    /// Just before the first token (llama.cpp with its slots full).
    WithFirstToken,
}

/// A key that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps a key.
    pub fn new(key: impl Into<String>) -> Self {
        ApiKey(key.into())
    }

    /// Whether the value of an `Authorization` header carries this key.
    pub(crate) fn opens(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, key)) = authorization.and_then(|value| value.split_once(' ')) else { return false };
        scheme.eq_ignore_ascii_case("bearer") && key.trim() == self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_serve_are_refused_by_name() {
        let batch = |change: fn(&mut BatchOptions)| {
            let mut batch = BatchOptions::default();
            change(&mut batch);
            SimOptions { timetable: Timetable::Batch(batch), ..SimOptions::default() }
        };
        let refused = |options: SimOptions| options.check().unwrap_err().to_string();
        assert!(refused(batch(|b| b.slots = 0)).contains("slots"));
        assert!(refused(batch(|b| b.prefill_tokens_per_s = f64::NAN)).contains("prefill_tokens_per_s"));
        assert!(refused(batch(|b| b.step_tokens = 0)).contains("step_tokens"));
        assert!(
            refused(SimOptions { max_requests: Some(0), ..SimOptions::default() }).contains("max_requests")
        );
        let cache = |block_tokens, capacity_blocks| SimOptions {
            prefix_cache: Some(PrefixCache { block_tokens, capacity_blocks }),
            ..SimOptions::default()
        };
        assert!(refused(cache(0, 1)).contains("block_tokens"));
        assert!(refused(cache(1, 0)).contains("capacity_blocks"));
        SimOptions::default().check().unwrap();
    }

    #[test]
    fn the_key_is_checked_and_never_printed() {
        let key = ApiKey::new("k-1");
        assert!(key.opens(Some("Bearer k-1")) && key.opens(Some("bearer k-1")));
        assert!(!key.opens(None) && !key.opens(Some("k-1")) && !key.opens(Some("Bearer k-2")));
        let options = SimOptions { api_key: Some(key), ..SimOptions::default() };
        assert!(!format!("{options:?}").contains("k-1"));
    }
}
