//! Tokens by the channel they came in, and by who counts them.

use serde::{Deserialize, Serialize};
use tics_record::{EventClass, RequestRecord};

/// Tics of answered requests in one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Channel {
    /// Tics.
    pub tics: u64,
    /// Tokens that the server said they carried, where it said so of every tic of a request.
    pub tokens: u64,
}

/// Tokens of answered requests by channel, and the third way to count them: what the server says of each
/// event (`continuous_usage_stats`), beside the tics and the server's count of the whole
/// ([`OutputTokens`](crate::OutputTokens)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Channels {
    /// Visible text.
    pub content: Channel,
    /// Text of a reasoning channel.
    pub reasoning: Channel,
    /// Parts of tool calls.
    pub tool_call: Channel,
    /// Generated tokens without text.
    pub textless: Channel,
    /// Requests of which every tic says how many tokens it carried.
    pub said_requests: u64,
    /// Sum of these tokens; null without such a request.
    pub said_tokens: Option<u64>,
    /// Requests for which that sum is not the server's count of the whole.
    pub said_differ: u64,
    /// Most tokens that one tic carried, by the server's word.
    pub most_in_a_tic: Option<u32>,
}

impl Channels {
    /// Every channel with its name, in print.
    pub const fn named(&self) -> [(&'static str, Channel); 4] {
        [
            ("content", self.content),
            ("reasoning", self.reasoning),
            ("tool calls", self.tool_call),
            ("without text", self.textless),
        ]
    }

    /// Takes an answered request.
    pub(crate) fn add(&mut self, record: &RequestRecord) {
        let (mut said, mut sum, mut most) = (true, 0, 0);
        let mut of_class = [Channel::default(); 4];
        for tic in record.tics() {
            let channel = &mut of_class[match tic.class {
                EventClass::Reasoning => 1,
                EventClass::ToolCall => 2,
                EventClass::Token => 3,
                _ => 0,
            }];
            channel.tics += 1;
            if let Some(tokens) = tic.tokens() {
                channel.tokens += u64::from(tokens);
                sum += u64::from(tokens);
                most = most.max(tokens);
            } else {
                said = false;
            }
        }
        said &= of_class.iter().any(|c| c.tics > 0);
        let ours = [&mut self.content, &mut self.reasoning, &mut self.tool_call, &mut self.textless];
        for (our, one) in ours.into_iter().zip(of_class) {
            our.tics += one.tics;
            our.tokens += if said { one.tokens } else { 0 };
        }
        if said {
            self.said_requests += 1;
            *self.said_tokens.get_or_insert(0) += sum;
            self.said_differ += u64::from(record.output.usage.is_some_and(|usage| u64::from(usage) != sum));
            self.most_in_a_tic = self.most_in_a_tic.max(Some(most));
        }
    }

    pub(crate) fn merge(&mut self, other: &Channels) {
        let pairs = [
            (&mut self.content, other.content),
            (&mut self.reasoning, other.reasoning),
            (&mut self.tool_call, other.tool_call),
            (&mut self.textless, other.textless),
        ];
        for (our, their) in pairs {
            our.tics += their.tics;
            our.tokens += their.tokens;
        }
        self.said_requests += other.said_requests;
        self.said_tokens = match (self.said_tokens, other.said_tokens) {
            (a, None) => a,
            (a, Some(b)) => Some(a.unwrap_or(0) + b),
        };
        self.said_differ += other.said_differ;
        self.most_in_a_tic = self.most_in_a_tic.max(other.most_in_a_tic);
    }
}
