//! A prompt as this server has it: its tokens, counted, and its blocks.

use super::body::{Message, Prompt};
use crate::SimOptions;
use crate::prefix::{Chain, Chainer};

/// Tokens of a chat: its words, and what the template adds.
pub(super) fn chat_tokens(options: &SimOptions, messages: &[Message<'_>]) -> u64 {
    let words: u64 = messages.iter().map(|message| message.content.words).sum();
    words + u64::from(options.template_tokens)
}

/// The blocks of a chat's prompt; none without a prefix cache.
pub(super) fn chat_chain(options: &SimOptions, messages: &[Message<'_>]) -> Chain {
    let Some(cache) = options.prefix_cache else { return Chain::default() };
    let mut chainer = Chainer::new(cache.block_tokens);
    chainer.template(options.template_tokens);
    messages.iter().flat_map(|message| &message.content.texts).for_each(|text| chainer.text(text));
    chainer.finish()
}

/// The blocks of a prompt without a template; none without a prefix cache.
pub(super) fn prompt_chain(options: &SimOptions, prompt: &Prompt<'_>) -> Chain {
    let Some(cache) = options.prefix_cache else { return Chain::default() };
    let mut chainer = Chainer::new(cache.block_tokens);
    prompt.texts.iter().for_each(|text| chainer.text(text));
    if !prompt.ids.is_empty() {
        chainer.ids(&prompt.ids);
    }
    chainer.finish()
}
