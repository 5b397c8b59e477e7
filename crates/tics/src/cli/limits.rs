//! The arguments that say how long a server is waited for.

use std::fmt;
use std::time::Duration;

use clap::Args;
use tics_client::Limits;
use tics_record::Nanos;

use super::duration;

/// Time limits of each request, by phase. A request that meets one is a `timeout`, which names the phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Server")]
pub struct LimitArgs {
    /// Time to connect, and again for the TLS handshake
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = limit)]
    pub connect_timeout: Duration,
    /// Time from sent to the first byte of the answer's body
    #[arg(long, value_name = "TIME", default_value = "600s", value_parser = limit)]
    pub first_byte_timeout: Duration,
    /// Time in which nothing more comes
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = limit)]
    pub silence_timeout: Duration,
    /// Time from sent to the end of the answer
    #[arg(long, value_name = "TIME", default_value = "3600s", value_parser = limit)]
    pub timeout: Duration,
}

impl LimitArgs {
    /// As the client takes them.
    pub fn limits(&self) -> Limits {
        let nanos = |time: Duration| Nanos::new(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Limits {
            connect: nanos(self.connect_timeout),
            first_byte: nanos(self.first_byte_timeout),
            silence: nanos(self.silence_timeout),
            total: nanos(self.timeout),
            ..Limits::default()
        }
    }
}

impl fmt::Display for LimitArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = humantime::format_duration;
        write!(
            f,
            "connect {}, first byte {}, silence {}, in all {}",
            shown(self.connect_timeout),
            shown(self.first_byte_timeout),
            shown(self.silence_timeout),
            shown(self.timeout)
        )
    }
}

/// A time limit: none is no time at all, or so long that a clock cannot hold it.
fn limit(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let fits = time > Duration::ZERO && time <= Duration::from_hours(365 * 24);
    if fits { Ok(time) } else { Err("expected more than nothing, and a year at most".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn what_is_not_given_is_what_the_client_has() {
        let none = Command::parse_from(["tics"]).limits;
        assert_eq!(none.limits(), Limits::default());
        assert_eq!(none.to_string(), "connect 10s, first byte 10m, silence 5m, in all 1h");
    }

    #[test]
    fn no_time_and_endless_time_are_refused() {
        assert_eq!(limit("250ms"), Ok(Duration::from_millis(250)));
        for text in ["0s", "2years", "soon"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
