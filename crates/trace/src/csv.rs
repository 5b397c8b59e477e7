//! Lines of comma-separated cells without quotes, columns by name.

use crate::error::{Fault, shorten};
use crate::renames::theirs;

/// The first line of a file.
pub(crate) struct Header<'a> {
    line: &'a str,
    fields: &'a [(String, String)],
}

impl<'a> Header<'a> {
    /// `fields` are pairs of a name in the format and the name in the file.
    pub(crate) fn new(line: &'a str, fields: &'a [(String, String)]) -> Header<'a> {
        Header { line, fields }
    }

    /// Number of columns.
    pub(crate) fn count(&self) -> usize {
        self.line.split(',').count()
    }

    /// Where a column is, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let name = theirs(self.fields, name);
        self.line.split(',').position(|n| n.trim() == name)
    }

    /// Where a column is that must be there.
    pub(crate) fn column(&self, name: &str) -> Result<usize, Fault> {
        let missing = || {
            let name = theirs(self.fields, name);
            Fault::field(name, "a column of this name in the header", &shorten(self.line))
        };
        self.find(name).ok_or_else(missing)
    }
}

/// A row with as many cells as its header.
pub(crate) struct Cells<'a>(&'a str);

impl<'a> Cells<'a> {
    pub(crate) fn new(line: &'a str, expected: usize) -> Result<Cells<'a>, Fault> {
        let found = line.split(',').count();
        if found == expected { Ok(Cells(line)) } else { Err(Fault::Columns { expected, found }) }
    }

    pub(crate) fn get(&self, at: usize) -> &'a str {
        self.0.split(',').nth(at).unwrap_or("").trim()
    }

    /// The value of a cell, or what is wrong with it.
    pub(crate) fn value<T>(
        &self,
        (at, name): (usize, &str),
        expect: impl FnOnce(&'a str) -> Result<T, &'static str>,
    ) -> Result<T, Fault> {
        let cell = self.get(at);
        expect(cell).map_err(|expected| Fault::field(name, expected, &quoted(cell)))
    }
}

fn quoted(cell: &str) -> String {
    if cell.is_empty() { "nothing".to_owned() } else { format!("\"{cell}\"") }
}
