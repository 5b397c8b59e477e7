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
//! It knows no network and no schedule.
#![warn(missing_docs)]

mod adjust;
mod discover;
mod embedded;
mod hub;
mod maker;
mod tokenizer;
mod words;

pub use embedded::{EMBEDDED_TOKENIZER, generate_tokenizer};
pub use hub::HubCache;
pub use maker::{Method, Mode, PromptError, PromptMaker};
pub use tokenizer::{LoadError, Tokenizer};
