//! Joins the client to the scheduler: an HTTP exchange is something that can be armed and fired.

use std::sync::Arc;

use tics_client::{Client, Exchange, Fired, Observer, Trigger, append_answer};
use tics_record::{Clock, Event, RequestRecord};
use tics_scheduler::{Exchanger, ExchangerFactory, Fire, Shot, Tracker};

use crate::server::Connections;
use crate::sessions::Answers;

/// Makes the workers' clients.
pub struct HttpFactory {
    pub connections: Connections,
    /// Where the answers go that others need.
    pub answers: Option<Arc<Answers>>,
}

impl ExchangerFactory for HttpFactory {
    type Exchanger = HttpExchanger;

    fn build(&self, _worker: usize, clock: Arc<dyn Clock>) -> HttpExchanger {
        HttpExchanger { client: self.connections.client(clock), answers: self.answers.clone() }
    }
}

/// Runs exchanges on one worker.
#[derive(Clone)]
pub struct HttpExchanger {
    client: Client,
    answers: Option<Arc<Answers>>,
}

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

struct Follow<'a> {
    tracker: &'a mut Tracker,
    /// The text so far, where another request needs it.
    answer: Option<String>,
}

impl Observer for Follow<'_> {
    fn connected(&mut self) {
        self.tracker.connected();
    }

    fn event(&mut self, event: &Event, first: bool) {
        self.tracker.event(event, first);
    }

    fn data(&mut self, data: &[u8]) {
        if let Some(answer) = &mut self.answer {
            append_answer(data, answer);
        }
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
        let answers = self.answers.as_ref().filter(|answers| answers.wants(record.i));
        let mut follow = Follow { tracker, answer: answers.map(|_| String::new()) };
        let arm = |trigger, record: &mut RequestRecord| armed(HttpTrigger(trigger), record);
        self.client.exchange(&job, record, &mut follow, arm).await;
        if let (Some(answers), Some(answer), true) = (answers, follow.answer, record.outcome.is_answered()) {
            answers.put(record.i, answer);
        }
    }
}
