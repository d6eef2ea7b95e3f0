//! How the browser looks.

use super::App;
use super::app::KEYS;
use super::sheet::Sheet;
use kprof::render::{Glyphs, roofline_text};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table, TableState, Wrap};

/// Lines that the details of a row take.
const DETAILS: u16 = 9;

const ASCII: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

pub(super) fn frame(frame: &mut Frame<'_>, app: &mut App) {
    let details = if app.shows_details() && app.sheet().is_some() { DETAILS } else { 0 };
    let parts =
        [Constraint::Length(1), Constraint::Min(3), Constraint::Length(details), Constraint::Length(1)];
    let [top, middle, under, bottom] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(titles(app), top);
    match app.sheet() {
        Some(sheet) => rows(frame, sheet, middle),
        None => roofline(frame, app, middle),
    }
    if let Some(row) = app.sheet().and_then(Sheet::selected_row).filter(|_| details > 0) {
        let text: Vec<Line<'_>> = row.details.iter().map(|l| Line::raw(l.clone())).collect();
        let shown = Paragraph::new(text).wrap(Wrap { trim: false }).block(block(app, "Details"));
        frame.render_widget(shown, under);
    }
    frame.render_widget(status(app), bottom);
    if app.shows_help() {
        help(frame, app);
    }
}

fn block<'a>(app: &App, title: &'a str) -> Block<'a> {
    let block = Block::bordered().title(title);
    if app.glyphs == Glyphs::Ascii { block.border_set(ASCII) } else { block }
}

fn titles(app: &App) -> Line<'static> {
    let mut spans = vec![Span::styled("kprof ", Style::new().add_modifier(Modifier::BOLD))];
    for (i, title) in app.titles().into_iter().enumerate() {
        let style =
            if i == app.active() { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {} {title} ", i + 1), style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn status(app: &App) -> Line<'static> {
    let (search, typing) = app.search();
    if typing {
        return Line::raw(format!("/{search}_"));
    }
    let counts = app.sheet().map(Sheet::counts);
    let counts = counts.map_or(String::new(), |(visible, all)| format!("{visible} of {all} rows  "));
    let searched = if search.is_empty() { String::new() } else { format!("search '{search}'  ") };
    Line::raw(format!("{counts}{searched}/ search  s sort  r reverse  Enter details  ? help  q leave"))
}

fn rows(frame: &mut Frame<'_>, sheet: &Sheet, area: Rect) {
    let sort = sheet.sort();
    let headings: Vec<String> = sheet
        .headings
        .iter()
        .enumerate()
        .map(|(i, h)| match sort {
            Some((column, up)) if column == i => format!("{} {}", h.title, if up { "^" } else { "v" }),
            _ => h.title.clone(),
        })
        .collect();
    let shown = shown(sheet, &headings, area.width);
    let padded = |text: &str, (i, width): (usize, u16)| match sheet.headings[i].numeric {
        true => format!("{text:>w$}", w = usize::from(width)),
        false => text.to_string(),
    };
    let cells = |text: &dyn Fn(usize) -> String| -> Row<'static> {
        Row::new(shown.iter().map(|column| padded(&text(column.0), *column)).collect::<Vec<String>>())
    };
    let header = cells(&|i| headings[i].clone()).style(Style::new().add_modifier(Modifier::BOLD));
    let body = sheet.visible().map(|r| cells(&|i| r.cells[i].text.clone()));
    let table = Table::new(body, shown.iter().map(|(_, w)| Constraint::Length(*w)))
        .header(header)
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(Some(sheet.selected()));
    frame.render_stateful_widget(table, area, &mut state);
}

/// Columns that a narrow terminal does without, the first to go first; details have what they say.
const DISPENSABLE: [&str; 7] = ["", "started", "count", "launches", "FLOP/B", "rate", "run"];

/// The columns that fit with their widths, each as wide as what is in it; the first gets what the others leave.
fn shown(sheet: &Sheet, headings: &[String], total: u16) -> Vec<(usize, u16)> {
    let longest = |i: usize| {
        let cells = sheet.visible().map(|r| r.cells[i].text.chars().count()).max().unwrap_or(0);
        cells.max(headings[i].chars().count()).min(usize::from(u16::MAX)) as u16
    };
    let mut shown: Vec<(usize, u16)> = (0..headings.len()).map(|i| (i, longest(i))).collect();
    let needed = |shown: &[(usize, u16)]| -> u16 {
        let first = shown.first().map_or(0, |(_, w)| (*w).min(12));
        shown.iter().skip(1).fold(first, |sum, (_, w)| sum.saturating_add(w + 2))
    };
    for title in DISPENSABLE {
        if needed(&shown) > total {
            shown.retain(|(i, _)| *i == 0 || sheet.headings[*i].title != title);
        }
    }
    let others = needed(&shown) - shown.first().map_or(0, |(_, w)| (*w).min(12));
    if let Some((_, first)) = shown.first_mut() {
        *first = (*first).min(total.saturating_sub(others).max(12));
    }
    shown
}

fn roofline(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let roofline = app.roofline();
    let beside = area.width >= 110;
    let key = if beside { area.width * 2 / 5 } else { area.width };
    let (width, height) = match beside {
        true => (area.width - key, area.height),
        false => (area.width, area.height * 3 / 5),
    };
    let drawn =
        roofline_text(&roofline, usize::from(width) - 10, usize::from(height).saturating_sub(1), app.glyphs);
    let lines = |all: Vec<String>| Paragraph::new(all.into_iter().map(Line::raw).collect::<Vec<_>>());
    let chart = Rect { width, height, ..area };
    let rest = match beside {
        true => Rect { x: area.x + width, width: key, ..area },
        false => Rect { y: area.y + height, height: area.height - height, ..area },
    };
    frame.render_widget(lines(drawn.chart), chart);
    let keyed = roofline_text(&roofline, usize::from(key), 10, app.glyphs).key;
    frame.render_widget(lines(keyed), rest);
}

fn help(frame: &mut Frame<'_>, app: &App) {
    let lines: Vec<Line<'_>> =
        KEYS.iter().map(|(keys, what)| Line::raw(format!("{keys:<23} {what}"))).collect();
    let whole = frame.area();
    let (width, height) = (66.min(whole.width), (KEYS.len() as u16 + 2).min(whole.height));
    let area = Rect { x: (whole.width - width) / 2, y: (whole.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block(app, "Keys")), area);
}

#[cfg(test)]
mod tests {
    use super::super::app::tests::{app, press};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(app: &mut App, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|f| frame(f, app)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_string() + "\n").collect()
    }

    #[test]
    fn rows_details_and_help_are_drawn() {
        let mut app = app();
        let text = screen(&mut app, 80, 24);
        assert!(text.contains("1 Points") && text.contains("gemm") && text.contains("2 of 2 rows"), "{text}");
        press(&mut app, "s\n");
        let text = screen(&mut app, 80, 24);
        assert!(text.contains("kernel ^") && text.contains("all of norm"), "{text}");
        press(&mut app, "?");
        assert!(screen(&mut app, 80, 24).contains("another tab"));
    }

    #[test]
    fn nothing_breaks_in_a_small_terminal_or_with_no_row() {
        for (width, height) in [(20, 6), (40, 10), (10, 4), (200, 60)] {
            let mut app = app();
            screen(&mut app, width, height);
            press(&mut app, "\t");
            screen(&mut app, width, height);
            press(&mut app, "1/zzz\n\n");
            screen(&mut app, width, height);
        }
    }
}
