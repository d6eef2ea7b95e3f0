//! Which ranges enclose one step of inference, by their names; built-in rules are data in `steps.toml`.

use crate::llm::Stage;
use crate::profile::StepMark;
use regex::{Captures, Regex};
use serde::Deserialize;
use std::sync::OnceLock;

const BUILTIN: &str = include_str!("steps.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepsFile {
    step: Vec<StepText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    #[serde(rename = "about")]
    _about: String,
    range: String,
}

/// What the name of a range says of the step it encloses; `None` where it encloses none.
pub(super) fn step_mark(name: &str) -> Option<StepMark> {
    static RULES: OnceLock<Vec<Regex>> = OnceLock::new();
    // OK because a test reads them; without them no step is recognised.
    let rules = RULES.get_or_init(|| rules().unwrap_or_default());
    rules.iter().find_map(|rule| mark(&rule.captures(name)?))
}

fn rules() -> Result<Vec<Regex>, String> {
    let file: StepsFile = toml::from_str(BUILTIN).map_err(|e| e.to_string())?;
    file.step.iter().map(|s| Regex::new(&s.range).map_err(|e| e.to_string())).collect()
}

/// A step of no sequences at all is none.
fn mark(groups: &Captures<'_>) -> Option<StepMark> {
    let number = |name| groups.name(name).and_then(|m| m.as_str().parse::<u64>().ok());
    let (prefill, decode) = (number("prefill"), number("decode"));
    let has_prefill = prefill.is_some_and(|n| n > 0) || groups.name("prefill_step").is_some();
    let has_decode = decode.is_some_and(|n| n > 0) || groups.name("decode_step").is_some();
    let stage = match (has_prefill, has_decode) {
        (true, false) => Some(Stage::Prefill),
        (false, true) => Some(Stage::Decode),
        (true, true) => None,
        (false, false) => return None,
    };
    Some(StepMark {
        stage,
        prefill_sequences: prefill,
        prefill_tokens: number("prefill_tokens"),
        decode_sequences: decode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_are_valid() {
        assert_eq!(rules().unwrap().len(), BUILTIN.matches("\n[[step]]").count());
    }

    #[test]
    fn engines_steps_are_recognised_with_what_they_say() {
        let mark = |name| step_mark(name).map(|m| (m.stage, m.prefill_sequences, m.decode_sequences));
        use Stage::{Decode, Prefill};
        assert_eq!(mark("execute_context_1(512)_generation_0(0)"), Some((Some(Prefill), Some(1), Some(0))));
        assert_eq!(mark("execute_context_0(0)_generation_8(8)"), Some((Some(Decode), Some(0), Some(8))));
        assert_eq!(mark("execute_context_1(64)_generation_7(7)"), Some((None, Some(1), Some(7))));
        assert_eq!(
            mark("[Executor] _forward_step 12: 0 ctx reqs, 64 gen reqs"),
            Some((Some(Decode), Some(0), Some(64)))
        );
        assert_eq!(
            step_mark("[Executor] _forward_step 3: 2 ctx reqs, 900 ctx tokens, 0 gen reqs")
                .unwrap()
                .prefill_tokens,
            Some(900)
        );
        assert_eq!(mark("decode[bs=4]"), Some((Some(Decode), None, Some(4))));
        assert_eq!(mark("kprof/v1/decode"), Some((Some(Decode), None, None)));
        assert_eq!(mark("Prefill step 0"), Some((Some(Prefill), None, None)));
        for other in ["kprof/v1/decode/layer 3", "decoder", "prefill_cache_check", "ProfilerStep#3"] {
            assert_eq!(mark(other), None, "{other}");
        }
        assert_eq!(mark("execute_context_0(0)_generation_0(0)"), None);
    }
}
