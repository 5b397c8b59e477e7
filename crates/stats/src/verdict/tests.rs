//! Each check just below and just above its threshold.

use proptest::prelude::*;
use tics_record::{Canary, HealthSample, Nanos, Stamp, TcpCounters};

use super::*;
use crate::evidence::{Compared, Dependence, Lumps, Named, WindowOff};

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
        health: Some(HealthDigest::default()),
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

fn read_late(ns: f64) -> Reads {
    let mut reads = Reads::default();
    reads.delay_p99_ns = Some(ns);
    reads
}

fn digest(set: impl Fn(&mut HealthDigest, f64)) -> impl Fn(f64) -> Evidence {
    move |value| {
        let mut digest = HealthDigest::default();
        set(&mut digest, value);
        Evidence { health: Some(digest), ..clean() }
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
    // While it goes on, nothing has been lost yet.
    check(&Evidence { sent: 480, complete: false, live: true, ..clean() }, Verdict::Valid, &[]);
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
fn a_stalled_worker_matters_by_the_latencies_reported() {
    let stalled = |us: f64, ttft_ms: f64, icl_ms: Option<f64>| {
        let mut delays = tics_record::TimerDelays::default();
        (0..100).for_each(|_| delays.note(Nanos::new((us * 1e3) as u64), Nanos::from_millis(10)));
        let sample = |at| HealthSample {
            at: Stamp::from_nanos(at),
            span: Nanos::from_secs(1),
            in_flight_mean: 1.0,
            canary: vec![Canary { worker: 0, delays: delays.clone() }],
            ..HealthSample::default()
        };
        let mut digest = HealthDigest::default();
        digest.add(&sample(0));
        digest.add(&sample(1_000_000_000));
        digest.in_flight_ns = 0.0;
        Evidence {
            health: Some(digest),
            median_ttft_ns: Some(ttft_ms * 1e6),
            median_icl_ns: icl_ms.map(|ms| ms * 1e6),
            ..clean()
        }
    };
    // Three milliseconds: nothing to a TTFT of 2 s alone, much to an ICL of 10 ms.
    check(&stalled(3_000.0, 2_000.0, None), Verdict::Valid, &[]);
    check(&stalled(3_000.0, 2_000.0, Some(10.0)), Verdict::Suspect, &["B1"]);
    check(&stalled(3_000.0, 2_000.0, Some(61.0)), Verdict::Valid, &[]);
    check(&stalled(450.0, 20.0, Some(0.1)), Verdict::Valid, &[]);
    check(&stalled(550.0, 20.0, Some(0.1)), Verdict::Suspect, &["B1"]);
    check(&stalled(5_500.0, 20.0, Some(10.0)), Verdict::Invalid, &["B1"]);
}

#[test]
fn processors() {
    let named = |value| Some(Named { name: "tics-pacer".into(), value, at_s: 3.0 });
    steps("B2a", digest(|d, v| d.busiest_thread = named(v)), 0.84, 0.86, None);
    steps("B2b", digest(|d, v| d.most_delayed = named(v)), 0.19e6, 0.21e6, Some(2.1e6));
    steps("B2c", digest(|d, v| d.throttled_share = Some(v)), 0.0, 0.001, Some(0.011));
    steps("B2d", digest(|d, v| d.steal_share = Some(v)), 0.019, 0.021, Some(0.21));
    // The wait, too, by its effect: 1 % of an ICL of 40 ms.
    let patient = Evidence { median_icl_ns: Some(40e6), median_ttft_ns: Some(400e6), ..clean() };
    let with =
        |ns| Evidence { health: digest(|d, v| d.most_delayed = named(v))(ns).health, ..patient.clone() };
    check(&with(0.39e6), Verdict::Valid, &[]);
    check(&with(0.41e6), Verdict::Suspect, &["B2b"]);
}

#[test]
fn reads_are_late() {
    let late = |ns| Evidence { reads: read_late(ns), ..clean() };
    steps("B3c", late, 0.49e6, 0.51e6, Some(5.1e6));
}

#[test]
fn limits_of_the_machine() {
    let windows = |d: &mut HealthDigest, v: f64| {
        d.tcp = Some(TcpCounters { zero_windows: v as u64, ..TcpCounters::default() });
    };
    steps("B4", digest(windows), 10.0, 11.0, None);
    steps("B5a", digest(|d, v| d.fds_share = Some(v)), 0.79, 0.81, None);
    steps("B5b", digest(|d, v| d.ports_share = Some(v)), 0.79, 0.81, None);
    steps("B5c", digest(|d, v| d.memory_share = Some(v)), 0.79, 0.81, None);
    steps("B5d", digest(|d, v| d.memory_stall_share = Some(v)), 0.009, 0.011, None);
    steps("B5e", digest(|d, v| d.journal_behind_s = Some(v)), 1.9, 2.1, None);
}

#[test]
fn clocks() {
    steps("B6a", digest(|d, v| d.largest_step_ns = v as u64), 0.99e6, 1.01e6, Some(10.1e6));
    steps("B6b", digest(|d, v| d.drift_ppm = Some(v)), 99.0, 101.0, Some(10_001.0));
    steps("B6c", digest(|d, v| d.paused_share = v), 0.0099, 0.0101, Some(0.101));
}

#[test]
fn numbers_agree() {
    let lengths = |lengths: Lengths| Evidence { lengths, ..clean() };
    steps("C1a", |v| lengths(Lengths { broken_sums: v as u64, ..Lengths::default() }), 0.0, 1.0, None);
    let flights = Lengths { n_flights: 10_000, flight_ns: 10_000.0 * 1e9, ..Lengths::default() };
    let counted = digest(|d, v| d.in_flight_ns = v);
    let little = |off: f64| Evidence { lengths: flights, ..counted(flights.flight_ns * (1.0 - off)) };
    steps("C1b", little, 0.0101, 0.0103, Some(0.26));
    let under = |v: f64| Lengths { n_with_usage: 1000, usage_below_tics: v as u64, ..Lengths::default() };
    steps("C1c", |v| lengths(under(v)), 10.0, 11.0, None);
    let server = |theirs: f64| Evidence {
        server: Some(ServerCounts {
            server: "vllm".into(),
            compared: vec![Compared { what: "requests", theirs, least: 1000, most: 1000 }],
        }),
        ..clean()
    };
    steps("C2", server, 1005.0, 1006.0, None);
    steps("C2", server, 995.0, 994.0, None);
    let output = |v: f64| Lengths { output_asked: 1000, output_got: v as u64, ..Lengths::default() };
    steps("C3a", |v| lengths(output(v)), 990.0, 989.0, None);
    let input = |v: f64| Lengths { input_asked: 1000, input_got: v as u64, ..Lengths::default() };
    steps("C3b", |v| lengths(input(v)), 1010.0, 1011.0, None);
    let cached = |v: f64| Lengths {
        input_asked: 1000,
        input_got: 1000,
        cold: true,
        cached: Some(v as u64),
        ..Lengths::default()
    };
    steps("C3c", |v| lengths(cached(v)), 10.0, 11.0, None);
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
                reads: read_late(v * 1e6),
                ..clean()
            };
            judge(&evidence, &Limits::default()).verdict
        };
        prop_assert!(outcome(a.min(b)) <= outcome(a.max(b)));
    }
}
