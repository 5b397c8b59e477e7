//! Rows drawn from ServeGen's parameters.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Gamma, Weibull};
use tempfile::TempDir;
use tics_record::Nanos;
use tics_trace::{Format, OpenOptions, Row, ServeGen, Trace};

/// In the published shape: a window of ten minutes a line, silent ones with zeros.
const TRACE: &str = "\
0,10.5,2.0,Gamma,0.25,0.38
600,0,0,,0,0
1200,2.0,1.5,Weibull,0.7,0.4
1800,0.1666666666666667,1.0,Gamma,1.0,6.0
";

/// Distributions as Python texts, the first window without anything.
const DATASET: &str = r#"{
  "0": {
    "input_tokens": "{}",
    "output_tokens": "{}"
  },
  "1200": {
    "input_tokens": "{224: 0.25, 5000: 0.75}",
    "output_tokens": "{0: 0.5, 40: 0.25, 41: 0.25}"
  },
  "1800": {
    "input_tokens": "{7: 1.0}",
    "output_tokens": "{9: 1.0}",
    "reason_ratio": "{(0.1, 0.2): 1.0}"
  }
}"#;

fn folder(chunks: &[(u32, &str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, trace, dataset) in chunks {
        fs::write(dir.path().join(format!("chunk-{number}-trace.csv")), trace).unwrap();
        fs::write(dir.path().join(format!("chunk-{number}-dataset.json")), dataset).unwrap();
    }
    dir
}

fn open(path: &Path, servegen: ServeGen) -> Trace {
    Trace::open(path, &OpenOptions { servegen, ..OpenOptions::default() }).unwrap()
}

fn rows(trace: &Trace) -> Vec<Row> {
    trace.rows().collect::<Result<_, _>>().unwrap()
}

fn seconds(rows: &[Row], from: f64, to: f64) -> Vec<f64> {
    rows.iter().map(|r| r.at.as_secs_f64()).filter(|at| (from..to).contains(at)).collect()
}

/// The largest distance between the distributions of two samples.
fn kolmogorov_smirnov(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let below = |of: &[f64], x: f64| of.partition_point(|v| *v <= x) as f64 / of.len() as f64;
    a.iter().chain(&b).map(|x| (below(&a, *x) - below(&b, *x)).abs()).fold(0.0, f64::max)
}

#[test]
fn a_window_has_its_count_and_its_lengths() {
    let dir = folder(&[(3, TRACE, DATASET)]);
    let trace = open(dir.path(), ServeGen::default());
    let found = rows(&trace);
    assert_eq!(trace.index().format, Format::ServeGen);
    assert!(trace.index().sorted);
    let counts = [(0.0, 600.0), (600.0, 1200.0), (1200.0, 1800.0), (1800.0, 2400.0), (2400.0, 9e9)]
        .map(|(from, to)| seconds(&found, from, to).len());
    assert_eq!(counts, [6300, 0, 1200, 100, 0]);
    assert!(found.iter().all(|row| row.kind.as_deref() == Some("chunk-3")));
    let (early, late): (Vec<&Row>, Vec<&Row>) = found.iter().partition(|r| r.at < Nanos::from_secs(1_800));
    assert!(late.iter().all(|row| (row.input_length, row.output_length) == (7, 9)));
    assert!(early.iter().all(|row| matches!((row.input_length, row.output_length), (224 | 5000, 40 | 41))));
    let long = early.iter().filter(|row| row.input_length == 5000).count() as f64 / 7500.0;
    // Four standard deviations of a share of 0.75 among 7,500.
    assert!((long - 0.75).abs() < 0.02, "{long}");
}

#[test]
fn gaps_follow_the_named_family() {
    let dir = folder(&[(0, "0,20,2.0,Gamma,0.25,0.38\n600,20,1.5,Weibull,0.7,0.4\n", DATASET)]);
    let found = rows(&open(dir.path(), ServeGen { seed: 7, window: None }));
    let gaps = |from, to| -> Vec<f64> {
        let at = seconds(&found, from, to);
        at.windows(2).map(|pair| (pair[1] - pair[0]) * 20.0).collect()
    };
    let mut random = ChaCha8Rng::seed_from_u64(99);
    // With the mean of one gap in the unit of the rate.
    let gamma = Gamma::new(0.25, 4.0).unwrap();
    let expect: Vec<f64> = (0..40_000).map(|_| gamma.sample(&mut random)).collect();
    let d = kolmogorov_smirnov(gaps(0.0, 600.0), expect);
    // 1.95 √(1/12,000 + 1/40,000): passed once in a thousand seeds. The stretching moves the mean
    // by about 2 %, which adds at most as much.
    assert!(d < 0.0203 + 0.01, "{d}");
    let weibull = Weibull::new(1.0 / 1.265_823, 0.7).unwrap();
    let expect: Vec<f64> = (0..40_000).map(|_| weibull.sample(&mut random)).collect();
    let d = kolmogorov_smirnov(gaps(600.0, 1200.0), expect);
    assert!(d < 0.0203 + 0.01, "{d}");
}

#[test]
fn a_seed_repeats_and_a_window_is_a_part() {
    let dir = folder(&[(0, TRACE, DATASET), (11, TRACE, DATASET)]);
    let all = rows(&open(dir.path(), ServeGen { seed: 1, window: None }));
    assert_eq!(all, rows(&open(dir.path(), ServeGen { seed: 1, window: None })));
    assert_ne!(all, rows(&open(dir.path(), ServeGen { seed: 2, window: None })));
    let window = (Nanos::from_secs(1_300), Nanos::from_secs(1_900));
    let part = rows(&open(dir.path(), ServeGen { seed: 1, window: Some(window) }));
    let plain = |row: &Row| (row.at, row.input_length, row.output_length, row.kind.clone());
    let expect: Vec<_> = all.iter().filter(|r| window.0 <= r.at && r.at < window.1).map(plain).collect();
    assert_eq!(part.iter().map(plain).collect::<Vec<_>>(), expect);
    let alone = rows(&open(&dir.path().join("chunk-11-trace.csv"), ServeGen { seed: 1, window: None }));
    let expect: Vec<_> = all.iter().filter(|r| r.kind.as_deref() == Some("chunk-11")).map(plain).collect();
    assert_eq!(alone.iter().map(plain).collect::<Vec<_>>(), expect, "clients are independent");
}

#[test]
fn bad_parameters_are_named_with_file_and_line() {
    let check = |trace: &str, dataset: &str, expect: &str| {
        let dir = folder(&[(5, trace, dataset)]);
        let error = Trace::open(dir.path(), &OpenOptions::default()).unwrap_err().to_string();
        let error = error.replace(&format!("{}", dir.path().display()), "DIR");
        assert_eq!(error, format!("DIR{expect}"));
    };
    let row = |from: &str, to: &str| TRACE.replacen(from, to, 1);
    let csv = "/chunk-5-trace.csv";
    check(
        &row("Weibull", "Pareto"),
        DATASET,
        &format!("{csv}:3: \"distribution\": expected Gamma or Weibull, found \"Pareto\""),
    );
    check(
        &row("0.25", "NaN"),
        DATASET,
        &format!("{csv}:1: \"shape\": expected a number above 0, found \"NaN\""),
    );
    check(
        &row("10.5", "-1"),
        DATASET,
        &format!("{csv}:1: \"rate\": expected requests a second, from 0, found \"-1\""),
    );
    check(&row(",0.4\n", "\n"), DATASET, &format!("{csv}:3: expected 6 columns, found 5"));
    check(
        &row("1800", "1200"),
        DATASET,
        &format!("{csv}:4: \"start\": expected a start behind the one of the line before, found 1200 s"),
    );
    check(
        &row("10.5", "1e9"),
        DATASET,
        ": no request to send: its parameters come to 600000001300 requests; choose a window of them",
    );
    check("600,0,0,,0,0\n", DATASET, ": no request to send: its parameters have no request in the window");
    let json = "/chunk-5-dataset.json";
    check(
        TRACE,
        &DATASET.replace("{224: 0.25, 5000: 0.75}", "{224: -1}"),
        &format!("{json}:7: \"input_tokens\": expected probabilities from 0 to 1, found \"{{224: -1}}\""),
    );
    check(
        TRACE,
        &DATASET.replace("{7: 1.0}", "{7.5: 1}"),
        &format!(
            "{json}:11: \"input_tokens\": expected lengths with their probabilities such as {{224: 0.5, 225: 0.5}}, found \"{{7.5: 1}}\""
        ),
    );
    check(
        TRACE,
        &DATASET.replacen("input_tokens", "text_tokens", 1),
        &format!("{json}:1: \"input_tokens\": expected the probabilities of lengths, found nothing"),
    );
    check(
        TRACE,
        "{\"0\":\n7}",
        &format!(
            "{json}:2: expected a row as one JSON object, found an error at column 1: invalid type: integer `7`, expected a map"
        ),
    );
    let dir = folder(&[]);
    fs::write(dir.path().join("chunk-5-trace.csv"), TRACE).unwrap();
    let error = Trace::open(dir.path(), &OpenOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("chunk-5-dataset.json: cannot read the trace"), "{error}");
    let error = Trace::read(TRACE.as_bytes(), "other.csv", &OpenOptions::default()).unwrap_err().to_string();
    assert!(
        error.starts_with("other.csv: parameters of ServeGen; expected a file chunk-<i>-trace.csv"),
        "{error}"
    );
}
