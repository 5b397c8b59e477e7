//! Joins the client to the scheduler: an HTTP exchange is something that can be armed and fired.

use std::sync::Arc;

use tics_client::{Client, Exchange, Fired, Observer, Trigger};
use tics_record::{Clock, Event, RequestRecord};
use tics_scheduler::{Exchanger, ExchangerFactory, Fire, Shot, Tracker};

use crate::server::Connections;

/// Makes the workers' clients.
pub struct HttpFactory(pub Connections);

impl ExchangerFactory for HttpFactory {
    type Exchanger = HttpExchanger;

    fn build(&self, _worker: usize, clock: Arc<dyn Clock>) -> HttpExchanger {
        HttpExchanger(self.0.client(clock))
    }
}

/// Runs exchanges on one worker.
#[derive(Clone)]
pub struct HttpExchanger(Client);

/// A trigger of the client, as the scheduler pulls it.
#[derive(Debug)]
pub struct HttpTrigger(Trigger);

impl Fire for HttpTrigger {
    fn warm(&self) {
        self.0.warm();
    }

    fn fire(&self, clock: &dyn Clock) -> Shot {
        match self.0.fire(clock) {
            // A request that the kernel refused was due and tried at that instant all the same.
            Fired::Sent(at) | Fired::Broken(at) => Shot::Sent(at),
            Fired::Withdrawn => Shot::Gone,
        }
    }
}

struct Follow<'a>(&'a mut Tracker);

impl Observer for Follow<'_> {
    fn connected(&mut self) {
        self.0.connected();
    }

    fn event(&mut self, event: &Event, first: bool) {
        self.0.event(event, first);
    }
}

impl Exchanger for HttpExchanger {
    type Job = Exchange;
    type Trigger = HttpTrigger;

    async fn run(
        &self,
        job: Exchange,
        record: &mut RequestRecord,
        tracker: &mut Tracker,
        mut armed: impl FnMut(HttpTrigger, &mut RequestRecord),
    ) {
        let mut follow = Follow(tracker);
        let arm = |trigger, record: &mut RequestRecord| armed(HttpTrigger(trigger), record);
        self.0.exchange(&job, record, &mut follow, arm).await;
    }
}
