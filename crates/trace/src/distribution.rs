//! Distributions by name, of lengths and of times.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp, LogNormal, Normal, StandardUniform};

use crate::draw::uniform;
use crate::error::TraceError;
use crate::lengths::Histogram;
use crate::options::Spec;
use crate::trace::Trace;

/// After so many draws outside its bounds, a value is put on the nearer one.
const TRIES: u32 = 1_000;

/// A distribution of numbers from 0 on.
///
/// Written as `500` or `constant:500`, `uniform:100..900`, `normal:mean=500,sd=100`,
/// `lognormal:mean=2000,sigma=1` (the mean is that of the numbers, sigma the standard deviation of
/// their logarithms), `exponential:mean=5`, `empirical:FILE`. The ones with parameters take bounds
/// too, `lognormal:mean=2000,sigma=1,min=10,max=8000`: what is drawn outside is drawn again.
///
/// ```
/// use tics_trace::Distribution;
///
/// let lengths: Distribution = "lognormal:mean=2000,sigma=1".parse()?;
/// assert_eq!(lengths.mean(), 2000.0);
/// assert!("lognormal:mean=2000".parse::<Distribution>().unwrap_err().contains("sigma"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    family: Family,
    least: f64,
    most: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Family {
    Constant(f64),
    Uniform,
    Normal { mean: f64, sd: f64 },
    LogNormal { mean: f64, sigma: f64 },
    Exponential { mean: f64 },
    Empirical(Arc<Empirical>),
}

/// The lengths of another trace.
#[derive(Debug, Clone, PartialEq)]
struct Empirical {
    /// Each length with the number of rows up to it.
    lengths: Vec<(u32, u64)>,
    mean: f64,
}

/// Which of a trace's lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthOf {
    /// Prompts.
    Input,
    /// Answers.
    Output,
}

impl Distribution {
    /// Always the same number; below 0 counts as 0.
    pub fn constant(value: f64) -> Distribution {
        Distribution { family: Family::Constant(value.max(0.0)), least: 0.0, most: f64::INFINITY }
    }

    /// The lengths of another trace, each as often as there. Rows whose length is not known are left
    /// out.
    ///
    /// # Errors
    /// When the trace can no longer be read, or no length is known.
    pub fn empirical(trace: &Trace, which: LengthOf) -> Result<Distribution, TraceError> {
        let mut histogram = Histogram::default();
        let mut rows = trace.rows();
        while let Some(length) = rows
            .next_with(|_, row, _| match which {
                LengthOf::Input => row.input_length,
                LengthOf::Output => row.output_length,
            })
            .transpose()?
        {
            if length > 0 {
                histogram.add(length);
            }
        }
        let (mut below, mut sum) = (0, 0.0);
        let mut lengths = Vec::new();
        for (length, n) in histogram.counts() {
            below += n;
            sum += f64::from(length) * n as f64;
            lengths.push((length, below));
        }
        if lengths.is_empty() {
            let why = "the length of no row is known, so none can be drawn from it".to_owned();
            return Err(TraceError::NothingLeft { path: trace.path().to_owned(), why });
        }
        let empirical = Empirical { mean: sum / below as f64, lengths };
        let family = Family::Empirical(Arc::new(empirical));
        Ok(Distribution { family, least: 0.0, most: f64::INFINITY })
    }

    /// Reads a distribution; `open` is handed the file of `empirical:FILE`.
    ///
    /// # Errors
    /// What was expected instead, or what `open` says.
    pub fn parse_with(
        text: &str,
        open: impl FnOnce(&str) -> Result<Distribution, String>,
    ) -> Result<Distribution, String> {
        if let Some(file) = text.trim().strip_prefix("empirical:") {
            return if file.is_empty() { Err(expected("empirical:FILE", text)) } else { open(file) };
        }
        let mut spec = Spec::parse(text.trim());
        if let Ok(value) = spec.name.parse() {
            return constant(value, text);
        }
        match spec.name {
            "constant" => constant(spec.number("").ok().flatten().unwrap_or(f64::NAN), text),
            "uniform" => parse_uniform(&mut spec, text),
            "normal" => parse_family(&mut spec, text, "normal:mean=500,sd=100", |spec| {
                let (mean, sd) = (spec.number("mean").ok()??, spec.number("sd").ok()??);
                (sd >= 0.0 && mean >= 0.0).then_some(Family::Normal { mean, sd })
            }),
            "lognormal" => parse_family(&mut spec, text, "lognormal:mean=2000,sigma=1", |spec| {
                let (mean, sigma) = (spec.number("mean").ok()??, spec.number("sigma").ok()??);
                (mean > 0.0 && sigma >= 0.0).then_some(Family::LogNormal { mean, sigma })
            }),
            "exponential" => parse_family(&mut spec, text, "exponential:mean=5", |spec| {
                let mean = spec.number("mean").ok()??;
                (mean > 0.0).then_some(Family::Exponential { mean })
            }),
            _ => Err(expected(
                "a number, constant:N, uniform:A..B, normal:mean=M,sd=S, lognormal:mean=M,sigma=S, \
                 exponential:mean=M or empirical:FILE",
                text,
            )),
        }
    }

    /// The mean, bounds aside.
    pub fn mean(&self) -> f64 {
        match &self.family {
            Family::Constant(value) => *value,
            Family::Uniform => f64::midpoint(self.least, self.most),
            Family::Normal { mean, .. } | Family::LogNormal { mean, .. } | Family::Exponential { mean } => {
                *mean
            }
            Family::Empirical(empirical) => empirical.mean,
        }
    }

    /// A number.
    pub(crate) fn draw(&self, random: &mut ChaCha8Rng) -> f64 {
        self.draw_within(random, self.least, self.most)
    }

    /// A whole number, from 1 on.
    pub(crate) fn draw_length(&self, random: &mut ChaCha8Rng) -> u32 {
        if let Family::Uniform = self.family {
            // Every whole number is equally likely, the ends too.
            let (least, most) = (self.least.ceil().max(1.0) as u64, self.most.floor().max(1.0) as u64);
            return uniform(random, least.min(most), most).min(u32::MAX.into()) as u32;
        }
        // A cast from a float stays within the range of the integer.
        (self.draw_within(random, self.least.max(0.5), self.most).round() as u32).max(1)
    }

    fn draw_within(&self, random: &mut ChaCha8Rng, least: f64, most: f64) -> f64 {
        for _ in 0..TRIES {
            let value = self.draw_freely(random);
            if (least..=most).contains(&value) {
                return value;
            }
        }
        self.mean().clamp(least, most.max(least))
    }

    fn draw_freely(&self, random: &mut ChaCha8Rng) -> f64 {
        // The parameters were checked when they were read.
        match &self.family {
            Family::Constant(value) => *value,
            Family::Uniform => {
                let share: f64 = StandardUniform.sample(random);
                self.least + share * (self.most - self.least)
            }
            Family::Normal { mean, sd } => Normal::new(*mean, *sd).map_or(*mean, |n| n.sample(random)),
            Family::LogNormal { mean, sigma } => {
                // The mean of the logarithms that gives the numbers their mean.
                let mu = mean.ln() - sigma * sigma / 2.0;
                LogNormal::new(mu, *sigma).map_or(*mean, |n| n.sample(random))
            }
            Family::Exponential { mean } => Exp::new(1.0 / mean).map_or(*mean, |e| e.sample(random)),
            Family::Empirical(empirical) => {
                let rows = empirical.lengths.last().map_or(1, |(_, below)| *below);
                let rank = uniform(random, 1, rows);
                let at = empirical.lengths.partition_point(|(_, below)| *below < rank);
                empirical.lengths.get(at).map_or(1.0, |(length, _)| f64::from(*length))
            }
        }
    }
}

fn expected(what: &str, found: &str) -> String {
    format!("expected {what}, found \"{found}\"")
}

fn constant(value: f64, text: &str) -> Result<Distribution, String> {
    if value >= 0.0 && value.is_finite() {
        Ok(Distribution::constant(value))
    } else {
        Err(expected("constant:N with a number from 0", text))
    }
}

fn parse_uniform(spec: &mut Spec<'_>, text: &str) -> Result<Distribution, String> {
    let ends = match spec.take("") {
        Some(range) => {
            range.split_once("..").and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)))
        }
        None => spec.number("min").ok().flatten().zip(spec.number("max").ok().flatten()),
    };
    match ends {
        Some((least, most))
            if spec.left().is_none() && 0.0 <= least && least <= most && most < f64::INFINITY =>
        {
            Ok(Distribution { family: Family::Uniform, least, most })
        }
        _ => Err(expected("uniform:A..B with 0 <= A <= B", text)),
    }
}

/// `example` shows the parameters of the family.
fn parse_family(
    spec: &mut Spec<'_>,
    text: &str,
    example: &str,
    read: impl FnOnce(&mut Spec<'_>) -> Option<Family>,
) -> Result<Distribution, String> {
    let family = read(spec);
    let bounds = (spec.number("min"), spec.number("max"));
    match (family, bounds, spec.left()) {
        (Some(family), (Ok(least), Ok(most)), None) => {
            let (least, most) = (least.unwrap_or(0.0), most.unwrap_or(f64::INFINITY));
            if 0.0 <= least && least <= most {
                return Ok(Distribution { family, least, most });
            }
            Err(expected("bounds with 0 <= min <= max", text))
        }
        _ => Err(expected(&format!("{example}, and perhaps min=A and max=B"), text)),
    }
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Distribution::parse_with(text, |file| {
            Err(format!("no trace can be read here, found \"empirical:{file}\""))
        })
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.family {
            Family::Constant(value) => return write!(f, "constant:{value}"),
            Family::Uniform => return write!(f, "uniform:{}..{}", self.least, self.most),
            Family::Empirical(empirical) => {
                return write!(f, "empirical, {} distinct lengths", empirical.lengths.len());
            }
            Family::Normal { mean, sd } => write!(f, "normal:mean={mean},sd={sd}")?,
            Family::LogNormal { mean, sigma } => write!(f, "lognormal:mean={mean},sigma={sigma}")?,
            Family::Exponential { mean } => write!(f, "exponential:mean={mean}")?,
        }
        if self.least > 0.0 {
            write!(f, ",min={}", self.least)?;
        }
        if self.most < f64::INFINITY {
            write!(f, ",max={}", self.most)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_read_or_explained() {
        for text in [
            "constant:500",
            "uniform:100..900",
            "normal:mean=500,sd=100",
            "lognormal:mean=2000,sigma=1",
            "lognormal:mean=2000,sigma=1,min=10,max=8000",
            "exponential:mean=0.5,max=9",
        ] {
            assert_eq!(text.parse::<Distribution>().unwrap().to_string(), text);
        }
        let same = |a: &str, b: &str| assert_eq!(a.parse::<Distribution>(), b.parse::<Distribution>());
        same("500", "constant:500");
        same("uniform:min=1,max=9", "uniform:1..9");
        same(" normal: sd=1 , mean=5 ", "normal:mean=5,sd=1");
        let check = |text: &str, expect: &str| {
            assert_eq!(
                text.parse::<Distribution>().unwrap_err(),
                format!("expected {expect}, found \"{text}\"")
            );
        };
        let families = "a number, constant:N, uniform:A..B, normal:mean=M,sd=S, lognormal:mean=M,sigma=S, \
                        exponential:mean=M or empirical:FILE";
        for text in ["", "zipf:a=1", "1..2"] {
            check(text, families);
        }
        for text in ["-1", "nan", "constant", "constant:x", "constant:-5"] {
            check(text, "constant:N with a number from 0");
        }
        for text in
            ["uniform", "uniform:5", "uniform:9..1", "uniform:a..b", "uniform:min=1", "uniform:1..2,max=3"]
        {
            check(text, "uniform:A..B with 0 <= A <= B");
        }
        let lognormal = "lognormal:mean=2000,sigma=1, and perhaps min=A and max=B";
        for text in [
            "lognormal",
            "lognormal:mean=1",
            "lognormal:mean=0,sigma=1",
            "lognormal:mean=1,sigma=x",
            "lognormal:mean=1,sigma=1,s=2",
        ] {
            check(text, lognormal);
        }
        check("normal:mean=5,sd=-1", "normal:mean=500,sd=100, and perhaps min=A and max=B");
        check("exponential:mean=1,min=5,max=2", "bounds with 0 <= min <= max");
        check("empirical:", "empirical:FILE");
        assert_eq!(
            "empirical:a.jsonl".parse::<Distribution>().unwrap_err(),
            "no trace can be read here, found \"empirical:a.jsonl\""
        );
    }
}
