//! Reading the events of one stream, which are alike.

use std::ops::Range;

use tics_record::EventClass;

use super::scan::{Scanned, scan, string_end};
use super::{Decoded, ERROR, decode_by_serde};

/// Reads the events of one stream, with a memory of the last.
///
/// From one token to the next nothing changes but the text. So an event that equals the last one up to
/// that text and behind it has its class, if only the text is the inside of a string, and is not looked
/// at any closer: two comparisons of memory instead of a reading. [`decode`](super::decode) says the
/// same of every event.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The last event with text and without anything that would have to be said of it beyond its class.
    last: Vec<u8>,
    /// Where in it the text is, without its quotes. Never empty once there is an event.
    text: Range<usize>,
    class: Option<EventClass>,
}

/// Longer events are read afresh each time, rather than kept for every open stream.
const LONGEST: usize = 4 << 10;

impl Decoder {
    /// A reader that has seen no event yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one event. `name` is the SSE event name, empty for the default.
    pub fn decode<'a>(&mut self, name: &[u8], data: &'a [u8]) -> Decoded<'a> {
        // By its name alone, an event can be an error whatever it holds.
        if name == ERROR {
            return decode_by_serde(name, data);
        }
        if let Some(class) = self.as_the_last(data) {
            return Decoded::bare(class);
        }
        let Some(Scanned { decoded, text }) = scan(data) else { return decode_by_serde(name, data) };
        if !text.is_empty()
            && data.len() <= LONGEST
            && decoded.usage.is_none()
            && decoded.finish_reason.is_none()
        {
            self.last.clear();
            self.last.extend_from_slice(data);
            self.text = text;
            self.class = Some(decoded.class);
        }
        decoded
    }

    /// The class of an event that differs from the last in its text at most. `None` says nothing.
    fn as_the_last(&self, data: &[u8]) -> Option<EventClass> {
        let class = self.class?;
        let (before, behind) = (&self.last[..self.text.start], &self.last[self.text.end..]);
        let end = data.len().checked_sub(behind.len())?;
        // An empty text would make another class of it.
        if end <= before.len() || !data.starts_with(before) || !data.ends_with(behind) {
            return None;
        }
        // The quote that ends the text must be the one that `behind` begins with.
        (string_end(data, before.len())? == end).then_some(class)
    }
}
