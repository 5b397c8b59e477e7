//! C: whether the numbers agree with each other and with what was asked.

use super::{Check, Evidence, Judged, Limits};

pub(super) fn checks(evidence: &Evidence, limits: &Limits) -> Vec<Check> {
    let mut all = Vec::from(identities(evidence));
    all.extend(as_asked(evidence));
    all.into_iter().map(|judged| judged.check(limits)).collect()
}

fn identities(evidence: &Evidence) -> [Judged; 2] {
    let lengths = &evidence.lengths;
    let few = lengths.n_with_usage > 0;
    let under = few.then(|| 100.0 * lengths.usage_below_tics as f64 / lengths.n_with_usage as f64);
    [
        Judged::new("C1a", "stamps earlier than the one before", Some(evidence.broken_stamps as f64), 0.0)
            .remedy("stamps are out of order: a clock was set, or the tester has a fault"),
        Judged::new("C1c", "requests with fewer tokens by the server's count than tics", under, 1.0)
            .remedy("the server counts its tokens wrongly: TPOT and tokens/s rest on that count"),
    ]
}

fn as_asked(evidence: &Evidence) -> [Judged; 3] {
    let lengths = &evidence.lengths;
    let off = |asked: u64, got: u64| (asked > 0).then(|| 100.0 * asked.abs_diff(got) as f64 / asked as f64);
    let odd = (evidence.answered > 0)
        .then(|| 100.0 * (evidence.short + evidence.long) as f64 / evidence.answered as f64);
    let note = (evidence.short + evidence.long > 0).then(|| {
        format!(
            "{} short and {} long answers: {} output tokens asked, {} came",
            evidence.short, evidence.long, lengths.output_asked, lengths.output_got
        )
    });
    let template = evidence.template_tokens;
    // Only prompts that were made have a length to keep, and only with the template's a total.
    let input = template
        .filter(|_| lengths.n_made > 0)
        .and_then(|template| off(lengths.made + lengths.n_made * u64::from(template), lengths.made_counted));
    let unexplained = evidence.cache.zip(template).and_then(|(cache, template)| cache.unexplained(template));
    [
        // A note, no failure: how long answers are is the server's doing.
        Judged::new("C3a", "answered requests shorter or longer than asked", odd, 100.0).note(note),
        Judged::new("C3b", "input tokens, off those sent and the chat template's", input, 1.0)
            .remedy("the prompts are of another tokenizer: --tokenizer names the server's"),
        Judged::new(
            "C3c",
            "prompt tokens found in a cache that neither the run nor the chat template explains",
            unexplained.map(|share| share * 100.0),
            1.0,
        )
        .remedy("start the server with an empty prefix cache, or take another --salt"),
    ]
}
