//! Conversations: which turn waits for which, and what it knows of the ones before it.

mod answers;
mod follow;
mod history;

use std::sync::Arc;

use tics_client::Exchange;
use tics_scheduler::{Followers, Turn};
use tics_trace::{Format, Links, Pause, ScheduledRequest, Selection, Trace, TraceError, TurnFinder};

use crate::cli::{History, SessionArgs, SessionMode};
use crate::outcome::{Failed, OrStatus, USAGE, failed};
use crate::prompts::Bodies;

pub use answers::Answers;
use follow::Follow;
use history::{Checker, Positions};

/// How the turns of one run's conversations follow each other.
pub struct Sessions {
    /// When a turn leaves whose turn before has ended; none where all leave at their own times.
    pause: Option<Pause>,
    links: Option<Arc<Links>>,
    /// Where the server's answers belong, if they are sent on.
    live: Option<Arc<Positions>>,
}

/// Why turns cannot be played so.
enum Refused {
    Trace(TraceError),
    History(String),
}

impl From<TraceError> for Refused {
    fn from(error: TraceError) -> Self {
        Refused::Trace(error)
    }
}

impl Sessions {
    /// Those of `selection` under `args`; goes over the trace once, unless all turns leave at their own
    /// times.
    pub fn find(args: &SessionArgs, trace: &Trace, selection: &Selection) -> Result<Self, Failed> {
        let own_times = Sessions { pause: None, links: None, live: None };
        let live = args.history == History::Live;
        let Some(pause) = pause(args, trace)? else {
            return if live {
                Err(failed(
                    USAGE,
                    "--history live: a turn that leaves at its own time cannot wait for an answer; add --sessions wait or think",
                ))
            } else {
                Ok(own_times)
            };
        };
        let mut checker = live.then(Checker::default);
        let found = Links::find(trace, selection, &pause, |request, turn| match &mut checker {
            Some(checker) => checker.see(request, turn).map_err(Refused::History),
            None => Ok(()),
        });
        let links = match found {
            Ok(links) => links,
            Err(Refused::Trace(error)) => return Err(error).or_status(USAGE),
            Err(Refused::History(why)) => {
                return Err(failed(
                    USAGE,
                    format!("{}:{why}; --history trace takes it as it is", trace.path()),
                ));
            }
        };
        if links.is_empty() {
            return if asked_for(args) {
                Err(failed(
                    USAGE,
                    format!(
                        "{}: none of these requests continues another one (by session_id, parent or \
                         parent_chat_id), so none can wait; leave out --sessions, --think-time and --history",
                        trace.path()
                    ),
                ))
            } else {
                Ok(own_times)
            };
        }
        let live = checker.map(|checker| Arc::new(checker.positions(&links)));
        Ok(Sessions { pause: Some(pause), links: Some(Arc::new(links)), live })
    }

    /// For `run.json`.
    pub fn describe(&self) -> tics_record::Sessions {
        let (mode, think_time) = match &self.pause {
            None => ("recorded", None),
            Some(Pause::OwnTime) => ("wait", None),
            Some(Pause::Recorded) => ("think", Some("recorded".to_owned())),
            Some(Pause::Drawn(seconds)) => ("think", Some(seconds.to_string())),
        };
        tics_record::Sessions {
            mode: mode.to_owned(),
            think_time,
            history: if self.live.is_some() { "live" } else { "trace" }.to_owned(),
            followers: self.links.as_ref().map_or(0, |links| links.len()),
        }
    }

    /// For a title.
    pub fn title(&self) -> &'static str {
        match self.pause {
            None => "open loop",
            Some(Pause::OwnTime) => "open loop, turns wait",
            Some(_) => "open loop, turns think",
        }
    }

    /// What one run needs of it.
    pub fn feed(&self) -> FeedTurns {
        let Some(links) = &self.links else { return FeedTurns::Recorded(TurnFinder::new()) };
        let live = self.live.as_ref().map(|positions| Live {
            answers: Arc::new(Answers::new(Arc::clone(links))),
            positions: Arc::clone(positions),
        });
        FeedTurns::Waiting { links: Arc::clone(links), live }
    }
}

/// Whether turns shall wait by the command line, not only by what the trace lacks.
fn asked_for(args: &SessionArgs) -> bool {
    args.sessions.is_some() || args.think_time.is_some() || args.history == History::Live
}

/// When turns leave; none if at their own times.
fn pause(args: &SessionArgs, trace: &Trace) -> Result<Option<Pause>, Failed> {
    let drawn = args.think_time.clone().map(Pause::Drawn);
    match (args.sessions, drawn) {
        (None | Some(SessionMode::Think), Some(drawn)) => Ok(Some(drawn)),
        (Some(SessionMode::Recorded | SessionMode::Wait), Some(_)) => {
            Err(failed(USAGE, "--think-time is for --sessions think; leave out one of the two"))
        }
        (Some(SessionMode::Recorded), None) => Ok(None),
        (Some(SessionMode::Wait), None) => Ok(Some(Pause::OwnTime)),
        (Some(SessionMode::Think), None) => Ok(Some(Pause::Recorded)),
        (None, None) => Ok(lacks_times(trace).then_some(Pause::Recorded)),
    }
}

/// Whether turns have no times of their own: only what is before them says when they are due.
fn lacks_times(trace: &Trace) -> bool {
    trace.index().format == Format::ShareGpt || trace.index().untimed > 0
}

/// What a run with the server's own answers shares between those that read them and those that send them
/// on.
#[derive(Clone)]
pub struct Live {
    answers: Arc<Answers>,
    positions: Arc<Positions>,
}

/// The turns of a feed.
pub enum FeedTurns {
    /// There are no conversations.
    None,
    /// Every request leaves at its own time.
    Recorded(TurnFinder),
    /// Some requests wait for others.
    Waiting { links: Arc<Links>, live: Option<Live> },
}

impl FeedTurns {
    /// The turn of a request of the schedule, which are shown in their order; none if it waits for another.
    pub fn of(&mut self, request: &ScheduledRequest) -> Option<Turn> {
        match self {
            FeedTurns::None => Some(Turn::default()),
            FeedTurns::Recorded(finder) => {
                let found = finder.next(request);
                Some(Turn { number: found.number, parent: found.parent, followers: 0 })
            }
            FeedTurns::Waiting { links, .. } if links.waits(request.index) => None,
            FeedTurns::Waiting { links, .. } => {
                // What waits for nobody has no parent: a finder that has seen nothing knows the rest.
                let number = TurnFinder::new().next(request).number;
                Some(Turn { number, parent: None, followers: links.of(request.index).len() as u64 })
            }
        }
    }

    /// What makes the requests that wait.
    pub fn followers(&self, bodies: &Bodies) -> Option<Box<dyn Followers<Exchange>>> {
        let FeedTurns::Waiting { links, live } = self else { return None };
        Some(Box::new(Follow::new(Arc::clone(links), bodies.clone(), live.clone())))
    }

    /// Where answers go that others need.
    pub fn answers(&self) -> Option<Arc<Answers>> {
        match self {
            FeedTurns::Waiting { live: Some(live), .. } => Some(Arc::clone(&live.answers)),
            _ => None,
        }
    }
}
