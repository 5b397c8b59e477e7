//! The texts of answers, from those that read them to those that send them on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tics_trace::Links;

/// Answers that a request needs which waits for theirs.
pub struct Answers {
    links: Arc<Links>,
    texts: Mutex<HashMap<u64, String>>,
}

impl Answers {
    /// None so far.
    pub fn new(links: Arc<Links>) -> Self {
        Answers { links, texts: Mutex::default() }
    }

    /// Whether another request needs the answer of request `index`.
    pub fn wants(&self, index: u64) -> bool {
        self.links.of(index).len() > 0
    }

    /// Request `index` was answered; called before anybody hears of its end.
    pub fn put(&self, index: u64, text: String) {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).insert(index, text);
    }

    /// Its answer, given once.
    pub fn take(&self, index: u64) -> Option<String> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }
}
