//! When requests come, by name.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, Gamma, Weibull};

use crate::options::Spec;

/// How arrivals follow each other, at a given mean rate.
///
/// Written as `constant`, `poisson`, `gamma:cv=2` (cv is the coefficient of variation of the gaps; 1
/// is Poisson), `weibull:shape=0.7` (1 is Poisson, less is burstier), `on-off:on=5,off=10` (seconds:
/// Poisson while on, at a rate so much higher that the mean stays; nothing while off).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Equal gaps.
    Constant,
    /// Independent arrivals.
    Poisson,
    /// Gaps from a gamma distribution.
    Gamma {
        /// Coefficient of variation, above 0.
        cv: f64,
    },
    /// Gaps from a Weibull distribution.
    Weibull {
        /// Its shape, above 0.
        shape: f64,
    },
    /// Poisson in stretches of time, nothing between them.
    OnOff {
        /// Length of a busy stretch, seconds, above 0.
        on_s: f64,
        /// Length of a silent stretch, seconds, from 0.
        off_s: f64,
    },
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arrivals::Constant => f.write_str("constant"),
            Arrivals::Poisson => f.write_str("poisson"),
            Arrivals::Gamma { cv } => write!(f, "gamma:cv={cv}"),
            Arrivals::Weibull { shape } => write!(f, "weibull:shape={shape}"),
            Arrivals::OnOff { on_s, off_s } => write!(f, "on-off:on={on_s},off={off_s}"),
        }
    }
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut spec = Spec::parse(text.trim());
        let mut above_zero = |key: &str| spec.number(key).ok().flatten().filter(|n| *n > 0.0);
        let (found, example) = match text.trim().split(':').next().unwrap_or("").trim() {
            "constant" => (Some(Arrivals::Constant), "constant"),
            "poisson" => (Some(Arrivals::Poisson), "poisson"),
            // Beyond a hundred, most gaps are below the smallest number there is.
            "gamma" => {
                let cv = above_zero("cv").filter(|cv| (0.01..=100.0).contains(cv));
                (cv.map(|cv| Arrivals::Gamma { cv }), "gamma:cv=2 with a cv from 0.01 to 100")
            }
            "weibull" => {
                let shape = above_zero("shape").filter(|shape| (0.1..=100.0).contains(shape));
                let example = "weibull:shape=0.7 with a shape from 0.1 to 100";
                (shape.map(|shape| Arrivals::Weibull { shape }), example)
            }
            "on-off" => {
                let on_s = above_zero("on");
                let off_s = spec.number("off").ok().flatten().filter(|off| *off >= 0.0);
                let both = on_s.zip(off_s).map(|(on_s, off_s)| Arrivals::OnOff { on_s, off_s });
                (both, "on-off:on=5,off=10 in seconds")
            }
            _ => (None, "constant, poisson, gamma:cv=C, weibull:shape=S or on-off:on=A,off=B"),
        };
        found.filter(|_| spec.left().is_none()).ok_or_else(|| format!("expected {example}, found \"{text}\""))
    }
}

/// Times of arrivals, seconds, the first at 0.
#[derive(Debug)]
pub(crate) struct ArrivalTimes {
    arrivals: Arrivals,
    rate: f64,
    random: ChaCha8Rng,
    arrived: u64,
    /// Sum of the gaps; for on-off, time spent on.
    at: f64,
}

impl ArrivalTimes {
    pub(crate) fn new(arrivals: Arrivals, rate: f64, random: ChaCha8Rng) -> ArrivalTimes {
        ArrivalTimes { arrivals, rate, random, arrived: 0, at: 0.0 }
    }

    pub(crate) fn next_time(&mut self) -> f64 {
        if self.arrived > 0 {
            self.at += self.gap();
        }
        self.arrived += 1;
        match self.arrivals {
            // Not a sum: its error would grow with the number of gaps.
            Arrivals::Constant => (self.arrived - 1) as f64 / self.rate,
            Arrivals::OnOff { on_s, off_s } => (self.at / on_s).floor() * (on_s + off_s) + self.at % on_s,
            _ => self.at,
        }
    }

    fn gap(&mut self) -> f64 {
        let mean = 1.0 / self.rate;
        // The parameters were checked when they were read.
        match self.arrivals {
            Arrivals::Constant => mean,
            Arrivals::Poisson => mean * self.exponential(),
            Arrivals::Gamma { cv } => {
                let shape = 1.0 / (cv * cv);
                Gamma::new(shape, mean / shape).map_or(mean, |gamma| gamma.sample(&mut self.random))
            }
            Arrivals::Weibull { shape } => {
                let scale = mean / gamma_function(1.0 + 1.0 / shape);
                Weibull::new(scale, shape).map_or(mean, |weibull| weibull.sample(&mut self.random))
            }
            Arrivals::OnOff { on_s, off_s } => mean * on_s / (on_s + off_s) * self.exponential(),
        }
    }

    fn exponential(&mut self) -> f64 {
        Exp1.sample(&mut self.random)
    }
}

/// Γ(x) for x ≥ 1, to about 13 digits.
///
/// Source: Lanczos 1964, with g = 7 and nine coefficients (Godfrey 2001).
fn gamma_function(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let series: f64 = COEFFICIENTS.iter().zip(1..).map(|(c, i)| c / (x + f64::from(i))).sum();
    let t = x + 7.5;
    (2.0 * std::f64::consts::PI).sqrt() * t.powf(x + 0.5) * (-t).exp() * (0.999_999_999_999_809_9 + series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_read_or_explained() {
        for text in ["constant", "poisson", "gamma:cv=2", "weibull:shape=0.7", "on-off:on=5,off=10"] {
            assert_eq!(text.parse::<Arrivals>().unwrap().to_string(), text);
        }
        let check = |text: &str, expect: &str| {
            assert_eq!(text.parse::<Arrivals>().unwrap_err(), format!("expected {expect}, found \"{text}\""));
        };
        check("", "constant, poisson, gamma:cv=C, weibull:shape=S or on-off:on=A,off=B");
        check("poisson:cv=2", "poisson");
        check("gamma", "gamma:cv=2 with a cv from 0.01 to 100");
        check("gamma:cv=0", "gamma:cv=2 with a cv from 0.01 to 100");
        check("gamma:cv=nan", "gamma:cv=2 with a cv from 0.01 to 100");
        check("weibull:shape=1e9", "weibull:shape=0.7 with a shape from 0.1 to 100");
        check("on-off:on=5", "on-off:on=5,off=10 in seconds");
        check("on-off:on=0,off=1", "on-off:on=5,off=10 in seconds");
    }

    #[test]
    fn the_gamma_function_is_exact_enough() {
        for (x, expect) in [(1.0, 1.0), (5.0, 24.0), (1.5, 0.886_226_925_452_758), (11.0, 3_628_800.0)] {
            assert!((gamma_function(x) / expect - 1.0_f64).abs() < 1e-12, "{x}: {}", gamma_function(x));
        }
    }
}
