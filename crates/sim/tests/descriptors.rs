//! A process without a file descriptor left: in a test binary of its own, as the limit is the process's.
#![allow(clippy::unwrap_used, reason = "the whole file is a test, its helpers too")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use tics_sim::{Sim, SimOptions};

static NOTICES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

#[test]
fn running_out_of_descriptors_is_said_once_costs_nothing_and_passes() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let notice = |line: &str| NOTICES.lock().unwrap().push(line.to_owned());
    let sim = Sim::start(SimOptions { notice, ..SimOptions::default() }).unwrap();
    // Each connection takes one descriptor here and one there.
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(sim.addr()) {
        clients.push(client);
    }
    // Longer than the rest between two attempts to accept.
    let before = cpu();
    std::thread::sleep(Duration::from_millis(250));
    assert!(cpu() < before + Duration::from_millis(100), "the reader spins");
    let notices = NOTICES.lock().unwrap().clone();
    assert!(matches!(&notices[..], [one] if one.contains("ulimit -n")), "{notices:?}");
    // The last one was never accepted; it is when others leave.
    let mut last = clients.pop().unwrap();
    clients.truncate(4);
    last.write_all(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap();
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(sim.stop().unwrap().accept_failures >= 1);
}
