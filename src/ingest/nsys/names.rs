//! Texts: nsys stores them once, in `StringIds`; only those that are used are read.

use super::KERNELS;
use crate::ingest::sqlite::{Database, SqliteError};
use crate::ingest::timeline::{Interner, Name};
use std::collections::HashMap;

/// The columns that name a kernel, the best first.
pub(super) const KERNEL_NAMES: [&str; 3] = ["demangledName", "shortName", "mangledName"];

/// Names by nsys's own number.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<i64, Name>);

impl Names {
    pub(super) fn get(&self, id: Option<i64>) -> Option<Name> {
        self.0.get(&id?).copied()
    }
}

/// Reads the texts that kernels and ranges refer to.
pub(super) fn read(database: &mut Database, interner: &mut Interner) -> Result<Names, SqliteError> {
    let mut wanted: HashMap<i64, ()> = HashMap::new();
    let mut want = |row: &[crate::ingest::sqlite::Value<'_>]| {
        if let Some(id) = row.iter().find_map(|v| v.integer()) {
            wanted.insert(id, ());
        }
    };
    database.scan(KERNELS, &KERNEL_NAMES, &mut want)?;
    database.scan("NVTX_EVENTS", &["textId"], &mut want)?;
    let mut names = Names::default();
    database.scan("StringIds", &["id", "value"], &mut |row| {
        if let (Some(id), Some(text)) = (row[0].integer(), row[1].text())
            && wanted.contains_key(&id)
        {
            names.0.insert(id, interner.name(text));
        }
    })?;
    Ok(names)
}
