//! The run directory: made, written while the run goes on, read back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tics_record::{
    Asked, Clock, Closing, Header, Host, JournalReader, JournalWriter, Nanos, RUN_FORMAT, RunDescription,
    ServerSample, Stamp,
};
use tics_scheduler::Report;
use tics_stats::{ServerCache, Summary, Wanted, summarise};

use crate::outcome::{Failed, OrStatus, RUN_DIR, USAGE, failed};

const RUN: &str = "run.json";
const JOURNAL: &str = "requests.jsonl";
const SUMMARY: &str = "summary.json";
/// What the server says of itself.
const SERVER: &str = "server.jsonl";

/// The journal is flushed at least this often: what a kill can lose.
const FLUSH_EVERY: Nanos = Nanos::from_millis(500);

/// A run's directory.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    /// Name of the run: the directory's own.
    pub name: String,
}

/// Wall time as RFC 3339 and as part of a name.
pub fn wall_time(unix_ns: u64) -> (String, String) {
    let time = std::time::UNIX_EPOCH + Duration::from_nanos(unix_ns);
    let rfc = humantime::format_rfc3339_millis(time).to_string();
    let compact = humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
    (rfc, compact)
}

impl RunDir {
    /// Makes `given`, which must not hold a run yet, or `runs/<start>-<name>`.
    pub fn create(given: Option<&Path>, start: &str, name: &str) -> Result<Self, Failed> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => free_name(Path::new("runs"), &format!("{start}-{name}")),
        };
        let taken = [RUN, JOURNAL, SERVER].iter().any(|file| path.join(file).exists());
        if taken {
            return Err(failed(
                USAGE,
                format!("{}: holds a run already; name another folder", path.display()),
            ));
        }
        std::fs::create_dir_all(&path).map_err(|e| {
            failed(
                RUN_DIR,
                format!("{}: cannot be made: {e}; --run-dir names another folder", path.display()),
            )
        })?;
        let name = path.file_name().map_or_else(|| name.to_owned(), |n| n.to_string_lossy().into_owned());
        Ok(RunDir { path, name: header_safe(&name) })
    }

    /// A directory that a run left.
    pub fn open(path: &Path) -> Self {
        RunDir { path: path.to_owned(), name: String::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the description.
    pub fn write_run(&self, run: &RunDescription) -> Result<(), Failed> {
        let json = serde_json::to_string_pretty(run).or_status(RUN_DIR)? + "\n";
        self.write(RUN, &json)
    }

    /// Writes the summary.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), Failed> {
        let json = tics_report::to_json(summary).or_status(RUN_DIR)?;
        self.write(SUMMARY, &json)
    }

    /// Writes what the server said of itself, in the order of time.
    pub fn write_server(&self, samples: &[ServerSample]) -> Result<(), Failed> {
        let lines = samples.iter().map(|sample| serde_json::to_string(sample).map(|line| line + "\n"));
        self.write(SERVER, &lines.collect::<Result<String, _>>().or_status(RUN_DIR)?)
    }

    /// What the server's cache found by its own counters, from the first to the last time that they were
    /// read; none where it has none.
    fn server_cache(&self) -> Result<Option<ServerCache>, Failed> {
        let path = self.path.join(SERVER);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(USAGE, format!("{}: cannot be read: {error}", path.display()))),
        };
        let mut ends: Option<(ServerSample, ServerSample)> = None;
        for line in BufReader::new(file).lines() {
            let line = line.with_context(|| path.display().to_string()).or_status(USAGE)?;
            // The last line of a run that was killed may be torn; other lines are no samples.
            let Ok(sample) = serde_json::from_str::<ServerSample>(&line) else { continue };
            let first = ends.take().map_or_else(|| sample.clone(), |(first, _)| first);
            ends = Some((first, sample));
        }
        Ok(ends.and_then(|(first, last)| ServerCache::between(&first, &last)))
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Failed> {
        let path = self.path.join(file);
        std::fs::write(&path, text)
            .map_err(|e| failed(RUN_DIR, format!("{}: cannot be written: {e}", path.display())))
    }

    /// Starts the journal and the thread that writes it.
    pub fn start_journal(
        &self,
        reports: Receiver<Report>,
        clock: Arc<dyn Clock>,
        when: JournalTime,
        on_error: impl FnOnce() + Send + 'static,
    ) -> Result<JournalThread, Failed> {
        let path = self.path.join(JOURNAL);
        let cannot = |e: io::Error| failed(RUN_DIR, format!("{}: cannot be written: {e}", path.display()));
        let file = File::create(&path).map_err(cannot)?;
        let writer = JournalWriter::new(BufWriter::with_capacity(1 << 16, file), &Header::new(&self.name));
        let mut writer = writer.map_err(cannot)?;
        writer.flush().map_err(cannot)?;
        let thread = std::thread::Builder::new().name("tics-journal".into()).spawn(move || {
            let result = match when {
                JournalTime::AsItHappens => write_all(&mut writer, &reports, &*clock),
                JournalTime::AfterRun => write_kept(&mut writer, &reports),
            };
            if result.is_err() {
                on_error();
                // The run may go on for a while; what it reports now has nowhere to go.
                while reports.recv().is_ok() {}
            }
            result.map(|()| writer)
        });
        Ok(JournalThread { thread: thread.map_err(cannot)?, path: path.clone() })
    }

    /// Reads the description.
    pub fn read_run(&self) -> Result<RunDescription, Failed> {
        let path = self.path.join(RUN);
        let text = std::fs::read_to_string(&path).map_err(|e| {
            failed(USAGE, format!("{}: cannot be read: {e}; is it a run directory?", path.display()))
        })?;
        let run: RunDescription = serde_json::from_str(&text)
            .with_context(|| format!("{}: not the description of a run", path.display()))
            .or_status(USAGE)?;
        if run.format > RUN_FORMAT {
            let found = run.format;
            return Err(failed(
                USAGE,
                format!("{}: format {found}, this version reads up to {RUN_FORMAT}", path.display()),
            ));
        }
        Ok(run)
    }

    /// Opens the journal.
    pub fn read_journal(&self) -> Result<JournalReader<BufReader<File>>, Failed> {
        let path = self.path.join(JOURNAL);
        let file = File::open(&path).map_err(|e| {
            failed(USAGE, format!("{}: cannot be read: {e}; is it a run directory?", path.display()))
        })?;
        JournalReader::new(BufReader::with_capacity(1 << 18, file))
            .with_context(|| path.display().to_string())
            .or_status(USAGE)
    }

    /// The summary: a pure function of the directory.
    pub fn summarise(&self) -> Result<(RunDescription, Summary), Failed> {
        self.summarise_asked(Asked::clone)
    }

    /// The summary, asked for something else than the run was.
    pub fn summarise_asked(
        &self,
        asked: impl FnOnce(&Asked) -> Asked,
    ) -> Result<(RunDescription, Summary), Failed> {
        let run = self.read_run()?;
        let wanted = Wanted::parse(&asked(&run.asked)).or_status(USAGE)?;
        let lines = self.read_journal()?;
        let mut summary = summarise(lines, &run, &wanted)
            .with_context(|| self.path.join(JOURNAL).display().to_string())
            .or_status(USAGE)?;
        summary.cache.server = self.server_cache()?;
        Ok((run, summary))
    }
}

type Writer = JournalWriter<BufWriter<File>>;

/// When the journal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalTime {
    /// While the run goes on.
    AsItHappens,
    /// Kept in memory until the run is over: only to compare the two.
    AfterRun,
}

/// The thread that writes the journal.
pub struct JournalThread {
    thread: JoinHandle<io::Result<Writer>>,
    path: PathBuf,
}

impl JournalThread {
    /// Waits until everything reported is written, then closes the journal.
    pub fn close(self, closing: &Closing) -> Result<(), Failed> {
        let written = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let closed = written.and_then(|mut writer| writer.close(closing));
        closed.map_err(|e| {
            let path = self.path.display();
            failed(RUN_DIR, format!("{path}: cannot be written: {e}; what was written before is kept"))
        })
    }
}

fn write_all(writer: &mut Writer, reports: &Receiver<Report>, clock: &dyn Clock) -> io::Result<()> {
    let mut unflushed_since: Option<Stamp> = None;
    loop {
        let report = match unflushed_since {
            None => reports.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(since) => {
                reports.recv_timeout(since.plus(FLUSH_EVERY).since(clock.now()).unwrap_or_default().into())
            }
        };
        match report {
            Ok(Report::Sent(sent)) => writer.sent(&sent)?,
            Ok(Report::Ended(record)) => writer.ended(&record)?,
            Err(RecvTimeoutError::Timeout) => {
                writer.flush()?;
                unflushed_since = None;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return writer.flush(),
        }
        let now = clock.now();
        // Under a steady load the wait above never runs out.
        if now > unflushed_since.get_or_insert(now).plus(FLUSH_EVERY) {
            writer.flush()?;
            unflushed_since = None;
        }
    }
}

fn write_kept(writer: &mut Writer, reports: &Receiver<Report>) -> io::Result<()> {
    // Its end is the run's.
    let kept: Vec<Report> = reports.iter().collect();
    for report in &kept {
        match report {
            Report::Sent(sent) => writer.sent(sent)?,
            Report::Ended(record) => writer.ended(record)?,
        }
    }
    writer.flush()
}

fn free_name(base: &Path, name: &str) -> PathBuf {
    let first = base.join(name);
    if !first.exists() {
        return first;
    }
    (2..10_000).map(|n| base.join(format!("{name}-{n}"))).find(|p| !p.exists()).unwrap_or(first)
}

/// The run's name travels in a header: only what every server takes there.
fn header_safe(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// The command line for `run.json`: the values of headers are secrets.
pub fn redacted_command(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut header_next = false;
    args.into_iter()
        .map(|arg| {
            if std::mem::take(&mut header_next) {
                return redact_header(&arg);
            }
            header_next = arg == "--header";
            match arg.strip_prefix("--header=") {
                Some(value) => format!("--header={}", redact_header(value)),
                None => redact_query(arg),
            }
        })
        .collect()
}

/// The query of an address, of a trace say, may be what opens it.
fn redact_query(arg: String) -> String {
    match arg.split_once('?') {
        Some((before, _)) if before.contains("://") => format!("{before}?<redacted>"),
        _ => arg,
    }
}

fn redact_header(line: &str) -> String {
    format!("{}: <redacted>", line.split_once(':').map_or("", |(name, _)| name.trim()))
}

/// This machine.
pub fn host(workers: usize) -> Host {
    let name = nix::unistd::gethostname().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let system = nix::sys::utsname::uname()
        .map(|u| format!("{} {}", u.sysname().to_string_lossy(), u.release().to_string_lossy()))
        .unwrap_or_default();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Host {
        name,
        system,
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        cpu: cpu.trim_start_matches([' ', '\t', ':']).to_owned(),
        workers: u32::try_from(workers).unwrap_or(u32::MAX),
    }
}

/// The journal's last line.
pub fn closing(end: &tics_scheduler::RunEnd) -> Closing {
    Closing {
        complete: true,
        interrupted: end.interrupted,
        end: end.end,
        max_in_flight: end.max_in_flight,
        max_queued: end.max_queued,
        pacer_spun: end.pacer_spun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_never_kept() {
        let args = ["tics", "--header", "X-Key: canary", "--header=Authorization: canary", "--url", "u"];
        let kept = redacted_command(args.map(String::from));
        assert!(!kept.join(" ").contains("canary"), "{kept:?}");
        assert_eq!(kept[2], "X-Key: <redacted>");
        assert_eq!(kept[5], "u");
        let kept = redacted_command(["https://a/t.jsonl?key=canary", "is it?"].map(String::from));
        assert_eq!(kept, ["https://a/t.jsonl?<redacted>", "is it?"]);
    }

    #[test]
    fn wall_time_is_a_name_too() {
        let (rfc, compact) = wall_time(1_700_000_000_123_000_000);
        assert_eq!((rfc.as_str(), compact.as_str()), ("2023-11-14T22:13:20.123Z", "20231114T221320Z"));
        assert_eq!(header_safe("a b/ü.1-x"), "a_b__.1-x");
    }
}
