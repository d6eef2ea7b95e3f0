//! The columns of a table, from the statement that made it.

/// Names in the order that records have them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    names: Vec<String>,
    /// The column that is another name of the row's ID: `INTEGER PRIMARY KEY`.
    pub(super) rowid_alias: Option<usize>,
    /// Whether the table has no IDs, and another kind of tree.
    pub(super) without_rowid: bool,
}

/// What begins a constraint of the table rather than a column.
const CONSTRAINTS: [&str; 5] = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];

impl Columns {
    /// Reads `CREATE TABLE name (...)`; what makes no sense gives no column.
    pub(super) fn parse(sql: &str) -> Self {
        let tokens = tokens(sql);
        let open = tokens.iter().position(|t| t.is("(")).unwrap_or(tokens.len());
        let mut columns = Self::default();
        let mut depth = 0;
        let mut item: Vec<&Token> = Vec::new();
        let mut end = tokens.len();
        for (i, token) in tokens.iter().enumerate().skip(open) {
            match () {
                () if token.is("(") => depth += 1,
                () if token.is(")") => depth -= 1,
                () => {}
            }
            if depth == 0 {
                end = i;
                break;
            }
            if depth == 1 && token.is(",") {
                columns.add(&item);
                item.clear();
            } else if i > open {
                item.push(token);
            }
        }
        columns.add(&item);
        let after = &tokens[end.min(tokens.len())..];
        columns.without_rowid = after.windows(2).any(|w| w[0].is("WITHOUT") && w[1].is("ROWID"));
        columns
    }

    fn add(&mut self, item: &[&Token]) {
        let Some(name) = item.first() else { return };
        if !name.quoted && CONSTRAINTS.iter().any(|c| name.is(c)) {
            return;
        }
        let is_integer = item.get(1).is_some_and(|t| t.is("INTEGER"));
        if is_integer && item.windows(2).any(|w| w[0].is("PRIMARY") && w[1].is("KEY")) {
            self.rowid_alias = Some(self.names.len());
        }
        self.names.push(name.text.clone());
    }

    /// Where in a record the column stands.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n.eq_ignore_ascii_case(name))
    }
}

#[derive(Debug)]
struct Token {
    text: String,
    quoted: bool,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word)
    }
}

/// Words, quoted names and single marks; comments are left out.
fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, after)| after);
        } else if let Some(close) = closing(first) {
            let inner = &rest[first.len_utf8()..];
            let end = inner.find(close).unwrap_or(inner.len());
            tokens.push(Token { text: inner[..end].to_string(), quoted: true });
            rest = inner.get(end + 1..).unwrap_or("");
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            tokens.push(Token { text: rest[..end].to_string(), quoted: false });
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token { text: first.to_string(), quoted: false });
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

fn closing(quote: char) -> Option<char> {
    match quote {
        '"' | '\'' | '`' => Some(quote),
        '[' => Some(']'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_past_comments_types_and_constraints() {
        let sql = "CREATE TABLE \"T\" ( -- about, the table\n  id  INTEGER NOT NULL  PRIMARY KEY, -- ID (reference).\n \
                   value TEXT DEFAULT ',' /* a, b */, [end] NUMERIC(10, 2) REFERENCES x(id),\n  \"primary\" INT, \
                   PRIMARY KEY (id, value), FOREIGN KEY (a) REFERENCES b(c)\n)";
        let columns = Columns::parse(sql);
        assert_eq!(columns.names, ["id", "value", "end", "primary"]);
        assert_eq!((columns.rowid_alias, columns.without_rowid), (Some(0), false));
        assert_eq!(columns.position("END"), Some(2));
        assert!(Columns::parse("CREATE TABLE t(a INT PRIMARY KEY) WITHOUT ROWID").without_rowid);
        assert_eq!(Columns::parse("CREATE TABLE t(a INT PRIMARY KEY)").rowid_alias, None);
        assert_eq!(Columns::parse("nonsense"), Columns::default());
    }
}
