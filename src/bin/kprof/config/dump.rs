//! `--dump-config`: everything that a command would go by, as a configuration file, each with where it comes from.

use super::{ALIASES, Added, is_key};
use crate::args::Cli;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory};
use std::fmt::Write;

/// The configuration of `name` as TOML.
pub(super) fn config(name: &str, sub: &ArgMatches, added: &[Added]) -> String {
    let mut out = format!("# kprof {name}\n");
    let all = Cli::command();
    let Some(command) = all.find_subcommand(name) else { return out };
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let Some(flag) = arg.get_long().filter(|flag| is_key(flag)) else { continue };
        let origin = match (added.iter().find(|a| a.flag == flag), sub.value_source(id)) {
            (Some(added), _) => added.origin.clone(),
            (None, Some(ValueSource::CommandLine)) => "command line".to_string(),
            _ => "default".to_string(),
        };
        let value = if matches!(arg.get_action(), ArgAction::SetTrue) {
            Some(sub.get_flag(id).to_string())
        } else {
            let raw: Vec<String> =
                sub.get_raw(id).into_iter().flatten().map(|v| v.to_string_lossy().into_owned()).collect();
            let is_list = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
            values(&raw, is_list)
        };
        let Some(value) = value else { continue };
        let key = ALIASES.iter().find(|(theirs, ours)| *ours == flag && *theirs == "versions");
        let key = key.map_or_else(|| flag.replace('-', "_"), |(theirs, _)| (*theirs).to_string());
        let line = format!("{key} = {value}");
        let _ = writeln!(out, "{line:<40} # {origin}");
    }
    out
}

fn values(raw: &[String], is_list: bool) -> Option<String> {
    match raw {
        [] => None,
        [one] if !is_list => Some(literal(one)),
        all => {
            let parts = all.iter().flat_map(|v| v.split(',')).map(literal).collect::<Vec<_>>();
            Some(format!("[{}]", parts.join(", ")))
        }
    }
}

/// A whole number as it is; all else in quotes.
fn literal(text: &str) -> String {
    if text.parse::<u32>().is_ok() {
        text.to_string()
    } else {
        toml::Value::String(text.to_string()).to_string()
    }
}
