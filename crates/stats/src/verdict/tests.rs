//! Each check just below and just above its threshold.

use proptest::prelude::*;

use super::*;
use crate::evidence::{Dependence, Lumps, WindowOff};

fn clean() -> Evidence {
    Evidence {
        model: Some(LoadModel::OpenLoop),
        scheduled: 1000,
        sent: 1000,
        answered: 1000,
        complete: true,
        n_lateness: 1000,
        lateness_p99_ns: Some(80_000.0),
        median_ttft_ns: Some(20e6),
        median_icl_ns: Some(10e6),
        ..Evidence::default()
    }
}

fn check(evidence: &Evidence, verdict: Verdict, failed: &[&str]) {
    check_with(evidence, &Limits::default(), verdict, failed);
}

fn check_with(evidence: &Evidence, limits: &Limits, verdict: Verdict, failed: &[&str]) {
    let validity = judge(evidence, limits);
    for check in &validity.checks {
        assert_eq!(check.remedy.is_some(), check.outcome > CheckOutcome::Pass, "{check:?}");
        assert!(check.remedy.as_ref().is_none_or(|r| !r.is_empty()), "{check:?}");
    }
    let beyond: Vec<&str> = validity.failed().collect();
    assert_eq!((validity.verdict, beyond.as_slice()), (verdict, failed), "{validity:#?}");
}

/// `value` passes where it is `within`, is suspect `beyond`, and invalid at `hard`.
fn steps(id: &str, set: impl Fn(f64) -> Evidence, within: f64, beyond: f64, hard: Option<f64>) {
    check(&set(within), Verdict::Valid, &[]);
    check(&set(beyond), Verdict::Suspect, &[id]);
    if let Some(hard) = hard {
        check(&set(hard), Verdict::Invalid, &[id]);
    }
}

#[test]
fn every_check_is_judged_once_and_known() {
    let validity = judge(&clean(), &Limits::default());
    let ids: Vec<&str> = validity.checks.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, CHECKS.map(|info| info.id));
    assert!(validity.checks.iter().all(|c| !c.blind_to.is_empty()));
    let page = include_str!("../../../../docs/validity.md");
    for id in ids {
        assert!(page.contains(&format!("| {id} |")), "{id} is not in docs/validity.md");
    }
}

#[test]
fn lateness_is_judged_by_its_effect() {
    let late = |ms: f64, ttft_ms: Option<f64>| Evidence {
        lateness_p99_ns: Some(ms * 1e6),
        median_ttft_ns: ttft_ms.map(|t| t * 1e6),
        ..clean()
    };
    check(&late(1.0, None), Verdict::Valid, &[]);
    check(&late(1.1, Some(20.0)), Verdict::Suspect, &["A1"]);
    check(&late(1.1, Some(60.0)), Verdict::Valid, &[]);
    check(&late(10.1, Some(20.0)), Verdict::Invalid, &["A1"]);
    check(&late(10.1, Some(500.0)), Verdict::Suspect, &["A1"]);
    check(&Evidence { lateness_p99_ns: None, n_lateness: 0, ..clean() }, Verdict::Valid, &[]);
}

#[test]
fn what_was_lost_is_invalid() {
    check(&clean(), Verdict::Valid, &[]);
    check(&Evidence { sent: 999, ..clean() }, Verdict::Invalid, &["A3"]);
    check(&Evidence { sent: 999, lost: 1, ..clean() }, Verdict::Invalid, &["A3"]);
    check(&Evidence { sent: 1001, duplicates: 1, ..clean() }, Verdict::Invalid, &["A3"]);
    check(&Evidence { sent: 1000, strays: 1, lost: 1, ..clean() }, Verdict::Invalid, &["A3"]);
    check(&Evidence { complete: false, ..clean() }, Verdict::Invalid, &["A3"]);
    check(&Evidence { sent: 980, not_sent: 20, ..clean() }, Verdict::Valid, &[]);
}

#[test]
fn the_schedule_is_realised() {
    let timing = |timing: Timing| Evidence { timing, ..clean() };
    steps("A2a", |v| timing(Timing { rate_off: Some(v), ..Timing::default() }), 0.0099, 0.0101, Some(0.11));
    let window = |off| Some(WindowOff { off, ..WindowOff::default() });
    steps("A2b", |v| timing(Timing { window_off: window(v), ..Timing::default() }), 0.0499, 0.0501, None);
    let lumps = |share| Some(Lumps { share, ..Lumps::default() });
    steps("A5", |v| timing(Timing { lumps: lumps(v), ..Timing::default() }), 0.0099, 0.0101, None);
    let late = |rho, effect_ns| Some(Dependence { rho, n: 1000, effect_ns });
    let load = |rho| move |ns| timing(Timing { by_load: late(rho, ns), ..Timing::default() });
    steps("A4a", load(0.3), 0.24e6, 0.26e6, None);
    steps("A4a", load(-0.3), -0.24e6, -0.26e6, None);
    // What chance may show is no dependence, however large.
    check(&load(0.09)(5e6), Verdict::Valid, &[]);
    steps("A4b", |ns| timing(Timing { by_time: late(0.9, ns), ..Timing::default() }), 0.24e6, 0.26e6, None);
}

#[test]
fn late_reads_matter_by_the_latencies_reported() {
    let late = |ns| Evidence { read_delay_p99_ns: Some(ns), ..clean() };
    steps("B3c", late, 0.49e6, 0.51e6, Some(5.1e6));
    // Three milliseconds: nothing to a TTFT of 2 s alone, much to an ICL of 10 ms.
    let latencies = |ttft_ms: f64, icl_ms: Option<f64>| Evidence {
        median_ttft_ns: Some(ttft_ms * 1e6),
        median_icl_ns: icl_ms.map(|ms| ms * 1e6),
        ..late(3e6)
    };
    check(&latencies(2_000.0, None), Verdict::Valid, &[]);
    check(&latencies(2_000.0, Some(10.0)), Verdict::Suspect, &["B3c"]);
    check(&latencies(2_000.0, Some(61.0)), Verdict::Valid, &[]);
}

#[test]
fn numbers_agree() {
    let lengths = |lengths: Lengths| Evidence { lengths, ..clean() };
    steps("C1a", |v| Evidence { broken_stamps: v as u64, ..clean() }, 0.0, 1.0, None);
    let under = |v: f64| Lengths { n_with_usage: 1000, usage_below_tics: v as u64, ..Lengths::default() };
    steps("C1c", |v| lengths(under(v)), 10.0, 11.0, None);
    let made = |v: f64| Lengths { n_made: 10, made: 870, made_counted: v as u64, ..Lengths::default() };
    let input = |template_tokens| move |v: f64| Evidence { template_tokens, ..lengths(made(v)) };
    steps("C3b", input(Some(13)), 1010.0, 1011.0, None);
    steps("C3b", input(Some(13)), 990.0, 989.0, None);
    check(&input(None)(1000.0), Verdict::Valid, &[]);
    let cached = |template_tokens| {
        move |observed: f64| {
            let compared = CacheComparison {
                requests: 10,
                prompt_tokens: 1000,
                expected_tokens: 300,
                observed_tokens: observed as u64,
                ..CacheComparison::default()
            };
            Evidence { cache: Some(compared), template_tokens, ..clean() }
        }
    };
    steps("C3c", cached(Some(13)), 440.0, 441.0, None);
    check(&cached(Some(13))(0.0), Verdict::Valid, &[]);
    check(&cached(None)(1000.0), Verdict::Valid, &[]);
}

#[test]
fn an_interruption_that_cut_something_is_suspect() {
    let stopped = Evidence { interrupted: true, ..clean() };
    check(&stopped, Verdict::Valid, &[]);
    check(&Evidence { cancelled: 1, ..stopped.clone() }, Verdict::Suspect, &["D3"]);
    check(&Evidence { sent: 980, not_sent: 20, ..stopped }, Verdict::Suspect, &["D3"]);
    check(&Evidence { cancelled: 1, ..clean() }, Verdict::Valid, &[]);
}

#[test]
fn a_trend_counts_in_a_closed_loop_only() {
    let trend = |change| Evidence {
        model: Some(LoadModel::ClosedLoop),
        trend: Some(Trend { rho: 0.9, change }),
        ..clean()
    };
    steps("D1", trend, 0.09, 0.11, None);
    steps("D1", trend, -0.09, -0.11, None);
    check(&Evidence { model: Some(LoadModel::OpenLoop), ..trend(0.5) }, Verdict::Valid, &[]);
    check(&Evidence { trend: Some(Trend { rho: 0.7, change: 0.5 }), ..trend(0.5) }, Verdict::Valid, &[]);
}

#[test]
fn few_requests_are_a_note_and_no_failure() {
    let few = judge(&Evidence { answered: 180, ..clean() }, &Limits::default());
    assert_eq!(few.verdict, Verdict::Valid);
    let note = few.checks.iter().find(|c| c.id == "D2").unwrap().note.clone().unwrap();
    assert!(note.contains("180") && note.contains("662"), "{note}");
    let enough = judge(&Evidence { answered: 662, ..clean() }, &Limits::default());
    assert_eq!(enough.checks.iter().find(|c| c.id == "D2").unwrap().note, None);
}

#[test]
fn how_long_answers_are_is_a_note_unless_asked_for() {
    let odd = |short| Evidence { short, ..clean() };
    check(&odd(1000), Verdict::Valid, &[]);
    let note = |evidence: &Evidence| {
        let judged = judge(evidence, &Limits::default());
        judged.checks.into_iter().find(|c| c.id == "C3a").unwrap().note
    };
    assert!(note(&odd(30)).unwrap().starts_with("30 short and 0 long"));
    assert_eq!(note(&clean()), None);
    let limits = Limits::changed_by(&[("C3a".to_owned(), Some(2.0))].into());
    check_with(&odd(20), &limits, Verdict::Valid, &[]);
}

#[test]
fn a_threshold_by_hand_counts_and_takes_the_harder_one_along() {
    let limits = |id: &str, value| Limits::changed_by(&[(id.to_owned(), value)].into());
    let late = Evidence { lateness_p99_ns: Some(4e6), ..clean() };
    check_with(&late, &limits("A1", Some(5.0)), Verdict::Valid, &[]);
    check_with(&late, &limits("A1", Some(3.0)), Verdict::Suspect, &["A1"]);
    check_with(&late, &limits("A1", Some(0.3)), Verdict::Invalid, &["A1"]);
    check_with(&late, &limits("A1", None), Verdict::Valid, &[]);
    let off = judge(&late, &limits("A1", None));
    assert_eq!(off.checks[0].note.as_deref(), Some("switched off (--check A1=off)"));
}

proptest! {
    /// Nothing that is worse ever looks better.
    #[test]
    fn a_worse_number_never_has_a_better_outcome(
        a in 0.0..40.0f64, b in 0.0..40.0f64, ttft in 1.0..5_000.0f64, icl in 0.1..200.0f64,
    ) {
        let outcome = |v: f64| {
            let evidence = Evidence {
                lateness_p99_ns: Some(v * 1e6),
                median_ttft_ns: Some(ttft * 1e6),
                median_icl_ns: Some(icl * 1e6),
                read_delay_p99_ns: Some(v * 1e6),
                ..clean()
            };
            judge(&evidence, &Limits::default()).verdict
        };
        prop_assert!(outcome(a.min(b)) <= outcome(a.max(b)));
    }
}
