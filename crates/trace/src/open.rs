//! How a trace is to be read.

use std::fmt;
use std::sync::Arc;

use crate::format::Format;
use crate::json::Defaults;
use crate::servegen::ServeGen;
use crate::view::{Field, RowView};

/// Counts the tokens of a prompt.
pub type TokenCounter = Arc<dyn Fn(&str) -> u32 + Send + Sync>;

/// How a trace is to be read. The default: recognise the format, refuse any bad row.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// Takes the file to be in this format instead of recognising it.
    pub format: Option<Format>,
    /// Leaves out rows that are not valid, and counts them, instead of refusing the file.
    pub skip_bad_rows: bool,
    /// Tokens in a block, where rows do not say it themselves; instead of the format's own.
    pub block_size: Option<u32>,
    /// Output length of rows that carry their own text and give none.
    pub output_length: Option<u32>,
    /// Counts the tokens of prompts whose row gives no `input_length`. It is called once a row, in
    /// the index pass; without it such rows have the length 0 and are counted in
    /// [`Index::uncounted`](crate::Index::uncounted).
    pub count_tokens: Option<TokenCounter>,
    /// Keeps requests that failed in the original (BurstGPT's responses of 0 tokens), asking for one
    /// token each. Without it they are left out and counted in [`Index::failed`](crate::Index::failed).
    pub keep_failed: bool,
    /// Fields that have another name in the file: the name in the format, then the name in the file,
    /// as [`parse_field`](crate::parse_field) reads them. The format's own name is then not looked at.
    ///
    /// A time whose name in the file ends in `_ns`, `_us`, `_ms` or `_s` (or `_sec`, `_secs`,
    /// `_seconds`) counts that unit; any other name keeps the unit of the format.
    pub fields: Vec<(String, String)>,
    /// How rows are made of a format that has parameters instead: ServeGen.
    pub servegen: ServeGen,
}

impl OpenOptions {
    pub(crate) fn defaults(&self) -> Defaults {
        Defaults {
            block_size: self.block_size,
            output_length: self.output_length,
            keep_failed: self.keep_failed,
        }
    }

    /// Whether the row's input length is for [`OpenOptions::count_tokens`] to say.
    pub(crate) fn counts(&self, row: &RowView<'_>) -> bool {
        self.count_tokens.is_some() && row.input_length == 0 && row.fields.get(Field::Prompt).is_some()
    }

    pub(crate) fn count(&self, row: &RowView<'_>) -> Option<u32> {
        let count = self.count_tokens.as_ref()?;
        row.prompt().map(|prompt| count(&prompt))
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("format", &self.format)
            .field("skip_bad_rows", &self.skip_bad_rows)
            .field("block_size", &self.block_size)
            .field("output_length", &self.output_length)
            .field("count_tokens", &self.count_tokens.is_some())
            .field("keep_failed", &self.keep_failed)
            .field("fields", &self.fields)
            .field("servegen", &self.servegen)
            .finish()
    }
}
