//! Traces at addresses: fetched once, kept, checked, and never half there.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use support::{Output, Run, closed_port, run, tics};
use tempfile::TempDir;

const TRACE: &str = "{\"timestamp_s\": 0, \"input_length\": 5, \"output_length\": 2}\n\
                     {\"timestamp_s\": 0.01, \"input_length\": 6, \"output_length\": 2}\n";
/// `sha256sum` of it.
const SHA256: &str = "a2f19419ce311a5a";

/// What to answer to a path and its headers: everything from the status on. The connection ends with it.
type Answers = dyn Fn(&str, &[String]) -> Vec<u8> + Send + Sync;

/// Path and headers of each request.
type Asked = Arc<Mutex<Vec<(String, Vec<String>)>>>;

/// A server of files. It lives as long as the test program.
struct Files {
    url: String,
    asked: Asked,
}

impl Files {
    fn serve(answers: impl Fn(&str, &[String]) -> Vec<u8> + Send + Sync + 'static) -> Files {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let (answers, noted): (Arc<Answers>, _) = (Arc::new(answers), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve_one(stream.unwrap(), &*answers, &noted);
            }
        });
        Files { url, asked }
    }

    fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

fn serve_one(mut stream: TcpStream, answers: &Answers, asked: &Asked) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).map(|l| l.to_lowercase()).collect();
    asked.lock().unwrap().push((path.clone(), headers.clone()));
    let _gone = stream.write_all(&answers(&path, &headers));
    let _closed = stream.shutdown(std::net::Shutdown::Write);
    // Until the client has closed, so that it reads the last byte first.
    let _rest = stream.read_to_end(&mut Vec::new());
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A folder with a cache of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(TempDir::new().unwrap())
    }

    fn tics(&self, args: &[&str]) -> Output {
        let mut command = tics();
        run(command
            .args(args)
            .current_dir(self.0.path())
            .env("TICS_CACHE", self.0.path().join("cache"))
            .env("OPENAI_API_KEY", "canary"))
    }

    fn kept(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.0.path().join("cache/traces"));
        folder.map_or_else(|_| Vec::new(), |files| files.map(|file| file.unwrap().path()).collect())
    }

    /// `tics trace check URL` is refused with one line that begins with the address and has `says`; nothing
    /// is kept.
    fn refuses(&self, url: &str, says: &str) {
        let output = self.tics(&["trace", "check", url]);
        assert_eq!((output.code(), output.stdout.as_str()), (2, ""), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stderr.contains(says), "does not say {says:?}: {}", output.stderr);
        assert_eq!(self.kept(), Vec::<PathBuf>::new(), "half a file was left");
    }
}

#[test]
fn a_trace_is_fetched_once_and_recorded() {
    let files = Files::serve(|path, _| match path {
        "/a/trace.jsonl?token=canary" => answer("302 Found", "location: ../b/real?token=canary\r\n", b""),
        "/b/real?token=canary" => answer("200 OK", "", TRACE.as_bytes()),
        _ => answer("404 Not Found", "", b""),
    });
    let place = Place::new();
    let url = format!("{}/a/trace.jsonl?token=canary", files.url);
    let replay = ["replay", &url, "--run-dir", "run", "--sim", "--flood", "--no-dashboard"];
    let output = place.tics(&replay);
    assert!(matches!(output.code(), 0 | 3), "{}", output.stderr);
    assert!(output.stderr.contains("trace.jsonl?…: 119 B fetched, kept as "), "{}", output.stderr);
    let found = Run::read(&place.0.path().join("run"));
    let source = &found.description["trace"];
    assert_eq!(
        (source["rows"].as_u64(), source["path"].as_str()),
        (Some(2), source["download"]["url"].as_str())
    );
    assert_eq!(source["path"], format!("{}/a/trace.jsonl?…", files.url));
    assert!(source["sha256"].as_str().unwrap().starts_with(SHA256), "{source}");
    assert_eq!(source["sha256"], source["download"]["sha256"]);
    for file in ["run.json", "requests.jsonl", "summary.json"] {
        let text = std::fs::read_to_string(place.0.path().join("run").join(file)).unwrap();
        assert!(!text.contains("canary"), "{file} has what opens the address");
    }
    assert!(!output.stderr.contains("canary") && !output.stdout.contains("canary"));
    let asked = files.paths().len();
    // Kept: nobody is asked again.
    let again = place.tics(&["trace", "convert", &url]);
    assert_eq!((again.code(), again.stdout.lines().count()), (0, 2), "{}", again.stderr);
    assert!(again.stderr.contains("--refresh asks again"), "{}", again.stderr);
    assert_eq!(files.paths().len(), asked);
    let heads = files.asked.lock().unwrap();
    assert!(heads.iter().all(|(_, lines)| !lines.iter().any(|line| line.contains("canary"))), "{heads:?}");
    for file in place.kept() {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("canary"), "{} has what opens the address", file.display());
    }
}

#[test]
fn what_changed_is_fetched_again_on_request() {
    let version = Arc::new(Mutex::new(1));
    let now = Arc::clone(&version);
    let files = Files::serve(move |_, headers| {
        let version = *now.lock().unwrap();
        if headers.contains(&format!("if-none-match: \"v{version}\"")) {
            return answer("304 Not Modified", "", b"");
        }
        answer("200 OK", &format!("etag: \"v{version}\"\r\n"), TRACE.repeat(version).as_bytes())
    });
    let place = Place::new();
    let url = format!("{}/t.jsonl", files.url);
    let rows = |more: &[&str]| {
        let output = place.tics(&[&["trace", "convert", &url][..], more].concat());
        assert_eq!(output.code(), 0, "{}", output.stderr);
        (output.stdout.lines().count(), output.stderr)
    };
    assert_eq!(rows(&[]).0, 2);
    let (same, said) = rows(&["--refresh"]);
    assert!(same == 2 && said.contains("not changed since"), "{said}");
    *version.lock().unwrap() = 2;
    assert_eq!(rows(&[]).0, 2);
    assert_eq!(rows(&["--refresh"]).0, 4);
    assert_eq!(rows(&[]).0, 4);
    assert_eq!(place.kept().len(), 2, "the last version and its note");
    // A copy that was damaged is no copy.
    for file in place.kept() {
        if file.extension().is_none() {
            std::fs::write(file, "damaged").unwrap();
        }
    }
    assert_eq!(rows(&[]).0, 4);
}

#[test]
fn packed_files_are_unpacked_and_prompts_may_be_fetched() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(TRACE.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    let files = Files::serve(move |path, _| match path {
        "/t.jsonl.gz" => answer("200 OK", "content-type: application/gzip\r\n", &packed),
        _ => answer("200 OK", "", b"{\"prompt\": \"one two\", \"output_length\": 2}\n"),
    });
    let place = Place::new();
    let output = place.tics(&["trace", "info", "--json", &format!("{}/t.jsonl.gz", files.url)]);
    assert_eq!(output.code(), 0, "{}", output.stderr);
    let info: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(info.to_string().contains(SHA256), "the hash of the trace, however it is packed: {info}");
    let prompts = format!("{}/prompts.jsonl", files.url);
    let bench = ["bench", "--prompts", &prompts, "--run-dir", "run", "--sim", "--flood", "--no-dashboard"];
    let output = place.tics(&bench);
    assert!(matches!(output.code(), 0 | 3), "{}", output.stderr);
    assert_eq!(Run::read(&place.0.path().join("run")).count("requests/ok"), 1);
}

#[test]
fn what_cannot_be_fetched_is_one_line_and_leaves_nothing() {
    let files = Files::serve(|path, _| match path {
        "/private" => answer("403 Forbidden", "", b"<html>no</html>"),
        "/page" => answer("200 OK", "content-type: text/html; charset=utf-8\r\n", b"<!DOCTYPE html>"),
        "/cut" => b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"timestamp_s\": 0".to_vec(),
        "/cut-chunk" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n".to_vec(),
        "/silent" => Vec::new(),
        "/circle" => answer("301 Moved", "location: /circle\r\n", b""),
        "/nowhere" => answer("301 Moved", "", b""),
        "/login" => answer("307 Moved", "location: http://me:canary@127.0.0.1/x\r\n", b""),
        "/moved" => answer("308 Moved", "location: /gone\r\n", b""),
        _ => answer("404 Not Found", "", b"nothing here"),
    });
    let place = Place::new();
    let at = |path: &str| format!("{}{path}", files.url);
    place
        .refuses(&at("/missing.jsonl"), "/missing.jsonl: HTTP 404: there is no such file; check the address");
    place.refuses(
        &at("/private"),
        "/private: HTTP 403: it is not public: fetch it yourself and give the file",
    );
    place.refuses(&at("/page"), "/page: is a web page, not a file");
    place.refuses(&at("/cut"), "/cut: the body was cut: the connection closed inside it");
    place.refuses(&at("/cut-chunk"), "/cut-chunk: the body was cut");
    place.refuses(&at("/silent"), "/silent: the connection closed before the response");
    place.refuses(&at("/circle"), "/circle: more than 10 redirects, the last to ");
    place.refuses(&at("/nowhere"), "/nowhere: redirects without saying where to");
    place.refuses(&at("/login"), "/login: a redirect: the address carries a user name or password");
    place.refuses(&at("/moved"), &format!("/moved: {}, where it leads: HTTP 404", at("/gone")));
    place.refuses(&at("/moved").replace("http:", "https:"), "/moved: TLS with 127.0.0.1: ");
    let port = closed_port();
    place.refuses(&format!("http://127.0.0.1:{port}/x"), "/x: cannot connect to 127.0.0.1:");
    place.refuses("http://me:canary@a/x", "carries a user name or password");
    place.refuses("https://", "is not an address");
    // What comes is no trace: said with the address. It is kept, as it is what lies there.
    let text = Files::serve(|_, _| answer("200 OK", "", b"{\"hello\": 1}\n"));
    let output = place.tics(&["trace", "info", &format!("{}/x.jsonl", text.url)]);
    assert_eq!(output.code(), 2);
    let last = output.stderr.lines().last().unwrap();
    assert!(last.contains("/x.jsonl:1: not a row of a known trace format"), "{last}");
    // A folder that cannot be made.
    std::fs::write(place.0.path().join("file"), "").unwrap();
    let cache = place.0.path().join("file/cache");
    let mut command = tics();
    let output = run(command.args(["trace", "info", &at("/x")]).env("TICS_CACHE", &cache));
    assert_eq!((output.code(), output.stderr.lines().count()), (2, 1));
    assert!(output.stderr.contains("TICS_CACHE names another folder"), "{}", output.stderr);
}
