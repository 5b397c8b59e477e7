//! Whatever goes wrong is one line that says what, where and what to do, with the documented exit status.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;
use support::{Output, Run, Running, Sim, closed_port, run, tics, write_trace};
use tempfile::TempDir;

const USAGE: i32 = 2;
const SERVER: i32 = 4;
const RUN_DIR: i32 = 5;

/// A folder with a good `trace.jsonl`, in which the commands run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        write_trace(folder.path(), 2, 0.05, 3);
        Place(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(file), bytes).unwrap();
    }

    fn tics(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        run(tics().args(args).envs(env.iter().copied()).env("HOME", self.path()).current_dir(self.path()))
    }

    /// `tics args` ends with `status` and one line on stderr that has every one of `says`; it prints no
    /// result and leaves no run. Returns the line.
    fn check(&self, args: &[&str], env: &[(&str, &str)], status: i32, says: &[&str]) -> String {
        let output = self.tics(args, env);
        let what = format!("tics {}\n{}", args.join(" "), output.stderr);
        assert_eq!(output.code(), status, "{what}");
        assert_eq!(output.stdout, "", "{what}");
        assert!(output.stderr.starts_with("tics: "), "{what}");
        let line = output.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no line end: {what}"));
        assert!(!line.contains('\n'), "more than one line: {what}");
        for unwanted in ["panicked", "backtrace", "BACKTRACE", "internal error", "tics: tics:"] {
            assert!(!line.contains(unwanted), "{what}");
        }
        for part in says {
            assert!(line.contains(part), "does not say {part:?}: {what}");
        }
        assert!(!self.path().join("runs").exists(), "left a run: {what}");
        output.stderr
    }

    /// `tics replay trace.jsonl` with these arguments.
    fn replay(&self, args: &[&str], status: i32, says: &[&str]) -> String {
        self.check(&[&["replay", "trace.jsonl"], args].concat(), &[], status, says)
    }

    /// As `replay`, for what the argument parser refuses: its lines are its own.
    fn refuses(&self, args: &[&str], says: &[&str]) {
        let output = self.tics(&[&["replay", "trace.jsonl"], args].concat(), &[]);
        let what = format!("{}\n{}", args.join(" "), output.stderr);
        assert_eq!((output.code(), output.stdout.as_str()), (USAGE, ""), "{what}");
        assert!(output.stderr.starts_with("error: "), "{what}");
        for part in says {
            assert!(output.stderr.contains(part), "does not say {part:?}: {what}");
        }
        assert!(!self.path().join("runs").exists(), "left a run: {what}");
    }
}

/// The address of a server that does `serve` with each connection.
fn server(mut serve: impl FnMut(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the test's process.
    std::thread::spawn(move || listener.incoming().flatten().for_each(&mut serve));
    url
}

#[test]
fn a_server_that_is_not_there() {
    let place = Place::new();
    let address = format!("127.0.0.1:{}", closed_port());
    let plain = format!("http://{address}");
    for command in [
        &["replay", "trace.jsonl", "--url", &plain][..],
        // Named or not, probed or not: the server is asked before the run.
        &["replay", "trace.jsonl", "--model", "m", "--no-probe", "--url", &plain],
        &["bench", "--requests", "1", "--url", &plain],
        &["probe", "--url", &plain],
        &["probe", "--json", "--url", &plain],
    ] {
        place.check(command, &[], SERVER, &[&plain, "connection refused", "is the server up"]);
    }
    let tls = format!("https://{address}/v1/");
    place.replay(&["--insecure", "--url", &tls], SERVER, &[&format!("https://{address}:"), "refused"]);
    // Names under `invalid` never resolve (RFC 6761).
    let unknown = "http://no-such-host.invalid:8000";
    place.replay(&["--url", unknown], SERVER, &[unknown, "cannot resolve", "check the name in --url"]);
}

#[test]
fn a_port_where_something_else_listens() {
    let place = Place::new();
    let other = server(|mut stream| {
        let _gone = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n");
        let _until_closed = stream.read_to_end(&mut Vec::new());
    });
    place.replay(&["--url", &other], SERVER, &[&other, "is this its address"]);
    let hangs_up = server(|mut stream| {
        let _request = stream.read(&mut [0; 4096]);
    });
    place.replay(&["--url", &hangs_up], SERVER, &[&hangs_up, "is this its address"]);
    let no_list = server(|mut stream| {
        let _request = stream.read(&mut [0; 4096]);
        let page = "<html>welcome</html>";
        let _gone = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}", page.len());
    });
    place.replay(&["--url", &no_list], SERVER, &[&no_list, "/v1/models", "no model", "--model"]);
    // The simulated server speaks no TLS.
    let sim = Sim::start("");
    let tls = sim.url.replace("http:", "https:");
    place.replay(&["--insecure", "--url", &tls], SERVER, &[&tls, "does not speak TLS", "http://"]);
}

#[test]
fn a_server_without_a_model_or_with_an_http_error() {
    let place = Place::new();
    place.replay(&["--sim", "--model ''"], SERVER, &["/v1/models", "lists no model", "--model"]);
    let sim = Sim::start("");
    let wrong_path = format!("{}/api", sim.url);
    let says = [&format!("{wrong_path}/v1/models"), "HTTP 404", "check the path in --url"];
    place.replay(&["--url", &wrong_path], SERVER, &says);
    place.replay(&["--url", &format!("{wrong_path}/v1")], SERVER, &says);
    // With a model's name the list is not needed, and the first request tells.
    let named = ["--model", "m", "--url", &wrong_path];
    place.replay(&named, SERVER, &[&wrong_path, "probe", "http_status", "404"]);
}

#[test]
fn a_key_that_is_missing_or_wrong_is_asked_for_and_never_shown() {
    let place = Place::new();
    let args = ["replay", "trace.jsonl", "--sim", "--api-key-env THE_KEY"];
    let right = ("THE_KEY", "canary-right");
    let says = ["/v1/models", "HTTP 401", "OPENAI_API_KEY"];
    let missing = place.check(&args, &[right], SERVER, &says);
    let wrong = place.check(&args, &[right, ("OPENAI_API_KEY", "canary-wrong")], SERVER, &says);
    let broken = ("OPENAI_API_KEY", "canary\nbroken");
    let broken = place.check(&args, &[right, broken], USAGE, &["OPENAI_API_KEY", "HTTP forbids"]);
    let header = place.replay(&["--header", "X-Key: canary\u{1}"], USAGE, &["--header", "X-Key", "forbids"]);
    let no_colon = place.replay(&["--header", "canary"], USAGE, &["--header", "Name: value"]);
    for line in [missing, wrong, broken, header, no_colon] {
        assert!(!line.contains("canary"), "{line}");
    }
}

#[test]
fn a_probe_that_fails() {
    let place = Place::new();
    place.replay(
        &["--extra-body", r#"{"messages": 5}"#],
        SERVER,
        &["http://127.0.0.1:", "probe", "http_status", "400", "messages", "--extra-body", "--no-probe"],
    );
    // mini-sglang wants `content` to be a string.
    let parts = r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}"#;
    place.replay(
        &["--sim", "--dialect minisgl", "--extra-body", parts],
        SERVER,
        &["probe", "http_status", "422", "content", "string"],
    );
    let bench = ["bench", "--requests", "1", "--extra-body", r#"{"max_tokens": "many"}"#];
    place.check(&bench, &[], SERVER, &["probe", "400", "max_tokens"]);
}

#[test]
fn a_probe_explains_what_failed() {
    let place = Place::new();
    let output = place.tics(&["probe", "--extra-body", r#"{"messages": 5}"#], &[]);
    assert_eq!((output.code(), output.stderr.as_str()), (SERVER, ""));
    assert!(output.stdout.contains("HTTP 400"), "{}", output.stdout);
    assert!(output.stdout.contains("outcome: http_status: "), "{}", output.stdout);
}

#[test]
fn a_trace_that_is_not_one() {
    let place = Place::new();
    let check = |text: &str, says: &[&str]| {
        place.write("bad.jsonl", text);
        place.check(&["replay", "bad.jsonl"], &[], USAGE, says);
        place.check(&["trace", "info", "bad.jsonl"], &[], USAGE, says);
        place.check(&["trace", "check", "bad.jsonl"], &[], USAGE, says);
    };
    let good = r#"{"timestamp_s": 0, "input_length": 10, "output_length": 5}"#;
    check("", &["bad.jsonl", "empty", "one request a row"]);
    check("hello\n", &["bad.jsonl:1", "not a row", "mooncake", "hello", "--format"]);
    check("{\n", &["bad.jsonl:1", "not a row"]);
    check(&format!("{good}\n{{\"timestamp_s\": 1,\n"), &["bad.jsonl:2", "JSON", "column"]);
    check(
        r#"{"timestamp_s": "soon", "input_length": 10, "output_length": 5}"#,
        &["bad.jsonl:1", r#""timestamp_s""#, "expected seconds", r#"found "soon""#],
    );
    check(
        &format!("{good}\n\n{}", r#"{"timestamp_s": 1, "input_length": -10, "output_length": 5}"#),
        &["bad.jsonl:3", r#""input_length""#, "whole number of tokens", "found -10"],
    );
    check(
        r#"{"timestamp_s": 0, "input_length": 10, "output_length": 2.5}"#,
        &["bad.jsonl:1", r#""output_length""#, "whole number of tokens", "found 2.5"],
    );
    check(
        r#"{"timestamp_s": 0, "input_length": 10}"#,
        &["bad.jsonl:1", r#""output_length""#, "found nothing"],
    );
    place.check(&["replay", "gone.jsonl"], &[], USAGE, &["gone.jsonl", "cannot read the trace", "No such"]);
    place.check(&["replay", "."], &[], USAGE, &["no trace in this folder", "chunk-<i>-trace.csv"]);
    place.write("binary", b"\x00\xff\xfe");
    place.check(&["replay", "binary"], &[], USAGE, &["binary:1", "binary data", "expected a trace"]);
    place.replay(&["--window", "100..200"], USAGE, &["trace.jsonl", "no request in the window", "0.05"]);
    let prompts = ["bench", "--prompts", "trace.jsonl"];
    place.check(&prompts, &[], USAGE, &["trace.jsonl:1", r#""prompt""#, "found nothing"]);
}

#[test]
fn a_tokenizer_that_cannot_be_read() {
    let place = Place::new();
    place.write("garbage.json", "{ not json");
    place.write("other.json", "{}");
    std::fs::create_dir(place.path().join("model")).unwrap();
    let check = |tokenizer: &str, says: &[&str]| {
        let expect = [&["tokenizer", tokenizer], says].concat();
        place.replay(&["--tokenizer", tokenizer], USAGE, &expect);
        place.check(&["bench", "--requests", "1", "--tokenizer", tokenizer], &[], USAGE, &expect);
        place.check(&["probe", "--tokenizer", tokenizer], &[], USAGE, &expect);
    };
    check("nowhere/model-8b", &["no such file or folder", "huggingface", "tokenizer.json"]);
    check("./gone.json", &["no such file or folder", "tokenizer.json"]);
    check("garbage.json", &["not a tokenizer.json", "line 1"]);
    check("other.json", &["not a tokenizer.json"]);
    check("model", &["no tokenizer.json in"]);
}

#[test]
fn an_address_that_is_none() {
    let place = Place::new();
    for url in ["", "http://", "a:b:c", "localhost:99999", "http://a b"] {
        place.replay(&["--url", url], USAGE, &["--url", &format!("{url:?}"), "http://HOST"]);
    }
    place.replay(
        &["--url", "http://localhost/?key=1"],
        USAGE,
        &["--url", "the address has a query", "take '?'"],
    );
    place.replay(&["--url", "ftp://localhost"], USAGE, &["--url", "ftp://localhost", "http or https"]);
    for url in
        ["http://user:canary@127.0.0.1:1", "canary@127.0.0.1:1/v1", "ftp://u:canary@x", "http://u:canary@"]
    {
        let line = place.replay(&["--url", url], USAGE, &["--url", "password", "OPENAI_API_KEY"]);
        assert!(!line.contains("canary"), "{line}");
    }
}

#[test]
fn options_that_make_no_sense() {
    let place = Place::new();
    for body in ["{", "[]", "5", r#"{"a":}"#, ""] {
        place.replay(&["--extra-body", body], USAGE, &["--extra-body", "JSON object such as"]);
    }
    for scale in ["0", "-1", "x", "", "1,,2", "nan", "inf"] {
        place.refuses(&["--scale", scale], &["--scale", "a number above 0 such as 0.5"]);
    }
    for (window, says) in [("5", "FROM..TO"), ("5..3", "FROM must be below TO"), ("a..b", "expected seconds")]
    {
        place.refuses(&["--window", window], &["--window", says]);
    }
    place.refuses(&["--limit", "0"], &["--limit", "'0'"]);
    place.refuses(&["--drain", "soon"], &["--drain", "a time such as 5s"]);
    place.refuses(&["--url", "http://127.0.0.1:1", "--sim", ""], &["--url", "--sim"]);
    place.replay(&["--scale", "1,2", "--run-dir", "x"], USAGE, &["--run-dir", "several scales", "--name"]);
    let ca = ["--url", "https://127.0.0.1:1", "--ca-file"];
    place.replay(&[&ca[..], &["gone.pem"]].concat(), USAGE, &["--ca-file gone.pem", "cannot be read"]);
    place.replay(&[&ca[..], &["trace.jsonl"]].concat(), USAGE, &["--ca-file trace.jsonl", "expected PEM"]);
}

#[test]
fn a_simulated_server_that_does_not_start() {
    let place = Place::new();
    place.replay(&["--sim", "'a"], USAGE, &["--sim", "quotation mark"]);
    place.replay(&["--sim", "--no-such"], USAGE, &["--sim", "'--no-such'", "tics sim --help"]);
    place.replay(&["--sim", "--itl 5ms"], USAGE, &["--sim", "--ttft"]);
    place.replay(&["--sim", "--api-key-env NOPE"], USAGE, &["--sim: --api-key-env", "NOPE is not set"]);
    place.replay(
        &["--sim", "--truth gone/truth"],
        USAGE,
        &["--sim: cannot write gone/truth", "No such file"],
    );
    let sim = Sim::start("");
    let taken = sim.url.strip_prefix("http://").unwrap();
    let says = ["cannot listen on", taken, "in use"];
    let line = place.replay(&["--sim", &format!("--listen {taken}")], USAGE, &says);
    assert_eq!(line.matches("os error").count(), 1, "says it twice: {line}");
    place.check(&["sim", "--listen", taken], &[], USAGE, &says);
}

#[test]
fn a_run_directory_that_cannot_be_used() {
    let place = Place::new();
    place.write("file", "");
    for folder in ["file", "file/below"] {
        place.replay(&["--run-dir", folder], RUN_DIR, &[folder, "cannot be made", "--run-dir"]);
    }
    let output = place.tics(&["replay", "trace.jsonl", "--run-dir", "used", "--quiet"], &[]);
    assert_eq!(output.stderr, "");
    assert_eq!(output.code(), Run::read(&place.path().join("used")).expected_status());
    let before = std::fs::read(place.path().join("used/requests.jsonl")).unwrap();
    place.replay(&["--run-dir", "used"], USAGE, &["used", "holds a run already", "another folder"]);
    assert!(
        std::fs::read(place.path().join("used/requests.jsonl")).unwrap() == before,
        "the old run was touched"
    );
    // Links to nowhere: files that cannot be written, for a superuser either.
    for file in ["run.json", "requests.jsonl"] {
        let folder = format!("without-{file}");
        std::fs::create_dir(place.path().join(&folder)).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", place.path().join(&folder).join(file)).unwrap();
        let says = [&format!("{folder}/{file}"), "cannot be written"];
        place.replay(&["--quiet", "--run-dir", &folder], RUN_DIR, &says);
    }
}

#[test]
fn a_disk_that_fills_up_ends_the_run_and_keeps_what_was_written() {
    let place = Place::new();
    write_trace(place.path(), 60, 0.05, 10);
    // A limit on the size of files, with its signal ignored, fails writes as a full disk does.
    let mut command = std::process::Command::new("sh");
    let program = tics();
    command.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]).arg(program.get_program());
    command.args(["replay", "trace.jsonl", "--run-dir", "run", "--quiet"]).current_dir(place.path());
    let output = run(command.stdin(std::process::Stdio::null()));
    assert_eq!((output.code(), output.stdout.as_str()), (RUN_DIR, ""), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    for part in ["run/requests.jsonl", "cannot be written", "what was written before is kept"] {
        assert!(output.stderr.contains(part), "{}", output.stderr);
    }
    // The report of what is there can still be had.
    let output = place.tics(&["report", "run", "--json"], &[]);
    let summary: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert!(summary["requests"]["ok"].as_u64().unwrap() > 0, "{summary}");
    assert_eq!(summary["validity"]["verdict"], "INVALID", "a journal cut off is no valid measurement");
}

#[test]
fn a_summary_that_cannot_be_written() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().join("run/summary.json")).unwrap();
    let args = ["--quiet", "--run-dir", "run"];
    place.replay(&args, RUN_DIR, &["run/summary.json", "cannot be written"]);
    let output = place.tics(&["report", "run"], &[]);
    assert_eq!(output.code(), 0, "the records are whole: {}", output.stderr);
    let export = ["export", "run", "--format", "minisgl", "-o", "gone/file.json"];
    place.check(&export, &[], RUN_DIR, &["gone/file.json: cannot be written", "No such file"]);
}

#[test]
fn a_folder_that_is_no_run() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    for folder in ["empty", "gone"] {
        let says = [folder, "cannot be read", "is it a run directory?"];
        place.check(&["report", folder], &[], USAGE, &says);
        place.check(&["report", folder, "--json"], &[], USAGE, &says);
        place.check(&["report", folder, "--definitions", "minisgl"], &[], USAGE, &says);
        place.check(&["export", folder, "--format", "minisgl"], &[], USAGE, &says);
    }
    place.check(&["report", "trace.jsonl"], &[], USAGE, &["trace.jsonl", "not mini-sglang results"]);
    place.write("empty/run.json", "{}");
    place.check(&["report", "empty"], &[], USAGE, &["empty/run.json", "not the description of a run"]);
}

#[test]
fn a_server_that_dies_fails_its_requests_and_not_the_run() {
    const REQUESTS: u32 = 40;
    let place = Place::new();
    write_trace(place.path(), REQUESTS, 0.05, 10);
    // A request takes 230 ms, so several are in flight at any time.
    let mut sim = Sim::start("--ttft 50ms --itl 20ms");
    let mut command = tics();
    command.args([
        "replay",
        "trace.jsonl",
        "--run-dir",
        "run",
        "--progress-every",
        "100ms",
        "--url",
        &sim.url,
    ]);
    let mut replay = Running::start(command.current_dir(place.path()));
    // Status lines say `done 3/40`.
    let some_done = |line: &str| !line.contains("done 0/") && line.contains("running");
    replay.wait_for(some_done);
    sim.kill();
    let output = replay.finish();
    let left = Run::read(&place.path().join("run"));
    left.assert_balanced(u64::from(REQUESTS));
    assert_eq!(left.records.len(), REQUESTS as usize, "every request was tried");
    let [ok, truncated, reset, refused] = ["ok", "truncated", "reset", "refused"].map(|o| left.outcome(o));
    assert_eq!(ok + truncated + reset + refused, u64::from(REQUESTS), "{}", left.summary["outcomes"]);
    assert!(ok > 0 && truncated + reset > 0 && refused > 0, "{}", left.summary["outcomes"]);
    for record in left.records.values().filter(|r| r["outcome"] != "ok") {
        assert!(record["detail"].is_string(), "no reason: {record}");
    }
    assert_eq!(left.closing.as_ref().unwrap()["interrupted"], false);
    assert_eq!(output.code(), left.expected_status(), "{}", output.stderr);
    assert!(output.stdout.contains("refused"), "the report names the outcomes: {}", output.stdout);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    // The same, where failures are allowed for.
    let allowed = ["report", "run", "--json"];
    let again: Value = serde_json::from_str(&place.tics(&allowed, &[]).stdout).unwrap();
    assert_eq!(again["outcomes"], left.summary["outcomes"], "the report is a function of the directory");
}

#[test]
fn failures_that_are_allowed_do_not_change_the_status() {
    let place = Place::new();
    // Without the probe nothing stops a run whose every request is refused with 400.
    let failing = ["replay", "trace.jsonl", "--no-probe", "--extra-body", r#"{"messages": 5}"#];
    let check = |folder: &str, args: &[&str], missed: bool| {
        let output = place.tics(&[&failing[..], &["--run-dir", folder], args].concat(), &[]);
        let left = Run::read(&place.path().join(folder));
        left.assert_balanced(2);
        assert_eq!(left.outcome("http_status"), 2);
        assert_eq!(left.summary["ttft_ms"]["n"], 0, "a failed request has no latency");
        let expected = match left.expected_status() {
            1 if !missed => 0,
            status => status,
        };
        assert_eq!(output.code(), expected, "{}", output.stderr);
    };
    check("none", &[], true);
    check("one", &["--max-failed", "1"], true);
    check("both", &["--max-failed", "2"], false);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let output = place.tics(&["replay", "trace.jsonl", "--run-dir", "run", "--quiet"], &[]);
    assert_eq!(output.stderr, "");
    for args in [
        &["trace", "info", "trace.jsonl"][..],
        &["report", "run"],
        &["export", "run", "--format", "minisgl"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = tics();
        let output = command.args(args).current_dir(place.path()).stdout(writer).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = tics();
    let command = command.args(["trace", "info", "trace.jsonl"]).current_dir(place.path()).stdout(full);
    let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(RUN_DIR), "{line}");
    assert!(line.starts_with("tics: standard output cannot be written: No space left"), "{line}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = tics();
    let command = command.args(["replay", "trace.jsonl", "--run-dir", "run"]).current_dir(place.path());
    // Status lines that nobody can read end no run.
    let output = command.stderr(full).output().unwrap();
    let left = Run::read(&place.path().join("run"));
    assert_eq!(output.status.code(), Some(left.expected_status()));
    left.assert_balanced(2);
}

/// A server that takes a request and never answers costs the time that was said, and is named.
#[test]
fn a_silent_server_is_a_timeout_of_the_phase_that_was_limited() {
    let url = server(|mut stream| {
        std::thread::spawn(move || {
            let mut read = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut read) {
                if read[..n].starts_with(b"GET ") {
                    let list = r#"{"data":[{"id":"m"}]}"#;
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len());
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
    });
    let place = Place::new();
    let limit = ["--first-byte-timeout", "200ms"];
    place.replay(&[&["--url", &url][..], &limit].concat(), SERVER, &["timeout", "first_byte"]);
    let more = ["--url", &url, "--no-probe", "--no-dashboard", "--run-dir", "run"];
    let output = place.tics(&[&["replay", "trace.jsonl"][..], &more, &limit].concat(), &[]);
    assert!(output.stderr.contains("first byte 200ms"), "{}", output.stderr);
    let run = Run::read(&place.path().join("run"));
    assert_eq!(run.count("requests/failed"), 2, "{}", output.stderr);
    for record in run.records.values() {
        assert_eq!(record["outcome"], "timeout", "{record}");
        assert!(record["detail"].as_str().unwrap().contains("first_byte"), "{record}");
    }
    assert!(run.description["target"]["limits"].as_str().unwrap().contains("first byte 200ms"));
}
