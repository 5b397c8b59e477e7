//! What prompts have to do with the server: what it may know of them, and how it counts them.

use std::fmt::Write as _;

use tics_trace::Schedule;

use crate::cli::{Cache, PromptArgs, ServedArgs, TargetArgs};
use crate::outcome::{Failed, OrStatus, USAGE, failed};

use super::has_own_text;

/// Bits of a salt that is drawn: few enough for every reader of JSON.
const SALT_BITS: u32 = 48;

/// Rows that are named when some are too short.
const NAMED: usize = 3;

/// What sets the text of each run apart from that of others with the same seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salts(Option<u64>);

impl Salts {
    /// Those of `args`; `unix_ns`, the time of day, is what runs are told apart by.
    pub fn new(args: &ServedArgs, unix_ns: u64) -> Result<Self, Failed> {
        match (args.cache, args.salt) {
            (Cache::Keep, Some(_)) => Err(failed(
                USAGE,
                "--salt makes text of a run's own, which --cache keep is to avoid; leave out one",
            )),
            (Cache::Keep, None) => Ok(Salts(None)),
            (Cache::Cold | Cache::Warm, Some(salt)) => Ok(Salts(Some(salt))),
            (Cache::Cold | Cache::Warm, None) => {
                Ok(Salts(Some((mix(unix_ns) >> (u64::BITS - SALT_BITS)).max(1))))
            }
        }
    }

    /// That of the run `number` of this command, from 0: the second of several must not find the prompts of
    /// the first in the server's cache either.
    pub fn of_run(self, number: usize) -> Option<u64> {
        self.0.map(|salt| salt.wrapping_add(number as u64).max(1))
    }
}

/// A bijection in which every bit of `n` changes half of the others.
///
/// Source: the finaliser of SplitMix64.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// What is to be known of token ids that no server's tokenizer made.
pub fn foreign_ids(target: &TargetArgs, prompts: &PromptArgs) -> Option<&'static str> {
    let foreign = target.endpoint.token_ids && target.url.is_some() && prompts.tokenizer.is_none();
    foreign.then_some(
        "the token ids are those of the embedded tokenizer, up to 33,023: a model with fewer refuses them, and to \
         any other they are other words (--tokenizer names the server's)",
    )
}

/// Tokens of a prompt's text, so that with the `template_tokens` that the server adds there are
/// `input_length`; at least one.
pub fn content_length(input_length: u32, template_tokens: u32) -> u32 {
    input_length.saturating_sub(template_tokens).max(1)
}

/// Says which requests are too short for what the server adds to them, if any are.
pub fn too_short(schedule: Schedule, template_tokens: u32) -> Result<Option<String>, Failed> {
    let (mut rows, mut named) = (0_u64, Vec::new());
    for request in schedule {
        let row = request.or_status(USAGE)?.row;
        if row.input_length > template_tokens || has_own_text(&row) {
            continue;
        }
        rows += 1;
        if named.len() < NAMED {
            named.push(row.line.to_string());
        }
    }
    if rows == 0 {
        return Ok(None);
    }
    let mut text = format!(
        "{rows} requests are shorter than a token and the {template_tokens} that the server's chat template \
         adds: their prompts have 1 token, and the server counts {} (row {}",
        template_tokens.saturating_add(1),
        named.join(", ")
    );
    let _ = write!(text, "{})", if rows > NAMED as u64 { " and others" } else { "" });
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use tics_trace::LengthRange;

    use super::*;

    fn args(cache: Cache, salt: Option<u64>) -> ServedArgs {
        ServedArgs { cache, salt, raw_lengths: false }
    }

    #[test]
    fn every_run_has_a_salt_of_its_own() {
        let at = |unix_ns| Salts::new(&args(Cache::Cold, None), unix_ns).unwrap();
        assert_ne!(at(1_700_000_000_000_000_000), at(1_700_000_000_000_000_001));
        assert!(at(0).of_run(0).is_some_and(|salt| salt > 0));
        let given = Salts::new(&args(Cache::Cold, Some(7)), 5).unwrap();
        assert_eq!((given.of_run(0), given.of_run(2)), (Some(7), Some(9)));
        let greatest = Salts::new(&args(Cache::Cold, Some(u64::MAX)), 5).unwrap();
        assert_eq!(greatest.of_run(1), Some(1));
        assert_eq!(Salts::new(&args(Cache::Keep, None), 5).unwrap().of_run(3), None);
        assert!(Salts::new(&args(Cache::Keep, Some(7)), 5).is_err());
    }

    #[test]
    fn short_requests_are_counted_and_named() {
        let schedule = |tokens| {
            let range = LengthRange::new(tokens, tokens).unwrap();
            Schedule::drawn(5, range, range, 0)
        };
        assert_eq!(too_short(schedule(14), 13).unwrap(), None);
        let text = too_short(schedule(13), 13).unwrap().unwrap();
        assert!(
            text.starts_with("5 requests") && text.contains("counts 14 (row 1, 2, 3 and others)"),
            "{text}"
        );
        assert_eq!([5, 13, 14, 20].map(|n| content_length(n, 13)), [1, 1, 1, 7]);
    }
}
