//! Every command of the tour (docs/tour*.md) is run, in the order of its page, in one folder per page.
//!
//! A block of `sh` is run line by line, each of which must succeed, or end with the code that a comment `# exit code N`
//! (or several: `0 or 3`) says. Blocks of ```` ```sh needs: ncu ```` are run only where that program is there, and are skipped by name elsewhere;
//! ```` ```sh elsewhere ```` are for another machine, and only the flags of their commands are checked.

use assert_cmd::cargo::cargo_bin;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A block of commands.
struct Block {
    /// What stands behind `sh` on its first line.
    about: String,
    lines: Vec<String>,
}

fn pages() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<PathBuf> = std::fs::read_dir(docs)
        .unwrap()
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("tour")))
        .collect();
    pages.sort();
    pages
}

/// The blocks of commands of a page; a line that ends in a backslash goes on in the next.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                let about = kind.strip_prefix("sh").map(|rest| rest.trim().to_string());
                open = Some(Block { about: about.unwrap_or_else(|| "not sh".into()), lines: Vec::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|b| b.about != "not sh")),
            (Some(block), None) => match block.lines.last_mut().filter(|l| l.ends_with('\\')) {
                Some(last) => {
                    last.pop();
                    last.push_str(line.trim_start());
                }
                None if !line.trim().is_empty() => block.lines.push(line.to_string()),
                None => {}
            },
            (None, None) => {}
        }
    }
    blocks
}

/// The exit codes that a line may end with.
fn expected(line: &str) -> Vec<i32> {
    let Some(codes) = line.split("# exit code ").nth(1) else { return vec![0] };
    codes.split(" or ").filter_map(|code| code.trim().parse().ok()).collect()
}

fn run(page: &Path, folder: &Path, line: &str) {
    let bin = cargo_bin("kprof");
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let output =
        Command::new("sh").args(["-c", line]).current_dir(folder).env("PATH", path).output().unwrap();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| expected(line).contains(&code)),
        "{}: {line}\nexit code {code:?}\n{}{}",
        page.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether a program is there, and answers.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

#[test]
fn every_command_of_the_tour_works() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = blocks(&text);
        assert!(!blocks.is_empty(), "{} has no commands", page.display());
        let folder = tempfile::tempdir().unwrap();
        // What the tour calls an export of its reader's own.
        std::fs::copy(fixtures.join("ncu/tensor-ampere-overlap.csv"), folder.path().join("ncu.csv")).unwrap();
        for block in blocks {
            let name = page.file_name().unwrap().to_string_lossy().into_owned();
            if let Some(program) = block.about.strip_prefix("needs: ").filter(|p| !has(p)) {
                println!("skipped: {name}: {program} is not here: {}", block.lines.join("; "));
                continue;
            }
            if block.about == "elsewhere" {
                println!("skipped: {name}: for another machine: {}", block.lines.join("; "));
                continue;
            }
            block.lines.iter().for_each(|line| run(&page, folder.path(), line));
        }
    }
}

#[test]
fn every_command_that_the_tour_names_exists() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            for line in block.lines {
                let words: Vec<&str> = line.split_whitespace().collect();
                for at in words.iter().enumerate().filter(|(_, w)| **w == "kprof").map(|(i, _)| i) {
                    let Some(name) = words.get(at + 1).filter(|w| w.chars().all(|c| c.is_ascii_lowercase()))
                    else {
                        continue;
                    };
                    let help = Command::new(cargo_bin("kprof")).args([name, "--help"]).output().unwrap();
                    assert!(help.status.success(), "{}: {line}: no command {name}", page.display());
                    let help = String::from_utf8_lossy(&help.stdout).into_owned();
                    let own =
                        words[at + 1..].iter().take_while(|w| !["--", "|", ";", "&&", ">", "#"].contains(w));
                    for flag in own.filter(|w| w.starts_with("--")) {
                        let flag = flag.split('=').next().unwrap();
                        assert!(help.contains(flag), "{}: {line}: {name} has no {flag}", page.display());
                    }
                }
            }
        }
    }
}

#[test]
fn blocks_are_found_with_what_they_need() {
    let found = blocks(
        "text\n```sh\na \\\n  b\n\nc # exit code 3 or 4\n```\n```json\n{}\n```\n```sh needs: ncu\nd\n```\n",
    );
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].lines.join("|"), expected(&found[0].lines[1])),
        ("a b|c # exit code 3 or 4".into(), vec![3, 4])
    );
    assert_eq!(found[1].about, "needs: ncu");
}
