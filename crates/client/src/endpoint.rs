//! The endpoints that a generation can be asked of.

use std::fmt;

/// Where a generation is asked for, and with it the shape of body and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// `/v1/chat/completions`: messages, to which the server's chat template adds something.
    #[default]
    Chat,
    /// `/v1/completions`: a text or token ids, as they are.
    Completions,
    /// SGLang's own `/generate`: a text or token ids, as they are; its events have a shape of their own.
    Generate,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Endpoint; 3] = [Endpoint::Chat, Endpoint::Completions, Endpoint::Generate];

    /// Its path under the base address.
    pub const fn path(self) -> &'static str {
        match self {
            Endpoint::Chat => "/v1/chat/completions",
            Endpoint::Completions => "/v1/completions",
            Endpoint::Generate => "/generate",
        }
    }

    /// The endpoint of a path; what is not known speaks as chat does.
    pub fn of_path(path: &str) -> Endpoint {
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path).unwrap_or_default()
    }

    /// Whether a prompt may be token ids.
    pub const fn takes_token_ids(self) -> bool {
        !matches!(self, Endpoint::Chat)
    }

    /// Whether a prompt may be messages.
    pub const fn takes_messages(self) -> bool {
        matches!(self, Endpoint::Chat)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Endpoint::Chat => "chat",
            Endpoint::Completions => "completions",
            Endpoint::Generate => "generate",
        })
    }
}
