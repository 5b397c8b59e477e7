//! What an event costs the simulated server, beside what the bare system call costs.
//!
//! `cargo run --release -p tics-sim --example cost -- [STREAMS] [TOKENS_PER_S] [SECONDS]`
//!
//! One thread reads all streams through epoll and throws the bytes away, in every row alike. `bare` is a
//! thread that only calls `send` on as many sockets at the same pace, all in a burst (as `batch` does) or
//! each event at its own time (as `fixed` does); the other rows are the server's threads.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{MsgFlags, send};
use nix::time::{ClockId, clock_gettime};
use tics_sim::{BatchOptions, Sim, SimOptions, Timetable};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// An event of the default framing has about that many bytes.
const EVENT_BYTES: usize = 250;

fn main() -> Outcome<()> {
    let args: Vec<f64> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let arg = |i: usize, default| args.get(i).copied().unwrap_or(default);
    let (streams, rate, seconds) = (arg(0, 500.0) as u32, arg(1, 50.0), arg(2, 4.0));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let step = Duration::from_secs_f64(1.0 / rate);
    let tokens = (rate * seconds) as u32;
    println!("{streams} streams, {rate} tokens/s each, {seconds} s; CPU in µs an event, by thread");

    let events = f64::from(streams) * f64::from(tokens);
    println!("bare, bursts   {:6.2}", bare(streams, tokens, step, false)? / events / 1e3);
    println!("bare, spread   {:6.2}", bare(streams, tokens, step, true)? / events / 1e3);
    let batch = BatchOptions {
        slots: streams,
        prefill_tokens_per_s: f64::INFINITY,
        decode_step: step,
        ..BatchOptions::default()
    };
    let fixed = Timetable::Fixed { ttft: Duration::from_millis(20), itl: step };
    for (name, timetable) in [("batch", Timetable::Batch(batch)), ("fixed", fixed)] {
        let load = Load { streams, tokens, padding: 0, gap: step / streams };
        let cost = serve(timetable, load)?;
        let [engine, reader, log] = cost.threads.map(|ns| ns / events / 1e3);
        println!(
            "{name}          {engine:6.2} engine, {reader:5.2} reader, {log:5.2} log; late p50 {:.0} µs, p99 {:.0} µs",
            cost.late(0.5),
            cost.late(0.99)
        );
    }
    for padding in [0, 4_000] {
        let load = Load {
            streams: 64,
            tokens: if padding == 0 { 60_000 } else { 4_000 },
            padding,
            gap: Duration::ZERO,
        };
        let cost = serve(Timetable::Flood, load)?;
        println!(
            "flood +{padding:<5} B  {:6.0} MB/s over 64 streams",
            cost.bytes as f64 / 1e6 / cost.seconds
        );
    }
    Ok(())
}

/// CPU in ns of a thread that sends bursts, or each event at its own time.
fn bare(streams: u32, tokens: u32, step: Duration, spread: bool) -> Outcome<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let reader = Drain::start()?;
    let mut sockets = Vec::new();
    for _ in 0..streams {
        reader.add(TcpStream::connect(listener.local_addr()?)?)?;
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let bytes = [b'x'; EVENT_BYTES];
    let sender = thread::Builder::new().name("bare".to_owned()).spawn(move || {
        use std::os::fd::AsRawFd;
        let start = now();
        let _ = nix::sys::prctl::set_timerslack(1);
        for k in 1..=tokens {
            for (i, socket) in sockets.iter().enumerate() {
                let phase = if spread { step.as_nanos() as u64 * i as u64 / u64::from(streams) } else { 0 };
                while let Some(left) =
                    (start + step.as_nanos() as u64 * u64::from(k) + phase).checked_sub(now())
                {
                    thread::sleep(Duration::from_nanos(left.max(1)));
                }
                let _ = send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
            }
        }
        own_cpu()
    })?;
    let cpu = sender.join().map_err(|_| "the bare sender panicked")?;
    reader.stop()?;
    Ok(cpu)
}

#[derive(Clone, Copy)]
struct Load {
    streams: u32,
    tokens: u32,
    padding: usize,
    /// Between the requests, so that their phases differ.
    gap: Duration,
}

struct Cost {
    /// CPU in ns of engine, reader and log.
    threads: [f64; 3],
    bytes: u64,
    seconds: f64,
    /// Sorted, in ns.
    lateness: Vec<u64>,
}

impl Cost {
    /// In µs.
    fn late(&self, q: f64) -> f64 {
        self.lateness[(self.lateness.len() as f64 * q) as usize] as f64 / 1e3
    }
}

fn serve(timetable: Timetable, load: Load) -> Outcome<Cost> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("truth.jsonl");
    let sim = Sim::start(SimOptions {
        timetable,
        event_padding: load.padding,
        truth: Some(log.clone()),
        ..SimOptions::default()
    })?;
    let reader = Drain::start()?;
    let mut sockets = Vec::new();
    for _ in 0..load.streams {
        sockets.push(TcpStream::connect(sim.addr())?);
    }
    let before = threads();
    let start = now();
    for socket in sockets {
        request(&socket, sim.addr(), load.tokens)?;
        reader.add(socket)?;
        thread::sleep(load.gap);
    }
    let bytes = reader.wait_for(u64::from(load.streams));
    let seconds = (now() - start) as f64 / 1e9;
    // The log thread still has the lines to write.
    thread::sleep(Duration::from_millis(300));
    let after = threads();
    reader.stop()?;
    sim.stop()?;
    let mut lateness = lateness(&log)?;
    lateness.sort_unstable();
    Ok(Cost { threads: [0, 1, 2].map(|i| after[i] - before[i]), bytes, seconds, lateness })
}

fn request(mut socket: &TcpStream, addr: SocketAddr, tokens: u32) -> std::io::Result<()> {
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"a b c"}}],"max_tokens":{tokens},"stream":true}}"#
    );
    let length = body.len();
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn lateness(log: &std::path::Path) -> Outcome<Vec<u64>> {
    let mut all = Vec::new();
    for line in std::fs::read_to_string(log)?.lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let (Some(tokens), Some(due)) = (line["tokens"].as_array(), line["due_ns"].as_array()) else {
            continue;
        };
        let before = tokens.iter().filter_map(|pair| pair[0].as_u64());
        all.extend(
            before.zip(due.iter().filter_map(serde_json::Value::as_u64)).map(|(b, d)| b.saturating_sub(d)),
        );
    }
    // Flooding has no plan to be late for.
    all.push(0);
    Ok(all)
}

/// A thread that reads and forgets.
struct Drain {
    epoll: Arc<Epoll>,
    stop: Arc<AtomicBool>,
    closed: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
    added: AtomicU64,
    sockets: std::sync::mpsc::Sender<TcpStream>,
}

impl Drain {
    fn start() -> Outcome<Self> {
        let epoll = Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        let (stop, closed, bytes) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let (sockets, added) = std::sync::mpsc::channel::<TcpStream>();
        let shared = (Arc::clone(&epoll), Arc::clone(&stop), Arc::clone(&closed), Arc::clone(&bytes));
        let thread = thread::Builder::new().name("drain".to_owned()).spawn(move || {
            let (epoll, stop, closed, bytes): (_, _, Arc<AtomicU64>, Arc<AtomicU64>) = shared;
            let mut known: Vec<TcpStream> = Vec::new();
            let mut scratch = vec![0; 1 << 18];
            let mut events = vec![EpollEvent::empty(); 256];
            while !stop.load(Ordering::Relaxed) {
                let n = epoll.wait(&mut events, 10u8).unwrap_or(0);
                known.extend(added.try_iter());
                for event in &events[..n] {
                    let Some(mut socket) = known.get(event.data() as usize) else { continue };
                    match socket.read(&mut scratch) {
                        Ok(0) | Err(_) => {
                            let _ = epoll.delete(socket);
                            closed.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(n) => {
                            bytes.fetch_add(n as u64, Ordering::Relaxed);
                        }
                    }
                }
            }
        })?;
        Ok(Drain { epoll, stop, closed, bytes, thread, added: AtomicU64::new(0), sockets })
    }

    fn add(&self, socket: TcpStream) -> Outcome<()> {
        let index = self.added.fetch_add(1, Ordering::Relaxed);
        let copy = socket.try_clone()?;
        self.sockets.send(socket)?;
        self.epoll.add(copy.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index))?;
        Ok(())
    }

    /// Waits until so many streams have ended; the bytes read.
    fn wait_for(&self, streams: u64) -> u64 {
        while self.closed.load(Ordering::Relaxed) < streams {
            thread::sleep(Duration::from_millis(1));
        }
        self.bytes.load(Ordering::Relaxed)
    }

    fn stop(self) -> Outcome<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the reading thread panicked")?;
        Ok(())
    }
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has it");
    time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned()
}

/// CPU in ns of the calling thread.
fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// CPU in ns of the server's engine, reader and log.
fn threads() -> [f64; 3] {
    let mut found = [0.0; 3];
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for task in tasks {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let names = ["sim-engine", "sim-reader", "sim-log"];
        if let Some(i) = names.iter().position(|name| read("comm").trim() == *name) {
            let cpu = read("schedstat");
            found[i] += cpu.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    found
}
