//! What a prefix cache would find of the prompts of a run, before any is sent.

use std::sync::{Arc, Mutex, PoisonError};

use tics_prompt::Mode;
use tics_record::{BlockHits, ExpectedHits, PromptFacts};
use tics_trace::{Row, UnboundedCache};

use super::{Recipe, has_own_text, prefix_of, served};

/// The facts of prompts in the order in which they are made; shared by whoever makes some.
#[derive(Clone, Default)]
pub struct Expectations(Arc<Mutex<Stored>>);

/// What a cache that never forgets has seen.
#[derive(Default)]
struct Stored {
    chains: UnboundedCache,
    /// Longest prompt so far, where each is the beginning of one text.
    longest: u32,
}

impl Expectations {
    /// Those of a cache that holds `chains` before the first prompt.
    pub fn warmed(chains: UnboundedCache) -> Self {
        Expectations(Arc::new(Mutex::new(Stored { chains, longest: 0 })))
    }

    /// The facts of the prompt that `recipe` makes of `row`, stored before the next one's are asked for.
    pub fn of(&self, recipe: &Recipe, row: &Row) -> PromptFacts {
        if has_own_text(row) {
            return PromptFacts::default();
        }
        let sent = served::content_length(row.input_length, recipe.template_tokens.unwrap_or_default());
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = if let Some((blocks, _)) = prefix_of(recipe, row) {
            let hits = stored.chains.admit(blocks.ids, blocks.size, sent);
            ExpectedHits {
                cached_tokens: hits.hit_tokens,
                blocks: Some(BlockHits { size: blocks.size, n: hits.blocks, found: hits.hit_blocks }),
            }
        } else if recipe.maker.mode() == Mode::Dummy {
            let known = stored.longest.min(sent);
            stored.longest = stored.longest.max(sent);
            ExpectedHits { cached_tokens: known, blocks: None }
        } else {
            // No two prompts that are drawn begin alike.
            ExpectedHits::default()
        };
        PromptFacts { sent: Some(sent), expected: Some(expected) }
    }
}

#[cfg(test)]
mod tests {
    use tics_prompt::PromptMaker;

    use super::*;

    fn row(input_length: u32, ids: Option<&[u64]>) -> Row {
        let hash_ids = ids.map(<[u64]>::to_vec);
        Row { line: 1, input_length, block_size: ids.map(|_| 16), hash_ids, ..Row::default() }
    }

    fn cached(facts: PromptFacts) -> Option<u32> {
        facts.expected.map(|hits| hits.cached_tokens)
    }

    #[test]
    fn what_is_expected_depends_on_how_prompts_are_made() {
        let recipe = |mode, prefixes| Recipe {
            prefixes,
            template_tokens: Some(4),
            ..Recipe::from(Arc::new(PromptMaker::embedded(mode, 0)))
        };
        let (traced, drawn) = (recipe(Mode::Random, true), recipe(Mode::Random, false));
        let seen = Expectations::default();
        // 16 tokens of text are left of 20, and 30 of 34: a template is no block.
        assert_eq!(seen.of(&traced, &row(20, Some(&[1, 2]))).sent, Some(16));
        let facts = seen.of(&traced, &row(34, Some(&[1, 2])));
        assert_eq!(facts.expected.unwrap().blocks, Some(BlockHits { size: 16, n: 2, found: 1 }));
        assert_eq!(cached(seen.of(&traced, &row(34, Some(&[1, 2])))), Some(30));
        assert_eq!(cached(seen.of(&drawn, &row(34, Some(&[1, 2])))), Some(0));
        assert_eq!(cached(seen.of(&traced, &row(34, None))), Some(0));
        let dummy = recipe(Mode::Dummy, false);
        let lengths = [20, 50, 30, 60].map(|n| cached(seen.of(&dummy, &row(n, None))).unwrap());
        assert_eq!(lengths, [0, 16, 26, 46]);
        let own = Row { prompt: Some("hello".to_owned()), ..row(9, None) };
        assert_eq!(seen.of(&traced, &own), PromptFacts::default());
    }

    #[test]
    fn a_warmed_cache_knows_what_warmed_it() {
        let mut chains = UnboundedCache::default();
        chains.admit(&[1], 16, 16);
        let recipe =
            Recipe { prefixes: true, ..Recipe::from(Arc::new(PromptMaker::embedded(Mode::Random, 0))) };
        assert_eq!(cached(Expectations::warmed(chains).of(&recipe, &row(40, Some(&[1, 2, 3])))), Some(16));
    }
}
