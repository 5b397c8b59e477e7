//! Makes the requests that wait for others.

use std::collections::HashMap;
use std::sync::Arc;

use tics_client::Exchange;
use tics_record::{Nanos, RequestRecord};
use tics_scheduler::{Follower, Followers, Planned, Turn};
use tics_trace::{Link, Links};

use super::Live;
use super::history::{Answered, relive};
use crate::prompts::Bodies;

/// Reads the rows of turns when they are needed, and makes their bodies.
pub struct Follow {
    links: Arc<Links>,
    bodies: Bodies,
    live: Option<Kept>,
}

/// What is kept of conversations that go on with the server's own answers: of each, the answers so far.
struct Kept {
    live: Live,
    /// The answer of a request some of whose followers are still to be made, and how many.
    answered: HashMap<u64, (Arc<Answered>, usize)>,
    /// The answers before a request that is on its way and that others wait for.
    before: HashMap<u64, Arc<Answered>>,
}

impl Follow {
    /// Makes the turns of `links` with `bodies`.
    pub fn new(links: Arc<Links>, bodies: Bodies, live: Option<Live>) -> Self {
        let kept = |live| Kept { live, answered: HashMap::new(), before: HashMap::new() };
        Follow { links, bodies, live: live.map(kept) }
    }

    fn link(&self, follower: &Follower) -> Option<Link> {
        self.links.of(follower.parent).find(|link| self.links.follower(link).index == follower.index)
    }
}

impl Kept {
    /// The answers that a turn begins with.
    fn history(&mut self, follower: &Follower, links: &Links) -> Option<Arc<Answered>> {
        let parent = follower.parent;
        if !self.answered.contains_key(&parent) {
            let text = self.live.answers.take(parent)?;
            let (at, before) = (*self.live.positions.get(&parent)?, self.before.remove(&parent));
            let answered = Arc::new(Answered { at, text, before });
            self.answered.insert(parent, (answered, links.of(parent).len()));
        }
        let (answered, left) = self.answered.get_mut(&parent)?;
        let answered = Arc::clone(answered);
        *left -= 1;
        if *left == 0 {
            self.answered.remove(&parent);
        }
        if links.of(follower.index).len() > 0 {
            self.before.insert(follower.index, Arc::clone(&answered));
        }
        Some(answered)
    }
}

impl Followers<Exchange> for Follow {
    fn of(&mut self, parent: u64) -> Vec<Follower> {
        let followers = self.links.of(parent).map(|link| {
            let found = self.links.follower(&link);
            let (pause, not_before) = (found.pause, found.not_before);
            Follower { index: found.index, parent, number: found.turn, pause, not_before }
        });
        followers.collect()
    }

    fn can_be_early(&self) -> bool {
        self.live.is_none()
    }

    fn make(&mut self, follower: &Follower) -> Result<Planned<Exchange>, String> {
        let index = follower.index;
        let link = self.link(follower).ok_or_else(|| format!("request {index} waits for nobody"))?;
        let mut row = self.links.row(&link).map_err(|error| error.to_string())?;
        if let Some(kept) = &mut self.live {
            let history = kept.history(follower, &self.links);
            let history = history.ok_or_else(|| format!("request {index}: the answer before it is lost"))?;
            let messages = row.messages.as_ref().map(|messages| relive(messages, &history)).transpose();
            row.messages = messages.map_err(|why| format!("request {index} (line {}): {why}", row.line))?;
        }
        let turn = Turn {
            number: Some(follower.number),
            parent: Some(follower.parent),
            followers: self.links.of(index).len() as u64,
        };
        self.bodies.planned(index, Nanos::ZERO, &row, turn).map_err(|error| error.to_string())
    }

    fn describe(&mut self, follower: &Follower, record: &mut RequestRecord) {
        // A row that cannot be read any more is told by those that are to be sent.
        let Some(Ok(row)) = self.link(follower).map(|link| self.links.row(&link)) else { return };
        record.row = (row.line > 0).then_some(row.line);
        record.session = row.session;
        (record.input.asked, record.output.asked) = (row.input_length, row.output_length);
    }

    fn lost(&mut self, index: u64) {
        if let Some(kept) = &mut self.live {
            kept.before.remove(&index);
        }
    }
}
