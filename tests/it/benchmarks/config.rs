//! Configuration files, presets and logs.

use super::{kprof, refused, run_of, text};
use std::path::Path;

fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).unwrap();
}

/// The reference benchmark's file, small.
const YAML: &str = "# a comment\nmodel_config:\n  n_layer: 12\n  n_head: 12\n\npretrained: tiny  # wins over model_config\n\
                    dtype: float32\nprompt_length: 5\nbatch_size: 2\nT_values: [2, 3]\nT_star: 4\nnum_warmup_runs: 1\n\
                    num_measure_runs: 2\nseed: 42\nlog_file: log/results.jsonl\nversions: [v1, v2]\n";

#[test]
fn the_reference_s_configuration_runs_as_it_is_and_flags_win_over_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.yaml", YAML);
    let args = ["latency", "--config", "config.yaml", "-q", "-o", "run.jsonl", "--device", "fake", "-b", "3"];
    let output = kprof(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = kprof::profile::read_run(&folder.path().join("run.jsonl")).unwrap();
    let config = run.manifest.unwrap().config.unwrap();
    assert_eq!((config.model.name.as_str(), config.prompt_length, config.batch), ("tiny", 5, 3));
    assert_eq!((config.lengths, config.seed, run.latencies.len()), (vec![2, 3], 42, 2 * 2 * 2));
    // The log is the reference's: one line per version and T.
    let log = std::fs::read_to_string(folder.path().join("log/results.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 4);
    let again =
        ["latency", "--config", "config.yaml", "-q", "-o", "2.jsonl", "--device", "fake", "--clear-log"];
    assert!(kprof(folder.path(), &again).status.success());
    let cleared = std::fs::read_to_string(folder.path().join("log/results.jsonl")).unwrap();
    assert_eq!(cleared.lines().count(), 4, "the earlier lines are gone");
    assert!(cleared.contains("\"batch_size\":2"), "{cleared}");
}

#[test]
fn a_kprof_toml_in_this_folder_is_read_with_its_sections() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "preset = \"tiny\"\nversions = [\"v1\"]\nprompt_length = 3\n[memory]\nT_values = [2]\nprompt_length = 7\n\
                [latency]\nT_values = [4, 5]\n";
    write(folder.path(), "kprof.toml", toml);
    let output = kprof(folder.path(), &["memory", "-q", "-o", "m.jsonl"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("configuration: kprof.toml"));
    let run = kprof::profile::read_run(&folder.path().join("m.jsonl")).unwrap();
    assert_eq!((run.memory.len(), run.memory[0].tokens, run.memory[0].prompt_length), (1, 2, 7));
    let output = kprof(folder.path(), &["memory", "--no-config", "--dump-config"]);
    assert!(text(&output.stdout).contains("prompt_length = 32"), "{}", text(&output.stdout));
}

#[test]
fn what_is_dumped_says_where_each_value_comes_from_and_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.yaml", YAML);
    let dump = |args: &[&str]| {
        let output = kprof(folder.path(), args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let first = dump(&["latency", "--config", "config.yaml", "--quick", "-p", "9", "--dump-config"]);
    let line =
        |key: &str| first.lines().find(|l| l.starts_with(key)).unwrap_or_else(|| panic!("{key}: {first}"));
    for (key, value, origin) in [
        ("prompt_length", "9", "# command line"),
        ("lengths", "\"4,8,16,32\"", "# --quick"),
        ("preset", "\"tiny\"", "# config.yaml:6"),
        ("versions", "[\"v1\", \"v2\"]", "# config.yaml:16"),
        ("device", "\"auto\"", "# default"),
    ] {
        let line = line(&format!("{key} = "));
        assert!(line.contains(&format!("{key} = {value}")) && line.ends_with(origin), "{line}");
    }
    write(folder.path(), "dumped.toml", &first);
    let second = dump(&["latency", "--config", "dumped.toml", "--dump-config"]);
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|l| !l.starts_with('#'))
            .map(|l| l.split(" #").next().unwrap().trim().into())
            .collect()
    };
    assert_eq!(values(&first), values(&second));
    assert!(!folder.path().join("profiles").exists() && !folder.path().join("log").exists());
}

#[test]
fn mistakes_in_a_configuration_are_named_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, expected) in [
        ("a.yaml", "seed: 1\nT_value: [1]\n", "a.yaml:2: unknown key 'T_value'; nearest: T_values"),
        ("b.toml", "[latency]\nwarmpu = 1\n", "b.toml:2: unknown key 'warmpu'; nearest: warmup"),
        ("c.yaml", "batch_size: many\n", "c.yaml:1: batch_size: invalid value 'many'"),
        ("d.yaml", "dtype: float8\n", "d.yaml:1: dtype: invalid value 'float8'"),
        ("e.yaml", "T_values: []\n", "e.yaml:1: T_values: the list is empty"),
        ("f.yaml", "no_telemetry: maybe\n", "f.yaml:1: no_telemetry: write true or false"),
        ("g.yaml", "a: [1\nb: 2\n", "g.yaml:"),
        ("h.toml", "a = = 1\n", "h.toml:1: "),
        ("i.yaml", "pretrained: tinny\n", "known: tiny"),
    ] {
        write(folder.path(), name, content);
        let output = kprof(folder.path(), &["latency", "--config", name]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert!(stderr.contains(expected), "{name}: {stderr}");
    }
    let output = kprof(folder.path(), &["latency", "--config", "absent.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("absent.yaml"), "{}", text(&output.stderr));
    refused(&[(&["latency", "--preset", "tiny", "--quick", "--clear-log"], "--clear-log needs --log-file")]);
}

#[test]
fn quick_presets_make_every_benchmark_small() {
    for benchmark in [&["phase"][..], &["latency"], &["memory"], &["capacity"], &["crossover"]] {
        let more = ["--preset", "tiny", "--quick", "--threads", "2"];
        let (_folder, _, run) = run_of(&[benchmark, &more].concat());
        let config = run.manifest.unwrap().config.unwrap();
        assert_eq!(config.benchmark, benchmark[0]);
        let records = run.steps.len()
            + run.latencies.len()
            + run.memory.len()
            + run.capacities.len()
            + run.decode_points.len();
        assert!(records > 0 && config.repetitions <= 3, "{benchmark:?}");
    }
}

#[test]
fn a_model_s_own_shape_is_read_as_nanogpt_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "model_config:\n  n_layer: 2\n  n_head: 2\n  n_embd: 32\n  block_size: 64\n  vocab_size: 100\n  dropout: 0.0\n  \
                bias: true\nversions: [v1]\nT_values: [2]\n";
    write(folder.path(), "c.yaml", yaml);
    let args = ["memory", "--config", "c.yaml", "-q", "-o", "run.jsonl", "-p", "4"];
    let output = kprof(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = kprof::profile::read_run(&folder.path().join("run.jsonl")).unwrap();
    let model = run.manifest.unwrap().config.unwrap().model;
    assert_eq!((model.num_hidden_layers, model.hidden_size, model.max_position_embeddings), (2, 32, 64));
    write(folder.path(), "d.yaml", &yaml.replace("bias: true", "bias: false"));
    let output = kprof(folder.path(), &["memory", "--config", "d.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("bias"), "{}", text(&output.stderr));
}
