//! What the prefix cache costs the reader for a long prompt.
//!
//! `cargo run --release -p tics-sim --example prefix_cost -- [PROMPT_BYTES] [REQUESTS]`
//!
//! By the server's own log: from a request's receive stamp to the head of its response, which is sent as
//! soon as the request was understood and looked up. No prompt begins as another does, so all its blocks
//! are stored anew.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tics_sim::{PrefixCache, Sim, SimOptions, Timetable};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<usize> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let arg = |i: usize, default| args.get(i).copied().unwrap_or(default);
    let (bytes, requests) = (arg(0, 100_000), arg(1, 300));
    println!(
        "{requests} prompts of {bytes} bytes; from received to head sent, 10th percentile and median, µs"
    );
    let line = " the harbour of amber and slow morning light";
    let paragraphs = line.repeat(3) + "\\n\\n";
    for (text, part) in [("plain", line), ("paragraphs", &paragraphs), ("accents", " un café très fermé")]
    {
        for (name, block_tokens) in [("no cache", 0), ("blocks of 16", 16), ("blocks of 512", 512)] {
            let cache = PrefixCache { block_tokens, capacity_blocks: 1 << 20 };
            let mut spans =
                measure((block_tokens > 0).then_some(cache), &part.repeat(bytes / part.len()), requests)?;
            spans.sort_by(f64::total_cmp);
            let at = |share: usize| spans[spans.len() * share / 100];
            println!("{text:10}  {name:14} {:6.0} {:6.0}", at(10), at(50));
        }
    }
    Ok(())
}

/// µs of each request.
fn measure(
    prefix_cache: Option<PrefixCache>,
    text: &str,
    requests: usize,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("truth.jsonl");
    let sim = Sim::start(SimOptions {
        timetable: Timetable::Fixed { ttft: Duration::ZERO, itl: Duration::ZERO },
        prefix_cache,
        truth: Some(log.clone()),
        ..SimOptions::default()
    })?;
    let mut client = TcpStream::connect(sim.addr())?;
    let mut answer = vec![0; 1 << 16];
    for i in 0..requests {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"{i}{text}"}}],"max_tokens":1,"stream":true}}"#
        );
        let length = body.len();
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n");
        client.write_all((head + &body).as_bytes())?;
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            let n = client.read(&mut answer)?;
            seen.extend_from_slice(&answer[..n]);
        }
    }
    sim.stop()?;
    let mut spans = Vec::new();
    for line in std::fs::read_to_string(&log)?.lines().skip(1) {
        let line: Value = serde_json::from_str(line)?;
        let at = |key: &str| line[key].as_u64().ok_or("a truth line without an instant");
        spans.push((at("head_ns")? - at("received_ns")?) as f64 / 1e3);
    }
    Ok(spans)
}
