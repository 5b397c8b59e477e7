//! Where requests go: the address, resolved once, and the fixed part of the request head.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tics_record::{Nanos, Outcome};

use crate::Failure;

/// A server's base address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether to speak TLS.
    pub tls: bool,
    /// Name or literal address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path in front of `/v1`, without a slash at its end; mostly empty.
    pub prefix: String,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// It is no URL.
    #[error("{url:?} is not an address: expected http://HOST[:PORT][/PATH] or https://…")]
    NotAUrl {
        /// As given.
        url: String,
    },
    /// Neither http nor https.
    #[error("{url:?}: the scheme must be http or https")]
    Scheme {
        /// As given.
        url: String,
    },
    /// It has a query, which may be a secret and is not repeated.
    #[error("the address has a query: take '?' and what follows out")]
    Query,
    /// It carries a name or a password.
    #[error(
        "the address carries a user name or password: take it out, and give a key by OPENAI_API_KEY or --header"
    )]
    Credentials,
    /// The same in the address of a file.
    #[error("the address carries a user name or password: fetch the file yourself and give its path")]
    FileCredentials,
    /// A redirect from https to http.
    #[error("it leads from https to {url}, which is not protected by TLS")]
    Unprotected {
        /// Where it leads, without its query.
        url: String,
    },
}

impl BaseUrl {
    /// Reads `http://host:port`, with or without a path and with or without `/v1` at its end.
    ///
    /// # Errors
    /// [`BadUrl`], which never repeats credentials.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let not_a_url = || BadUrl::NotAUrl { url: url.to_owned() };
        let given = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri =
            given.parse().map_err(|_| if url.contains('@') { BadUrl::Credentials } else { not_a_url() })?;
        let authority = uri.authority().ok_or_else(not_a_url)?;
        if authority.as_str().contains('@') {
            return Err(BadUrl::Credentials);
        }
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(BadUrl::Scheme { url: url.to_owned() }),
        };
        if uri.query().is_some() {
            return Err(BadUrl::Query);
        }
        let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(not_a_url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        // `http` takes a port that is no number for no port at all.
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, after)) if !after.ends_with(']') && uri.port_u16().is_none() => return Err(not_a_url()),
            _ => uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        };
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/').to_owned();
        Ok(BaseUrl { tls, host, port, prefix })
    }

    /// `host:port`, as the `Host` header wants it.
    pub fn authority(&self) -> String {
        let host = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
            _ => self.host.clone(),
        };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The address in full, without `/v1`.
    pub fn display(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.prefix)
    }

    /// The path of `/v1/…` or `/…` under this base.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Resolves the name, once, before the run. Blocks.
    ///
    /// # Errors
    /// A [`Failure`] of class `dns`.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let failed =
            |why: String| Failure::new(Outcome::Dns, format!("cannot resolve {:?}: {why}", self.host));
        let found: Vec<SocketAddr> =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(|e| failed(e.to_string()))?.collect();
        if found.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(found) }
    }
}

/// The server as the client sees it during a run.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its base address.
    pub base: BaseUrl,
    /// What the name resolved to; tried in this order.
    pub addresses: Vec<SocketAddr>,
    /// How long that took; `None` for a literal address.
    pub dns: Option<Nanos>,
    /// Headers of every request.
    headers: HeaderMap,
}

/// A header that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHeader {
    /// No colon.
    #[error("a header must look like 'Name: value'")]
    NoColon,
    /// Not a header name.
    #[error("{name:?} is not a header name")]
    Name {
        /// As given.
        name: String,
    },
    /// A value with characters that HTTP forbids. The value is not repeated: it may be a secret.
    #[error("the value of header {name:?} has characters that HTTP forbids")]
    Value {
        /// The header's name.
        name: String,
    },
}

impl Target {
    /// A target with the headers that every request carries.
    ///
    /// # Errors
    /// [`BadHeader`] for a key that is no header value.
    pub fn new(
        base: BaseUrl,
        addresses: Vec<SocketAddr>,
        dns: Option<Nanos>,
        key: Option<&str>,
    ) -> Result<Self, BadHeader> {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&base.authority())
            .map_err(|_| BadHeader::Value { name: HOST.as_str().to_owned() })?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tics/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| BadHeader::Value { name: AUTHORIZATION.as_str().to_owned() })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Target { base, addresses, dns, headers })
    }

    /// Adds `Name: value` to every request, replacing a header of that name.
    ///
    /// # Errors
    /// [`BadHeader`].
    pub fn add_header(&mut self, line: &str) -> Result<(), BadHeader> {
        let (name, value) = line.split_once(':').ok_or(BadHeader::NoColon)?;
        let name = name.trim();
        let key: HeaderName = name.parse().map_err(|_| BadHeader::Name { name: name.to_owned() })?;
        let mut value =
            HeaderValue::from_str(value.trim()).map_err(|_| BadHeader::Value { name: name.to_owned() })?;
        value.set_sensitive(true);
        self.headers.insert(key, value);
        Ok(())
    }

    /// The headers of every request.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_everything() {
        let check = |url: &str, display: &str, path: &str| {
            let base = BaseUrl::parse(url).unwrap();
            assert_eq!((base.display().as_str(), base.path("/v1/models").as_str()), (display, path), "{url}");
        };
        check("http://a:8000", "http://a:8000", "/v1/models");
        check("http://a:8000/", "http://a:8000", "/v1/models");
        check("http://a:8000/v1", "http://a:8000", "/v1/models");
        check("http://a:8000/v1/", "http://a:8000", "/v1/models");
        check("https://a/proxy/v1", "https://a/proxy", "/proxy/v1/models");
        check("https://a/proxy", "https://a/proxy", "/proxy/v1/models");
        check("localhost:8000", "http://localhost:8000", "/v1/models");
        check("http://[::1]:8000", "http://[::1]:8000", "/v1/models");
        check("http://a:80", "http://a", "/v1/models");
    }

    #[test]
    fn what_is_no_address_is_said_so() {
        for url in ["", "http://", "http://a:b", "http://a:99999", "http://a b"] {
            assert!(matches!(BaseUrl::parse(url), Err(BadUrl::NotAUrl { .. })), "{url}");
        }
        assert!(matches!(BaseUrl::parse("ftp://a"), Err(BadUrl::Scheme { .. })));
        for url in ["http://me:secret@a", "http://a/?key=secret"] {
            let error = BaseUrl::parse(url).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn headers_are_checked_and_kept_secret() {
        let base = BaseUrl::parse("http://a").unwrap();
        let mut target = Target::new(base, Vec::new(), None, Some("canary")).unwrap();
        target.add_header("X-Team: blue").unwrap();
        assert_eq!(target.headers()["x-team"], "blue");
        assert!(!format!("{target:?}").contains("canary"));
        assert_eq!(target.add_header("no colon"), Err(BadHeader::NoColon));
        assert!(matches!(target.add_header("b d: x"), Err(BadHeader::Name { .. })));
        assert!(matches!(target.add_header("a: x\ny"), Err(BadHeader::Value { .. })));
    }
}
