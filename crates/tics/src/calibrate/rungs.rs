//! The rungs of the ladder: what load each is, and its schedule.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use crate::outcome::{Failed, OrStatus, USAGE};

/// First token of a stream, after its request was received.
const TTFT: Duration = Duration::from_millis(20);
/// Gap between tokens where the rung is about arrivals.
const ARRIVALS_ITL: Duration = Duration::from_millis(10);
/// Prompt of a stream, tokens.
const PROMPT: u32 = 100;
/// Below this many streams each lasts a second and is followed by another, so that there is more than
/// a handful of requests to judge by.
const FEW_STREAMS: u32 = 50;

/// A load that Tics is measured under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// So many streams at once, of so many tokens a second each.
    Streams {
        /// Streams open at the same time.
        streams: u32,
        /// Tokens a second of each.
        rate: u32,
    },
    /// Requests at random instants, so many a second on average.
    Arrivals {
        /// A second.
        rate: u32,
    },
    /// A thousand requests due at one instant.
    Burst,
    /// 64 streams that never pause.
    Flood {
        /// Bytes of padding in each event.
        padding: u32,
    },
    /// 10,000 streams open at once.
    Memory,
    /// A million short requests.
    Million,
    /// Traces of a hundred thousand and of a million rows.
    Rows,
}

/// One request of a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// From the schedule's zero.
    pub due_ns: u64,
    /// Prompt, tokens.
    pub input: u32,
    /// Tokens to ask for.
    pub output: u32,
}

impl Rung {
    /// The ladder, from the lightest load of each kind to the heaviest.
    pub const LADDER: [Rung; 9] = [
        Rung::Streams { streams: 1, rate: 20 },
        Rung::Streams { streams: 50, rate: 20 },
        Rung::Streams { streams: 200, rate: 50 },
        Rung::Streams { streams: 500, rate: 50 },
        Rung::Streams { streams: 1000, rate: 50 },
        Rung::Streams { streams: 1000, rate: 100 },
        Rung::Arrivals { rate: 100 },
        Rung::Arrivals { rate: 1000 },
        Rung::Burst,
    ];

    /// How long its load lasts unless told otherwise.
    pub fn default_seconds(self) -> Duration {
        match self {
            Rung::Streams { .. } => Duration::from_secs(3),
            Rung::Arrivals { .. } => Duration::from_secs(5),
            _ => Duration::from_secs(1),
        }
    }

    /// Whether client and server each get every core: beyond one core's worth of tokens.
    pub fn shares_cores(self) -> bool {
        matches!(self, Rung::Streams { streams, rate } if u64::from(streams) * u64::from(rate) > 50_000)
    }

    /// Whether an error within 1 ms is asked of it: requests that are due at one instant must be late.
    pub fn is_judged(self) -> bool {
        matches!(self, Rung::Streams { .. } | Rung::Arrivals { .. })
    }

    /// From the first byte of a request to its first token, and between tokens.
    fn timetable(self) -> (Duration, Duration) {
        match self {
            Rung::Streams { rate, .. } => (TTFT, Duration::from_secs(1) / rate),
            _ => (TTFT, ARRIVALS_ITL),
        }
    }

    /// Arguments of the simulated server.
    pub fn server(self) -> Vec<String> {
        if let Rung::Flood { padding } = self {
            return vec!["--flood".to_owned(), format!("--event-padding={padding}")];
        }
        let (ttft, itl) = self.timetable();
        // In nanoseconds: a third of a second has no end in decimals.
        vec![format!("--ttft={}ns", ttft.as_nanos()), format!("--itl={}ns", itl.as_nanos())]
    }

    /// How long a response of `output` tokens takes, at the least.
    pub fn response_ns(self, output: u32) -> u64 {
        let (ttft, itl) = self.timetable();
        (ttft + itl * output.saturating_sub(1)).as_nanos() as u64
    }

    /// Its requests over `seconds` of load, in the order of their due instants; always the same ones.
    pub fn schedule(self, seconds: Duration) -> Vec<Arrival> {
        let mut draw = Draw(0x7163_5f63_616c_6962);
        let length = seconds.as_secs_f64();
        let mut arrivals: Vec<Arrival> = match self {
            Rung::Streams { streams, rate } => {
                let lives = if streams < FEW_STREAMS { length.ceil().max(1.0) as u32 } else { 1 };
                let life = length / f64::from(lives);
                let output = (life * f64::from(rate)).round().max(2.0) as u32;
                // A twentieth of a second for the end of one and the start of the next.
                let step = life + 0.05;
                let one = |draw: &mut Draw, nth: u32| {
                    let at = draw.unit() + f64::from(nth) * step;
                    Arrival { due_ns: nanos(at), input: PROMPT, output }
                };
                (0..streams)
                    .flat_map(|_| (0..lives).collect::<Vec<_>>())
                    .map(|nth| one(&mut draw, nth))
                    .collect()
            }
            Rung::Arrivals { rate } => {
                let output = if rate > 250 { 8 } else { 32 };
                let mut at = 0.0;
                let mut all = Vec::new();
                loop {
                    at += draw.exponential() / f64::from(rate);
                    if at >= length {
                        break all;
                    }
                    all.push(Arrival { due_ns: nanos(at), input: draw.between(50, 2_000), output });
                }
            }
            Rung::Burst => vec![Arrival { due_ns: 0, input: PROMPT, output: 8 }; 1000],
            Rung::Flood { padding } => {
                // About the same number of bytes, whatever the size of an event.
                let output = (length * 8_000_000.0 / f64::from(padding + 200)).max(2.0) as u32;
                vec![Arrival { due_ns: 0, input: PROMPT, output }; 64]
            }
            Rung::Memory | Rung::Million | Rung::Rows => Vec::new(),
        };
        arrivals.sort_by_key(|arrival| arrival.due_ns);
        // A trace begins with its first request, so a schedule does too.
        let first = arrivals.first().map_or(0, |arrival| arrival.due_ns);
        for arrival in &mut arrivals {
            arrival.due_ns -= first;
        }
        arrivals
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Writes a schedule as a trace.
pub fn write_trace(arrivals: &[Arrival], out: &mut impl Write) -> io::Result<()> {
    for Arrival { due_ns, input, output } in arrivals {
        let (s, ns) = (due_ns / 1_000_000_000, due_ns % 1_000_000_000);
        writeln!(
            out,
            r#"{{"timestamp_s": {s}.{ns:09}, "input_length": {input}, "output_length": {output}}}"#
        )?;
    }
    out.flush()
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Rung::Streams { streams, rate } => format!("{streams}x{rate}"),
            Rung::Arrivals { rate } => format!("{rate}/s"),
            Rung::Burst => "burst".to_owned(),
            Rung::Flood { padding: 0 } => "flood-small".to_owned(),
            Rung::Flood { .. } => "flood".to_owned(),
            Rung::Memory => "memory".to_owned(),
            Rung::Million => "million".to_owned(),
            Rung::Rows => "rows".to_owned(),
        };
        f.pad(&name)
    }
}

impl FromStr for Rung {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u32>().ok().filter(|n| (1..=1_000_000).contains(n));
        let found = match text {
            "burst" => Some(Rung::Burst),
            "flood" => Some(Rung::Flood { padding: 4096 }),
            "flood-small" => Some(Rung::Flood { padding: 0 }),
            "memory" => Some(Rung::Memory),
            "million" => Some(Rung::Million),
            "rows" => Some(Rung::Rows),
            _ => match (text.split_once('x'), text.strip_suffix("/s")) {
                (Some((streams, rate)), _) => {
                    number(streams).zip(number(rate)).map(|(streams, rate)| Rung::Streams { streams, rate })
                }
                (_, Some(rate)) => number(rate).map(|rate| Rung::Arrivals { rate }),
                _ => None,
            },
        };
        found.ok_or_else(|| {
            "expected STREAMSxTOKENS (500x50), ARRIVALS/s (100/s), burst, flood, flood-small, memory, million or rows"
                .to_owned()
        })
    }
}

/// The rungs that were asked for, or the ladder.
pub fn chosen(asked: &[Rung]) -> Vec<Rung> {
    if asked.is_empty() { Rung::LADDER.to_vec() } else { asked.to_vec() }
}

/// Writes the trace of `arrivals` to `path`.
pub fn write_trace_file(arrivals: &[Arrival], path: &std::path::Path) -> Result<(), Failed> {
    let file = std::fs::File::create(path).or_status(USAGE)?;
    write_trace(arrivals, &mut io::BufWriter::new(file)).or_status(USAGE)
}

/// Random numbers that are the same for ever (splitmix64): a rung's load is part of its definition.
///
/// Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
pub struct Draw(pub u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    fn between(&mut self, low: u32, high: u32) -> u32 {
        low + (self.unit() * f64::from(high - low)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Duration = Duration::from_secs(4);

    #[test]
    fn names_are_read_as_they_are_printed() {
        let others =
            ["burst", "flood", "flood-small", "memory", "million", "rows", "300x7", "42/s"].map(String::from);
        for name in Rung::LADDER.map(|rung| rung.to_string()).into_iter().chain(others) {
            assert_eq!(name.parse::<Rung>().unwrap().to_string(), name);
        }
        for bad in ["", "x", "0x5", "5x", "/s", "0/s", "-1/s", "5x5x5", "ladder"] {
            assert!(bad.parse::<Rung>().unwrap_err().starts_with("expected STREAMSx"), "{bad}");
        }
    }

    #[test]
    fn a_rung_is_the_load_that_it_is_named_for() {
        let streams = Rung::Streams { streams: 500, rate: 50 }.schedule(SECONDS);
        assert_eq!(streams.len(), 500);
        assert!(streams.iter().all(|a| a.due_ns < 1_000_000_000 && a.output == 200));
        assert!(streams.is_sorted_by_key(|a| a.due_ns) && streams[0].due_ns == 0);
        // Not in step with the tokens: no more than a few share a tenth of the gap between them.
        let mut phases = [0; 10];
        for a in &streams {
            phases[(a.due_ns % 20_000_000 / 2_000_000) as usize] += 1;
        }
        assert!(phases.iter().all(|n| (25..=75).contains(n)), "{phases:?}");

        let few = Rung::Streams { streams: 2, rate: 20 }.schedule(SECONDS);
        assert_eq!((few.len(), few[0].output), (8, 20));

        let arrivals = Rung::Arrivals { rate: 1000 }.schedule(SECONDS);
        assert!((3_800..4_200).contains(&arrivals.len()), "{}", arrivals.len());
        assert!(arrivals.iter().all(|a| a.output == 8 && (50..2_000).contains(&a.input)));
        assert_eq!(arrivals, Rung::Arrivals { rate: 1000 }.schedule(SECONDS));
    }

    #[test]
    fn a_trace_keeps_nanoseconds() {
        let mut text = Vec::new();
        write_trace(&[Arrival { due_ns: 12_000_000_345, input: 7, output: 9 }], &mut text).unwrap();
        let expect = "{\"timestamp_s\": 12.000000345, \"input_length\": 7, \"output_length\": 9}\n";
        assert_eq!(String::from_utf8(text).unwrap(), expect);
    }
}
