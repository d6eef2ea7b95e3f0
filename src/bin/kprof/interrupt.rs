//! Ctrl-C: the first asks the run to end at the next step and keeps what was measured; the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the handler and gives the flag it sets.
pub(crate) fn flag() -> &'static AtomicBool {
    // Installed once per process: a second call fails, and the first handler serves it.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::exit::INTERRUPTED));
        }
    });
    &STOP
}
