//! The launches of an export, with their raw cells, whatever the layout they came in.

use super::locale::Votes;
use std::borrow::Cow;
use std::collections::HashMap;

/// One value as written, with where it was found.
#[derive(Clone, Debug)]
pub(super) struct Cell<'a> {
    /// The metric's own name.
    pub(super) metric: &'a str,
    /// What the file calls it: the name, or a label.
    pub(super) shown: &'a str,
    pub(super) unit: &'a str,
    pub(super) raw: Cow<'a, str>,
    /// The physical line and field of the unit, from 1.
    pub(super) unit_at: (usize, usize),
}

/// What identifies a launch in its file. Summaries have no ID and are told apart by grid, block and range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    /// Which of the file's tables.
    pub(super) table: usize,
    pub(super) process: Cow<'a, str>,
    pub(super) id: Cow<'a, str>,
    pub(super) kernel: Cow<'a, str>,
    pub(super) other: Vec<Cow<'a, str>>,
}

/// One launch, or one kernel of a summary.
#[derive(Clone, Debug, Default)]
pub(super) struct Launch<'a> {
    pub(super) key: Key<'a>,
    pub(super) block: Cow<'a, str>,
    pub(super) grid: Cow<'a, str>,
    pub(super) context: Cow<'a, str>,
    pub(super) stream: Cow<'a, str>,
    pub(super) capability: Cow<'a, str>,
    pub(super) device_name: Cow<'a, str>,
    pub(super) invocations: Cow<'a, str>,
    /// Cells that hold NVTX ranges.
    pub(super) nvtx: Vec<Cow<'a, str>>,
    /// NVTX ranges by name, where the file has them apart.
    pub(super) ranges: Vec<String>,
    pub(super) cells: Vec<Cell<'a>>,
    /// What the profiler's roofline rule says about it.
    pub(super) rule: Option<Cow<'a, str>>,
}

/// A line of the profiler's own: `==ERROR== ...` or `==WARNING== ...`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) line: usize,
    pub(super) error: bool,
    pub(super) text: String,
}

/// What one pass over a file collects.
#[derive(Debug, Default)]
pub(super) struct Collected<'a> {
    pub(super) launches: Vec<Launch<'a>>,
    pub(super) votes: Votes,
    pub(super) messages: Vec<Message>,
    /// Lines in the table that are no rows of it, perhaps cut short.
    pub(super) damaged: Vec<usize>,
    /// How many tables were found.
    pub(super) tables: usize,
    index: HashMap<Key<'a>, usize>,
}

impl<'a> Collected<'a> {
    /// The launch of `key`, made by `new` when it is seen first. Rows of one launch mostly follow each other.
    pub(super) fn launch(
        &mut self,
        key: Key<'a>,
        new: impl FnOnce(Key<'a>) -> Launch<'a>,
    ) -> &mut Launch<'a> {
        let last = self.launches.len().checked_sub(1).filter(|i| self.launches[*i].key == key);
        let at = match last.or_else(|| self.index.get(&key).copied()) {
            Some(at) => at,
            None => {
                self.index.insert(key.clone(), self.launches.len());
                self.launches.push(new(key));
                self.launches.len() - 1
            }
        };
        &mut self.launches[at]
    }

    /// Takes a line of the profiler's own; false when it is none.
    pub(super) fn message(&mut self, line: usize, text: &str) -> bool {
        let Some(rest) = text.trim_start().strip_prefix("==") else { return false };
        let Some((kind, message)) = rest.split_once("==") else { return false };
        let error = kind == "ERROR";
        if error || kind == "WARNING" {
            self.messages.push(Message { line, error, text: message.trim().to_string() });
        }
        true
    }
}
