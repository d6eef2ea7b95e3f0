//! `kprof view` in a real terminal, that of tmux: what it shows, what keys do, and that the terminal comes back.

use assert_cmd::cargo::cargo_bin;
use std::process::Command;
use std::time::{Duration, Instant};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/runs/tiny.jsonl");

/// A terminal of its own server, which ends with it.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// `None`, having said so, where there is no tmux.
    fn start(test: &str, size: (u32, u32), command: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("skipped: {test}: no tmux");
            return None;
        }
        let terminal = Self { socket: format!("kprof-{test}-{}", std::process::id()) };
        let (width, height) = (size.0.to_string(), size.1.to_string());
        // A shell stays when the program ends, so that what it leaves behind is seen.
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "env",
            "PS1=after$ ",
            "sh",
        ]);
        terminal.keys(&[&format!("clear; {command}"), "Enter"]);
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.socket]).args(args).output().expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows `text`.
    fn expect(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "'{text}' does not appear:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn kprof() -> String {
    cargo_bin("kprof").display().to_string()
}

#[test]
fn it_shows_runs_phases_points_and_a_roofline_and_searches_and_sorts() {
    let command = format!("{} view {RUN}", kprof());
    let Some(terminal) = Terminal::start("view", (120, 30), &command) else { return };
    terminal.expect("1 Runs");
    terminal.keys(&["2"]);
    let screen = terminal.expect("share %");
    assert!(screen.contains("attention") && screen.contains('█'), "{screen}");
    terminal.keys(&["/"]);
    terminal.keys(&["mlp"]);
    terminal.expect("/mlp_");
    terminal.keys(&["Enter"]);
    let screen = terminal.expect("6 of 36 rows");
    assert!(!screen.contains("embedding"), "{screen}");
    terminal.keys(&["s", "s", "s", "s", "Enter"]);
    let screen = terminal.expect("time v");
    assert!(screen.contains("the shortest time that the ceilings allow"), "{screen}");
    terminal.keys(&["Escape"]);
    // Details close first, then the search is cleared; two at once would be another key.
    std::thread::sleep(Duration::from_millis(700));
    terminal.keys(&["Escape"]);
    terminal.expect("36 of 36 rows");
    terminal.keys(&["BTab", "BTab"]);
    let screen = terminal.expect("[FLOP/B]");
    assert!(screen.contains("DRAM bandwidth") && screen.contains('╱') && screen.contains("A v0"), "{screen}");
    terminal.keys(&["?"]);
    terminal.expect("another tab");
    terminal.keys(&["q"]);
    terminal.keys(&["q"]);
    terminal.expect("after$");
    assert!(!terminal.screen().contains("DRAM bandwidth"), "the screen of before is back");
}

#[test]
fn a_panic_gives_the_terminal_back_and_says_what_happened() {
    let command = format!(
        "RUST_BACKTRACE=0 {} view {RUN} --ascii --fail-after 2; echo code $?; stty -a | grep -o -- '-*icanon'",
        kprof()
    );
    let Some(terminal) = Terminal::start("panic", (100, 30), &command) else { return };
    terminal.expect("1 Runs");
    terminal.keys(&["j", "j"]);
    let screen = terminal.expect("code 101");
    assert!(screen.contains("asked to fail after 2 keys"), "{screen}");
    let screen = terminal.expect("icanon");
    assert!(!screen.contains("-icanon"), "lines are read as before:\n{screen}");
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let output = Command::new(kprof()).args(["view", RUN]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kprof plot --terminal"));
}
