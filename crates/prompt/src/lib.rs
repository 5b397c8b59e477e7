//! Text of exactly the asked token length, made ahead of time and reproducible.
//!
//! A [`Tokenizer`] is loaded from a file, a model folder or the local Hugging Face cache; a
//! [`PromptMaker`] writes prompts for it, the request's index and the seed alone deciding the text.
//!
//! The one decision that explains the rest: a prompt is exact *by construction*. It is joined from
//! words that the tokenizer encodes to one token each with their leading space, so its length is
//! the number of its words and nothing has to be encoded while a load is running: writing such text
//! is some hundred times faster than encoding it. The price is text without meaning, and a start
//! that finds those words once. Where a tokenizer has no such words, prompts are adjusted by
//! re-encoding until they fit, and [`PromptMaker::method`] says so.
//!
//! The embedded tokenizer costs nothing at all: its words are known without reading its file.
//!
//! ```
//! use tics_prompt::{Mode, PromptMaker, Tokenizer};
//!
//! let maker = PromptMaker::embedded(Mode::Random, 42);
//! let prompt = maker.make(0, 512)?;
//! assert_eq!(Tokenizer::embedded().count(&prompt)?, 512);
//! assert_eq!(prompt, PromptMaker::embedded(Mode::Random, 42).make(0, 512)?);
//! # Ok::<(), tics_prompt::PromptError>(())
//! ```
//!
//! Prompts that share prefixes are joined from blocks. The words of a block are a function of its
//! id, so two prompts share the tokens of their common leading ids; that they share no token more
//! needs a [`SiblingPass`] over the trace, which sees to it that blocks behind the same prefix begin
//! with different words. Blocks are made anew each time, and no cache holds them: a prompt of 12,000
//! tokens takes some 60 µs that way and would take a third of it from a cache that always hits
//! (`cargo bench -p tics-prompt`), but of the published conversation trace even a cache without
//! bounds, 0.6 GB, hits a third of the blocks.
//!
//! ```
//! use tics_prompt::{Blocks, Coverage, Mode, PromptMaker, Tokenizer};
//!
//! let maker = PromptMaker::embedded(Mode::Random, 42);
//! let rows = [(1, vec![0, 1, 2], 1_300), (2, vec![0, 1, 3], 1_536)];
//! let mut pass = maker.sibling_pass();
//! for (line, ids, n_tokens) in &rows {
//!     pass.add(Blocks { ids, size: 512, unique: *line }, *n_tokens);
//! }
//! let maker = maker.with_siblings(pass.finish()).with_salt(7);
//! assert_eq!(maker.siblings().inexact(), 0);
//! let prompts = rows.map(|(unique, ids, n_tokens)| {
//!     let (text, coverage) = maker.make_blocks(Blocks { ids: &ids, size: 512, unique }, n_tokens).unwrap();
//!     assert_eq!(coverage, Coverage::Whole);
//!     text
//! });
//! assert_eq!(Tokenizer::embedded().count(&prompts[0])?, 1_300);
//! let words = prompts[0].split(' ').zip(prompts[1].split(' '));
//! assert_eq!(words.take_while(|(a, b)| a == b).count(), 1_024);
//! # Ok::<(), tics_prompt::PromptError>(())
//! ```
//!
//! It knows no network and no schedule.
#![warn(missing_docs)]

mod adjust;
mod compose;
mod discover;
mod draw;
mod embedded;
mod error;
mod hub;
mod maker;
mod siblings;
mod tokenizer;
mod words;

pub use compose::{Blocks, Coverage};
pub use embedded::{EMBEDDED_TOKENIZER, generate_tokenizer};
pub use error::PromptError;
pub use hub::HubCache;
pub use maker::{Method, Mode, PromptMaker};
pub use siblings::{SiblingPass, Siblings};
pub use tokenizer::{LoadError, Tokenizer};
