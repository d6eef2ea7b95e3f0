//! One line of progress on stderr: overwritten on a terminal, a new line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written where it cannot be overwritten.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// How often a terminal is redrawn at most.
const REDRAW_EVERY: Duration = Duration::from_millis(50);

/// The line.
pub(crate) struct Line {
    quiet: bool,
    terminal: bool,
    last: Option<Instant>,
    shown: bool,
}

impl Line {
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        // Where lines stay, what is over soon says nothing.
        Self { quiet, terminal, last: (!terminal).then(Instant::now), shown: false }
    }

    /// Shows `text`, unless the last one is too recent.
    pub(crate) fn update(&mut self, text: &str) {
        let every = if self.terminal { REDRAW_EVERY } else { PLAIN_EVERY };
        if self.quiet || self.last.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.last = Some(Instant::now());
        self.shown = true;
        let mut err = std::io::stderr().lock();
        // Progress that cannot be written is no reason to stop a measurement.
        let _ = if self.terminal {
            let width =
                terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(w, _)| usize::from(w.0));
            let cut: String = text.chars().take(width.saturating_sub(1)).collect();
            write!(err, "\r\x1b[K{cut}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{text}")
        };
    }

    /// Removes the line, so that what follows stands on an empty one.
    pub(crate) fn clear(&mut self) {
        if self.terminal && self.shown {
            eprint!("\r\x1b[K");
            self.shown = false;
            self.last = None;
        }
    }
}
