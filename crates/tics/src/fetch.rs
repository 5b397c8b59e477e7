//! Traces at http and https addresses: fetched once, kept with their hash, read as files.
//!
//! What was fetched is taken again without asking anyone, so that a run can be repeated on a machine without a
//! network and with the same bytes; `--refresh` asks the server whether there is something new.

mod cache;
mod meter;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tics_client::{
    BaseUrl, Client, Connector, FileUrl, Head, Limits, ReusePolicy, Target, Trust, tls_config,
};
use tics_record::{Clock, Download, Nanos};
use tics_trace::{OpenOptions, Trace};

use self::cache::{Cache, Entry, key};
use self::meter::{Meter, size};
use crate::cli::FetchArgs;
use crate::outcome::{Failed, OrStatus, USAGE, failed};
use crate::play::Origin;
use crate::progress::say;
use crate::rundir::wall_time;
use crate::server::block_on;

/// Redirects that are followed: file hosts have two or three.
const REDIRECTS: u32 = 10;

/// Longest time in which nothing comes.
const SILENCE: Nanos = Nanos::from_secs(60);

/// Larger files are hardly traces; the disk is to stay.
const LARGEST: u64 = 64 << 30;

/// Opens the trace that an argument names: a file, a folder, `-`, or an address.
pub fn open_trace(path: &Path, options: &OpenOptions, args: FetchArgs, quiet: bool) -> Result<Trace, Failed> {
    match path.to_str().filter(|text| FileUrl::is_one(text)) {
        None => Trace::open(path, options).or_status(USAGE),
        Some(url) => {
            let url = FileUrl::parse(url).or_status(USAGE)?;
            let (entry, file) = fetch(&url, args, quiet)?;
            let of = Download { url: url.display(), sha256: entry.sha256, fetched: entry.fetched };
            Trace::open_copy(&file, of, options).or_status(USAGE)
        }
    }
}

/// The file at `url` in the cache, put there first where it is missing.
fn fetch(url: &FileUrl, args: FetchArgs, quiet: bool) -> Result<(Entry, std::path::PathBuf), Failed> {
    let cache = Cache::of_user().or_status(USAGE)?;
    let known = cache.find(&url.full());
    if let (Some((entry, file)), false) = (&known, args.refresh) {
        if !quiet {
            say(format_args!("{}: as fetched {}; --refresh asks again", url.display(), entry.fetched));
        }
        return Ok((entry.clone(), file.clone()));
    }
    let known = known.map(|(entry, _)| entry);
    let entry = block_on(download(url, &cache, known, quiet))??;
    let file = cache.file(&entry);
    Ok((entry, file))
}

/// What a server answered.
enum Answered {
    /// The file came, and is in the cache.
    File(Entry),
    /// What the cache has is still the same.
    Same,
    /// It lies elsewhere.
    Elsewhere(FileUrl),
}

/// Fetches a file, wherever its address leads.
async fn download(url: &FileUrl, cache: &Cache, known: Option<Entry>, quiet: bool) -> Result<Entry, Failed> {
    let named = |why: String| failed(USAGE, format!("{}: {why}", url.display()));
    let mut at = url.clone();
    for _ in 0..=REDIRECTS {
        match answer(&at, url, cache, known.as_ref(), quiet).await.map_err(named)? {
            Answered::File(entry) => return Ok(entry),
            Answered::Elsewhere(next) => at = next,
            Answered::Same => {
                if let Some(entry) = known {
                    if !quiet {
                        say(format_args!("{}: not changed since {}", url.display(), entry.fetched));
                    }
                    return Ok(entry);
                }
            }
        }
    }
    Err(named(format!("more than {REDIRECTS} redirects, the last to {}", at.display())))
}

/// Asks for one address. The errors are the end of a line that names it.
async fn answer(
    at: &FileUrl,
    url: &FileUrl,
    cache: &Cache,
    known: Option<&Entry>,
    quiet: bool,
) -> Result<Answered, String> {
    let origin = Origin::now();
    let client = client(&at.base, Arc::new(origin.clock))?;
    let mut headers = Vec::new();
    headers.extend(known.and_then(|entry| Some(("if-none-match", entry.etag.as_deref()?))));
    headers.extend(known.and_then(|entry| Some(("if-modified-since", entry.modified.as_deref()?))));
    let mut copy = cache.copy().map_err(|e| cache.unwritable(&e))?;
    let (mut hasher, mut bytes, mut failed) = (Sha256::new(), 0, None);
    let mut meter = Meter::new(&origin.clock, quiet);
    let take = |head: &Head, piece: &[u8]| {
        if head.status != 200 || is_page(head) {
            return false;
        }
        hasher.update(piece);
        bytes += piece.len() as u64;
        meter.show(&origin.clock, bytes, head.length());
        if bytes > LARGEST {
            failed = Some(format!("larger than {}, which no trace is", size(LARGEST)));
        } else if let Err(error) = copy.write_all(piece) {
            failed = Some(cache.unwritable(&error));
        }
        failed.is_none()
    };
    let answered = client.download(&at.path, &headers, SILENCE, take).await;
    meter.clear();
    let head = answered.map_err(|failure| with_place(at, url, &failure.to_string()))?;
    if let Some(why) = failed {
        return Err(why);
    }
    match head.status {
        200 if is_page(&head) => {
            Err("is a web page, not a file; the address of the file itself is the one behind \"raw\" or \"download\""
                .to_owned())
        }
        200 => {
            let (fetched, _) = wall_time(origin.unix_ns + origin.clock.now().as_nanos());
            let entry = Entry {
                key: key(&url.full()),
                sha256: format!("{:x}", hasher.finalize()),
                bytes,
                fetched,
                etag: head.header("etag").map(str::to_owned),
                modified: head.header("last-modified").map(str::to_owned),
            };
            cache.keep(copy, &entry).map_err(|e| cache.unwritable(&e))?;
            if !quiet {
                let place = cache.file(&entry);
                say(format_args!("{}: {} fetched, kept as {}", url.display(), size(bytes), place.display()));
            }
            Ok(Answered::File(entry))
        }
        304 if known.is_some() => Ok(Answered::Same),
        301 | 302 | 303 | 307 | 308 => {
            let location = head.header("location").ok_or("redirects without saying where to")?;
            at.follow(location).map(Answered::Elsewhere).map_err(|e| with_place(at, url, &format!("a redirect: {e}")))
        }
        status => Err(with_place(at, url, &refused(status))),
    }
}

fn client(base: &BaseUrl, clock: Arc<dyn Clock>) -> Result<Client, String> {
    let addresses = base.resolve().map_err(|failure| format!("{failure}; check the name"))?;
    let target = Target::new(base.clone(), addresses, None, None).map_err(|e| e.to_string())?;
    let tls = if base.tls { Some(tls_config(&Trust::Platform).map_err(|e| e.to_string())?) } else { None };
    let connector = Connector::new(Arc::new(target), tls, Limits::default(), clock);
    Ok(Client::new(connector, Arc::default(), ReusePolicy::PerRequest))
}

/// Whether the server sends a page about the file: every host of files has some.
fn is_page(head: &Head) -> bool {
    head.header("content-type")
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

fn refused(status: u16) -> String {
    let remedy = match status {
        401 | 403 => "it is not public: fetch it yourself and give the file",
        404 | 410 => "there is no such file; check the address",
        429 => "too many requests from here; try again later",
        500.. => "the server is in trouble; try again later",
        _ => "fetch it yourself and give the file",
    };
    format!("HTTP {status}: {remedy}")
}

/// What went wrong, with the place where it did if that is another one than the address given.
fn with_place(at: &FileUrl, url: &FileUrl, why: &str) -> String {
    if at == url { why.to_owned() } else { format!("{}, where it leads: {why}", at.display()) }
}
