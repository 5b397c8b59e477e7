//! A 95 % interval holds the true value in 93 to 97 % of runs.

use tics_stats::{Distribution, Interval};

const RUNS: u64 = 2_000;
const N: usize = 1_000;

/// SplitMix64 and Box-Muller: standard normal numbers, the same for ever.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// A run: an autoregressive series whose values are standard normal, skewed as latencies are (which
    /// no quantile's interval may notice).
    fn run(&mut self, rho: f64) -> Vec<f64> {
        let mut value = self.next();
        let step = (1.0 - rho * rho).sqrt();
        (0..N)
            .map(|_| {
                value = rho * value + step * self.next();
                value.exp()
            })
            .collect()
    }
}

/// Shares of runs whose interval holds the true p50, p90, p95 and p99, in percent.
fn coverage(rho: f64) -> [f64; 4] {
    // z of the four quantiles.
    let truth = [0.0, 1.281_551_565_544_6, 1.644_853_626_951_5, 2.326_347_874_040_8].map(f64::exp);
    let mut held = [0u32; 4];
    for seed in 0..RUNS {
        let d = Distribution::of_series(&Normal(seed.wrapping_mul(0x1234_5678_9abc_def1)).run(rho), 1.0);
        let b = d.bounds;
        for (k, ci) in [b.p50_ci, b.p90_ci, b.p95_ci, b.p99_ci].into_iter().enumerate() {
            let holds = |Interval { lo, hi }| {
                lo.is_none_or(|lo| lo <= truth[k]) && hi.is_none_or(|hi| truth[k] <= hi)
            };
            held[k] += u32::from(ci.is_some_and(holds));
        }
    }
    held.map(|n| 100.0 * f64::from(n) / RUNS as f64)
}

fn check(rho: f64) {
    let covered = coverage(rho);
    println!("rho {rho}: {covered:?}");
    assert!(covered.iter().all(|share| (93.0..=97.0).contains(share)), "rho {rho}: {covered:?}");
}

#[test]
fn of_independent_values() {
    check(0.0);
}

#[test]
fn of_correlated_values() {
    check(0.5);
}
