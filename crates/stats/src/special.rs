//! The special function that intervals need: the incomplete beta function.

use libm::lgamma;

/// I_x(a, b), the distribution function of Beta(a, b) at `x` in [0, 1]; `a` and `b` > 0.
///
/// Source: the continued fraction DLMF 8.17.22, by Lentz's method; the symmetry I_x(a, b) =
/// 1 - I_(1-x)(b, a) where it converges slowly.
pub(crate) fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf(1.0 - x, b, a);
    }
    let front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * x.ln() + b * (-x).ln_1p();
    front.exp() / a * continued_fraction(x, a, b)
}

fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    // √(max(a, b)) terms are enough; a and b are at most the number of values, 10^9.
    const MOST: u32 = 100_000;
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut numerator = 1.0;
    let mut denominator = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut value = denominator;
    for m in 1..MOST {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for term in [even, odd] {
            denominator = 1.0 / away(1.0 + term * denominator);
            numerator = away(1.0 + term / numerator);
            value *= numerator * denominator;
        }
        if (numerator * denominator - 1.0).abs() < 1e-14 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beta_distribution_is_the_binomials() {
        // P(Binomial(n, x) ≥ k) = I_x(k, n - k + 1), summed literally.
        let check = |n: u32, x: f64| {
            for k in 1..=n {
                let mut term = (1.0 - x).powf(f64::from(n));
                let mut below = 0.0;
                for j in 0..k {
                    below += term;
                    term *= f64::from(n - j) / f64::from(j + 1) * x / (1.0 - x);
                }
                let got = beta_cdf(x, f64::from(k), f64::from(n - k + 1));
                assert!((got - (1.0 - below)).abs() < 1e-10, "n {n}, k {k}, x {x}: {got}");
            }
        };
        check(1, 0.3);
        check(20, 0.5);
        check(60, 0.99);
        check(60, 0.01);
        assert_eq!((beta_cdf(0.0, 2.0, 3.0), beta_cdf(1.0, 2.0, 3.0)), (0.0, 1.0));
        // Far out and with large parameters it stays a distribution function.
        let large = beta_cdf(0.99, 0.99e8, 0.01e8);
        assert!((large - 0.5).abs() < 1e-3, "{large}");
    }
}
