//! A plain GET whose body is handed on piece by piece: for files, which have no place in memory.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use hyper::body::Body;
use tics_record::{Nanos, Outcome};

use crate::client::Client;
use crate::connection::request;
use crate::failure::Failure;

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// Status.
    pub status: u16,
    headers: HeaderMap,
}

impl Head {
    /// A header's value, if it has that one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Bytes of the body, if it says so.
    pub fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }
}

impl Client {
    /// A GET of `path` on a connection of its own, with `headers` beside the target's. The pieces of the
    /// body go to `take` as they come; it ends the download by returning false. Redirects are not followed.
    ///
    /// # Errors
    /// [`Failure`] if no response came, nothing came for as long as `silence`, or the body was cut short. A
    /// body whose length nobody said ends where the connection does.
    pub async fn download(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        silence: Nanos,
        mut take: impl FnMut(&Head, &[u8]) -> bool,
    ) -> Result<Head, Failure> {
        let late = || {
            let detail = format!("nothing came for {} s", silence.as_secs_f64());
            Failure::new(Outcome::Timeout, detail)
        };
        let mut connection = self.open().await?;
        let mut wanted = request(self.target(), path, Bytes::new(), None);
        wanted.headers_mut().remove(CONTENT_TYPE);
        wanted.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                wanted.headers_mut().insert(*name, value);
            }
        }
        connection.arm(wanted).await?.fire(self.clock());
        let Some(mut response) = connection.response.take() else {
            return Err(Failure::new(Outcome::Reset, "no response"));
        };
        let answered = poll_fn(|cx| {
            connection.poll_conn(cx);
            response.as_mut().poll(cx)
        });
        let response = tokio::time::timeout(silence.into(), answered).await.map_err(|_| late())?;
        let (parts, mut body) = response.map_err(|error| Failure::from_hyper(&error, false))?.into_parts();
        let head = Head { status: parts.status.as_u16(), headers: parts.headers };
        loop {
            let frame = poll_fn(|cx| {
                connection.poll_conn(cx);
                Pin::new(&mut body).poll_frame(cx)
            });
            let frame = tokio::time::timeout(silence.into(), frame).await.map_err(|_| late())?;
            match frame {
                None => return Ok(head),
                Some(Err(error)) => return Err(Failure::from_hyper(&error, true)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref()
                        && !take(&head, data)
                    {
                        return Ok(head);
                    }
                }
            }
        }
    }
}
