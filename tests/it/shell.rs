//! Help, completions and manual pages.

use assert_cmd::Command;
use std::process::Output;

fn kprof(args: &[&str]) -> Output {
    Command::cargo_bin("kprof")
        .expect("the binary is built with the tests")
        .args(args)
        .output()
        .expect("kprof runs")
}

fn stdout(args: &[&str]) -> String {
    let output = kprof(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_help_groups_commands_by_job_and_has_examples() {
    let help = stdout(&["--help"]);
    let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("{text} is missing:\n{help}"));
    assert!(at("Measure:") < at("\n  phase ") && at("\n  phase ") < at("Compare:"));
    assert!(at("Show:") < at("\n  report ") && at("\n  report ") < at("Options:"));
    assert!(help.contains("Examples:") && help.contains("kprof compare before.jsonl after.jsonl"));
    assert_eq!(stdout(&["-h"]), help);
}

#[test]
fn every_shell_gets_completions_that_know_commands_and_flags() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&["completions", shell]);
        assert!(script.contains("report") && script.contains("figure"), "{shell}");
    }
    // What bash makes of it is its own business; that it takes it can be tried.
    let check = std::process::Command::new("bash").arg("-n").stdin(std::process::Stdio::piped()).spawn();
    let Ok(mut bash) = check else {
        println!("skipped: bash takes the completions: no bash");
        return;
    };
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), stdout(&["completions", "bash"]).as_bytes())
        .unwrap();
    assert!(bash.wait().unwrap().success());
    assert_eq!(kprof(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn there_is_a_manual_page_for_kprof_and_for_every_command() {
    assert!(stdout(&["man"]).contains(".TH kprof 1"));
    let page = stdout(&["man", "report"]);
    assert!(page.contains(".TH") && page.contains("kprof report before.jsonl after.jsonl"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    stdout(&["man", "--out", folder.path().to_str().unwrap()]);
    for name in ["kprof.1", "kprof-phase.1", "kprof-plot.1", "kprof-view.1"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
    let output = kprof(&["man", "fase"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are: phase"));
}
