//! The names of metrics: one table over all blocks, which may come after the results that refer to it.

use super::wire::{Break, Message};

/// Strings by their number in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    text: String,
    /// Where each string ends in `text`.
    ends: Vec<usize>,
}

impl Strings {
    /// Adds a block's table: numbers go on where the last table ended.
    pub(super) fn append(&mut self, table: Message<'_>) -> Result<(), Break> {
        for field in table.fields() {
            let field = field?;
            if let (1, Some(string)) = (field.number, field.value.message()) {
                self.text.push_str(&string.text());
                self.ends.push(self.text.len());
            }
        }
        Ok(())
    }

    /// The string of a number.
    pub(super) fn get(&self, id: u64) -> Option<&str> {
        let id = usize::try_from(id).ok()?;
        let end = *self.ends.get(id)?;
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}
