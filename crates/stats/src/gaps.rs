//! Spans between tics, kept in the order in which requests were taken up.

/// Marks a gap that does not fit: its value is the next of `large`.
const LARGE: u32 = u32::MAX;

/// Gaps in nanoseconds, exact, request after request. Those below 2^32 - 1 ns (4.29 s) take 4 bytes, so
/// that 100 million fit into 400 MB; larger ones are rare and take 12.
///
/// They are never sorted: quantiles are found by counting ([`Selection`](crate::select::Selection)), so
/// it stays known which request a gap belongs to, and no copy is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gaps {
    /// One a summariser that was merged: parts are joined without copying.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Default)]
struct Part {
    small: Vec<u32>,
    large: Vec<u64>,
}

impl Gaps {
    pub(crate) fn push(&mut self, ns: u64) {
        if self.parts.is_empty() {
            self.parts.push(Part::default());
        }
        let Some(part) = self.parts.last_mut() else { return };
        match u32::try_from(ns) {
            Ok(small) if small != LARGE => part.small.push(small),
            _ => {
                part.small.push(LARGE);
                part.large.push(ns);
            }
        }
    }

    /// Puts the requests of `other` after ours.
    pub(crate) fn append(&mut self, other: Gaps) {
        self.parts.extend(other.parts);
    }

    /// Reads them again, request by request.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { parts: self.parts.iter(), small: &[], large: &[] }
    }
}

/// Hands out the gaps of one request after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    parts: std::slice::Iter<'a, Part>,
    small: &'a [u32],
    large: &'a [u64],
}

impl<'a> Reader<'a> {
    /// The next `n` gaps. A request's gaps are all in one part.
    pub(crate) fn take(&mut self, n: usize) -> Slice<'a> {
        while self.small.is_empty() && n > 0 {
            let Some(part) = self.parts.next() else { break };
            (self.small, self.large) = (&part.small, &part.large);
        }
        let (small, rest) = self.small.split_at(n.min(self.small.len()));
        self.small = rest;
        let n_large = if self.large.is_empty() { 0 } else { small.iter().filter(|v| **v == LARGE).count() };
        let (large, rest) = self.large.split_at(n_large);
        self.large = rest;
        Slice { small, large }
    }
}

/// The gaps of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    small: &'a [u32],
    large: &'a [u64],
}

impl<'a> Slice<'a> {
    pub(crate) const EMPTY: Slice<'static> = Slice { small: &[], large: &[] };

    pub(crate) const fn len(&self) -> u64 {
        self.small.len() as u64
    }

    /// Those that fit into 4 bytes.
    pub(crate) fn small(&self) -> impl Iterator<Item = u32> + 'a {
        let whole = self.large.is_empty();
        self.small.iter().copied().filter(move |v| whole || *v != LARGE)
    }

    /// Those that do not.
    pub(crate) const fn large(&self) -> &'a [u64] {
        self.large
    }

    pub(crate) fn sum(&self) -> u64 {
        let small: u64 = self.small().map(u64::from).sum();
        self.large.iter().fold(small, |sum, v| sum.saturating_add(*v))
    }

    pub(crate) fn max(&self) -> Option<u64> {
        let large = self.large.iter().copied().max();
        large.or_else(|| self.small.iter().copied().max().map(u64::from))
    }

    /// How many are at most `ns`.
    pub(crate) fn count_up_to(&self, ns: u64) -> u64 {
        // A large gap's mark is above every limit that is smaller than it.
        let limit = u32::try_from(ns).map_or(LARGE - 1, |ns| ns.min(LARGE - 1));
        let small = self.small.iter().map(|v| u32::from(*v <= limit)).sum::<u32>();
        u64::from(small) + self.large.iter().filter(|v| **v <= ns).count() as u64
    }
}
