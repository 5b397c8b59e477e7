//! The CSV of BurstGPT: seconds from the start of the collection, with a session where there is one.

use crate::csv::{Cells, Header};
use crate::decimal::{SECONDS, parse_decimal};
use crate::error::Fault;
use crate::renames::{places_of, theirs};
use crate::value::{TOKENS, expect_tokens, expect_whole};
use crate::view::RowView;

const TIME: &str = "Timestamp";
const SESSION: &str = "Session ID";
const INPUT: &str = "Request tokens";
const OUTPUT: &str = "Response tokens";
const KIND: &str = "Log Type";

/// The columns that can be renamed.
pub(crate) const NAMES: &[&str] = &[TIME, SESSION, INPUT, OUTPUT, KIND];

/// Where the columns are. The models' names, elapsed times and sums are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    time: usize,
    input: usize,
    output: usize,
    session: Option<usize>,
    kind: Option<usize>,
    count: usize,
    places: u32,
}

impl Columns {
    pub(crate) fn from_header(line: &str, fields: &[(String, String)]) -> Result<Columns, Fault> {
        let header = Header::new(line, fields);
        Ok(Columns {
            time: header.column(TIME)?,
            input: header.column(INPUT)?,
            output: header.column(OUTPUT)?,
            session: header.find(SESSION),
            kind: header.find(KIND),
            count: header.count(),
            places: places_of(theirs(fields, TIME)).unwrap_or(SECONDS),
        })
    }

    /// Validates a line in full.
    ///
    /// A response of 0 tokens marks a request that failed when the trace was recorded. It is left out
    /// unless `keep_failed`: then it asks for one token, the fewest that can be asked for. A failed
    /// request without a prompt has nothing to send, and is always left out.
    pub(crate) fn read<'a>(&self, line: &'a str, keep_failed: bool) -> Result<RowView<'a>, Fault> {
        let cells = Cells::new(line, self.count)?;
        let at = cells.value((self.time, TIME), |cell| {
            parse_decimal(cell, self.places).map_err(|_| "a time from 0, at most 18446744073 s")
        })?;
        let response = cells.value((self.output, OUTPUT), expect_whole)?;
        let request = cells.value((self.input, INPUT), |cell| {
            if response == 0 { expect_whole(cell) } else { expect_tokens(cell).map_err(|_| TOKENS) }
        })?;
        let optional = |at: Option<usize>| at.map(|at| cells.get(at)).filter(|cell| !cell.is_empty());
        Ok(RowView {
            at,
            has_time: true,
            failed: response == 0 && (request == 0 || !keep_failed),
            input_length: request,
            output_length: response.max(1),
            session: optional(self.session),
            kind: optional(self.kind),
            ..RowView::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type";

    #[test]
    fn no_answer_means_that_it_failed() {
        let columns = Columns::from_header(HEADER, &[]).unwrap();
        let read = |row: &'static str, keep| columns.read(row, keep).unwrap();
        let failed = read("5,ChatGPT,472,0,472,API log", false);
        assert!(failed.failed);
        let kept = read("5,ChatGPT,472,0,472,API log", true);
        assert_eq!((kept.failed, kept.input_length, kept.output_length), (false, 472, 1));
        assert!(read("5,ChatGPT,0,0,0,API log", true).failed);
        assert!(columns.read("5,ChatGPT,0,7,7,API log", true).is_err());
    }

    #[test]
    fn times_may_have_another_name_and_unit() {
        let fields = [("Timestamp".to_owned(), "sent_ms".to_owned())];
        let header = HEADER.replace("Timestamp", "sent_ms");
        let columns = Columns::from_header(&header, &fields).unwrap();
        assert_eq!(columns.read("1500,ChatGPT,472,9,481,API log", false).unwrap().at, 1_500_000_000);
    }
}
