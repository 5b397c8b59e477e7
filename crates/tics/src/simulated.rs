//! The simulated server as a child process, for runs without `--url`.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use crate::outcome::{Failed, OrStatus, SERVER, USAGE, failed};
use crate::progress::say;

/// The word before the address on the child's first line.
pub const LISTENING: &str = "listening on ";

/// A simulated server of this run's own. Ends with it.
#[derive(Debug)]
pub struct SimulatedServer {
    child: Child,
    /// Held open: the child ends when it closes, so that it never outlives this process.
    stdin: Option<ChildStdin>,
    /// Collects what it says: straight on the terminal it would be written across the dashboard.
    said: Option<JoinHandle<String>>,
    /// Its address.
    pub url: String,
}

/// Most of what the child says that is kept, bytes.
const SAID_AT_MOST: u64 = 1 << 16;

impl SimulatedServer {
    /// Starts it with the arguments of `tics sim` in `args`.
    pub fn start(args: Option<&str>) -> Result<Self, Failed> {
        let program = std::env::current_exe().or_status(SERVER)?;
        let args = split_words(args.unwrap_or_default())
            .ok_or_else(|| failed(USAGE, "--sim: a quotation mark is not closed"))?;
        let mut command = Command::new(program);
        command
            .arg("sim")
            .args(args)
            .arg("--until-stdin-ends")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A process group of its own: Ctrl-C is for the run, which still needs its server to drain.
            .process_group(0);
        let mut child = command.spawn().or_status(SERVER)?;
        let stdin = child.stdin.take();
        let stdout =
            child.stdout.take().ok_or_else(|| failed(SERVER, "the simulated server has no output"))?;
        let said = child.stderr.take().map(|stderr| std::thread::spawn(|| listen(stderr)));
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).or_status(SERVER)?;
        let Some(url) = line.trim().strip_prefix(LISTENING) else {
            let status = child.wait().or_status(SERVER)?;
            let said = said.and_then(|thread| thread.join().ok()).unwrap_or_default();
            let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
            return Err(failed(code.unwrap_or(SERVER), why_not(&said, status)));
        };
        Ok(SimulatedServer { url: url.to_owned(), child, stdin, said })
    }
}

fn listen(stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    let mut stderr = stderr.take(SAID_AT_MOST);
    let _cut = stderr.read_to_end(&mut said);
    // A full pipe would stop the child.
    let _rest = io::copy(&mut stderr.into_inner(), &mut io::sink());
    String::from_utf8_lossy(&said).into_owned()
}

/// Why the child did not start, on one line.
fn why_not(said: &str, status: ExitStatus) -> String {
    let lines: Vec<&str> = said.trim().lines().map(str::trim).collect();
    let first = lines.first().copied().unwrap_or_default();
    if let Some(usage) = first.strip_prefix("error: ") {
        // The argument parser's first paragraph; those after it explain `tics sim`, not this command.
        let rest = lines[1..].iter().take_while(|line| !line.is_empty());
        let usage = rest.fold(usage.to_owned(), |all, line| all + " " + line);
        return format!("--sim: {usage}; `tics sim --help` lists its arguments");
    }
    match first.strip_prefix("tics: ").unwrap_or(first) {
        "" => format!("the simulated server did not start: {status}"),
        line => format!("--sim: {line}"),
    }
}

impl Drop for SimulatedServer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _status = self.child.wait();
        let said = self.said.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        for line in said.lines() {
            say(format_args!("the simulated server says: {line}"));
        }
    }
}

/// Splits as a shell would, as far as blanks and quotation marks go; `None` if a mark stays open.
fn split_words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let check = |text, words: &[&str]| assert_eq!(split_words(text).unwrap(), words, "{text}");
        check("", &[]);
        check("  --slots 4  --itl 5ms ", &["--slots", "4", "--itl", "5ms"]);
        check("--truth 'a b' --model \"\"", &["--truth", "a b", "--model", ""]);
        assert_eq!(split_words("'a"), None);
    }
}
