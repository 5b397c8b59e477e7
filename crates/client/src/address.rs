//! The address of a file, and where a redirect leads from there.

use http::Uri;

use crate::target::{BadUrl, BaseUrl};

/// The address of a file: a server, and a path on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUrl {
    /// The server; its prefix is empty.
    pub base: BaseUrl,
    /// From the first slash on, with the query if there is one.
    pub path: String,
}

impl FileUrl {
    /// Whether a text looks like the address of a file rather than the name of one.
    pub fn is_one(text: &str) -> bool {
        let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
        begins("http://") || begins("https://")
    }

    /// Reads `http://host[:port]/path[?query]`; a fragment is left out.
    ///
    /// # Errors
    /// [`BadUrl`], which never repeats credentials.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let url = url.split('#').next().unwrap_or(url);
        // What stands before the query may be repeated in a message.
        let shown = url.split('?').next().unwrap_or(url);
        let authority = shown.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if authority.contains('@') {
            return Err(BadUrl::FileCredentials);
        }
        let uri: Uri = url.parse().map_err(|_| BadUrl::NotAUrl { url: shown.to_owned() })?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BadUrl::NotAUrl { url: shown.to_owned() });
        };
        let base = BaseUrl::parse(&format!("{scheme}://{authority}"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // A query may follow the host at once.
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(FileUrl { base, path })
    }

    /// Where a redirect from here to `location` leads.
    ///
    /// # Errors
    /// [`BadUrl`]: also where it leads from TLS to none, as anyone on the way could have put it there.
    pub fn follow(&self, location: &str) -> Result<Self, BadUrl> {
        let origin = format!("{}://{}", if self.base.tls { "https" } else { "http" }, self.base.authority());
        let location = location.trim();
        let file = if FileUrl::is_one(location) {
            FileUrl::parse(location)?
        } else if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            return Err(BadUrl::Scheme { url: location.split('?').next().unwrap_or_default().to_owned() });
        } else if let Some(rest) = location.strip_prefix("//") {
            FileUrl::parse(&format!("{}//{rest}", if self.base.tls { "https:" } else { "http:" }))?
        } else if location.starts_with('/') {
            FileUrl::parse(&format!("{origin}{location}"))?
        } else {
            FileUrl::parse(&format!("{origin}{}", self.beside(location)))?
        };
        if self.base.tls && !file.base.tls {
            return Err(BadUrl::Unprotected { url: file.display() });
        }
        Ok(file)
    }

    /// A path that is given from the folder of this one on.
    ///
    /// Source: RFC 3986, sections 5.2.2 and 5.2.4.
    fn beside(&self, relative: &str) -> String {
        let (relative, query) = relative.split_at(relative.find('?').unwrap_or(relative.len()));
        let path = self.path.split('?').next().unwrap_or("/");
        if relative.is_empty() {
            return format!("{path}{query}");
        }
        let folder = path.rfind('/').map_or("", |at| &path[1..at.max(1)]);
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        let mut last = "";
        for part in relative.split('/') {
            last = part;
            match part {
                "." => last = "",
                ".." => {
                    parts.pop();
                    last = "";
                }
                _ => parts.push(part),
            }
        }
        let slash =
            if last.is_empty() && parts.last().is_some_and(|part| !part.is_empty()) { "/" } else { "" };
        format!("/{}{slash}{query}", parts.join("/"))
    }

    /// In full.
    pub fn full(&self) -> String {
        format!("{}{}", self.base.display(), self.path)
    }

    /// Without the query, which may be a secret.
    pub fn display(&self) -> String {
        let full = self.full();
        match full.split_once('?') {
            Some((before, _)) => format!("{before}?…"),
            None => full,
        }
    }

    /// The last part of the path, without the query.
    pub fn name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_files() {
        let check = |url: &str, full: &str, display: &str, name: &str| {
            let file = FileUrl::parse(url).unwrap();
            assert_eq!((file.full().as_str(), file.display().as_str(), file.name()), (full, display, name));
        };
        check("http://a/v1/t.jsonl", "http://a/v1/t.jsonl", "http://a/v1/t.jsonl", "t.jsonl");
        check("HTTPS://a:444/x/?k=s/e#f", "https://a:444/x/?k=s/e", "https://a:444/x/?…", "");
        check("http://a?x=1", "http://a/?x=1", "http://a/?…", "");
        check("http://a", "http://a/", "http://a/", "");
        for text in ["https://a/b", "HTTP://a"] {
            assert!(FileUrl::is_one(text));
        }
        for text in ["http", "file.jsonl", "-", "./http://a", "ftp://a"] {
            assert!(!FileUrl::is_one(text), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_said_without_secrets() {
        for url in ["http://me:secret@a/x", "https://secret@a", "http://a b/?k=secret", "http:///x?k=secret"]
        {
            let error = FileUrl::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn redirects_lead_on() {
        let from = FileUrl::parse("https://a:444/x/y.jsonl?k=1").unwrap();
        let check = |location: &str, expect: &str| {
            let found = from.follow(location).map_or_else(|e| e.to_string(), |file| file.full());
            assert!(found.contains(expect), "{location}: {found}");
        };
        check("https://b/z?s=1", "https://b/z?s=1");
        check("//b/z", "https://b/z");
        check("/z", "https://a:444/z");
        check("/z?u=https://b", "https://a:444/z?u=https://b");
        check("z?u=https://b", "https://a:444/x/z?u=https://b");
        check("?s=1", "https://a:444/x/y.jsonl?s=1");
        check("z?q/../r", "https://a:444/x/z?q/../r");
        check("../w/./z", "https://a:444/w/z");
        check("../../..", "https://a:444/");
        check(".", "https://a:444/x/");
        check("z/", "https://a:444/x/z/");
        check("http://b/z?secret", "http://b/z?…, which is not protected by TLS");
        check("ftp://b/z", "scheme must be http or https");
        check("https://u:p@b/z", "user name or password");
    }
}
