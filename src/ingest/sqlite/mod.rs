//! Reads tables of SQLite databases, so that no C library is needed: whole tables in their order, columns by name.
//!
//! By the file format that <https://www.sqlite.org/fileformat2.html> documents: b-tree table pages, overflow pages,
//! records, the three text encodings. Not read, because exports do not have them: indexes, tables WITHOUT ROWID, and
//! what a write-ahead log or a rollback journal beside the file still has to add to it, which is an error.
//!
//! Nothing in a file can make reading panic, run for ever, or use more memory than one row's text and a page per level
//! of the tree.

mod columns;
mod header;
mod record;
mod tree;

pub(super) use record::Value;

use columns::Columns;
use header::Header;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What every database begins with.
pub(super) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Why a database could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqliteError {
    #[error("cannot read it")]
    Read(#[from] std::io::Error),
    #[error("{0}")]
    Damaged(String),
    /// Sound, but it needs what is not read here.
    #[error("{0}")]
    Unsupported(String),
}

/// A table: where its tree begins, and its columns.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    root: u32,
    columns: Columns,
}

impl Table {
    /// Whether there is a column of that name.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.position(column).is_some()
    }
}

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    file: File,
    header: Header,
    tables: Vec<Table>,
}

impl Database {
    /// Opens a file and reads its schema.
    pub(super) fn open(path: &Path) -> Result<Self, SqliteError> {
        for (suffix, what) in [("-wal", "write-ahead log"), ("-journal", "rollback journal")] {
            let beside = PathBuf::from(format!("{}{suffix}", path.display()));
            if std::fs::metadata(&beside).is_ok_and(|m| m.len() > 0) {
                return Err(SqliteError::Unsupported(format!(
                    "a {what} lies beside it, so it was not closed; run `sqlite3 {} 'PRAGMA journal_mode=DELETE'`",
                    path.display()
                )));
            }
        }
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; header::LENGTH];
        file.read_exact(&mut head)
            .map_err(|_| SqliteError::Damaged(format!("it has only {length} bytes")))?;
        let header = Header::parse(&head, length)?;
        let mut database = Self { file, header, tables: Vec::new() };
        database.read_schema()?;
        Ok(database)
    }

    /// The tables, in the order they were made.
    pub(super) fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The table of that name.
    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name.eq_ignore_ascii_case(name))
    }

    /// Gives every row of `table` to `row`: the values of `columns` in that order, NULL for a column that the table
    /// lacks. No such table is no row.
    pub(super) fn scan(
        &mut self,
        table: &str,
        columns: &[&str],
        row: &mut dyn FnMut(&[Value<'_>]),
    ) -> Result<(), SqliteError> {
        let Some(table) = self.table(table) else { return Ok(()) };
        let wanted: Vec<Option<usize>> = columns.iter().map(|c| table.columns.position(c)).collect();
        if table.columns.without_rowid {
            let why = format!("table {} is WITHOUT ROWID, which this reader does not know", table.name);
            return Err(SqliteError::Unsupported(why));
        }
        let (root, rowid_alias) = (table.root, table.columns.rowid_alias);
        let encoding = self.header.encoding;
        tree::scan(self, root, &mut |rowid, payload| {
            let values = record::values(payload, &wanted, encoding, rowid_alias.map(|alias| (alias, rowid)))?;
            row(&values);
            Ok(())
        })
    }

    fn read_schema(&mut self) -> Result<(), SqliteError> {
        let mut tables = Vec::new();
        let wanted = [Some(0), Some(1), Some(3), Some(4)];
        let encoding = self.header.encoding;
        tree::scan(self, 1, &mut |_, payload| {
            let values = record::values(payload, &wanted, encoding, None)?;
            if let [kind, name, root, sql] = values.as_slice()
                && kind.text() == Some("table")
                && let (Some(name), Some(sql)) = (name.text(), sql.text())
                // A virtual table has no tree.
                && let Some(root) = root.integer().and_then(|r| u32::try_from(r).ok()).filter(|r| *r > 0)
            {
                tables.push(Table { name: name.to_string(), root, columns: Columns::parse(sql) });
            }
            Ok(())
        })?;
        self.tables = tables;
        Ok(())
    }

    /// Reads page `number`, from 1, into `page`.
    fn page(&mut self, number: u32, page: &mut Vec<u8>) -> Result<(), SqliteError> {
        if number == 0 || number > self.header.pages {
            let why = format!("page {number} of {} is referred to", self.header.pages);
            return Err(SqliteError::Damaged(why));
        }
        page.resize(self.header.page_size, 0);
        let at = u64::from(number - 1) * self.header.page_size as u64;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(page)?;
        Ok(())
    }
}
