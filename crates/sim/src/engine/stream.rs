//! One response: its bytes on their way to the kernel, and the stamps of its tokens.

use std::collections::VecDeque;

use super::plan::StreamId;
use crate::clock;
use crate::link::Taken;
use crate::order::Order;
use crate::truth::{Ending, TruthLine};
use crate::wire::{Piece, Script};

/// A response under way.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) order: Order,
    pub(crate) script: Script,
    /// Tokens made so far.
    pub(crate) emitted: u32,
    /// It gets no tick until its client has read what is unsent.
    pub(crate) paused: bool,
    head_at: Option<u64>,
    /// Offered to the kernel, which was full; from `offset` on.
    unsent: Vec<u8>,
    offset: usize,
    /// Where in `unsent` the events of the next tokens end, in order.
    ends: VecDeque<usize>,
    /// Tokens whose last byte the kernel took.
    taken: u32,
    /// Before and after each token's write; `after` is 0 until its last byte was taken.
    stamps: Vec<(u64, u64)>,
    dues: Vec<u64>,
    /// Whether anyone will read the stamps.
    record: bool,
}

/// Whether the peer is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Here,
    Gone,
}

impl Stream {
    pub(crate) fn new(order: Order, script: Script, record: bool) -> Self {
        let expected = if record { order.ask.output_tokens.min(4096) as usize } else { 0 };
        Stream {
            script,
            emitted: 0,
            paused: false,
            head_at: order.head_at,
            unsent: Vec::new(),
            offset: 0,
            ends: VecDeque::new(),
            taken: 0,
            stamps: Vec::with_capacity(expected),
            dues: Vec::new(),
            record,
            order,
        }
    }

    /// Bytes that wait for the client to read.
    pub(crate) fn n_unsent(&self) -> usize {
        self.unsent.len() - self.offset
    }

    /// Whether all tokens have been made.
    pub(crate) fn is_spoken(&self) -> bool {
        self.emitted == self.order.ask.output_tokens
    }

    /// Tokens that an engine would hold for it: none before the first token.
    pub(crate) fn n_resident(&self) -> u64 {
        if self.emitted == 0 { 0 } else { self.order.ask.prompt_tokens + u64::from(self.emitted) }
    }

    pub(crate) fn n_taken(&self) -> u32 {
        self.taken
    }

    /// The rest of the head, or all of it.
    pub(crate) fn write_head(&mut self) -> Peer {
        let head = std::mem::take(&mut self.order.unsent_head);
        if head.is_empty() {
            return Peer::Here;
        }
        let peer = self.write(&head, &[]);
        self.head_at = Some(clock::now());
        peer
    }

    /// What comes before the first token.
    pub(crate) fn write_prologue(&mut self, scratch: &mut Vec<u8>) -> Peer {
        if self.write_head() == Peer::Gone {
            return Peer::Gone;
        }
        if self.script.has_role() { self.write_piece(Piece::Role, scratch) } else { Peer::Here }
    }

    /// The next `n` tokens in one write.
    pub(crate) fn write_tokens(
        &mut self,
        n: u32,
        due: Option<u64>,
        scratch: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Peer {
        scratch.clear();
        ends.clear();
        for k in self.emitted..self.emitted + n {
            self.script.write(Piece::Token(k), scratch);
            ends.push(scratch.len());
        }
        self.emitted += n;
        self.note_due(due);
        self.write(scratch, ends)
    }

    /// A whole response; its tokens are handed over all at once.
    pub(crate) fn write_whole(&mut self, bytes: &[u8]) -> Peer {
        self.head_at = Some(clock::now());
        self.write(bytes, &vec![bytes.len(); self.order.ask.output_tokens as usize])
    }

    /// A token that is only due, as the response goes out in one piece at its end.
    pub(crate) fn keep_token(&mut self, n: u32, due: Option<u64>) {
        self.emitted += n;
        self.note_due(due);
    }

    /// What comes after the last token.
    pub(crate) fn write_epilogue(&mut self, scratch: &mut Vec<u8>) -> Peer {
        for &piece in self.script.epilogue() {
            if self.write_piece(piece, scratch) == Peer::Gone {
                return Peer::Gone;
            }
        }
        Peer::Here
    }

    fn note_due(&mut self, due: Option<u64>) {
        if self.record {
            self.dues.extend(due);
        }
    }

    fn write_piece(&mut self, piece: Piece, scratch: &mut Vec<u8>) -> Peer {
        scratch.clear();
        self.script.write(piece, scratch);
        self.write(scratch, &[])
    }

    /// Hands `bytes` to the kernel, or puts them behind what is unsent; `ends` is where tokens end.
    fn write(&mut self, bytes: &[u8], ends: &[usize]) -> Peer {
        let before = clock::now();
        if self.n_unsent() > 0 {
            let base = self.unsent.len();
            self.unsent.extend_from_slice(bytes);
            self.ends.extend(ends.iter().map(|end| base + end));
            self.stamp(ends.len(), before, 0);
            return Peer::Here;
        }
        let Taken::Bytes(n) = self.order.link.offer(bytes) else { return Peer::Gone };
        let after = clock::now();
        if n == bytes.len() {
            self.taken += ends.len() as u32;
            self.stamp(ends.len(), before, after);
            return Peer::Here;
        }
        let whole = ends.partition_point(|end| *end <= n);
        self.taken += whole as u32;
        self.stamp(whole, before, after);
        self.stamp(ends.len() - whole, before, 0);
        self.ends.extend(ends[whole..].iter().map(|end| end - n));
        self.unsent.clear();
        self.offset = 0;
        self.unsent.extend_from_slice(&bytes[n..]);
        Peer::Here
    }

    fn stamp(&mut self, tokens: usize, before: u64, after: u64) {
        if self.record {
            self.stamps.extend(std::iter::repeat_n((before, after), tokens));
        }
    }

    /// Goes on with what is unsent, as far as the kernel takes it.
    pub(crate) fn drain(&mut self) -> Peer {
        if self.n_unsent() > 0 {
            let Taken::Bytes(n) = self.order.link.offer(&self.unsent[self.offset..]) else {
                return Peer::Gone;
            };
            let after = clock::now();
            self.offset += n;
            while self.ends.front().is_some_and(|end| *end <= self.offset) {
                self.ends.pop_front();
                if let Some((_, stamp)) = self.stamps.get_mut(self.taken as usize) {
                    *stamp = after;
                }
                self.taken += 1;
            }
            // Taken in part is as good as refused: the kernel will say when there is room.
            if self.n_unsent() > 0 {
                return Peer::Here;
            }
        }
        // A slow client's backlog is given back; the next one may never come.
        self.unsent = Vec::new();
        self.offset = 0;
        Peer::Here
    }

    /// The line for the truth log.
    pub(crate) fn into_ended(mut self, end: u64, ended: Ending) -> TruthLine {
        self.stamps.truncate(self.taken as usize);
        self.dues.truncate(self.taken as usize);
        TruthLine {
            received: self.order.received,
            prompt_tokens: self.order.ask.prompt_tokens,
            found: self.order.ask.found.unwrap_or_default(),
            output_tokens: self.taken,
            stream: self.order.ask.stream,
            head_ns: self.head_at,
            tokens: self.stamps,
            due_ns: self.dues,
            end_ns: end,
            ended,
        }
    }
}

/// A table of things that come and go, their places used again.
#[derive(Debug)]
pub(crate) struct Streams {
    places: Vec<Option<Stream>>,
    free: Vec<StreamId>,
    /// By the connection's slot.
    by_slot: Vec<Option<StreamId>>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Streams { places: Vec::new(), free: Vec::new(), by_slot: Vec::new() }
    }

    pub(crate) fn insert(&mut self, stream: Stream) -> StreamId {
        let slot = stream.order.link.slot as usize;
        let id = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as StreamId
        });
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, None);
        }
        self.by_slot[slot] = Some(id);
        self.places[id as usize] = Some(stream);
        id
    }

    pub(crate) fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.places.get_mut(id as usize).and_then(Option::as_mut)
    }

    /// The response on connection `conn` in `slot`, if it has not ended.
    pub(crate) fn on(&self, slot: u32, conn: u64) -> Option<StreamId> {
        let id = self.by_slot.get(slot as usize).copied().flatten()?;
        self.places[id as usize].as_ref().filter(|stream| stream.order.link.id == conn).map(|_| id)
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.places.get_mut(id as usize)?.take()?;
        let slot = stream.order.link.slot as usize;
        if self.by_slot[slot] == Some(id) {
            self.by_slot[slot] = None;
        }
        self.free.push(id);
        Some(stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn ids(&self) -> Vec<StreamId> {
        (0..self.places.len() as StreamId).filter(|&id| self.places[id as usize].is_some()).collect()
    }
}
