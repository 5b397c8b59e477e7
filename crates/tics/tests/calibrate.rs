//! `tics calibrate`, on loads that any machine can carry.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::process::{Command, Output};

use serde_json::Value;

fn calibrate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tics")).arg("calibrate").args(args).output().unwrap()
}

#[test]
fn both_clients_play_the_whole_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.json");
    let args = ["--floor", "--pairs=2", "--rung=3x20", "--rung=40/s", "--seconds=0.5", "--json", "--quiet"];
    let output = calibrate(&[&args[..], &["-o", file.to_str().unwrap()]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    assert_eq!(output.stdout, std::fs::read(&file).unwrap());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();

    let rungs = found["rungs"].as_array().unwrap();
    assert_eq!(rungs.iter().map(|r| r["name"].as_str().unwrap()).collect::<Vec<_>>(), ["3x20", "40/s"]);
    for (rung, tokens) in rungs.iter().zip([10, 32]) {
        let requests = rung["requests"].as_u64().unwrap();
        // Role, tokens, usage, end: both clients count the same events.
        let events = requests * (tokens + 3);
        for run in rung["tics_runs"].as_array().unwrap() {
            assert_eq!((&run["failed"], &run["events"]), (&0.into(), &events.into()), "{run}");
            assert_eq!(run["ttft_error_us"]["n"], requests);
            assert_eq!(run["icl_error_us"]["n"], requests * (tokens - 1));
            assert_eq!(run["truth"]["write_us"]["n"], requests * tokens);
            // Nothing arrives before it is due; how much later is this machine's business.
            assert!(run["arrival_us"]["p50"].as_f64().unwrap() > 0.0, "{run}");
        }
        for run in rung["floor_runs"].as_array().unwrap() {
            assert_eq!((&run["starved"], &run["events"]), (&0.into(), &events.into()), "{run}");
            assert_eq!(run["arrival_us"]["n"], requests);
            assert!(run["arrival_us"]["p50"].as_f64().unwrap() > 0.0, "{run}");
        }
        let ratio = &rung["ratios"]["cpu_per_event"];
        assert_eq!(ratio["n"], 2);
        assert!(ratio["low"].as_f64() > Some(0.0) && ratio["low"].as_f64() <= ratio["high"].as_f64());
    }
}

#[test]
fn the_table_states_the_error_of_the_truth_first() {
    let output = calibrate(&["--rung=2x20", "--seconds=0.5", "--quiet"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let truth = text.lines().position(|line| line.starts_with("truth log: ")).expect("the truth's error");
    let rung = text.lines().position(|line| line.starts_with("2x20 ")).expect("the rung");
    assert!(truth < rung, "{text}");
}

#[test]
fn a_rung_that_is_none_is_refused() {
    let output = calibrate(&["--rung", "500"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected STREAMSxTOKENS"));
}
