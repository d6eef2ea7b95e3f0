//! Tables: one model, written for a terminal of some width or as Markdown.

use crate::units::Scale;
use std::collections::HashMap;
use std::fmt::Write;

/// Which side a column's cells stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    title: String,
    unit: String,
    align: Align,
    /// 0 is always shown; of the others the highest is the first to go.
    dispensable: u8,
    /// The least width that this column's cells may be shortened to; `None` for never.
    shrinks_to: Option<usize>,
}

impl Column {
    /// A column of text.
    pub fn text(title: impl Into<String>) -> Self {
        let title = title.into();
        Self { title, unit: String::new(), align: Align::Left, dispensable: 0, shrinks_to: None }
    }

    /// A column of numbers in `unit`.
    pub fn number(title: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { unit: unit.into(), align: Align::Right, ..Self::text(title) }
    }

    /// The same, left out of narrow tables: the highest `rank` first.
    #[must_use]
    pub fn dispensable(mut self, rank: u8) -> Self {
        self.dispensable = rank;
        self
    }

    /// The same, with cells that may be shortened in the middle to `width`.
    #[must_use]
    pub fn shrinks_to(mut self, width: usize) -> Self {
        self.shrinks_to = Some(width);
        self
    }

    /// Its title with its unit.
    pub(super) fn header(&self) -> String {
        if self.unit.is_empty() { self.title.clone() } else { format!("{} [{}]", self.title, self.unit) }
    }
}

impl Column {
    /// Whether its cells are numbers.
    pub(super) fn is_number(&self) -> bool {
        self.align == Align::Right
    }
}

/// Columns and rows of text.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// Rows before which a terminal shows an empty line.
    breaks: Vec<usize>,
}

const GAP: &str = "  ";

impl Table {
    /// A table without rows.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, ..Self::default() }
    }

    /// Its columns.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Its rows.
    pub(super) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Adds a row with as many cells as there are columns.
    pub fn push(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Leaves a line free before the next row.
    pub fn space(&mut self) {
        if !self.rows.is_empty() {
            self.breaks.push(self.rows.len());
        }
    }

    /// The table in lines of at most `width` characters where that can be had by leaving out columns and
    /// shortening names; units stand in a second header line.
    pub fn to_terminal(&self, width: usize) -> String {
        let mut shown: Vec<usize> = (0..self.columns.len()).filter(|c| !self.says_nothing(*c)).collect();
        while self.least_width(&shown) > width {
            let Some(position) = self.next_to_go(&shown) else { break };
            shown.remove(position);
        }
        let widths = self.fitted_widths(&shown, width);
        let fitted: Vec<Vec<String>> =
            shown.iter().zip(&widths).map(|(c, width)| self.fitted_cells(*c, *width)).collect();
        let mut out = String::new();
        self.line(&mut out, &shown, &widths, |i| self.columns[shown[i]].title.clone());
        if shown.iter().any(|c| !self.columns[*c].unit.is_empty()) {
            let unit = |i: usize| match self.columns[shown[i]].unit.as_str() {
                "" => String::new(),
                unit => format!("[{unit}]"),
            };
            self.line(&mut out, &shown, &widths, unit);
        }
        for (i, _) in self.rows.iter().enumerate() {
            if self.breaks.contains(&i) {
                out.push('\n');
            }
            self.line(&mut out, &shown, &widths, |column| fitted[column][i].clone());
        }
        out
    }

    /// The table as GitHub Markdown, with every column.
    pub fn to_markdown(&self) -> String {
        let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let escape = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut out = row(self.columns.iter().map(|c| escape(&c.header())).collect());
        let rule = |c: &Column| if c.align == Align::Right { "---:" } else { ":---" }.to_string();
        out += &row(self.columns.iter().map(rule).collect());
        for cells in &self.rows {
            out += &row(cells.iter().map(|c| escape(c)).collect());
        }
        out
    }

    /// A dispensable column without a single value.
    fn says_nothing(&self, column: usize) -> bool {
        let empty = |row: &Vec<String>| row[column] == "n/a";
        self.columns[column].dispensable > 0 && !self.rows.is_empty() && self.rows.iter().all(empty)
    }

    fn natural_width(&self, column: usize) -> usize {
        let c = &self.columns[column];
        let unit = if c.unit.is_empty() { 0 } else { length(&c.unit) + 2 };
        let cells = self.rows.iter().map(|r| length(&r[column])).max().unwrap_or(0);
        cells.max(length(&c.title)).max(unit)
    }

    fn least_width(&self, shown: &[usize]) -> usize {
        let least = |c: &usize| {
            let natural = self.natural_width(*c);
            self.columns[*c].shrinks_to.map_or(natural, |w| natural.min(w))
        };
        shown.iter().map(least).sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
    }

    fn next_to_go(&self, shown: &[usize]) -> Option<usize> {
        let rank = |position: &usize| self.columns[shown[*position]].dispensable;
        (0..shown.len()).filter(|p| rank(p) > 0).max_by_key(rank)
    }

    fn fitted_widths(&self, shown: &[usize], width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = shown.iter().map(|c| self.natural_width(*c)).collect();
        let total = widths.iter().sum::<usize>() + GAP.len() * shown.len().saturating_sub(1);
        let mut excess = total.saturating_sub(width);
        for (i, column) in shown.iter().enumerate() {
            if let Some(least) = self.columns[*column].shrinks_to {
                let cut = excess.min(widths[i].saturating_sub(least));
                widths[i] -= cut;
                excess -= cut;
            }
        }
        widths
    }

    /// A column's cells in at most `width` characters; different ones stay different where that is possible.
    fn fitted_cells(&self, column: usize, width: usize) -> Vec<String> {
        let cells: Vec<&str> = self.rows.iter().map(|r| r[column].as_str()).collect();
        elide_apart(&cells, width)
    }

    fn line(&self, out: &mut String, shown: &[usize], widths: &[usize], cell: impl Fn(usize) -> String) {
        let mut line = String::new();
        for (i, (column, width)) in shown.iter().zip(widths).enumerate() {
            let text = elide(&cell(i), *width);
            let pad = " ".repeat(width - length(&text));
            let gap = if i == 0 { "" } else { GAP };
            let _ = match self.columns[*column].align {
                Align::Left => write!(line, "{gap}{text}{pad}"),
                Align::Right => write!(line, "{gap}{pad}{text}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Shortens in the middle: of templated kernel names both ends tell them apart.
pub(super) fn elide(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.len() <= width {
        return chars.into_iter().collect();
    }
    let kept = width.saturating_sub(1);
    let head = kept.div_ceil(2);
    let tail = &chars[chars.len() - (kept - head)..];
    chars[..head].iter().chain(['…'].iter().filter(|_| width > 0)).chain(tail).collect()
}

/// Shortens every text to `width`. Where that makes different ones the same, what they all begin with is left out
/// instead of their middle.
fn elide_apart(texts: &[&str], width: usize) -> Vec<String> {
    let elided: Vec<String> = texts.iter().map(|t| elide(t, width)).collect();
    let mut by_result: HashMap<&str, Vec<&str>> = HashMap::new();
    for (text, short) in texts.iter().zip(&elided) {
        let alike = by_result.entry(short).or_default();
        if !alike.contains(text) {
            alike.push(text);
        }
    }
    let apart = |(text, short): (&&str, &String)| {
        let alike = &by_result[short.as_str()];
        if alike.len() < 2 {
            return short.clone();
        }
        let shared = |other: &&str| text.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        let least = alike.iter().filter(|o| o != &text).map(shared).min().unwrap_or_default();
        // A few characters of what is shared stay, to be read with.
        let rest: String = text.chars().skip(least.saturating_sub(width / 3)).collect();
        let rest: String = rest.chars().take(width.saturating_sub(1)).collect();
        format!("…{rest}")
    };
    texts.iter().zip(&elided).map(apart).collect()
}

/// A value or `n/a`, never 0 for what is unknown.
pub(super) fn or_na(text: Option<String>) -> String {
    text.unwrap_or_else(|| "n/a".to_string())
}

/// A value in a column's unit; one too small for it is not written as 0.
pub(super) fn in_scale(scale: &Scale, value: f64) -> String {
    let least = 5e-4;
    if value != 0.0 && scale.apply(value).abs() < least { "<0.001".to_string() } else { scale.format(value) }
}

/// The same with three significant digits also where values are far apart and the unit is too large for some.
pub(super) fn in_wide_scale(scale: &Scale, value: f64) -> String {
    let magnitude = scale.apply(value).abs();
    if !(1e-4..0.9995).contains(&magnitude) {
        return in_scale(scale, value);
    }
    let decimals = (2.0 - magnitude.log10().floor()) as usize;
    format!("{:.decimals$}", scale.apply(value))
}

/// A fraction as a percentage with one decimal.
pub(super) fn percent(fraction: Option<f64>) -> String {
    or_na(fraction.map(|f| match f.abs() * 100.0 {
        p if p != 0.0 && p < 0.05 => "<0.1".to_string(),
        _ => format!("{:.1}", f * 100.0),
    }))
}

/// A change as a percentage with its sign and one decimal; none that rounds to 0, which has no sign.
pub(super) fn signed_percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent.abs() < 0.05 { "0.0".to_string() } else { format!("{percent:+.1}") }
}

/// Three significant digits without a prefix: for intensities.
pub(super) fn significant(value: Option<f64>) -> String {
    or_na(value.map(|v| match v.abs() {
        0.0 => "0".to_string(),
        a if !(1e-3..1e6).contains(&a) => format!("{v:.1e}"),
        a if a >= 99.95 => format!("{v:.0}"),
        a if a >= 9.995 => format!("{v:.1}"),
        a if a >= 0.0995 => format!("{v:.2}"),
        _ => format!("{v:.4}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(vec![
            Column::text("kernel").shrinks_to(8),
            Column::number("time", "ms"),
            Column::number("launches", "").dispensable(1),
        ]);
        table.push(vec!["a_rather_long_kernel_name".into(), "1.50".into(), "3".into()]);
        table.push(vec!["b".into(), "12.0".into(), "4".into()]);
        table
    }

    #[test]
    fn a_wide_terminal_shows_everything_aligned_with_units_under_the_titles() {
        let expected = "\
kernel                     time  launches
                           [ms]
a_rather_long_kernel_name  1.50         3
b                          12.0         4
";
        assert_eq!(table().to_terminal(80), expected);
    }

    #[test]
    fn a_narrow_one_shortens_names_and_then_drops_what_is_dispensable() {
        let text = table().to_terminal(24);
        assert!(text.contains("launches") && text.contains('…'), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 24), "{text}");
        assert!(!table().to_terminal(20).contains("launches"));
    }

    #[test]
    fn names_are_shortened_in_the_middle() {
        assert_eq!(elide("abcdefghij", 5), "ab…ij");
        assert_eq!(elide("abc", 3), "abc");
        assert_eq!(elide("abcdef", 1), "…");
    }

    #[test]
    fn names_that_differ_in_their_middle_stay_apart() {
        let texts = [
            "kernel_of_one_kind_for_tiles_of_128x64_tn_align8",
            "kernel_of_one_kind_for_tiles_of_256x64_tn_align8",
        ];
        let short = elide_apart(&texts, 20);
        assert_eq!(short, ["…es_of_128x64_tn_ali", "…es_of_256x64_tn_ali"]);
        assert_eq!(elide_apart(&["a", "a"], 1), ["a", "a"]);
    }

    #[test]
    fn markdown_escapes_bars_and_names_units_in_the_header() {
        let mut table = Table::new(vec![Column::text("kernel"), Column::number("time", "ms")]);
        table.push(vec!["a|b".into(), "1".into()]);
        assert_eq!(table.to_markdown(), "| kernel | time [ms] |\n| :--- | ---: |\n| a\\|b | 1 |\n");
    }

    #[test]
    fn unknown_is_never_written_as_zero() {
        assert_eq!((percent(None).as_str(), percent(Some(0.0)).as_str()), ("n/a", "0.0"));
        assert_eq!(percent(Some(0.0001)), "<0.1");
        let seconds = Scale::for_values([1.0], "s");
        assert_eq!(in_scale(&seconds, 1e-6), "<0.001");
        let wide = [0.007_54, 0.7, 205.3, 5e-5, 0.0].map(|v| in_wide_scale(&seconds, v));
        assert_eq!(wide, ["0.00754", "0.700", "205", "<0.001", "0.00"]);
        assert_eq!(significant(Some(1234.5)), "1234");
    }

    #[test]
    fn a_change_that_rounds_to_nothing_has_no_sign() {
        let all = [-0.0004, 0.0, 0.0004, -0.0006, 0.25].map(signed_percent);
        assert_eq!(all, ["0.0", "0.0", "0.0", "-0.1", "+25.0"]);
    }
}
