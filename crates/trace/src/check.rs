//! Whether a trace says what it seems to say: `tics trace check`.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Serialize;
use tics_record::Nanos;

use crate::error::TraceError;
use crate::format::Format;
use crate::index::Index;
use crate::info::grouped;
use crate::row::{Id, Row};
use crate::trace::Trace;

/// Lines named for each finding.
const NAMED_LINES: usize = 5;
/// Longer prompts than any model takes.
const LONGEST_INPUT: u32 = 10_000_000;
/// Longer answers than any model gives.
const LONGEST_OUTPUT: u32 = 1_000_000;
/// Fewer rows say nothing about a rate.
const ROWS_FOR_A_RATE: u64 = 20;
/// A trace with more requests a second than this was hardly recorded in milliseconds.
const FASTEST_RPS: f64 = 500.0;
/// A trace with fewer requests a second than this was hardly recorded in seconds.
const SLOWEST_RPS: f64 = 0.02;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// The replay may not be what was meant.
    Warning,
    /// The trace contradicts itself.
    Error,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Rows concerned.
    pub count: u64,
    /// Lines of the first few of them.
    pub first_lines: Vec<u64>,
    /// What is wrong.
    pub message: String,
}

/// What the checks came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// The file as given.
    pub path: String,
    /// Its format.
    pub format: Format,
    /// Valid rows.
    pub rows: u64,
    /// The unit of its times, where the format alone says it, and no other unit fits them better.
    pub unit: Option<&'static str>,
    /// Names of all checks that were made.
    pub checks: Vec<&'static str>,
    /// What is not as it should be, worst first.
    pub findings: Vec<Finding>,
}

/// Rows that one check concerns.
#[derive(Default)]
struct Tally {
    count: u64,
    first_lines: Vec<u64>,
}

impl Tally {
    fn add(&mut self, line: u64) {
        self.count += 1;
        if self.first_lines.len() < NAMED_LINES {
            self.first_lines.push(line);
        }
    }
}

#[derive(Default)]
struct Checks {
    blocks: Tally,
    order: Tally,
    lengths: Tally,
    turns: Tally,
    prefixes: Tally,
    turn_order: Tally,
    duplicate_ids: Tally,
    missing_parents: Tally,
    late_parents: Tally,
    last: Nanos,
    ids: HashMap<Id, Nanos>,
    /// The block before each block.
    before: HashMap<u64, Option<u64>>,
    /// Time and turn of the last row of each session.
    sessions: HashMap<String, (Nanos, u32)>,
    /// Rows whose parent has not come yet.
    waiting: Vec<(Id, u64, Nanos)>,
}

impl Checks {
    fn add(&mut self, row: Row) {
        let Row { line, at, .. } = row;
        let has_session = row.session.is_some();
        if let (Some(ids), Some(size)) = (&row.hash_ids, row.block_size)
            && row.input_length > 0
            && ids.len() as u64 != u64::from(row.input_length.div_ceil(size))
        {
            self.blocks.add(line);
        }
        if at < self.last {
            self.order.add(line);
        }
        self.last = at;
        if row.input_length > LONGEST_INPUT || row.output_length > LONGEST_OUTPUT {
            self.lengths.add(line);
        }
        if row.hash_ids.as_ref().is_some_and(|ids| !self.continues(ids)) {
            self.prefixes.add(line);
        }
        if let (Some(session), Some(turn)) = (row.session, row.turn) {
            let before = self.sessions.insert(session, (at, turn));
            // Turns on one instant may come in any order in the file.
            if before.is_some_and(|(time, last)| (time < at && turn <= last) || (time > at && turn >= last)) {
                self.turn_order.add(line);
            }
        }
        let is_late_turn = row.turn.is_some_and(|turn| turn > 1);
        if row.turn == Some(0) || (is_late_turn && row.parent.is_none() && !has_session) {
            self.turns.add(line);
        }
        if let Some(parent) = row.parent {
            match self.ids.get(&parent) {
                Some(before) if *before > at => self.late_parents.add(line),
                Some(_) => {}
                None => self.waiting.push((parent, line, at)),
            }
        }
        if let Some(id) = row.id
            && self.ids.insert(id, at).is_some()
        {
            self.duplicate_ids.add(line);
        }
    }

    /// Whether every block stands behind the same block as wherever it was met before.
    fn continues(&mut self, ids: &[u64]) -> bool {
        let mut before = None;
        let mut agrees = true;
        for id in ids {
            agrees &= *self.before.entry(*id).or_insert(before) == before;
            before = Some(*id);
        }
        agrees
    }

    /// Parents that come later in the file than their children, or never.
    fn settle_parents(&mut self) {
        for (parent, line, at) in std::mem::take(&mut self.waiting) {
            match self.ids.get(&parent) {
                None => self.missing_parents.add(line),
                Some(parent) if *parent > at => self.late_parents.add(line),
                Some(_) => {}
            }
        }
    }
}

impl Trace {
    /// Reads the trace again and checks what single rows cannot show. Open it with
    /// [`OpenOptions::skip_bad_rows`](crate::OpenOptions::skip_bad_rows) to have bad rows among the
    /// findings instead of an error.
    ///
    /// Memory grows with the number of request ids, sessions and distinct blocks, where rows have them.
    ///
    /// # Errors
    /// When the file can no longer be read.
    pub fn check(&self) -> Result<CheckReport, TraceError> {
        let index = self.index();
        let mut checks = Checks::default();
        for row in self.rows_as_recorded() {
            checks.add(row?);
        }
        checks.settle_parents();
        let mut report = CheckReport {
            path: self.path().to_owned(),
            format: index.format,
            rows: index.rows,
            unit: None,
            checks: Vec::new(),
            findings: Vec::new(),
        };
        report.add_bad_rows(index);
        report.add_left_out(index);
        report.add_tallies(checks);
        report.add_unit(index);
        report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(report)
    }
}

impl CheckReport {
    /// Whether nothing worse than a note was found.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    fn add_bad_rows(&mut self, index: &Index) {
        self.checks.push("rows");
        if index.skipped > 0 {
            self.findings.push(Finding {
                check: "rows",
                severity: Severity::Error,
                count: index.skipped,
                first_lines: Vec::new(),
                message: format!("not valid: {}", index.first_skipped.join("; ")),
            });
        }
    }

    /// Rows that were left out on purpose.
    fn add_left_out(&mut self, index: &Index) {
        let left_out = [
            ("failed", index.failed, "failed in the original, and left out"),
            ("conversations", index.empty_conversations, "no message that is answered, and left out"),
            ("times", index.untimed, "no time of its own: it follows the row before in its session"),
        ];
        for (check, count, message) in left_out.into_iter().filter(|(_, count, _)| *count > 0) {
            self.checks.push(check);
            self.findings.push(Finding {
                check,
                severity: Severity::Note,
                count,
                first_lines: Vec::new(),
                message: message.to_owned(),
            });
        }
    }

    fn add_tallies(&mut self, checks: Checks) {
        use Severity::{Error, Note, Warning};
        let all = [
            ("blocks", Error, checks.blocks, "the number of hash_ids is not ceil(input_length / block size)"),
            (
                "prefixes",
                Warning,
                checks.prefixes,
                "a block stands behind another one than before; the same id should mean the same prefix",
            ),
            ("ids", Error, checks.duplicate_ids, "the id was used before"),
            ("parents", Error, checks.late_parents, "the parent arrives after the request that continues it"),
            ("order", Warning, checks.order, "earlier than the row before; a replay sorts by time"),
            (
                "lengths",
                Warning,
                checks.lengths,
                "longer than any model takes: over 10,000,000 in or 1,000,000 out",
            ),
            ("turns", Warning, checks.turns, "the turn is 0, or above 1 in a row that continues nothing"),
            (
                "turn order",
                Warning,
                checks.turn_order,
                "the turn does not go up with the time in its session",
            ),
            (
                "missing parents",
                Note,
                checks.missing_parents,
                "the parent is not in the file: it began before the trace",
            ),
        ];
        for (check, severity, mut tally, message) in all {
            self.checks.push(check);
            if tally.count > 0 {
                tally.first_lines.sort_unstable();
                let Tally { count, first_lines } = tally;
                self.findings.push(Finding {
                    check,
                    severity,
                    count,
                    first_lines,
                    message: message.to_owned(),
                });
            }
        }
    }

    /// A file in the other unit of time looks the same, except for its rate.
    fn add_unit(&mut self, index: &Index) {
        let Some(unit) = index.format.silent_unit() else { return };
        self.checks.push("unit");
        self.unit = Some(unit);
        let span = index.span().as_secs_f64();
        if index.rows < ROWS_FOR_A_RATE || span == 0.0 {
            return;
        }
        let rate = index.rows as f64 / span;
        let (other, other_rate) = match unit {
            "milliseconds" if rate > FASTEST_RPS => ("seconds", rate / 1e3),
            "seconds" if rate < SLOWEST_RPS => ("milliseconds", rate * 1e3),
            _ => return,
        };
        self.unit = None;
        self.findings.push(Finding {
            check: "unit",
            severity: Severity::Warning,
            count: index.rows,
            first_lines: Vec::new(),
            message: format!(
                "{rate:.3} requests/s with times in {unit}, as the format has them; in {other} it would be \
                 {other_rate:.3}"
            ),
        });
    }

    /// As text: a line for the file, and one for each check, each ended by a line feed.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}, {} valid rows", self.path, self.format, grouped(self.rows));
        for check in &self.checks {
            let mut found = self.findings.iter().filter(|finding| finding.check == *check).peekable();
            if found.peek().is_none() {
                let unit = self.unit.filter(|_| *check == "unit").map(|unit| format!(": {unit}"));
                let _ = writeln!(text, "ok       {check}{}", unit.unwrap_or_default());
            }
            for finding in found {
                let _ = writeln!(text, "{}", finding.render());
            }
        }
        text
    }
}

impl Finding {
    fn render(&self) -> String {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let rows = if self.count == 1 { "1 row".to_owned() } else { format!("{} rows", grouped(self.count)) };
        let mut text = format!("{severity:<8} {}: {rows}: {}", self.check, self.message);
        if !self.first_lines.is_empty() {
            let lines: Vec<String> = self.first_lines.iter().map(u64::to_string).collect();
            let more = if self.count as usize > lines.len() { ", …" } else { "" };
            let _ = write!(text, " (line {}{more})", lines.join(", "));
        }
        text
    }
}
