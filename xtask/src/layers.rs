//! The layers as a table: for each crate the crates it may use, and what it must not know.

/// What one crate of the workspace may and must not know. Dependencies of tests and benches are free.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Name of the crate.
    pub(crate) name: &'static str,
    /// Crates of the workspace it may depend on.
    pub(crate) may_use: &'static [&'static str],
    /// Crates that it must not bring in, however indirectly.
    pub(crate) must_not_reach: &'static [&'static str],
    /// Crates that it must not name itself, though what it uses may bring them in.
    pub(crate) must_not_name: &'static [&'static str],
    /// Modules of `std` that its code, tests aside, must not name.
    pub(crate) must_not_touch: &'static [&'static str],
}

const RUNTIMES_AND_NETWORK: [&str; 5] = ["tokio", "hyper", "hyper-util", "http", "rustls"];
const TERMINALS: [&str; 2] = ["ratatui", "crossterm"];
const FILES_AND_SOCKETS: [&str; 2] = ["fs", "net"];

/// From the leaf upwards.
pub(crate) const LAYERS: [Layer; 11] = [
    Layer {
        name: "tics-record",
        may_use: &[],
        must_not_reach: &["tokio", "hyper", "http", "rustls", "ratatui", "crossterm", "tokenizers", "nix"],
        must_not_name: &[],
        must_not_touch: &FILES_AND_SOCKETS,
    },
    Layer {
        name: "tics-trace",
        may_use: &["tics-record"],
        must_not_reach: &["tokio", "hyper", "http", "rustls", "ratatui", "crossterm", "tokenizers"],
        must_not_name: &[],
        must_not_touch: &["net"],
    },
    Layer {
        name: "tics-prompt",
        may_use: &[],
        must_not_reach: &["tokio", "hyper", "http", "rustls", "ratatui", "crossterm", "ureq", "reqwest"],
        must_not_name: &[],
        must_not_touch: &["net"],
    },
    Layer {
        name: "tics-client",
        may_use: &["tics-record"],
        must_not_reach: &["ratatui", "crossterm", "tokenizers"],
        must_not_name: &[],
        must_not_touch: &[],
    },
    Layer {
        name: "tics-scheduler",
        may_use: &["tics-record"],
        must_not_reach: &["hyper", "http", "rustls", "ratatui", "crossterm", "tokenizers"],
        must_not_name: &["serde", "serde_json"],
        must_not_touch: &["fs"],
    },
    Layer {
        name: "tics-stats",
        may_use: &["tics-record"],
        must_not_reach: &["tokio", "hyper", "http", "rustls", "ratatui", "crossterm", "tokenizers", "nix"],
        must_not_name: &[],
        must_not_touch: &FILES_AND_SOCKETS,
    },
    Layer {
        name: "tics-dashboard",
        may_use: &["tics-record"],
        must_not_reach: &RUNTIMES_AND_NETWORK,
        must_not_name: &[],
        must_not_touch: &["fs", "net", "time"],
    },
    Layer {
        name: "tics-report",
        may_use: &["tics-record", "tics-stats"],
        must_not_reach: &["tokio", "hyper", "http", "rustls", "ratatui", "crossterm", "tokenizers"],
        must_not_name: &[],
        must_not_touch: &["net"],
    },
    // Not even the client's HTTP library: one mistake must not hide another.
    Layer {
        name: "tics-sim",
        may_use: &["tics-record"],
        must_not_reach: &["hyper", "ratatui", "crossterm", "tokenizers"],
        must_not_name: &[],
        must_not_touch: &[],
    },
    Layer {
        name: "tics",
        may_use: &[
            "tics-client",
            "tics-dashboard",
            "tics-prompt",
            "tics-record",
            "tics-report",
            "tics-scheduler",
            "tics-sim",
            "tics-stats",
            "tics-trace",
        ],
        must_not_reach: &[],
        must_not_name: &[],
        must_not_touch: &[],
    },
    Layer {
        name: "xtask",
        may_use: &["tics-prompt", "tics-trace"],
        must_not_reach: &TERMINALS,
        must_not_name: &["tokio", "hyper", "clap"],
        must_not_touch: &["net"],
    },
];
