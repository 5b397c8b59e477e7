//! The bare client: what reading and sending cost at the least, on this machine, under the same load.
//!
//! One thread reads: level-triggered epoll, one `recv` a readiness, one look at the clock, a count of
//! blank lines. One thread sends: `clock_nanosleep` to 60 µs before an absolute due instant, a spin, one
//! `write` on a connection that was opened before the first is due. Nothing is parsed, recorded or
//! checked, so nothing that does so can be cheaper.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use tics_record::{Clock, Nanos};
use tics_stats::Distribution;
use tics_trace::{OpenOptions, Selection, Trace};

use super::bench::{Bench, Load, Prepared, Variant};
use super::figures::{Cost, FloorFigures};
use super::rungs::{Arrival, Rung};
use super::truth::Truth;
use crate::cpu;
use crate::outcome::{Failed, OrStatus, SERVER, USAGE, failed};
use crate::play::Origin;
use crate::prompts::{Feed, TokenizerChoice};
use crate::server::Server;

/// Name of the run in the requests' ids.
const NAME: &str = "bare";
/// How long before a due instant the sleep ends.
const SPIN: u64 = 60_000;
/// From the last connection to the first due instant.
const LEAD: u64 = 200_000_000;
/// How long the responses may take beyond the schedule's end.
const PATIENCE: u64 = 30_000_000_000;

/// Runs the bare client on `load`.
pub fn run(bench: &Bench, load: &Load) -> Result<FloorFigures, Failed> {
    let prepared = bench.prepare(load, Variant::default())?;
    let client = bench.placed(load.rung, || {
        // The server ends with this scope, and its truth log is whole then.
        let clock: Arc<dyn Clock> = Arc::new(Origin::now().clock);
        let server = Server::find(&prepared.args.target, &clock)?;
        let requests = requests(&prepared, &server)?;
        let address = server.description.addresses.first().and_then(|a| a.parse().ok());
        let address = address.ok_or_else(|| failed(SERVER, "the simulated server has no address"))?;
        let mut client = BareClient::connect(address, connections(load)).or_status(SERVER)?;
        client.play(&requests).or_status(SERVER)?;
        Ok(client)
    })?;
    let figures = figures(&client, load, &prepared);
    Bench::clean(&prepared);
    figures
}

fn figures(client: &BareClient, load: &Load, prepared: &Prepared) -> Result<FloorFigures, Failed> {
    let mut arrivals = Vec::new();
    if !matches!(load.rung, Rung::Flood { .. }) {
        let truth = Truth::read(&prepared.truth, NAME)?;
        for (index, arrival) in load.arrivals.iter().enumerate() {
            let due = client.epoch + arrival.due_ns;
            let request = truth.request(index as u64);
            arrivals.extend(request.map(|r| r.arrived_ns().cast_signed() - due.cast_signed()));
        }
        arrivals.sort_unstable();
    }
    let read = &client.read;
    Ok(FloorFigures {
        cost: Cost {
            events: read.events,
            cpu_us_per_event: read.cpu.as_micros_f64() / read.events.max(1) as f64,
            arrival_us: Distribution::of_sorted(&arrivals, 1e3),
        },
        pacer_cpu_ms: client.pacer_cpu.as_millis_f64(),
        bytes: read.bytes,
        stream_s: read.last.saturating_sub(client.epoch) as f64 / 1e9,
        starved: client.starved,
    })
}

/// A request as it goes out, and when, in ns from the schedule's zero.
struct Shot {
    due: u64,
    bytes: Vec<u8>,
}

/// The requests that Tics sends, made by the same code up to the body.
fn requests(prepared: &Prepared, server: &Server) -> Result<Vec<Shot>, Failed> {
    let args = &prepared.args;
    let tokenizer = TokenizerChoice::load(&args.prompts)?;
    let maker = Arc::new(tokenizer.maker(&args.prompts)?);
    let trace = Trace::open(&args.trace, &OpenOptions::default()).or_status(USAGE)?;
    let selection = Selection::default();
    let schedule = trace.schedule(&selection).or_status(USAGE)?;
    let host = server.description.url.trim_start_matches("http://").trim_end_matches('/');
    Feed::new(schedule, maker, Arc::clone(&server.template), NAME)
        .map(|planned| {
            let planned = planned?;
            let (path, id, body) = (&planned.job.path, &planned.job.id, &planned.job.body);
            let mut bytes = format!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
                 x-request-id: {id}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            bytes.extend_from_slice(body);
            Ok(Shot { due: planned.due.as_nanos(), bytes })
        })
        .collect()
}

/// Connections that the load needs at the same time, and some to spare.
fn connections(load: &Load) -> usize {
    let slack = 200_000_000;
    let ends = |a: &Arrival| a.due_ns + load.rung.response_ns(a.output) + slack;
    let mut open = std::collections::VecDeque::new();
    let mut most = 0;
    // Responses of a rung take equally long, so they end in the order in which they begin.
    for arrival in &load.arrivals {
        while open.front().is_some_and(|end| *end < arrival.due_ns) {
            open.pop_front();
        }
        open.push_back(ends(arrival));
        most = most.max(open.len());
    }
    (most + most / 4 + 8).min(load.arrivals.len())
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the system has this clock");
    time.num_nanoseconds().unsigned_abs()
}

/// What the reader counts.
#[derive(Debug, Default)]
struct Counts {
    events: u64,
    bytes: u64,
    /// Stamp of the last read.
    last: u64,
    cpu: Nanos,
}

struct BareClient {
    epoll: Epoll,
    sockets: Vec<TcpStream>,
    /// Connections without a request, the one used last on top.
    free: Mutex<Vec<usize>>,
    epoch: u64,
    read: Counts,
    pacer_cpu: Nanos,
    starved: u64,
}

impl BareClient {
    fn connect(address: SocketAddr, n: usize) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut sockets = Vec::with_capacity(n);
        for index in 0..n {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            sockets.push(socket);
        }
        Ok(BareClient {
            epoll,
            sockets,
            free: Mutex::new((0..n).rev().collect()),
            epoch: 0,
            read: Counts::default(),
            pacer_cpu: Nanos::ZERO,
            starved: 0,
        })
    }

    /// Sends every shot when it is due and reads every response to its end.
    fn play(&mut self, shots: &[Shot]) -> io::Result<()> {
        let before = cpu::of_thread();
        self.epoch = now() + LEAD;
        let give_up = self.epoch + shots.last().map_or(0, |shot| shot.due) + PATIENCE;
        let stop = AtomicBool::new(false);
        let this = &*self;
        let (sent, read) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| this.read_all(shots.len(), give_up, &stop));
            let sent = this.send_all(shots);
            stop.store(sent.is_err(), Ordering::Relaxed);
            (sent, reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        (self.starved, self.read) = (sent?, read?);
        self.pacer_cpu = cpu::of_thread().saturating_minus(before);
        Ok(())
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many had to wait for a connection.
    fn send_all(&self, shots: &[Shot]) -> io::Result<u64> {
        // Refused in some sandboxes; the sleeps are longer by 50 µs then, as are those of Tics.
        let _default_slack = nix::sys::prctl::set_timerslack(1);
        let mut starved = 0;
        for shot in shots {
            let due = self.epoch + shot.due;
            let wake = TimeSpec::nanoseconds((due - SPIN).cast_signed());
            // Interrupted or not, the spin goes up to the due instant.
            let _early = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &wake);
            while now() < due {
                std::hint::spin_loop();
            }
            let mut waited = 0;
            let index = loop {
                if let Some(index) = self.free().pop() {
                    break index;
                }
                waited = 1;
                std::thread::yield_now();
            };
            starved += waited;
            self.write(index, &shot.bytes)?;
        }
        Ok(starved)
    }

    fn write(&self, index: usize, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.sockets[index]).write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_all(&self, n_responses: usize, give_up: u64, stop: &AtomicBool) -> io::Result<Counts> {
        let before = cpu::of_thread();
        let mut counts = Counts::default();
        let mut streams: Vec<Scan> = self.sockets.iter().map(|_| Scan::default()).collect();
        let mut ready = [EpollEvent::empty(); 256];
        let mut buffer = vec![0; 256 << 10];
        let mut left = n_responses;
        while left > 0 && !stop.load(Ordering::Relaxed) {
            let n = self.epoll.wait(&mut ready, 1_000u16)?;
            if n == 0 && now() > give_up {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{left} responses did not end")));
            }
            for event in &ready[..n] {
                let index = event.data() as usize;
                let n = match (&self.sockets[index]).read(&mut buffer) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                counts.last = now();
                counts.bytes += n as u64;
                let stream = &mut streams[index];
                counts.events += stream.feed(&buffer[..n]);
                if stream.is_over() {
                    *stream = Scan::default();
                    left -= 1;
                    self.free().push(index);
                }
            }
        }
        counts.cpu = cpu::of_thread().saturating_minus(before);
        Ok(counts)
    }
}

/// Finds the ends of events and of the response, across reads.
#[derive(Debug, Default)]
struct Scan {
    /// The last bytes so far, the newest last.
    tail: [u8; 5],
    events: u64,
}

impl Scan {
    /// Events that `bytes` complete.
    fn feed(&mut self, bytes: &[u8]) -> u64 {
        let split = self.tail[4] == b'\n' && bytes.first() == Some(&b'\n');
        let inside = memchr::memmem::find_iter(bytes, b"\n\n").count() as u64;
        if let Some(last) = bytes.last_chunk::<5>() {
            self.tail = *last;
        } else {
            self.tail.rotate_left(bytes.len());
            self.tail[5 - bytes.len()..].copy_from_slice(bytes);
        }
        let n = inside + u64::from(split);
        self.events += n;
        n
    }

    /// The last chunk has come. A head may end in the same bytes, but has no event before it.
    fn is_over(&self) -> bool {
        self.events > 0 && self.tail == *b"0\r\n\r\n"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RESPONSE: &[u8] =
        b"HTTP/1.1 200 OK\r\nmax: 10\r\n\r\nb\r\ndata: abc\n\n\r\n12\r\ndata: d\n\ndata: e\n\n\r\n\
                              e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

    proptest! {
        #[test]
        fn cuts_are_invisible(cuts in prop::collection::vec(0..RESPONSE.len(), 0..12)) {
            let mut cuts = [cuts, vec![0, RESPONSE.len()]].concat();
            cuts.sort_unstable();
            let mut scan = Scan::default();
            let mut events = 0;
            for piece in cuts.windows(2) {
                prop_assert!(!scan.is_over() || piece[0] == RESPONSE.len());
                events += scan.feed(&RESPONSE[piece[0]..piece[1]]);
            }
            prop_assert!(scan.is_over());
            prop_assert_eq!(events, 4);
        }
    }
}
