//! Time limits, by phase. Generous: a slow server is a result, a hung one must not hang the run.

use tics_record::Nanos;

/// Time limits of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To connect, and again for the TLS handshake.
    pub connect: Nanos,
    /// From sent to the first byte of the response's body.
    pub first_byte: Nanos,
    /// Between two reads of the body.
    pub silence: Nanos,
    /// From sent to the end.
    pub total: Nanos,
    /// From `[DONE]` to the end of the body, after which the connection is given up, not the request.
    pub after_done: Nanos,
    /// A connection idle for longer is not used again: servers close theirs after 5 s and later.
    pub idle: Nanos,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Nanos::from_secs(10),
            first_byte: Nanos::from_secs(600),
            silence: Nanos::from_secs(300),
            total: Nanos::from_secs(3600),
            after_done: Nanos::from_millis(500),
            idle: Nanos::from_millis(4_500),
        }
    }
}

/// Which open connection the next request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReusePolicy {
    /// The one used last: the least likely to be closed by now.
    #[default]
    Lifo,
    /// The one used longest ago: spreads requests over the replicas behind a layer-4 balancer.
    RoundRobin,
    /// None: each request opens its own.
    PerRequest,
}
