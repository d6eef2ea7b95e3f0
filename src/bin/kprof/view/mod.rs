//! `kprof view`: a small browser of runs in a terminal. What it shows is in `content`, what keys do in `app`, how it
//! looks in `draw`; here it takes the terminal and gives it back, also after a panic.

mod app;
mod content;
mod draw;
mod sheet;

pub(crate) use app::App;
pub(crate) use content::tabs;

use ratatui::crossterm::event::{self, Event, KeyEventKind};

/// Shows `app` until the user leaves. `fail_after` keys it panics, to try that the terminal comes back.
pub(crate) fn show(mut app: App, fail_after: Option<usize>) -> std::io::Result<()> {
    // Restores the terminal in the hook of panics too, before the message is printed.
    let mut terminal = ratatui::try_init()?;
    let outcome = (|| {
        let mut keys = 0;
        while !app.is_done() {
            terminal.draw(|frame| draw::frame(frame, &mut app))?;
            // Windows tells of a key's release too.
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                keys += 1;
                assert!(fail_after != Some(keys), "asked to fail after {keys} keys");
                app.on_key(key);
            }
        }
        Ok(())
    })();
    ratatui::try_restore()?;
    outcome
}
