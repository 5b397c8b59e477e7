//! Whether the prompts were as asked: lengths that differ, and what a prefix cache found.

use std::fmt::Write as _;

use tics_record::{PromptSource, RunDescription};
use tics_stats::{CacheShare, CacheUse, InputLengths, Summary};

use crate::layout::{counted, labelled, number};

/// How far the lengths that were sent and counted are from those asked; nothing where they are the same.
pub(crate) fn lengths(out: &mut String, summary: &Summary) {
    let InputLengths { asked, sent, made, requests, differ, .. } = summary.input_lengths;
    let lengths = &summary.input_lengths;
    let mut parts = Vec::new();
    if let Some(sent) = sent.filter(|sent| made == requests && *sent != asked) {
        let left = asked.saturating_sub(sent);
        parts.push(format!("{sent} tokens sent, {left} left to the server's chat template"));
    }
    if let Some(by) = lengths.difference {
        let mut text = format!(
            "counted - asked in the {} that {}: {:+} to {:+}, median {:+}",
            counted(differ, "request"),
            if differ == 1 { "differs" } else { "differ" },
            by.min,
            by.max,
            by.p50
        );
        for odd in &lengths.first {
            let _ = write!(text, "; request {}", odd.i);
            if let Some(row) = odd.row {
                let _ = write!(text, " (row {row})");
            }
            let _ = write!(text, " {} asked", odd.asked);
            if let Some(sent) = odd.sent {
                let _ = write!(text, ", {sent} sent");
            }
            let _ = write!(text, ", {} counted", odd.counted);
        }
        if differ > lengths.first.len() as u64 {
            text.push_str("; …");
        }
        parts.push(text);
    }
    if !parts.is_empty() {
        labelled(out, "Lengths", &parts.join(". "));
    }
}

/// What the server might know before the run, and what its cache was expected to find and found; nothing of
/// runs that do not say it.
pub(crate) fn cache(out: &mut String, summary: &Summary, run: &RunDescription) {
    let cache = &summary.cache;
    let Some(policy) = run.prompts.cache.as_deref() else {
        // Texts of the user's: nothing is expected, but what was found is worth a line.
        if cache.observed.is_some_and(|share| share.cached_tokens > 0) {
            labelled(out, "Cache", "texts of the user's own: nobody knows what of them it knew before");
            observed(out, cache);
        }
        return;
    };
    let nothing_shared = cache.expected.as_ref().is_none_or(|share| share.cached_tokens == 0);
    if nothing_shared && cache.observed.is_none() && cache.server.is_none() {
        labelled(
            out,
            "Cache",
            &format!("{policy}: no prompts share anything, and the server says nothing of it"),
        );
        return;
    }
    out.push('\n');
    labelled(out, "Cache", &policy_text(policy, &run.prompts));
    let expected =
        cache.expected.as_ref().map(|found| format!("{} by a cache that never forgets", share(found)));
    labelled(out, "  expected", expected.as_deref().unwrap_or("not known"));
    observed(out, cache);
    if let Some(text) = verdict(policy, summary, &run.prompts) {
        labelled(out, "", &text);
    }
}

fn policy_text(policy: &str, prompts: &PromptSource) -> String {
    match (policy, prompts.salt, prompts.warmed) {
        ("cold", Some(salt), _) => {
            format!("cold: all prompts are this run's own (salt {salt}), so only itself can have warmed it")
        }
        ("warm", Some(salt), Some(warmed)) => format!(
            "warm: what two or more requests share was sent before the run ({}, {}), to prompts of this run's own \
             (salt {salt})",
            counted(warmed.prefixes, "common beginning"),
            counted(warmed.blocks, "block"),
        ),
        ("keep", ..) => {
            "keep: prompts are those of every run with this seed, so the server may know them from an \
                         earlier one"
                .to_owned()
        }
        (other, ..) => other.to_owned(),
    }
}

/// What the server found, by its answers and by its counters.
fn observed(out: &mut String, cache: &CacheUse) {
    match &cache.observed {
        Some(found) => {
            let text = format!("{}, by the answers of {}", share(found), counted(found.requests, "request"));
            labelled(out, "  observed", &text);
        }
        None => labelled(
            out,
            "  observed",
            "not said in the answers (usage.prompt_tokens_details.cached_tokens; vLLM gives it with \
             --enable-prompt-tokens-details)",
        ),
    }
    if let Some(server) = &cache.server {
        let text = format!(
            "{} ({} of {}) by {}, over all that it was asked meanwhile",
            percent(server.rate),
            server.hits,
            server.queries,
            server.counter
        );
        labelled(out, "  server", &text);
    }
}

fn share(share: &CacheShare) -> String {
    let tokens = format!(
        "{} of tokens ({} of {})",
        percent(share.token_rate),
        share.cached_tokens,
        share.prompt_tokens
    );
    if share.blocks == 0 {
        return tokens;
    }
    let blocks = percent(share.block_rate);
    format!("{blocks} of blocks ({} of {}), {tokens}", share.cached_blocks, share.blocks)
}

fn percent(share: Option<f64>) -> String {
    let percent = number(share.map(|share| share * 100.0), 2);
    format!("{percent} %")
}

/// What the difference between expected and observed means.
fn verdict(policy: &str, summary: &Summary, prompts: &PromptSource) -> Option<String> {
    let both = summary.cache.compared?;
    let (expected, observed) = (both.expected_tokens, both.observed_tokens);
    // The template's own beginning is the same before every prompt.
    let template = both.requests * u64::from(prompts.template_tokens.unwrap_or_default());
    let more = observed.saturating_sub(expected);
    Some(if more == 0 && expected == observed {
        "found just what was expected".to_owned()
    } else if more == 0 {
        format!(
            "found {} fewer than expected: it forgot some, had not stored it in time, or keeps whole blocks of its own size",
            counted(expected - observed, "token")
        )
    } else if policy == "keep" {
        format!(
            "found {} more than this run's own prompts explain: the server knew them from before",
            counted(more, "token")
        )
    } else if more <= template {
        format!("found {} more than expected: no more than the chat template's own", counted(more, "token"))
    } else if prompts.template_tokens.is_none() {
        format!(
            "found {} more than expected: perhaps the chat template's own, whose length is not known",
            counted(more, "token")
        )
    } else {
        format!(
            "found {} more than expected in {}, though all prompts are this run's own: its cache shares more \
             than the trace's blocks do",
            counted(more, "token"),
            counted(both.more, "request")
        )
    })
}
