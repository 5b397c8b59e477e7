//! One HTTP/1.1 connection: opened, armed, watched.
//!
//! The connection and the response of its one request in flight are driven by one task, by hand: a
//! wake-up of that task polls hyper's connection, then takes what it produced. So no second task
//! stands between the socket and the stamp's owner.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tics_record::{Clock, ConnectionInfo, Nanos, Outcome, Stamp};
use tokio_rustls::TlsConnector;

use crate::failure::Failure;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::target::Target;
use crate::tls::handshake_message;
use crate::transport::{OneShot, Transport};
use crate::wire::{Io, Reads, Shared, Trigger, Wire};

/// Opens connections to one target. One a worker: what its connections share is not `Send`.
pub struct Connector {
    pub(crate) target: Arc<Target>,
    tls: Option<Arc<ClientConfig>>,
    pub(crate) limits: Limits,
    shared: Rc<Shared>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("target", &self.target.base.display()).finish_non_exhaustive()
    }
}

/// Whether hyper's connection goes on.
enum Life {
    Open,
    /// It has ended and must not be polled again; with the error, until somebody takes it.
    Ended(Option<hyper::Error>),
}

type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>>>>;

/// An open connection, at most one request on it.
pub(crate) struct Connection {
    pub(crate) info: ConnectionInfo,
    pub(crate) wire: Arc<Wire>,
    pub(crate) reads: Rc<Reads>,
    /// When its last request ended.
    pub(crate) idle_since: Stamp,
    /// Reads before the present request was armed.
    pub(crate) reads_before: u64,
    /// The server said that it will close after this response.
    pub(crate) closing: bool,
    /// How long it may be idle: the client's limit, or less if the server says so.
    pub(crate) idle_limit: Nanos,
    /// Requests answered on it.
    pub(crate) served: u32,
    /// Requests that the server will answer on it, if it says so.
    serves_at_most: u32,
    sender: http1::SendRequest<OneShot>,
    conn: http1::Connection<Transport, OneShot>,
    life: Life,
    /// Wakes the task for what hyper wakes it for, but not while it polls.
    pub(crate) gate: Arc<Gate>,
    pub(crate) response: Option<ResponseFuture>,
}

impl Connector {
    /// A connector for the worker that calls it. `tls` must be given if the target speaks TLS.
    pub fn new(
        target: Arc<Target>,
        tls: Option<Arc<ClientConfig>>,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Connector { target, tls, limits, shared: Shared::new(clock) }
    }

    /// The clock that stamps.
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Opens connection number `id`: TCP, then TLS where the target wants it.
    pub(crate) async fn open(&self, id: u64) -> Result<Connection, Failure> {
        let started = self.clock().now();
        let limit = self.limits.connect;
        let timed_out = || {
            Failure::new(Outcome::Timeout, format!("connect: no connection within {} s", limit.as_secs_f64()))
        };
        let tcp = tokio::time::timeout(limit.into(), self.connect_tcp()).await.map_err(|_| timed_out())??;
        let connected = self.clock().now();
        let io = Io::new(tcp, Rc::clone(&self.shared));
        let (wire, reads) = (io.wire(), io.reads());
        let mut info = ConnectionInfo {
            id,
            dns: self.target.dns,
            connect: connected.since(started),
            ..ConnectionInfo::default()
        };
        let transport = match &self.tls {
            None => Transport::Plain(io),
            Some(config) => {
                let tls = tokio::time::timeout(limit.into(), handshake(config, &self.target.base.host, io))
                    .await
                    .map_err(|_| timed_out())??;
                info.tls = self.clock().now().since(connected);
                tls
            }
        };
        let (sender, conn) = http1::Builder::new()
            .handshake(transport)
            .await
            .map_err(|e| Failure::new(Outcome::Refused, format!("cannot start HTTP/1.1: {e}")))?;
        Ok(Connection {
            info,
            wire,
            reads,
            idle_since: self.clock().now(),
            reads_before: 0,
            closing: false,
            idle_limit: self.limits.idle,
            served: 0,
            serves_at_most: u32::MAX,
            sender,
            conn,
            life: Life::Open,
            gate: Arc::default(),
            response: None,
        })
    }

    async fn connect_tcp(&self) -> Result<tokio::net::TcpStream, Failure> {
        let mut last: Option<(SocketAddr, std::io::Error)> = None;
        for address in &self.target.addresses {
            let stream = match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => stream,
                Err(error) => {
                    last = Some((*address, error));
                    continue;
                }
            };
            return stream.set_nodelay(true).map(|()| stream).map_err(|e| Failure::connect(*address, &e));
        }
        Err(match last {
            Some((address, error)) => Failure::connect(address, &error),
            None => Failure::new(Outcome::Dns, "the server has no address"),
        })
    }
}

async fn handshake(config: &Arc<ClientConfig>, host: &str, io: Io) -> Result<Transport, Failure> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        Failure::new(Outcome::Tls, format!("{host:?} is no name that a certificate can be for"))
    })?;
    match TlsConnector::from(Arc::clone(config)).connect(name, TokioIo::new(io)).await {
        Ok(tls) => Ok(Transport::Tls(Box::new(TokioIo::new(tls)))),
        Err(error) => {
            Err(Failure::new(Outcome::Tls, format!("TLS with {host}: {}", handshake_message(&error))))
        }
    }
}

impl Connection {
    /// Polls hyper's connection once; `true` if it has ended.
    pub(crate) fn poll_conn(&mut self, cx: &mut Context<'_>) -> bool {
        if matches!(self.life, Life::Open)
            && let Poll::Ready(result) = Pin::new(&mut self.conn).poll(cx)
        {
            self.life = Life::Ended(result.err());
        }
        matches!(self.life, Life::Ended(_))
    }

    /// The failure that ended the connection, if it did not end by itself.
    pub(crate) fn end_failure(&mut self, head_seen: bool) -> Option<Failure> {
        match &mut self.life {
            Life::Open => None,
            Life::Ended(error) => Some(Failure::from_hyper(&error.take()?, head_seen)),
        }
    }

    /// Whether an idle connection can take another request: the server has not closed it, as far as
    /// this machine knows.
    pub(crate) fn is_usable(&mut self) -> bool {
        // The waker is replaced by the next real poll; this one only looks.
        let mut cx = Context::from_waker(Waker::noop());
        !self.closing
            && self.served < self.serves_at_most
            && !self.poll_conn(&mut cx)
            && self.sender.poll_ready(&mut cx).is_ready()
    }

    /// Notes what a response's head says about the connection's future.
    pub(crate) fn heed(&mut self, headers: &HeaderMap) {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        self.closing = text(CONNECTION).is_some_and(|v| v.eq_ignore_ascii_case("close"));
        let Some(keep_alive) = text(HeaderName::from_static("keep-alive")) else { return };
        for part in keep_alive.split(',') {
            let Some((name, value)) = part.trim().split_once('=') else { continue };
            let Ok(value) = value.trim().parse::<u32>() else { continue };
            if name.eq_ignore_ascii_case("timeout") {
                // Half a second less than the server waits: what is on its way then must still arrive.
                let limit = Nanos::from_millis(u64::from(value) * 1_000).saturating_minus(MARGIN);
                self.idle_limit = self.idle_limit.min(limit);
            } else if name.eq_ignore_ascii_case("max") {
                // Some count down from here, some repeat the whole; the smallest total serves both.
                self.serves_at_most = self.serves_at_most.min(self.served.saturating_add(value));
            }
        }
    }

    /// Serialises a request into the wire and holds it there.
    pub(crate) async fn arm(&mut self, request: Request<OneShot>) -> Result<Trigger, Failure> {
        std::future::poll_fn(|cx| {
            if self.poll_conn(cx) {
                return Poll::Ready(Err(()));
            }
            self.sender.poll_ready(cx).map_err(|_| ())
        })
        .await
        .map_err(|()| self.closed())?;
        self.wire.withhold();
        self.reads.start_request();
        self.reads_before = self.reads.count();
        self.response = Some(Box::pin(self.sender.send_request(request)));
        std::future::poll_fn(|cx| {
            let ended = self.poll_conn(cx);
            if self.wire.is_armed() {
                Poll::Ready(Ok(()))
            } else if ended {
                Poll::Ready(Err(()))
            } else {
                Poll::Pending
            }
        })
        .await
        .map_err(|()| self.closed())?;
        Ok(self.wire.trigger())
    }

    fn closed(&mut self) -> Failure {
        self.end_failure(false)
            .unwrap_or_else(|| Failure::new(Outcome::Reset, "the connection closed before the response"))
    }

    /// Whether not one byte has come since the request was armed.
    pub(crate) fn is_silent(&self) -> bool {
        self.reads.count() == self.reads_before
    }
}

/// A request with the target's headers. An empty body makes a GET.
pub(crate) fn request(target: &Target, path: &str, body: Bytes, id: Option<&str>) -> Request<OneShot> {
    let method = if body.is_empty() { Method::GET } else { Method::POST };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // Origin form; the target's own path was parsed with its address.
    *request.uri_mut() = target.base.path(path).parse().unwrap_or_default();
    *request.headers_mut() = target.headers().clone();
    if let Some(value) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
        request.headers_mut().insert("x-request-id", value);
    }
    request
}

/// Taken off the server's own idle limit.
const MARGIN: Nanos = Nanos::from_millis(500);

/// Whether a connection has not been idle for too long.
pub(crate) fn fresh_enough(connection: &Connection, now: Stamp) -> bool {
    now.since(connection.idle_since).is_none_or(|idle| idle < connection.idle_limit)
}
