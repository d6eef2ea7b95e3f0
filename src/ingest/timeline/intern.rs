//! Texts kept once and named by a number.

use std::collections::HashMap;
use std::sync::Arc;

/// The number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::ingest) struct Name(u32);

/// Texts by number.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Interner {
    texts: Vec<Arc<str>>,
    known: HashMap<Arc<str>, Name>,
}

impl Interner {
    /// The number of `text`, new if it was not met before.
    pub(in crate::ingest) fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.known.get(text) {
            return *name;
        }
        // OK because 2^32 different texts do not fit in memory.
        let name = Name(u32::try_from(self.texts.len()).expect("fewer than 2^32 names"));
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.known.insert(text, name);
        name
    }

    /// The text.
    pub(in crate::ingest) fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }
}
