//! The server's own counters, read before and after a run: `/metrics` in Prometheus' text format.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tics_record::{Clock, ServerSample};
use tics_stats::CACHE_COUNTERS;

use crate::cli::RunArgs;
use crate::outcome::Failed;
use crate::rundir::RunDir;
use crate::server::{Server, block_on};

/// How long a run waits for them: a page of counters is read from memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// The server's counters over one run.
pub struct Counters<'a> {
    server: &'a Server,
    clock: Arc<dyn Clock>,
    before: Option<ServerSample>,
}

impl<'a> Counters<'a> {
    /// Reads them before the run, unless `args` say not to ask for anything.
    pub fn before(server: &'a Server, clock: &Arc<dyn Clock>, args: &RunArgs) -> Result<Self, Failed> {
        let before = if args.no_probe { None } else { read(server, clock)? };
        Ok(Counters { server, clock: Arc::clone(clock), before })
    }

    /// Reads them again and writes both readings to `dir`; nothing where there was nothing before.
    pub fn after(self, dir: &RunDir) -> Result<(), Failed> {
        let Some(before) = self.before else { return Ok(()) };
        match read(self.server, &self.clock)? {
            Some(after) => dir.write_server(&[before, after]),
            None => Ok(()),
        }
    }
}

/// What of the server's counters says something of its prefix cache. `None` where it has no `/metrics`, or
/// none of these: many servers and every gateway do not, and a run does not need it.
fn read(server: &Server, clock: &Arc<dyn Clock>) -> Result<Option<ServerSample>, Failed> {
    let at = clock.now();
    let client = server.connections.client(Arc::clone(clock));
    let answer = block_on(async { tokio::time::timeout(PATIENCE, client.get("/metrics")).await })?;
    // Neither an answer in time nor one with counters: the run goes on without them.
    let Ok(Ok((200, body))) = answer else { return Ok(None) };
    let counters = known(&String::from_utf8_lossy(&body));
    Ok((!counters.is_empty()).then_some(ServerSample { at, counters }))
}

/// The known counters of a page, each summed over its labels.
fn known(page: &str) -> BTreeMap<String, f64> {
    let is_known = |name: &str| CACHE_COUNTERS.iter().any(|(hits, queries)| [hits, queries].contains(&&name));
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        if !is_known(name) {
            continue;
        }
        // Behind the labels, in which a brace or a blank may stand between quotation marks.
        let rest = line.rsplit_once('}').map_or(&line[name.len()..], |(_, rest)| rest);
        let value = rest.split_whitespace().next().and_then(|value| value.parse::<f64>().ok());
        if let Some(value) = value.filter(|value| value.is_finite()) {
            *found.entry(name.to_owned()).or_insert(0.0) += value;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let page = "# HELP vllm:prefix_cache_hits_total found\n\
            # TYPE vllm:prefix_cache_hits_total counter\n\
            vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"a } b\"} 1.5e+03 1700000000\n\
            vllm:prefix_cache_hits_total{engine=\"1\"} 2\n\
            vllm:prefix_cache_queries_total 10\n\
            vllm:prefix_cache_queries_created 3\n\
            sglang:cached_tokens_total{x=\"1\"} NaN\n\
            other_total 5\n";
        let expect = [("vllm:prefix_cache_hits_total", 1_502.0), ("vllm:prefix_cache_queries_total", 10.0)];
        assert_eq!(known(page), expect.map(|(name, value)| (name.to_owned(), value)).into());
        assert!(known("<html>not here</html>").is_empty());
    }
}
