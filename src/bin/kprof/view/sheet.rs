//! Rows that can be searched, sorted and moved through.

/// A cell: what is shown, and what it is sorted by.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// `None` for text, and for numbers that are not known: those come last, whatever the order.
    pub(crate) number: Option<f64>,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), number: None }
    }

    /// A number as `show` writes it, or n/a.
    pub(crate) fn number(number: Option<f64>, show: impl Fn(f64) -> String) -> Self {
        Self { text: number.map_or_else(|| "n/a".to_string(), show), number }
    }
}

/// A row with what Enter shows of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    pub(crate) details: Vec<String>,
}

/// A column's title, and whether it holds numbers.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    pub(crate) title: String,
    pub(crate) numeric: bool,
}

/// The rows of a tab.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) headings: Vec<Heading>,
    rows: Vec<Row>,
    /// The column that rows are sorted by, and whether the least comes first.
    sort: Option<(usize, bool)>,
    /// Which of the visible rows is chosen.
    selected: usize,
    search: String,
    /// The rows that are visible, in their order.
    visible: Vec<usize>,
}

impl Sheet {
    pub(crate) fn new(headings: Vec<(&str, bool)>, rows: Vec<Row>) -> Self {
        let heading = |(title, numeric): (&str, bool)| Heading { title: title.to_string(), numeric };
        let visible = (0..rows.len()).collect();
        Self { headings: headings.into_iter().map(heading).collect(), rows, visible, ..Self::default() }
    }

    /// The visible rows, in order.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &Row> {
        self.visible.iter().map(|i| &self.rows[*i])
    }

    /// How many rows are visible, of how many.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.visible.len(), self.rows.len())
    }

    pub(crate) fn sort(&self) -> Option<(usize, bool)> {
        self.sort
    }

    pub(crate) fn selected(&self) -> usize {
        self.selected
    }

    pub(crate) fn selected_row(&self) -> Option<&Row> {
        self.visible.get(self.selected).map(|i| &self.rows[*i])
    }

    /// Moves by so many rows, to the ends at most.
    pub(crate) fn step(&mut self, by: isize) {
        let last = self.visible.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by).min(last);
    }

    /// Shows rows that contain every word of `search`.
    pub(crate) fn search(&mut self, search: &str) {
        self.search = search.to_lowercase();
        self.arrange();
    }

    /// Sorts by the next column; after the last one comes the order of the run.
    pub(crate) fn sort_by_next(&mut self) {
        let next = self.sort.map_or(0, |(column, _)| column + 1);
        // Numbers are looked at for their largest.
        self.sort = self.headings.get(next).map(|h| (next, !h.numeric));
        self.arrange();
    }

    pub(crate) fn reverse(&mut self) {
        self.sort = self.sort.map(|(column, up)| (column, !up));
        self.arrange();
    }

    fn arrange(&mut self) {
        let chosen = self.visible.get(self.selected).copied();
        let words: Vec<&str> = self.search.split_whitespace().collect();
        let contains = |row: &Row| {
            let text: String = row.cells.iter().map(|c| c.text.to_lowercase() + " ").collect();
            words.iter().all(|w| text.contains(w))
        };
        self.visible = (0..self.rows.len()).filter(|i| contains(&self.rows[*i])).collect();
        if let Some((column, up)) = self.sort {
            let key = |i: &usize| &self.rows[*i].cells[column];
            let numeric = self.headings[column].numeric;
            self.visible.sort_by(|a, b| order(key(a), key(b), numeric, up));
        }
        // The chosen row stays chosen where it is still there.
        let place = chosen.and_then(|row| self.visible.iter().position(|i| *i == row));
        self.selected = place.unwrap_or(0);
    }
}

fn order(a: &Cell, b: &Cell, numeric: bool, up: bool) -> std::cmp::Ordering {
    let turned = |o: std::cmp::Ordering| if up { o } else { o.reverse() };
    match (a.number, b.number) {
        _ if !numeric => turned(a.text.cmp(&b.text)),
        (Some(a), Some(b)) => turned(a.total_cmp(&b)),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => std::cmp::Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let row = |name: &str, number: Option<f64>| Row {
            cells: vec![Cell::text(name), Cell::number(number, |n| n.to_string())],
            details: vec![],
        };
        let rows = vec![row("gemm", Some(2.0)), row("norm", None), row("softmax", Some(9.0))];
        Sheet::new(vec![("kernel", false), ("time", true)], rows)
    }

    fn names(sheet: &Sheet) -> Vec<String> {
        sheet.visible().map(|r| r.cells[0].text.clone()).collect()
    }

    #[test]
    fn sorting_goes_through_the_columns_and_puts_the_unknown_last() {
        let mut s = sheet();
        s.sort_by_next();
        assert_eq!(names(&s), ["gemm", "norm", "softmax"]);
        s.sort_by_next();
        assert_eq!(names(&s), ["softmax", "gemm", "norm"]);
        s.reverse();
        assert_eq!(names(&s), ["gemm", "softmax", "norm"]);
        s.sort_by_next();
        assert_eq!((s.sort(), names(&s)), (None, vec!["gemm".into(), "norm".into(), "softmax".into()]));
    }

    #[test]
    fn a_search_keeps_rows_with_every_word_and_the_chosen_row_chosen() {
        let mut s = sheet();
        s.step(2);
        s.search("M so");
        assert_eq!((names(&s), s.selected(), s.counts()), (vec!["softmax".to_string()], 0, (1, 3)));
        s.search("");
        assert_eq!(s.selected(), 2);
        s.search("nothing like it");
        assert!(s.selected_row().is_none());
        s.step(1);
        assert_eq!(s.selected(), 0);
    }
}
