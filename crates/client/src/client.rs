//! A worker's client: connections kept and reused, one exchange after the other or many at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use tics_record::{Clock, Outcome, RequestRecord, Stamp};

use crate::connection::{Connection, Connector, fresh_enough, request};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::limits::ReusePolicy;
use crate::receive::{Observer, Received};
use crate::target::Target;
use crate::wire::Trigger;

/// A request, ready to be serialised.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Path under the base address, from `/v1`.
    pub path: Arc<str>,
    /// `X-Request-Id`.
    pub id: String,
    /// JSON.
    pub body: Bytes,
}

/// Runs exchanges over kept connections. Cheap to clone; stays on its worker.
#[derive(Debug, Clone)]
pub struct Client {
    connector: Rc<Connector>,
    idle: Rc<RefCell<VecDeque<Connection>>>,
    ids: Arc<AtomicU64>,
    reuse: ReusePolicy,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A request is armed anew so often when its connection is lost before it is due. Beyond that it is the
/// server's way, and trying on would only be a storm of connections.
const LOST_AT_MOST: u32 = 3;

/// Longest answer to a plain GET.
const LONGEST_ANSWER: usize = 16 << 20;

impl Client {
    /// A client over `connector`. `ids` numbers the connections of the whole run.
    pub fn new(connector: Connector, ids: Arc<AtomicU64>, reuse: ReusePolicy) -> Self {
        Client { connector: Rc::new(connector), idle: Rc::default(), ids, reuse }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.connector.target
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.connector.clock()
    }

    /// Connections open and without a request.
    pub fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// One exchange, from a connection to the end of the response; fills `record`.
    ///
    /// `armed` is called with the trigger once the request waits below hyper, and again if the
    /// connection is lost before it was pulled. When a reused connection turns out closed before any
    /// byte of the response, the request goes once more on a fresh one; `sent` stays that of the
    /// first attempt and the record says so.
    pub async fn exchange<O: Observer>(
        &self,
        exchange: &Exchange,
        record: &mut RequestRecord,
        observer: &mut O,
        mut armed: impl FnMut(Trigger, &mut RequestRecord),
    ) {
        let clock = self.connector.clock();
        let mut reconnected = false;
        let mut fresh = false;
        let mut lost = 0;
        loop {
            let mut connection = match self.acquire(fresh).await {
                Ok(connection) => connection,
                Err(failure) => return fail(record, failure, clock.now()),
            };
            connection.info.reconnected = reconnected;
            observer.connected();
            let wire_request =
                request(&self.connector.target, &exchange.path, exchange.body.clone(), Some(&exchange.id));
            let trigger = match connection.arm(wire_request).await {
                Ok(trigger) => trigger,
                Err(_) if connection.info.reused => {
                    // Lost while idle, found out only now; nothing was sent.
                    fresh = true;
                    continue;
                }
                Err(failure) => return fail(record, failure, clock.now()),
            };
            record.armed = record.armed.or(Some(clock.now()));
            if reconnected {
                trigger.fire(clock);
            } else {
                armed(trigger, record);
            }
            let endpoint = Endpoint::of_path(&exchange.path);
            match connection.receive(record, observer, endpoint, self.connector.limits, clock).await {
                Received::Ended => {
                    self.release(connection);
                    return;
                }
                Received::Withdrawn if lost == LOST_AT_MOST => {
                    let detail = "the server closes every connection before the request is sent";
                    return fail(record, Failure::new(Outcome::Reset, detail), clock.now());
                }
                Received::Withdrawn => (fresh, lost) = (true, lost + 1),
                Received::Stale(_) => (fresh, reconnected) = (true, true),
            }
        }
    }

    /// A connection for the next request: an idle one by the policy, or a new one.
    async fn acquire(&self, fresh: bool) -> Result<Connection, Failure> {
        let now = self.connector.clock().now();
        if !fresh {
            while let Some(mut connection) = self.take_idle() {
                if fresh_enough(&connection, now) && connection.is_usable() {
                    return Ok(connection);
                }
            }
        }
        self.open().await
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        match self.reuse {
            ReusePolicy::Lifo => idle.pop_back(),
            ReusePolicy::RoundRobin => idle.pop_front(),
            ReusePolicy::PerRequest => None,
        }
    }

    pub(crate) async fn open(&self) -> Result<Connection, Failure> {
        self.connector.open(self.ids.fetch_add(1, Ordering::Relaxed)).await
    }

    fn release(&self, mut connection: Connection) {
        let now = self.connector.clock().now();
        let mut idle = self.idle.borrow_mut();
        // The oldest are in front; the server is about to close them, so they go first.
        while idle.front().is_some_and(|c| !fresh_enough(c, now)) {
            idle.pop_front();
        }
        connection.served += 1;
        if self.reuse != ReusePolicy::PerRequest && connection.is_usable() {
            connection.idle_since = now;
            connection.info.reused = true;
            connection.info.dns = None;
            connection.info.connect = None;
            connection.info.tls = None;
            idle.push_back(connection);
        }
    }

    /// A plain GET on a connection of its own: status and body.
    ///
    /// # Errors
    /// [`Failure`] if no response came.
    pub async fn get(&self, path: &str) -> Result<(u16, Bytes), Failure> {
        let limit = self.connector.limits.connect;
        let run = async {
            let mut connection = self.open().await?;
            let trigger = connection.arm(request(&self.connector.target, path, Bytes::new(), None)).await?;
            trigger.fire(self.connector.clock());
            let Some(mut response) = connection.response.take() else {
                return Err(Failure::new(Outcome::Reset, "no response"));
            };
            let response = std::future::poll_fn(|cx| {
                connection.poll_conn(cx);
                response.as_mut().poll(cx)
            })
            .await
            .map_err(|e| Failure::from_hyper(&e, false))?;
            let status = response.status().as_u16();
            let mut collect = std::pin::pin!(Limited::new(response.into_body(), LONGEST_ANSWER).collect());
            let body = std::future::poll_fn(|cx| {
                connection.poll_conn(cx);
                collect.as_mut().poll(cx)
            })
            .await
            .map_err(|error| match error.downcast_ref::<hyper::Error>() {
                Some(error) => Failure::from_hyper(error, true),
                None => Failure::new(Outcome::Truncated, format!("its answer to {path}: {error}")),
            })?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(limit.into(), run).await.map_err(|_| {
            Failure::new(Outcome::Timeout, format!("no answer within {} s", limit.as_secs_f64()))
        })?
    }
}

fn fail(record: &mut RequestRecord, failure: Failure, now: Stamp) {
    record.outcome = failure.outcome;
    record.detail = Some(failure.detail);
    record.end = Some(now);
}
