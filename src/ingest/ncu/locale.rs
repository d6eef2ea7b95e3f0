//! Which character groups digits and which begins the fraction, decided once per file.
//!
//! `149.152` is one number in an en_US export and a thousand times as much in a de_DE one, and no single cell can
//! tell. So every numeric cell of a file votes, and all are read by the outcome.

use super::short::Short;

/// The separators of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Locale {
    /// What begins the fraction: `.` or `,`.
    pub(super) decimal: u8,
    /// Whether cells looked like either locale and none decided.
    pub(super) assumed: bool,
}

/// What the cells of a file say about its locale.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Votes {
    decimal_dot: u64,
    decimal_comma: u64,
    grouping_dot: u64,
    grouping_comma: u64,
    ambiguous: u64,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// A number.
    Value(f64),
    /// `n/a`, empty or `no data`: not available, which is not zero.
    NotAvailable,
    /// `nan`: the launch failed.
    Nan,
    /// Text that is no number.
    Text,
}

/// The number part of a cell: `1557 (3; 3)` and `4,096 {2066}` carry values per instance after it.
fn aggregate(cell: &str) -> &str {
    let cell = cell.trim();
    let end = cell.find(['(', '{']).unwrap_or(cell.len());
    cell[..end].trim_end()
}

/// Scaled numbers of wide exports are printed with six decimals in the C locale, whatever the file's.
fn is_c_float(digits: &str) -> bool {
    digits
        .split_once('.')
        .is_some_and(|(whole, fraction)| fraction.len() == 6 && is_digits(whole) && is_digits(fraction))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_number_like(digits: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_digit());
    ends(digits.bytes().next())
        && ends(digits.bytes().last())
        && digits.chars().all(|c| c.is_ascii_digit() || is_separator(c))
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | ',') || is_plain_grouping(c)
}

/// Separators that only ever group digits; U+00A0 and U+202F are the spaces of French locales.
fn is_plain_grouping(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | ' ' | '\u{a0}' | '\u{202f}')
}

impl Votes {
    /// Lets a cell vote.
    pub(super) fn see(&mut self, cell: &str) {
        // Most cells are plain numbers, or words that have nothing to say.
        if self.see_plain(cell.as_bytes()) || !cell.bytes().any(|b| matches!(b, b'.' | b',')) {
            return;
        }
        let cell = aggregate(cell);
        let digits = cell.strip_prefix('-').unwrap_or(cell);
        if !is_number_like(digits) || is_c_float(digits) {
            return;
        }
        let dots = digits.bytes().filter(|b| *b == b'.').count();
        let commas = digits.bytes().filter(|b| *b == b',').count();
        match (dots, commas) {
            (0, 0) => {}
            (0, _) => self.one_kind(digits, b',', commas),
            (_, 0) => self.one_kind(digits, b'.', dots),
            _ if digits.rfind('.') > digits.rfind(',') => self.both(b'.'),
            _ => self.both(b','),
        }
    }

    /// Lets a cell of digits and at most one separator vote, the commonest by far; false for any other.
    fn see_plain(&mut self, cell: &[u8]) -> bool {
        let Some(short) = Short::new(cell) else { return false };
        let Some(at) = short.first_other() else { return true };
        let (separator, fraction) = (cell[at], short.len() - at - 1);
        let plain = short.has_one_other() && matches!(separator, b'.' | b',');
        if !plain || at == 0 || fraction == 0 {
            return false;
        }
        match fraction {
            // The C locale's, in any file.
            6 if separator == b'.' => {}
            3 if cell[0] != b'0' && at <= 3 => self.ambiguous += 1,
            _ => self.decimal(separator),
        }
        true
    }

    /// Adds the votes of another part of the file.
    pub(super) fn merge(&mut self, other: &Self) {
        self.decimal_dot += other.decimal_dot;
        self.decimal_comma += other.decimal_comma;
        self.grouping_dot += other.grouping_dot;
        self.grouping_comma += other.grouping_comma;
        self.ambiguous += other.ambiguous;
    }

    fn both(&mut self, decimal: u8) {
        self.decimal(decimal);
        self.grouping(if decimal == b'.' { b',' } else { b'.' });
    }

    fn one_kind(&mut self, digits: &str, separator: u8, count: usize) {
        if count > 1 {
            return self.grouping(separator);
        }
        let (whole, fraction) = digits.split_once(char::from(separator)).unwrap_or((digits, ""));
        let grouped = whole.chars().any(is_plain_grouping);
        if grouped || fraction.len() != 3 || whole.starts_with('0') || whole.len() > 3 {
            self.decimal(separator);
        } else {
            self.ambiguous += 1;
        }
    }

    fn decimal(&mut self, separator: u8) {
        *(if separator == b'.' { &mut self.decimal_dot } else { &mut self.decimal_comma }) += 1;
    }

    fn grouping(&mut self, separator: u8) {
        *(if separator == b'.' { &mut self.grouping_dot } else { &mut self.grouping_comma }) += 1;
    }

    /// The file's locale. Without any evidence a dot begins the fraction, as in the C locale and en_US.
    pub(super) fn decide(&self) -> Locale {
        let no_decimal = self.decimal_dot == 0 && self.decimal_comma == 0;
        let dots_group = no_decimal && self.grouping_dot > self.grouping_comma;
        let decimal = if self.decimal_comma > self.decimal_dot || dots_group { b',' } else { b'.' };
        let undecided = no_decimal && self.grouping_dot == 0 && self.grouping_comma == 0;
        Locale { decimal, assumed: undecided && self.ambiguous > 0 }
    }
}

/// Exact in binary.
const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

impl Locale {
    /// Reads a cell.
    pub(super) fn parse(self, cell: &str) -> Number {
        if let Some(value) = self.plain(cell.as_bytes()) {
            return Number::Value(value);
        }
        let text = cell.trim();
        if matches!(text, "" | "n/a" | "N/A" | "no data" | "(!) n/a") {
            return Number::NotAvailable;
        }
        if text.eq_ignore_ascii_case("nan") || text.eq_ignore_ascii_case("-nan") {
            return Number::Nan;
        }
        let text = aggregate(text);
        // `{2040}`: instances without an aggregate.
        if text.is_empty() {
            return Number::NotAvailable;
        }
        let (sign, digits) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
        self.magnitude(digits).map_or(Number::Text, |value| Number::Value(sign * value))
    }

    /// Digits, groups of three and a fraction, with few enough digits that one division rounds correctly: nearly
    /// every cell, read without allocating. Anything else is `None` and read with care.
    fn plain(self, cell: &[u8]) -> Option<f64> {
        let grouping = if self.decimal == b'.' { b',' } else { b'.' };
        // 15 digits are below 2^53.
        let short = Short::new(cell).filter(|short| short.len() <= 15)?;
        let (digits, decimals) = short.number(cell, grouping, self.decimal)?;
        Some(if decimals == 0 { digits as f64 } else { digits as f64 / POWERS_OF_TEN[decimals] })
    }

    fn magnitude(self, digits: &str) -> Option<f64> {
        if is_digits(digits) || is_c_float(digits) {
            return digits.parse().ok();
        }
        if !is_number_like(digits) {
            return None;
        }
        let (whole, fraction) = match digits.rsplit_once(char::from(self.decimal)) {
            Some((whole, fraction)) => (whole, fraction),
            None => (digits, "0"),
        };
        let whole = ungroup(whole, self.decimal)?;
        is_digits(fraction).then(|| format!("{whole}.{fraction}").parse().ok()).flatten()
    }
}

/// Joins groups of digits: the first has 1 to 3, the others 3, or 2 but for the last (Indian grouping).
fn ungroup(whole: &str, decimal: u8) -> Option<String> {
    let groups: Vec<&str> = whole.split(is_separator).collect();
    let separators = || whole.chars().filter(|c| is_separator(*c));
    let one_kind = separators().all(|c| Some(c) == separators().next() && c != char::from(decimal));
    let last = groups.len() - 1;
    let sized = groups.iter().enumerate().all(|(i, group)| {
        let fits = match i {
            _ if last == 0 => !group.is_empty(),
            0 => (1..=3).contains(&group.len()),
            i if i == last => group.len() == 3,
            _ => group.len() == 2 || group.len() == 3,
        };
        fits && is_digits(group)
    });
    (one_kind && sized).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(cells: &[&str]) -> Locale {
        let mut votes = Votes::default();
        cells.iter().for_each(|c| votes.see(c));
        votes.decide()
    }

    fn value(locale: Locale, cell: &str) -> f64 {
        match locale.parse(cell) {
            Number::Value(v) => v,
            other => panic!("{cell}: {other:?}"),
        }
    }

    #[test]
    fn one_number_is_read_alike_in_every_locale() {
        for (integer, float) in [
            ("431648", "47911631699.90"),
            ("431,648", "47,911,631,699.90"),
            ("431.648", "47.911.631.699,90"),
            ("431 648", "47 911 631 699,90"),
            ("431\u{202f}648", "47\u{202f}911\u{202f}631\u{202f}699,90"),
            ("431'648", "47'911'631'699.90"),
            ("4,31,648", "47,91,16,31,699.90"),
        ] {
            let locale = infer(&[integer, float]);
            assert_eq!(value(locale, integer), 431_648.0, "{integer}");
            assert_eq!(value(locale, float), 47_911_631_699.90, "{float}");
            assert!(!locale.assumed);
        }
    }

    #[test]
    fn an_ambiguous_cell_follows_the_file() {
        assert_eq!(value(infer(&["149.152", "0,07"]), "149.152"), 149_152.0);
        assert_eq!(value(infer(&["149.152", "1,234,567"]), "149.152"), 149.152);
        let alone = infer(&["149.152"]);
        assert!(alone.assumed && alone.decimal == b'.');
    }

    #[test]
    fn six_decimals_are_the_c_locale_in_any_file() {
        let german = infer(&["47.911.631.699,90", "1.710.000"]);
        assert_eq!(value(german, "431.648000"), 431.648);
        assert_eq!(value(german, "1.710.000"), 1_710_000.0);
    }

    #[test]
    fn instances_follow_their_aggregate() {
        let locale = infer(&[]);
        assert_eq!(value(locale, "1557 (3; 3; 3)"), 1557.0);
        assert_eq!(value(locale, "4,096 {2066}"), 4096.0);
        assert_eq!(locale.parse("{2040}"), Number::NotAvailable);
    }

    #[test]
    fn plain_cells_are_read_and_vote_as_all_others() {
        let cells = [
            "0",
            "12",
            "1,234",
            "1,234.50",
            "12.5",
            "0.07",
            "1.234",
            "12,34",
            "1234,567",
            ",1",
            "1,",
            ".5",
            "5.",
            "1,234,567.891",
            "1.234.567",
            "1,2345",
            "431.648000",
            "1234.567",
            "0,123",
            "1,23,456",
            "1.5.5",
            "-1.5",
            "",
        ];
        for decimal in [b'.', b','] {
            let locale = Locale { decimal, assumed: false };
            for cell in cells {
                let Some(plain) = locale.plain(cell.as_bytes()) else { continue };
                assert_eq!(
                    locale.magnitude(cell),
                    Some(plain),
                    "{cell} with decimal {}",
                    char::from(decimal)
                );
            }
        }
        assert_eq!(infer(&["1,234.50"]).parse("1,234.50"), Number::Value(1234.5));
        for cell in cells {
            let (mut plain, mut careful) = (Votes::default(), Votes::default());
            if plain.see_plain(cell.as_bytes()) {
                // A space before it changes nothing but keeps it from being plain.
                careful.see(&format!(" {cell}"));
                assert_eq!(format!("{plain:?}"), format!("{careful:?}"), "{cell}");
            }
        }
    }

    #[test]
    fn absence_failure_and_text_are_no_numbers() {
        let locale = infer(&[]);
        assert_eq!(locale.parse("n/a"), Number::NotAvailable);
        assert_eq!(locale.parse(""), Number::NotAvailable);
        assert_eq!(locale.parse("nan"), Number::Nan);
        assert_eq!(value(locale, "-3792"), -3792.0);
        for text in ["No-CC", "1,23.4", "12,34", "1,2,345,67", "1.2.3", "1e5", "--4", "-", ".", "1,,000"] {
            assert_eq!(locale.parse(text), Number::Text, "{text}");
        }
    }
}
