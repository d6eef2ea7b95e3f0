//! What is shown, and what keys do with it.

use super::sheet::Sheet;
use kprof::render::Glyphs;
use kprof::roofline::Roofline;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Rows that a page key moves by.
const PAGE: isize = 15;

/// What the keys do, for the help.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("Tab, Left, Right, 1-9", "another tab"),
    ("Up, Down, j, k", "another row; PgUp, PgDn, Home, End"),
    ("Enter", "details of the row"),
    ("/", "search; Enter keeps it, Esc clears it"),
    ("s, r", "sort by the next column, reverse"),
    ("?", "this help"),
    ("q, Esc, Ctrl-C", "leave"),
];

/// The browser.
pub(crate) struct App {
    tabs: Vec<(&'static str, Sheet)>,
    roofline: Roofline,
    active: usize,
    search: String,
    typing: bool,
    details: bool,
    help: bool,
    done: bool,
    pub(crate) glyphs: Glyphs,
}

impl App {
    /// Shows `tabs`, and after them the roofline.
    pub(crate) fn new(tabs: Vec<(&'static str, Sheet)>, roofline: Roofline, glyphs: Glyphs) -> Self {
        let (search, active) = (String::new(), 0);
        Self {
            tabs,
            roofline,
            active,
            search,
            typing: false,
            details: false,
            help: false,
            done: false,
            glyphs,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The titles of all tabs.
    pub(crate) fn titles(&self) -> Vec<&str> {
        self.tabs.iter().map(|(title, _)| *title).chain(["Roofline"]).collect()
    }

    pub(crate) fn active(&self) -> usize {
        self.active
    }

    /// The rows of the active tab; `None` where it is the roofline.
    pub(crate) fn sheet(&self) -> Option<&Sheet> {
        self.tabs.get(self.active).map(|(_, sheet)| sheet)
    }

    /// The points that the search leaves.
    pub(crate) fn roofline(&self) -> Roofline {
        let mut roofline = self.roofline.clone();
        let words: Vec<String> = self.search.to_lowercase().split_whitespace().map(String::from).collect();
        let contains = |name: &str| words.iter().all(|w| name.contains(w));
        roofline.points.retain(|p| contains(&p.label().to_lowercase()));
        roofline
    }

    /// What is searched for, and whether it is being typed.
    pub(crate) fn search(&self) -> (&str, bool) {
        (&self.search, self.typing)
    }

    pub(crate) fn shows_details(&self) -> bool {
        self.details
    }

    pub(crate) fn shows_help(&self) -> bool {
        self.help
    }

    pub(crate) fn on_key(&mut self, key: KeyEvent) {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            self.done |= key.code == KeyCode::Char('c');
        } else if self.typing {
            self.type_key(key.code);
        } else if self.help {
            self.help = false;
        } else {
            self.command(key.code);
        }
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.search.clear();
            }
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Char(c) => self.search.push(c),
            _ => {}
        }
        let search = self.search.clone();
        self.tabs.iter_mut().for_each(|(_, sheet)| sheet.search(&search));
    }

    fn command(&mut self, code: KeyCode) {
        let tabs = self.tabs.len() + 1;
        match code {
            KeyCode::Char('q') => self.done = true,
            KeyCode::Esc if self.details => self.details = false,
            KeyCode::Esc if !self.search.is_empty() => self.type_key(KeyCode::Esc),
            KeyCode::Esc => self.done = true,
            KeyCode::Tab | KeyCode::Right => self.active = (self.active + 1) % tabs,
            KeyCode::BackTab | KeyCode::Left => self.active = (self.active + tabs - 1) % tabs,
            KeyCode::Char(c @ '1'..='9') => {
                self.active = (c as usize - '1' as usize).min(tabs - 1);
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('?') => self.help = true,
            KeyCode::Enter => self.details = !self.details,
            other => self.row_command(other),
        }
    }

    fn row_command(&mut self, code: KeyCode) {
        let Some((_, sheet)) = self.tabs.get_mut(self.active) else { return };
        match code {
            KeyCode::Up | KeyCode::Char('k') => sheet.step(-1),
            KeyCode::Down | KeyCode::Char('j') => sheet.step(1),
            KeyCode::PageUp => sheet.step(-PAGE),
            KeyCode::PageDown => sheet.step(PAGE),
            KeyCode::Home | KeyCode::Char('g') => sheet.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => sheet.step(isize::MAX),
            KeyCode::Char('s') => sheet.sort_by_next(),
            KeyCode::Char('r') => sheet.reverse(),
            _ => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::sheet::{Cell, Row};
    use super::*;

    pub(in super::super) fn app() -> App {
        let row = |name: &str, time: f64| Row {
            cells: vec![Cell::text(name), Cell::number(Some(time), |t| format!("{t:.1}"))],
            details: vec![format!("all of {name}")],
        };
        let sheet =
            Sheet::new(vec![("kernel", false), ("time", true)], vec![row("norm", 1.0), row("gemm", 2.0)]);
        App::new(vec![("Points", sheet)], Roofline::default(), Glyphs::Unicode)
    }

    pub(in super::super) fn press(app: &mut App, keys: &str) {
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                c => KeyCode::Char(c),
            };
            app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
        }
    }

    #[test]
    fn keys_go_through_tabs_rows_and_details() {
        let mut app = app();
        press(&mut app, "j\n");
        assert_eq!(app.sheet().unwrap().selected_row().unwrap().details, ["all of gemm"]);
        assert!(app.shows_details());
        press(&mut app, "\t");
        assert!(app.sheet().is_none() && app.titles()[app.active()] == "Roofline");
        press(&mut app, "1\u{1b}");
        assert!(!app.shows_details() && !app.is_done());
        press(&mut app, "q");
        assert!(app.is_done());
    }

    #[test]
    fn a_search_is_typed_kept_and_cleared() {
        let mut app = app();
        press(&mut app, "/gq");
        assert_eq!((app.search(), app.sheet().unwrap().counts().0), (("gq", true), 0));
        app.on_key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
        press(&mut app, "\n");
        assert_eq!((app.search(), app.sheet().unwrap().counts().0), (("g", false), 1));
        press(&mut app, "\u{1b}");
        assert_eq!((app.search(), app.sheet().unwrap().counts().0, app.is_done()), (("", false), 2, false));
    }

    #[test]
    fn control_c_leaves_also_while_typing() {
        let mut app = app();
        press(&mut app, "/");
        app.on_key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(app.is_done());
    }
}
