//! `kprof --help`: the commands grouped by what one wants to do.

use super::Cli;
use clap::CommandFactory;
use std::fmt::Write;

/// Each job with its commands; a test holds that every command stands in one.
const JOBS: &[(&str, &[&str])] = &[
    (
        "Measure",
        &[
            "phase",
            "latency",
            "memory",
            "capacity",
            "crossover",
            "perplexity",
            "logits",
            "run",
            "train",
            "ceilings",
        ],
    ),
    ("Take in what others measured", &["roofline", "ncu", "import", "convert", "merge"]),
    ("Compare", &["compare", "regress", "history"]),
    ("Show", &["plot", "report", "view"]),
    (
        "Know before",
        &["estimate", "versions", "doctor", "devices", "kernels", "schema", "completions", "man"],
    ),
];

const EXAMPLES: &str = "\
Examples:
  kprof phase --version v0 v1 -o run.jsonl      where the time goes, and what a KV cache gains
  kprof report run.jsonl                        the same as a page for colleagues: report.html
  kprof roofline report.ncu-rep                 kernels of any program against the roofline
  kprof compare before.jsonl after.jsonl        did my change help?
  kprof merge run.rank*.jsonl -o run.jsonl      the ranks of one launch, beside each other
  kprof doctor                                  can this machine measure?

`kprof COMMAND --help` has the flags and examples of each; docs/tour.md goes through a first run.";

/// The whole command line, with its commands grouped in the help.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{}\nOptions:\n{{options}}\n\n{EXAMPLES}\n",
        grouped(&command)
    );
    command.help_template(template)
}

fn grouped(command: &clap::Command) -> String {
    let mut out = String::new();
    let mut rest: Vec<&clap::Command> = command.get_subcommands().filter(|c| !c.is_hide_set()).collect();
    for (job, names) in JOBS {
        let of_job: Vec<&clap::Command> =
            names.iter().filter_map(|name| command.find_subcommand(name)).collect();
        rest.retain(|c| !names.contains(&c.get_name()));
        section(&mut out, job, &of_job);
    }
    section(&mut out, "More", &rest);
    out
}

fn section(out: &mut String, title: &str, commands: &[&clap::Command]) {
    if commands.is_empty() {
        return;
    }
    let _ = writeln!(out, "{title}:");
    for command in commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let about = textwrap::wrap(about.lines().next().unwrap_or_default(), 84);
        let _ = writeln!(out, "  {:<12}{}", command.get_name(), about.first().map_or("", |l| l));
        about.iter().skip(1).for_each(|line| {
            let _ = writeln!(out, "  {:<12}{line}", "");
        });
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_under_one_job_and_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            let jobs = JOBS.iter().filter(|(_, names)| names.contains(&command.get_name())).count();
            assert_eq!(jobs, 1, "{}: give it a place in JOBS", command.get_name());
            assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
        }
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains("Example"), "{} has no examples", command.get_name());
        }
    }

    #[test]
    fn the_help_names_every_command_once_and_fits_100_columns() {
        let help = command().render_help().to_string();
        for command in Cli::command().get_subcommands() {
            let named = help.lines().filter(|l| l.starts_with(&format!("  {} ", command.get_name()))).count();
            assert_eq!(named, 1, "{}\n{help}", command.get_name());
        }
        assert!(help.lines().all(|l| l.chars().count() <= 100), "{help}");
    }
}
