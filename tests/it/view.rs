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

    /// Waits until one screen shows every one of `texts`: a capture can fall between two keys, or into a
    /// drawing, so that what is seen beside the text that was waited for says nothing.
    fn expect(&self, texts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            let Some(missing) = texts.iter().find(|text| !screen.contains(**text)) else { return screen };
            assert!(begun.elapsed() < Duration::from_secs(60), "'{missing}' does not appear:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until the screen shows none of `text`.
    fn expect_gone(&self, text: &str) {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if !screen.contains(text) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "'{text}' does not go:\n{screen}");
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
    terminal.expect(&["1 Runs", "q leave"]);
    terminal.keys(&["2"]);
    terminal.expect(&["share %", "attention", "embedding", "█"]);
    terminal.keys(&["/"]);
    terminal.keys(&["mlp"]);
    terminal.expect(&["/mlp_"]);
    terminal.keys(&["Enter"]);
    terminal.expect(&["6 of 36 rows"]);
    terminal.expect_gone("embedding");
    terminal.keys(&["s", "s", "s", "s"]);
    terminal.expect(&["time v"]);
    terminal.keys(&["Enter"]);
    terminal.expect(&["the shortest time that the ceilings allow"]);
    terminal.keys(&["Escape"]);
    // Details close first, then the search is cleared; two at once would be another key.
    terminal.expect_gone("the shortest time that the ceilings allow");
    terminal.keys(&["Escape"]);
    terminal.expect(&["36 of 36 rows"]);
    terminal.keys(&["BTab", "BTab"]);
    terminal.expect(&["[FLOP/B]", "DRAM bandwidth", "╱", "A v0"]);
    terminal.keys(&["?"]);
    terminal.expect(&["another tab"]);
    terminal.keys(&["q"]);
    terminal.expect_gone("another tab");
    terminal.keys(&["q"]);
    terminal.expect(&["after$"]);
    // The screen of before is back.
    terminal.expect_gone("DRAM bandwidth");
}

#[test]
fn a_panic_gives_the_terminal_back_and_says_what_happened() {
    let command = format!(
        "RUST_BACKTRACE=0 {} view {RUN} --ascii --fail-after 2; echo code $?; stty -a | grep -o -- '-*icanon'",
        kprof()
    );
    let Some(terminal) = Terminal::start("panic", (100, 30), &command) else { return };
    terminal.expect(&["1 Runs", "q leave"]);
    terminal.keys(&["j", "j"]);
    let screen = terminal.expect(&["code 101", "asked to fail after 2 keys", "icanon"]);
    assert!(!screen.contains("-icanon"), "lines are read as before:\n{screen}");
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let output = Command::new(kprof()).args(["view", RUN]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kprof plot --terminal"));
}
