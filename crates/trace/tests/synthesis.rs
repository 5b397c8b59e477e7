//! Synthetic traces have the distributions that were asked for.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::{HashMap, HashSet};

use tics_trace::{
    Arrivals, Distribution, LengthOf, OpenOptions, PrefixTree, Row, Selection, SynthError, SynthOptions,
    SynthSessions, Trace, WriteFormat,
};

const ROWS: u64 = 20_000;
/// Kolmogorov's distance that one sample of 20,000 in a thousand passes: 1.95 / √20000.
const LIMIT: f64 = 0.0138;

fn rows(options: &SynthOptions) -> Vec<Row> {
    options.synthesise().unwrap().collect()
}

fn of(input: &str) -> SynthOptions {
    SynthOptions { rows: ROWS, seed: 11, input: input.parse().unwrap(), ..SynthOptions::default() }
}

/// The largest distance of a sample from a distribution.
fn kolmogorov_smirnov(mut sample: Vec<f64>, below: impl Fn(f64) -> f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let distance = |(x, i): (&f64, i32)| {
        let at = below(*x);
        (f64::from(i + 1) / n - at).max(at - f64::from(i) / n)
    };
    sample.iter().zip(0..).map(distance).fold(0.0, f64::max)
}

/// The regularised lower incomplete gamma function, by its power series (Abramowitz & Stegun 6.5.29).
fn lower_gamma(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let (mut term, mut sum, mut n) = (1.0 / shape, 1.0 / shape, shape);
    while term > sum * 1e-15 {
        n += 1.0;
        term *= x / n;
        sum += term;
    }
    // ln Γ by Stirling's series from 10 on, brought there by the recurrence.
    let (mut z, mut log_gamma) = (shape, 0.0);
    while z < 10.0 {
        log_gamma -= z.ln();
        z += 1.0;
    }
    log_gamma +=
        (z - 0.5) * z.ln() - z + 0.918_938_533_204_672_7 + 1.0 / (12.0 * z) - 1.0 / (360.0 * z.powi(3));
    sum * (shape * x.ln() - x - log_gamma).exp()
}

/// The distribution function of the standard normal distribution.
fn normal(z: f64) -> f64 {
    let half = lower_gamma(0.5, z * z / 2.0) / 2.0;
    if z < 0.0 { 0.5 - half } else { 0.5 + half }
}

#[test]
fn lengths_follow_their_distribution() {
    let check = |input: &str, below: &dyn Fn(f64) -> f64| {
        // A length is rounded: it stands for all that is less than a half away.
        let lengths = rows(&of(input))
            .iter()
            .zip(0_u32..)
            .map(|(r, i)| f64::from(r.input_length) - 0.5 + f64::from(i % 100) / 100.0)
            .collect();
        let d = kolmogorov_smirnov(lengths, below);
        assert!(d < LIMIT, "{input}: {d}");
    };
    check("uniform:1000..9000", &|x| ((x - 999.5) / 8_001.0).clamp(0.0, 1.0));
    check("normal:mean=5000,sd=1000", &|x| normal((x - 5_000.0) / 1_000.0));
    let mu = 20_000_f64.ln() - 0.5;
    check("lognormal:mean=20000,sigma=1,max=1e9", &|x| normal((x.ln() - mu) / 1.0));
    check("exponential:mean=5000", &|x| 1.0 - (-x / 5_000.0).exp());
    let (low, high) = (normal(-1.0), normal(0.5));
    check("normal:mean=5000,sd=1000,min=4000,max=5500", &|x| {
        ((normal((x - 5_000.0) / 1_000.0) - low) / (high - low)).clamp(0.0, 1.0)
    });
    assert!(rows(&of("7")).iter().all(|row| row.input_length == 7));
    assert!(rows(&of("0")).iter().all(|row| row.input_length == 1), "a prompt has at least one token");
    let capped = SynthOptions { longest: 6_000, ..of("uniform:1000..9000") };
    assert_eq!(rows(&capped).iter().map(|row| row.input_length).max(), Some(6_000));
}

#[test]
fn empirical_lengths_are_those_of_the_trace() {
    let samples = tics_trace::samples();
    let (name, bytes) = samples.iter().find(|(name, _)| *name == "azure.csv").unwrap();
    let trace = Trace::read(&**bytes, name, &OpenOptions::default()).unwrap();
    let lengths = |which| {
        Distribution::parse_with("empirical:azure.csv", |file| {
            assert_eq!(file, "azure.csv");
            Distribution::empirical(&trace, which).map_err(|error| error.to_string())
        })
        .unwrap()
    };
    let options =
        SynthOptions { input: lengths(LengthOf::Input), output: lengths(LengthOf::Output), ..of("1") };
    let found = rows(&options);
    let known: Vec<Row> = trace.rows().collect::<Result<_, _>>().unwrap();
    let check = |length: fn(&Row) -> u32, mean: f64| {
        let mut sorted: Vec<u32> = known.iter().map(length).collect();
        sorted.sort_unstable();
        assert!(found.iter().all(|row| sorted.binary_search(&length(row)).is_ok()));
        for (rank, at) in sorted.iter().enumerate() {
            let below = found.iter().filter(|row| length(row) <= *at).count() as f64 / ROWS as f64;
            let upto = sorted.partition_point(|n| n <= at) as f64 / sorted.len() as f64;
            assert!((below - upto).abs() < LIMIT, "rank {rank}");
        }
        assert!(
            (mean - sorted.iter().map(|n| f64::from(*n)).sum::<f64>() / sorted.len() as f64).abs() < 1e-6
        );
    };
    check(|row| row.input_length, options.input.mean());
    check(|row| row.output_length, options.output.mean());
}

fn gaps(arrivals: &str, rate: f64) -> Vec<f64> {
    let arrivals: Arrivals = arrivals.parse().unwrap();
    let found = rows(&SynthOptions { arrivals, rate, ..of("7") });
    assert_eq!(found[0].at.as_nanos(), 0);
    found.windows(2).map(|pair| (pair[1].at.as_nanos() - pair[0].at.as_nanos()) as f64 / 1e9).collect()
}

#[test]
fn gaps_follow_their_distribution() {
    let check = |arrivals: &str, below: &dyn Fn(f64) -> f64| {
        let d = kolmogorov_smirnov(gaps(arrivals, 4.0), below);
        assert!(d < LIMIT, "{arrivals}: {d}");
    };
    check("poisson", &|x| 1.0 - (-4.0 * x).exp());
    check("gamma:cv=2", &|x| lower_gamma(0.25, x * 0.25 * 4.0));
    check("gamma:cv=0.5", &|x| lower_gamma(4.0, x * 4.0 * 4.0));
    // A Weibull distribution of shape 1/2 has the mean 2 × scale.
    check("weibull:shape=0.5", &|x| 1.0 - (-(x / 0.125).sqrt()).exp());
    check("weibull:shape=1", &|x| 1.0 - (-4.0 * x).exp());
    assert!(gaps("constant", 4.0).iter().all(|gap| (gap - 0.25).abs() < 2e-9));
}

#[test]
fn on_off_is_poisson_while_on() {
    let arrivals: Arrivals = "on-off:on=5,off=15".parse().unwrap();
    let found = rows(&SynthOptions { arrivals, rate: 4.0, ..of("7") });
    let seconds: Vec<f64> = found.iter().map(|row| row.at.as_secs_f64()).collect();
    assert!(seconds.iter().all(|at| at % 20.0 < 5.0 + 1e-6), "nothing while off");
    let busy: Vec<f64> = seconds.iter().map(|at| (at / 20.0).floor() * 5.0 + at % 20.0).collect();
    let d = kolmogorov_smirnov(busy.windows(2).map(|pair| pair[1] - pair[0]).collect(), |x| {
        1.0 - (-16.0 * x).exp()
    });
    assert!(d < LIMIT, "{d}");
    let rate = ROWS as f64 / seconds.last().unwrap();
    assert!((rate - 4.0).abs() < 0.15, "the mean stays: {rate}");
}

fn talking(prefix: Option<PrefixTree>) -> SynthOptions {
    SynthOptions {
        sessions: Some(SynthSessions {
            turns: "uniform:1..5".parse().unwrap(),
            think: "exponential:mean=10".parse().unwrap(),
        }),
        prefix,
        block_size: 16,
        ..of("uniform:100..300")
    }
}

#[test]
fn conversations_have_their_turns_and_think_times() {
    let options = SynthOptions { rate: 2.0, ..talking(None) };
    let found = rows(&options);
    assert!(found.is_sorted_by_key(|row| row.at));
    let mut by_session: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in &found {
        by_session.entry(row.session.as_deref().unwrap()).or_default().push(row);
    }
    let mut thinks = Vec::new();
    for turns in by_session.values() {
        for pair in turns.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            assert_eq!((after.parent.clone(), after.turn), (before.id.clone(), before.turn.map(|t| t + 1)));
            assert_eq!(after.at.as_nanos() - before.at.as_nanos(), after.delay.unwrap().as_nanos());
            assert!(after.input_length >= before.input_length + before.output_length + 100);
            let whole = (before.input_length / 16) as usize;
            let (a, b) = (before.hash_ids.as_ref().unwrap(), after.hash_ids.as_ref().unwrap());
            assert_eq!(a[..whole], b[..whole], "the history is a prefix");
            assert!(a[whole..].iter().all(|id| !b.contains(id)), "and no more than that");
            thinks.push(after.delay.unwrap().as_secs_f64());
        }
    }
    let n = thinks.len() as f64;
    let d = kolmogorov_smirnov(thinks, |x| 1.0 - (-x / 10.0).exp());
    assert!(d < 1.95 / n.sqrt(), "{d}");
    // The last conversations are cut off by the end of the trace.
    let ended: Vec<usize> = by_session
        .iter()
        .filter(|(name, _)| name[1..].parse::<usize>().unwrap() < 6_000)
        .map(|(_, turns)| turns.len())
        .collect();
    for turns in 1..=5 {
        let share = ended.iter().filter(|n| **n == turns).count() as f64 / ended.len() as f64;
        assert!((share - 0.2).abs() < 0.02, "{turns} turns: {share}");
    }
}

#[test]
fn a_prefix_tree_has_the_given_sharing() {
    // With the number of branches at the first level and at the last.
    let trees = [
        ("depth=1,branching=8,share=0.5", 8, 8),
        ("depth=3,branching=2,share=0.8", 2, 8),
        ("depth=2,branching=3,share=0", 0, 0),
    ];
    for (tree, first, last) in trees {
        let prefix: PrefixTree = tree.parse().unwrap();
        assert_eq!(prefix.to_string(), tree);
        let options =
            SynthOptions { rows: 3_000, prefix: Some(prefix), block_size: 16, ..of("uniform:1000..3000") };
        let mut text = Vec::new();
        assert_eq!(options.write(WriteFormat::Tics, &mut text).unwrap(), 3_000);
        let trace = Trace::read(&*text, "synth", &OpenOptions::default()).unwrap();
        assert!(trace.check().unwrap().findings.is_empty(), "{}", trace.check().unwrap().render());
        let sharing = trace.info().unwrap().prefix.unwrap();
        // Whole blocks: half a block is lost on average, 8 of 2,000 tokens.
        assert!((sharing.token_hit_rate - prefix.share).abs() < 0.01, "{tree}: {}", sharing.token_hit_rate);
        let mean = (prefix.share * 2_000.0 / 16.0) as usize;
        let branches = |place: usize| -> usize {
            let found = trace.rows().map(Result::unwrap);
            let long =
                found.filter(|row| prefix.share * f64::from(row.input_length) / 16.0 >= (place + 1) as f64);
            long.map(|row| row.hash_ids.unwrap()[place]).collect::<HashSet<u64>>().len()
        };
        if first > 0 {
            assert_eq!((branches(0), branches(mean - 2)), (first, last), "{tree}");
        }
    }
}

#[test]
fn a_seed_repeats_and_streams_are_apart() {
    let tree = "depth=2,branching=3,share=0.5".parse().ok();
    let options = SynthOptions { rows: 500, ..talking(tree) };
    assert_eq!(rows(&options), rows(&options));
    assert_ne!(rows(&options), rows(&SynthOptions { seed: 12, ..options.clone() }));
    let plain = SynthOptions { rows: 500, ..of("uniform:100..300") };
    let bursty = SynthOptions { arrivals: "gamma:cv=3".parse().unwrap(), ..plain.clone() };
    let lengths = |options: &SynthOptions| {
        rows(options).iter().map(|r| (r.input_length, r.output_length)).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&plain), lengths(&bursty), "other arrivals, the same lengths");
    let longer = rows(&SynthOptions { rows: 600, ..plain.clone() });
    assert_eq!(longer[..500], rows(&plain), "more rows begin with the same ones");
}

#[test]
fn a_synthetic_trace_is_a_trace_in_every_format() {
    let options =
        SynthOptions { rows: 300, block_size: 512, ..talking("depth=1,branching=2,share=0.5".parse().ok()) };
    for format in [WriteFormat::Tics, WriteFormat::Mooncake] {
        let mut text = Vec::new();
        options.write(format, &mut text).unwrap();
        let trace = Trace::read(&*text, "synth", &OpenOptions::default()).unwrap();
        assert_eq!(trace.index().format.name(), format.name());
        assert!(trace.check().unwrap().is_sound());
        assert_eq!(trace.schedule(&Selection::default()).unwrap().totals().scheduled, 300);
        assert!(trace.info().unwrap().sessions.is_some());
    }
}

#[test]
fn options_that_make_no_trace_are_explained() {
    let error = |options: SynthOptions| options.synthesise().unwrap_err().to_string();
    assert_eq!(error(SynthOptions { rate: 0.0, ..of("1") }), "expected a rate above 0, found 0");
    assert!(matches!(SynthOptions { rate: f64::NAN, ..of("1") }.synthesise(), Err(SynthError::Rate { .. })));
    assert_eq!(
        error(SynthOptions { block_size: 0, ..of("1") }),
        "expected a block size of at least one token, found 0"
    );
    let tree = PrefixTree { depth: 99, branching: 9, share: 0.5 };
    assert!(
        error(SynthOptions { prefix: Some(tree), ..of("1") })
            .ends_with("found depth=99,branching=9,share=0.5")
    );
    for text in [
        "",
        "depth=3",
        "depth=0,branching=2,share=0.5",
        "depth=3,branching=2,share=2",
        "depth=41,branching=2,share=1",
        "depth=1,branching=1,share=1,x=2",
    ] {
        let expect =
            format!("expected depth=3,branching=4,share=0.5 with a share from 0 to 1, found \"{text}\"");
        assert_eq!(text.parse::<PrefixTree>().unwrap_err(), expect);
    }
    let failed = SynthOptions { rate: -1.0, ..of("1") }.write(WriteFormat::Tics, Vec::new()).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::InvalidInput);
}
