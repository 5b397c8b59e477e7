//! One armed request and the act of firing it, by the pacer or, if it is late already, by its worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use tics_record::{Clock, LiveHistogram, Nanos, RequestRecord, Sent, Stamp};

use crate::live::Live;

/// Something that is armed and can be fired from any thread.
pub trait Fire: Send {
    /// Fires it, now.
    fn fire(&self, clock: &dyn Clock) -> Shot;

    /// Touches what firing will need, just before it is due: it was armed a while ago, perhaps on
    /// another core.
    fn warm(&self) {}
}

/// What firing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shot {
    /// Its first byte was handed to the kernel at this instant.
    Sent(Stamp),
    /// There was nothing to fire any more; it will be armed again or reported as failed.
    Gone,
}

/// What happens to a request, for whoever keeps the records.
#[derive(Debug)]
pub enum Report {
    /// It was sent.
    Sent(Sent),
    /// It ended.
    Ended(Box<RequestRecord>),
}

const OPEN: u8 = 0;
const FIRED: u8 = 1;
const DROPPED: u8 = 2;

/// Who gets a request: the one that fires it or the one that calls it off.
#[derive(Debug, Default)]
pub(crate) struct ShotState {
    claim: AtomicU8,
    sent: AtomicU64,
}

impl ShotState {
    /// Claims the request for firing; false if it was called off.
    fn claim_fire(&self) -> bool {
        let taken = self.claim.compare_exchange(OPEN, FIRED, Ordering::AcqRel, Ordering::Acquire);
        // A request that is armed again after its connection was lost has been claimed before.
        taken.is_ok() || taken == Err(FIRED)
    }

    fn unclaim(&self) {
        let _changed = self.claim.compare_exchange(FIRED, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Calls the request off; false if it has been fired.
    pub(crate) fn call_off(&self) -> bool {
        self.claim.compare_exchange(OPEN, DROPPED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether it has been fired.
    pub(crate) fn is_fired(&self) -> bool {
        self.claim.load(Ordering::Acquire) == FIRED
    }

    /// When it was sent.
    pub(crate) fn sent(&self) -> Option<Stamp> {
        match self.sent.load(Ordering::Acquire) {
            0 => None,
            ns => Some(Stamp::from_nanos(ns)),
        }
    }
}

/// An armed request.
#[derive(Debug)]
pub(crate) struct Armed<T> {
    pub(crate) due: Stamp,
    pub(crate) index: u64,
    pub(crate) trigger: T,
    pub(crate) state: Arc<ShotState>,
}

/// Fires armed requests and tells everyone who must know.
pub(crate) struct Shooter {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Arc<Live>,
    pub(crate) reports: Sender<Report>,
}

impl Shooter {
    /// Fires `armed`; `lateness` is the calling thread's histogram.
    pub(crate) fn shoot<T: Fire>(&self, armed: &Armed<T>, lateness: &LiveHistogram) {
        if !armed.state.claim_fire() {
            return;
        }
        self.live.sending();
        match armed.trigger.fire(&*self.clock) {
            Shot::Sent(sent) => {
                armed.state.sent.store(sent.as_nanos().max(1), Ordering::Release);
                lateness.record(sent.since(armed.due).unwrap_or(Nanos::ZERO));
                // Nobody listens when the records cannot be written; the run is ending then.
                let _unheard = self.reports.send(Report::Sent(Sent { i: armed.index, due: armed.due, sent }));
            }
            Shot::Gone => {
                self.live.not_sending();
                armed.state.unclaim();
            }
        }
    }
}

impl std::fmt::Debug for Shooter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shooter").finish_non_exhaustive()
    }
}
