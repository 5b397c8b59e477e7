//! What a server says of itself: a line of `server.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Stamp;

/// A server's counters at one instant, each summed over its labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerSample {
    /// When they were read.
    #[serde(rename = "t_ns")]
    pub at: Stamp,
    /// By name, as its `/metrics` has them.
    pub counters: BTreeMap<String, f64>,
}
