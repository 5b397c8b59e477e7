//! Whether prompts share the prefixes that a trace describes, and what has to be known for it.

use tics_prompt::{Blocks, Method, PromptMaker};
use tics_trace::{Row, Trace};

use crate::cli::{Prefixes, PromptArgs};
use crate::outcome::{Failed, OrStatus, USAGE, failed};
use crate::progress::say;

use super::has_own_text;

/// The blocks that a row's prompt is made from, unless the row brings its own text.
pub fn blocks(row: &Row) -> Option<Blocks<'_>> {
    if has_own_text(row) {
        return None;
    }
    let (ids, size) = (row.hash_ids.as_deref()?, row.block_size?);
    Some(Blocks { ids, size, unique: row.line })
}

/// The maker for the prompts of `trace`, and whether they share the prefixes that its blocks describe.
///
/// Goes over all of the trace once, so that a part of it has the prompts of the whole.
pub fn follow(
    maker: PromptMaker,
    trace: &Trace,
    wanted: Option<Prefixes>,
    args: &PromptArgs,
    token_ids: bool,
    quiet: bool,
) -> Result<(PromptMaker, bool), Failed> {
    let insists = wanted == Some(Prefixes::Traced);
    if let Some(why) = hindrance(&maker, trace, args, token_ids) {
        if insists {
            return Err(failed(USAGE, format!("--prefixes traced: {why}")));
        }
        let matters = trace.index().rows_with_blocks > 0 && wanted.is_none() && !args.dummy;
        if matters && !quiet {
            say(format_args!("{why}; no two prompts of this run share a prefix"));
        }
        return Ok((maker, false));
    }
    if wanted == Some(Prefixes::None) {
        return Ok((maker, false));
    }
    let mut pass = maker.sibling_pass();
    for row in trace.rows_as_recorded() {
        let row = row.or_status(USAGE)?;
        if let Some(blocks) = blocks(&row) {
            pass.add(blocks, row.input_length);
        }
    }
    let siblings = pass.finish();
    if !quiet {
        report(trace, siblings.inexact());
    }
    // Where every row brings its own text, nothing is made from the blocks.
    let any = siblings.blocks() > 0;
    Ok((maker.with_siblings(siblings), any))
}

/// Why prompts cannot share the prefixes of `trace`, and what to do.
fn hindrance(maker: &PromptMaker, trace: &Trace, args: &PromptArgs, token_ids: bool) -> Option<String> {
    let path = trace.path();
    if trace.index().rows_with_blocks == 0 {
        return Some(format!("{path}: has no hash_ids; `tics trace info` shows what it has"));
    }
    if args.dummy {
        return Some("--dummy makes one prefix of all prompts; leave out one of the two".to_owned());
    }
    match maker.method() {
        // Ids are what they are, whatever text they stand for.
        Method::Adjustment { reason } if !token_ids => Some(format!(
            "{path}: prompts cannot share exactly the prefixes of hash_ids, as text is not made of words of \
             one token each by this tokenizer ({reason}); leave --tokenizer out for the embedded one, or \
             choose --prefixes none"
        )),
        _ => None,
    }
}

/// Says where prompts do not share exactly what the trace says.
fn report(trace: &Trace, inexact: u64) {
    let path = trace.path();
    if inexact > 0 {
        say(format_args!(
            "{path}: {inexact} blocks may share their first token with another one behind the same prefix; \
             the tokenizer has too few words to tell all of them apart"
        ));
    }
    let mismatches = trace.index().block_mismatches;
    if mismatches > 0 {
        say(format_args!(
            "{path}: {mismatches} rows have more or fewer blocks than their length takes: what is too much is \
             left out, what is missing is the request's own (`tics trace check` shows them)"
        ));
    }
}
