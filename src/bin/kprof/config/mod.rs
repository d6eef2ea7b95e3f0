//! Configuration: a file's keys and presets become the flags that the command line left out. Flags win over presets, and
//! presets over the file; of the file, a section named after the benchmark wins over what stands above all sections.

mod dump;
mod file;

use crate::args::{Cli, ConfigArgs, Given};
use crate::exit::usage;
use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use file::{Entry, Value};
use kprof::host;
use kprof::llm::nearest_first;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const PRESETS: &str = include_str!("presets.toml");

/// The reference benchmark's keys and ours; all others are flags with underscores for dashes.
const ALIASES: [(&str, &str); 7] = [
    ("pretrained", "preset"),
    ("batch_size", "batch"),
    ("T_values", "lengths"),
    ("T_star", "tokens"),
    ("num_warmup_runs", "warmup"),
    ("num_measure_runs", "repetitions"),
    ("versions", "version"),
];

/// Flags that are no keys: what they say is of one command line.
const NOT_KEYS: [&str; 13] = [
    "config",
    "no-config",
    "dump-config",
    "quick",
    "thorough",
    "load",
    "output",
    "json",
    "help",
    "clear-log",
    "quiet",
    "save-baseline",
    "profile-step",
];

/// Ways to say which model: what is said nearer the command line puts the others out; within a file, the first of these.
const MODELS: [&str; 3] = ["preset", "model", "model-config"];

/// What is left to do once the command line is read.
pub(crate) enum Parsed {
    /// Run the command.
    Command(Box<Cli>),
    /// `--dump-config`: print this.
    Dump(String),
}

/// Reads the command line, and with it the configuration; ends the process on --help and on mistakes in the flags.
pub(crate) fn parse(argv: Vec<OsString>) -> anyhow::Result<Parsed> {
    let matches = crate::args::command().get_matches_from(&argv);
    expanded(argv, &matches)
}

/// Whether a command line would be taken, its configuration included.
pub(crate) fn check(argv: Vec<String>) -> anyhow::Result<()> {
    let argv: Vec<OsString> = argv.into_iter().map(OsString::from).collect();
    let matches = Cli::command().try_get_matches_from(&argv).map_err(|e| usage(first_line(&e)))?;
    expanded(argv, &matches).map(drop)
}

/// The benchmarks that a configuration names, if it does.
pub(crate) fn benchmarks_of(path: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let entries = file::read(path).map_err(usage_unless_io)?;
    let Some(entry) = entries.into_iter().find(|e| e.key == "benchmarks") else { return Ok(None) };
    let wrong = || usage(format!("{}:{}: benchmarks: a list of names is meant", path.display(), entry.line));
    let Value::List(all) = &entry.value else { return Err(wrong()) };
    all.iter().map(|v| v.text().ok_or_else(wrong)).collect::<anyhow::Result<_>>().map(Some)
}

/// The flags of `run` as they were given, for the benchmarks that have them.
fn given(sub: &ArgMatches) -> Vec<Given> {
    let all = Cli::command();
    let Some(command) = all.find_subcommand("run") else { return Vec::new() };
    let of = |arg: &clap::Arg| {
        let (id, flag) = (arg.get_id().as_str(), arg.get_long()?);
        (sub.value_source(id)? == ValueSource::CommandLine).then(|| {
            let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
            let raw = if is_switch { None } else { sub.get_raw(id) };
            let values = raw.into_iter().flatten().map(|v| v.to_string_lossy().into_owned()).collect();
            Given { flag: flag.to_string(), values }
        })
    };
    command.get_arguments().filter_map(of).collect()
}

fn expanded(argv: Vec<OsString>, matches: &ArgMatches) -> anyhow::Result<Parsed> {
    let command = |m: &ArgMatches| Ok(Parsed::Command(Box::new(Cli::from_arg_matches(m)?)));
    let Some((name, sub)) = matches.subcommand() else { return command(matches) };
    // `run` hands its flags and the configuration on to what it runs.
    // By the definition: what was matched tells of flags that it does not know in a debug build only.
    let has = |id: &str| {
        let all = Cli::command();
        all.find_subcommand(name).is_some_and(|c| c.get_arguments().any(|a| a.get_id().as_str() == id))
    };
    let takes_config = has("config");
    let loads = has("load") && sub.contains_id("load");
    if name == "run" {
        let mut cli = Cli::from_arg_matches(matches)?;
        if let crate::args::Command::Run(args) = &mut cli.command {
            args.given = given(sub);
        }
        return Ok(Parsed::Command(Box::new(cli)));
    }
    if !takes_config || loads {
        return command(matches);
    }
    let added = added(name, sub)?;
    let with = |added: &mut dyn Iterator<Item = &Added>| {
        let tokens = added.flat_map(|a| a.tokens.iter().map(OsString::from));
        Cli::command().try_get_matches_from(argv.iter().cloned().chain(tokens))
    };
    let all = with(&mut added.iter()).map_err(|whole| {
        // Which key alone is refused is the one to name.
        let one = added.iter().find_map(|a| Some((a, with(&mut std::iter::once(a)).err()?)));
        match one {
            Some((a, error)) => usage(format!("{}: {}: {}", a.origin, a.key, first_line(&error))),
            None => usage(first_line(&whole)),
        }
    })?;
    match all.subcommand() {
        Some((name, sub)) if sub.get_flag("dump_config") => Ok(Parsed::Dump(dump::config(name, sub, &added))),
        _ => command(&all),
    }
}

/// What clap says in its first lines, without its name for an error and without the usage that follows.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_string()
}

/// Flags that a key of a layer sets.
pub(crate) struct Added {
    /// The flag, without its dashes.
    flag: String,
    /// The key as it stands in the layer.
    key: String,
    /// Where: a file and line, or the preset.
    origin: String,
    tokens: Vec<String>,
}

/// A preset, or a part of a file.
struct Layer {
    origin: Box<dyn Fn(&Entry) -> String>,
    entries: Vec<Entry>,
}

/// The flags that layers set and the command line does not, of the first layer that sets each.
fn added(name: &str, sub: &ArgMatches) -> anyhow::Result<Vec<Added>> {
    let all = Cli::command();
    let command = all.find_subcommand(name).context("a command that was matched is one")?;
    let given = |flag: &str| {
        let arg = command.get_arguments().find(|a| a.get_long() == Some(flag));
        arg.is_some_and(|a| sub.value_source(a.get_id().as_str()) == Some(ValueSource::CommandLine))
    };
    let mut added: Vec<Added> = Vec::new();
    for layer in layers(command.get_name(), sub)? {
        let of_layer = added.len();
        for entry in &layer.entries {
            let origin = (layer.origin)(entry);
            let flag = flag_of(&entry.key);
            check_key(&all, &entry.key, &flag, &origin)?;
            let Some(arg) = command.get_arguments().find(|a| a.get_long() == Some(&flag)) else {
                // A key of another benchmark.
                continue;
            };
            let taken = |f: &str| given(f) || added.iter().any(|a| a.flag == f);
            let other_model =
                |f: &&str| **f != flag && (given(f) || added[..of_layer].iter().any(|a| a.flag == **f));
            if taken(&flag) || (MODELS.contains(&flag.as_str()) && MODELS.iter().any(other_model)) {
                continue;
            }
            let tokens = tokens(arg, &flag, &entry.value)
                .map_err(|why| usage(format!("{origin}: {}: {why}", entry.key)))?;
            if let Some(tokens) = tokens {
                added.push(Added { flag, key: entry.key.clone(), origin, tokens });
            }
        }
        keep_one_model(&mut added, of_layer);
    }
    Ok(added)
}

/// Within one layer, `pretrained` puts a model's own shape out, as in the reference.
fn keep_one_model(added: &mut Vec<Added>, from: usize) {
    let rank = |flag: &str| MODELS.iter().position(|m| *m == flag);
    let best = added[from..].iter().filter_map(|a| rank(&a.flag)).min();
    let mut at = 0;
    added.retain(|a| {
        at += 1;
        at <= from || rank(&a.flag).is_none_or(|r| Some(r) == best)
    });
}

/// The layers of a command, those that win first.
fn layers(name: &str, sub: &ArgMatches) -> anyhow::Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let presets =
        file::toml("presets.toml", PRESETS).expect("the built-in presets are valid: a test reads them");
    for preset in presets {
        if sub.try_get_one::<bool>(&preset.key).ok().flatten() == Some(&true) {
            let Value::Table(entries) = preset.value else { continue };
            layers.extend(sections(name, entries, || {
                let flag = format!("--{}", preset.key);
                Box::new(move |_| flag.clone())
            }));
        }
    }
    let args = ConfigArgs::from_arg_matches(sub)?;
    if let Some(path) = path(&args) {
        let entries = file::read(&path).map_err(usage_unless_io)?;
        let file = path.display().to_string();
        layers.extend(sections(name, entries, || {
            let file = file.clone();
            Box::new(move |entry: &Entry| format!("{file}:{}", entry.line))
        }));
    }
    Ok(layers)
}

/// A mistake in a file is one of usage; a file that cannot be read is a failure.
fn usage_unless_io(error: anyhow::Error) -> anyhow::Error {
    if error.root_cause().is::<std::io::Error>() { error } else { usage(error) }
}

/// A command's own section, then what stands above all sections.
fn sections(
    name: &str,
    entries: Vec<Entry>,
    origin: impl Fn() -> Box<dyn Fn(&Entry) -> String>,
) -> Vec<Layer> {
    let is_section = |e: &Entry| benchmarks().contains(&e.key) && matches!(e.value, Value::Table(_));
    let (of_benchmarks, common): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(is_section);
    let own = of_benchmarks.into_iter().find(|e| e.key == name).map(|e| e.value);
    let own = match own {
        Some(Value::Table(entries)) => entries,
        _ => Vec::new(),
    };
    [own, common].map(|entries| Layer { origin: origin(), entries }).into()
}

/// The configuration that is read: the one named, that of the environment, of this folder, of the user's.
pub(crate) fn path(args: &ConfigArgs) -> Option<PathBuf> {
    if args.no_config {
        return None;
    }
    let named = args.config.clone();
    let of_env = || std::env::var_os("KPROF_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(path) = named.or_else(of_env) {
        return Some(path);
    }
    let of_user = host::config_folder().map(|folder| folder.join("config.toml"));
    let found =
        [Some(Path::new("kprof.toml").to_path_buf()), of_user].into_iter().flatten().find(|p| p.is_file());
    if let Some(path) = &found {
        eprintln!("configuration: {}", path.display());
    }
    found
}

fn flag_of(key: &str) -> String {
    let alias = ALIASES.iter().find(|(theirs, _)| *theirs == key).map(|(_, ours)| (*ours).to_string());
    alias.unwrap_or_else(|| key.replace('_', "-"))
}

/// The benchmarks: the commands that take a configuration.
fn benchmarks() -> Vec<String> {
    let takes = |c: &&Command| c.get_arguments().any(|a| a.get_long() == Some("config"));
    Cli::command().get_subcommands().filter(takes).map(|c| c.get_name().to_string()).collect()
}

/// Every key that some benchmark knows.
fn keys(all: &Command) -> Vec<String> {
    let mut keys: Vec<String> = ALIASES.iter().map(|(theirs, _)| (*theirs).to_string()).collect();
    for command in all.get_subcommands().filter(|c| benchmarks().contains(&c.get_name().to_string())) {
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            let key = flag.replace('-', "_");
            if is_key(flag) && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys.push("benchmarks".to_string());
    keys.extend(benchmarks());
    let mut seen = Vec::new();
    keys.retain(|key| {
        !seen.contains(key) && {
            seen.push(key.clone());
            true
        }
    });
    keys
}

/// Whether a flag may stand in a configuration.
pub(super) fn is_key(flag: &str) -> bool {
    !NOT_KEYS.contains(&flag) && !flag.starts_with("export-")
}

fn check_key(all: &Command, key: &str, flag: &str, origin: &str) -> anyhow::Result<()> {
    let known = keys(all);
    if is_key(flag) && known.iter().any(|k| k == key || k.replace('_', "-") == flag) {
        return Ok(());
    }
    let nearest =
        nearest_first(key, known.iter().map(String::as_str)).into_iter().take(3).collect::<Vec<_>>();
    Err(usage(format!("{origin}: unknown key '{key}'; nearest: {}", nearest.join(", "))))
}

/// A key's value as flags; `None` where it says nothing.
fn tokens(arg: &clap::Arg, flag: &str, value: &Value) -> Result<Option<Vec<String>>, String> {
    let scalar = |v: &Value| v.text().ok_or_else(|| "a number or a text was expected".to_string());
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    Ok(match value {
        Value::Absent | Value::Flag(false) if is_switch => None,
        Value::Absent => None,
        Value::Flag(true) if is_switch => Some(vec![format!("--{flag}")]),
        _ if is_switch => return Err("write true or false".to_string()),
        Value::Table(_) if flag == "model-config" => Some(vec![format!("--{flag}={}", value.json())]),
        Value::Table(_) => return Err("a number, a text or a list was expected".to_string()),
        Value::List(all) => {
            let texts = all.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
            if texts.is_empty() {
                return Err("the list is empty".to_string());
            }
            Some(vec![format!("--{flag}={}", texts.join(","))])
        }
        one => Some(vec![format!("--{flag}={}", scalar(one)?)]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(argv: &[&str]) -> anyhow::Result<Vec<String>> {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let matches = Cli::command().try_get_matches_from(&argv)?;
        let (name, sub) = matches.subcommand().unwrap();
        Ok(added(name, sub)?.into_iter().flat_map(|a| a.tokens).collect())
    }

    fn in_file(name: &str, text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.display().to_string();
        (folder, path)
    }

    #[test]
    fn every_key_of_the_presets_is_a_flag_of_its_benchmark() {
        for preset in file::toml("presets.toml", PRESETS).unwrap() {
            let Value::Table(entries) = preset.value else { panic!("{}", preset.key) };
            for entry in entries {
                let benchmark = |name: &str| Cli::command().find_subcommand(name).is_some();
                match entry.value {
                    Value::Table(own) if benchmark(&entry.key) => {
                        for key in own {
                            let all = Cli::command();
                            let flags: Vec<_> =
                                all.find_subcommand(&entry.key).unwrap().get_arguments().collect();
                            let flag = flag_of(&key.key);
                            assert!(
                                flags.iter().any(|a| a.get_long() == Some(&flag)),
                                "{} {flag}",
                                entry.key
                            );
                        }
                    }
                    // A benchmark that is still to come.
                    Value::Table(_) => {}
                    _ => check_key(&Cli::command(), &entry.key, &flag_of(&entry.key), "presets").unwrap(),
                }
            }
        }
    }

    #[test]
    fn flags_win_over_presets_and_presets_over_the_file_and_sections_over_the_rest() {
        let text =
            "T_values: [1, 2]\nnum_warmup_runs: 7\nbatch_size: 3\nlatency:\n  batch: 5\n  precision: 4%\n";
        let (_folder, path) = in_file("c.yaml", text);
        let found = flags(&["kprof", "latency", "--config", &path, "--quick", "--max-time", "1s"]).unwrap();
        assert_eq!(
            found,
            ["--lengths=4,8,16,32", "--warmup=1", "--repetitions=3", "--batch=5", "--precision=4%"]
        );
    }

    #[test]
    fn the_reference_s_keys_are_read_and_those_of_other_benchmarks_left_alone() {
        let text = "pretrained: gpt2-medium\nmodel_config: {n_layer: 2}\ndtype: bfloat16\nprompt_length: 32\n\
                    T_values: [32, 64]\nT_star: 64\nversions: [v0, v1]\nlog_file: results.jsonl\n";
        let (_folder, path) = in_file("config.yaml", text);
        let found = flags(&["kprof", "memory", "--config", &path]).unwrap();
        assert_eq!(
            found,
            [
                "--preset=gpt2-medium",
                "--dtype=bfloat16",
                "--prompt-length=32",
                "--lengths=32,64",
                "--version=v0,v1",
                "--log-file=results.jsonl"
            ]
        );
        // A model of the command line puts both of the file out.
        let found = flags(&["kprof", "memory", "--config", &path, "--model", "x"]).unwrap();
        assert!(!found.iter().any(|f| f.starts_with("--preset") || f.starts_with("--model")), "{found:?}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_ones() {
        let (_folder, path) = in_file("c.yaml", "seed: 1\nnum_warmup_run: 3\n");
        let error = flags(&["kprof", "latency", "--config", &path]).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "c.yaml:2: unknown key 'num_warmup_run'; nearest: num_warmup_runs, warmup, benchmarks"
            ) || error.contains("c.yaml:2: unknown key 'num_warmup_run'; nearest: num_warmup_runs"),
            "{error}"
        );
        let (_folder, path) = in_file("kprof.toml", "[latency]\nlenghts = [1]\n");
        let error = flags(&["kprof", "latency", "--config", &path]).unwrap_err().to_string();
        assert!(error.contains("kprof.toml:2: unknown key 'lenghts'; nearest: lengths"), "{error}");
    }
}
