//! How much a series of values in order of sending tells: its autocorrelation, as one factor.

/// Lags looked at before the series is made coarser.
const LAGS: usize = 32;
/// Below this many values nothing is known of their correlation.
const FEW: usize = 16;

/// τ ≥ 1: by how much the variance of the series' mean exceeds that of as many independent values.
/// n values tell as much as n / τ independent ones.
///
/// The autocovariances are summed by Geyer's initial monotone sequence: sums of neighbouring pairs, as
/// long as they are positive, none above the one before. Where they stay positive over 32 lags, values
/// are added up in pairs and the sums looked at instead, so that a correlation as long as the run is
/// found with n · 64 multiplications.
///
/// - `series`: values in order; taken over, as it is centred and added up in place.
///
/// Source: Geyer 1992, "Practical Markov chain Monte Carlo", section 3.3.
pub(crate) fn inflation(mut series: Vec<f64>) -> f64 {
    let n = series.len();
    let mean = series.iter().sum::<f64>() / n as f64;
    for value in &mut series {
        *value -= mean;
    }
    let variance = series.iter().map(|v| v * v).sum::<f64>() / n as f64;
    if n < FEW || variance <= 0.0 {
        return 1.0;
    }
    // Values added up in one of the present series.
    let mut each = 1.0;
    loop {
        let (sum, ended) = initial_sequence(&series);
        if ended || series.len() < 4 * LAGS {
            return (sum / (each * variance)).max(1.0);
        }
        let pairs = series.len() / 2;
        for k in 0..pairs {
            series[k] = series[2 * k] + series[2 * k + 1];
        }
        series.truncate(pairs);
        each *= 2.0;
    }
}

/// γ0 + 2 Σ γk over the initial sequence, and whether it came to its end.
fn initial_sequence(centred: &[f64]) -> (f64, bool) {
    let n = centred.len();
    let lags = LAGS.min(n - 1);
    let covariance =
        |lag: usize| centred[lag..].iter().zip(centred).map(|(a, b)| a * b).sum::<f64>() / n as f64;
    let mut sum = -covariance(0);
    let mut least = f64::INFINITY;
    for lag in (0..lags).step_by(2) {
        let pair = covariance(lag) + covariance(lag + 1);
        if pair <= 0.0 {
            return (sum, true);
        }
        least = least.min(pair);
        sum += 2.0 * least;
    }
    (sum, false)
}
