//! Rules that map kernel names and NVTX ranges to stage, phase, op, version and class; shared by all readers.
//!
//! Built-in rules are data in `rules.toml`, which says what a rule is; a user's file has the same form.

use crate::llm::{Phase, Stage};
use crate::profile::KernelRecord;
use regex::{Captures, Regex};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const BUILTIN: &str = include_str!("rules.toml");

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The file cannot be read.
    #[error("cannot read the rules {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has other keys or values than rules have.
    #[error("{file}: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A rule cannot work.
    #[error("{file}: rule {number}: {why}")]
    Rule {
        /// The file.
        file: String,
        /// Which rule, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
}

/// The text of a rules file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default)]
    rule: Vec<RuleText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    #[serde(default, rename = "about")]
    _about: Option<String>,
    kernel: Option<String>,
    nvtx: Option<String>,
    stage: Option<Stage>,
    phase: Option<Phase>,
    op: Option<String>,
    version: Option<String>,
    class: Option<String>,
}

/// An expression, compiled when it is first needed: most files need few of the built-in ones.
#[derive(Clone, Debug)]
struct Expression {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Expression {
    fn new(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// Compiles it now.
    fn check(&self) -> Result<(), String> {
        let compiled = Regex::new(&self.text).map_err(|e| e.to_string())?;
        let _ = self.compiled.set(Some(compiled));
        Ok(())
    }

    /// The groups of its first match. Expressions that do not compile are refused when rules are read.
    fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()?.captures(text)
    }
}

/// One rule.
#[derive(Clone, Debug)]
struct Rule {
    kernel: Option<Expression>,
    nvtx: Option<Expression>,
    stage: Option<Stage>,
    phase: Option<Phase>,
    op: Option<String>,
    version: Option<String>,
    class: Option<String>,
}

/// What rules say about a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// The stage.
    pub stage: Option<Stage>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The model's op, e.g. `attn.qkv`.
    pub op: Option<String>,
    /// The KV-cache version.
    pub version: Option<String>,
    /// The kind of work.
    pub class: Option<String>,
}

/// Rules in the order they are tried.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// The built-in rules.
    pub fn builtin() -> &'static Self {
        static RULES: OnceLock<Rules> = OnceLock::new();
        // OK because a test compiles them; without them nothing is claimed.
        RULES.get_or_init(|| Self::parse("the built-in rules", BUILTIN).unwrap_or_default())
    }

    /// Reads a user's rules.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML of rules, or a rule has a wrong expression or says nothing.
    pub fn read(path: &Path) -> Result<Self, RulesError> {
        let error = |source| RulesError::Read { path: path.to_path_buf(), source };
        let file = path.display().to_string();
        Self::parse(&file, &std::fs::read_to_string(path).map_err(error)?)?.checked(&file)
    }

    fn parse(file: &str, text: &str) -> Result<Self, RulesError> {
        let syntax = |e| RulesError::Syntax { file: file.to_string(), source: Box::new(e) };
        let rules: RulesFile = toml::from_str(text).map_err(syntax)?;
        let wrong = |number: usize, why: String| RulesError::Rule { file: file.to_string(), number, why };
        let compiled =
            rules.rule.into_iter().enumerate().map(|(i, r)| compile(r).map_err(|w| wrong(i + 1, w)));
        Ok(Self(compiled.collect::<Result<_, _>>()?))
    }

    /// These rules, if all their expressions compile.
    fn checked(self, file: &str) -> Result<Self, RulesError> {
        for (number, rule) in (1..).zip(&self.0) {
            let wrong = |why| RulesError::Rule { file: file.to_string(), number, why };
            rule.kernel.iter().chain(&rule.nvtx).try_for_each(Expression::check).map_err(wrong)?;
        }
        Ok(self)
    }

    /// What these rules say about a kernel inside `ranges`, outermost first.
    pub fn meaning(&self, kernel: &str, ranges: &[String]) -> Meaning {
        let path = ranges.join("/");
        let mut meaning = Meaning::default();
        for rule in &self.0 {
            rule.apply(kernel, &path, &mut meaning);
        }
        meaning
    }
}

fn compile(rule: RuleText) -> Result<Rule, String> {
    if rule.kernel.is_none() && rule.nvtx.is_none() {
        return Err("it has neither `kernel` nor `nvtx`, so it would match everything".to_string());
    }
    let texts = [&rule.op, &rule.version, &rule.class];
    if rule.stage.is_none() && rule.phase.is_none() && texts.into_iter().all(Option::is_none) {
        let message = "it has none of `stage`, `phase`, `op`, `version` and `class`, so it says nothing";
        return Err(message.to_string());
    }
    Ok(Rule {
        kernel: rule.kernel.map(Expression::new),
        nvtx: rule.nvtx.map(Expression::new),
        stage: rule.stage,
        phase: rule.phase,
        op: rule.op,
        version: rule.version,
        class: rule.class,
    })
}

impl Rule {
    /// Fills what `meaning` lacks, if this rule matches.
    fn apply(&self, kernel: &str, path: &str, meaning: &mut Meaning) {
        if !self.adds_to(meaning) || (path.is_empty() && self.nvtx.is_some()) {
            return;
        }
        let of_kernel = self.kernel.as_ref().map(|r| r.captures(kernel));
        let of_range = self.nvtx.as_ref().map(|r| r.captures(path));
        if matches!(of_kernel, Some(None)) || matches!(of_range, Some(None)) {
            return;
        }
        let captures = of_range.flatten().or(of_kernel.flatten());
        meaning.stage = meaning.stage.or(self.stage);
        meaning.phase = meaning.phase.or(self.phase);
        let text = |own: &Option<String>| own.as_ref().map(|t| expanded(t, captures.as_ref()));
        meaning.op = meaning.op.take().or_else(|| text(&self.op));
        meaning.version = meaning.version.take().or_else(|| text(&self.version));
        meaning.class = meaning.class.take().or_else(|| text(&self.class));
    }
}

impl Rule {
    /// Whether it has anything that `meaning` lacks.
    fn adds_to(&self, meaning: &Meaning) -> bool {
        (self.stage.is_some() && meaning.stage.is_none())
            || (self.phase.is_some() && meaning.phase.is_none())
            || (self.op.is_some() && meaning.op.is_none())
            || (self.version.is_some() && meaning.version.is_none())
            || (self.class.is_some() && meaning.class.is_none())
    }
}

/// `$1` and `${name}` as the groups that matched.
fn expanded(text: &str, captures: Option<&Captures<'_>>) -> String {
    let Some(captures) = captures else { return text.to_string() };
    let mut out = String::new();
    captures.expand(text, &mut out);
    out
}

/// Says of launches what rules know: the user's override the file, built-in ones fill in what is still unknown.
#[derive(Debug, Default)]
pub struct Classifier {
    user: Option<Rules>,
    /// Names and ranges repeat: each pair is matched once. By name, then by ranges.
    known: HashMap<String, Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    ranges: Vec<String>,
    first: Meaning,
    last: Meaning,
}

impl Classifier {
    /// With a user's rules, or the built-in ones alone.
    pub fn new(user: Option<Rules>) -> Self {
        Self { user, ..Self::default() }
    }

    /// What a launch is for.
    pub fn meaning(&mut self, kernel: &KernelRecord) -> Meaning {
        let Known { first, last, .. } = self.known(kernel);
        let either = |first: &Option<String>, own: &Option<String>, last: &Option<String>| {
            first.clone().or_else(|| own.clone()).or_else(|| last.clone())
        };
        Meaning {
            stage: first.stage.or(kernel.stage).or(last.stage),
            phase: first.phase.or(kernel.phase).or(last.phase),
            op: first.op.clone().or_else(|| last.op.clone()),
            version: either(&first.version, &kernel.version, &last.version),
            class: either(&first.class, &kernel.class, &last.class),
        }
    }

    /// Writes what a launch is for into its record.
    pub fn apply(&mut self, kernel: &mut KernelRecord) {
        let Meaning { stage, phase, version, class, op: _ } = self.meaning(kernel);
        (kernel.stage, kernel.phase, kernel.version, kernel.class) = (stage, phase, version, class);
    }

    fn known(&mut self, kernel: &KernelRecord) -> &Known {
        // An entry by reference would need a copy of the name each time.
        if !self.known.contains_key(&kernel.kernel) {
            self.known.insert(kernel.kernel.clone(), Vec::new());
        }
        let of_name = self.known.get_mut(&kernel.kernel).expect("it was inserted above");
        let at = of_name.iter().position(|k| k.ranges == kernel.nvtx).unwrap_or_else(|| {
            let of = |rules: &Rules| rules.meaning(&kernel.kernel, &kernel.nvtx);
            let first = self.user.as_ref().map(of).unwrap_or_default();
            of_name.push(Known { ranges: kernel.nvtx.clone(), first, last: of(Rules::builtin()) });
            of_name.len() - 1
        });
        &of_name[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builtin(kernel: &str, ranges: &[&str]) -> Meaning {
        let rules = Rules::builtin();
        rules.meaning(kernel, &ranges.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn class(kernel: &str) -> String {
        builtin(kernel, &[]).class.unwrap_or_default()
    }

    #[test]
    fn our_own_ranges_give_version_stage_and_phase() {
        let m = builtin("anything", &["kprof/v1/decode", "kprof/v1/decode/layer 3/attention"]);
        assert_eq!(
            (m.version.as_deref(), m.stage, m.phase),
            (Some("v1"), Some(Stage::Decode), Some(Phase::Attention))
        );
        let m = builtin("anything", &["kprof/v0/prefill/mlp"]);
        assert_eq!(
            (m.version.as_deref(), m.stage, m.phase),
            (Some("v0"), Some(Stage::Prefill), Some(Phase::Mlp))
        );
        assert_eq!(m.op, None);
        let step = ["kprof/v1/decode", "kprof/v1/decode/layer 3", "kprof/v1/decode/layer 3/attention"];
        let m = builtin("anything", &[&step[..], &["kprof/v1/decode/layer 3/attention/attn.qkv"]].concat());
        assert_eq!((m.phase, m.op.as_deref()), (Some(Phase::Attention), Some("attn.qkv")));
        let m = builtin("anything", &["kprof/v1/decode/head/head.norm"]);
        assert_eq!((m.phase, m.op.as_deref()), (Some(Phase::Head), Some("head.norm")));
    }

    #[test]
    fn modules_of_pytorch_give_the_op() {
        for (range, expected) in [
            ("model.layers.0.self_attn.qkv_proj", "attn.qkv"),
            ("nn.Module: model.layers.3.self_attn.k_proj", "attn.qkv"),
            ("model.layers.0.self_attn.o_proj", "attn.proj"),
            ("transformer.h.3.attn.c_attn", "attn.qkv"),
            ("transformer.h.3.attn.c_proj", "attn.proj"),
            ("transformer.h.3.mlp.c_fc", "mlp.up"),
            ("transformer.h.3.mlp.c_proj", "mlp.down"),
            ("model.layers.0.mlp.up_proj", "mlp.gate_up"),
            ("model.layers.0.mlp.down_proj", "mlp.down"),
            ("lm_head", "head.logits"),
            ("model.embed_tokens", "embed"),
        ] {
            assert_eq!(builtin("gemm", &["step", range]).op.as_deref(), Some(expected), "{range}");
        }
        assert_eq!(builtin("gemm", &["model.layers.0.mlp.experts"]).op, None);
        assert_eq!(builtin("reshape_and_cache_kernel_flash", &[]).op.as_deref(), Some("cache_append"));
    }

    #[test]
    fn modules_and_operators_of_pytorch_give_the_phase() {
        let phase = |range| builtin("gemm", &["step 3", range]).phase;
        assert_eq!(phase("model.layers.0.self_attn.qkv_proj"), Some(Phase::Attention));
        assert_eq!(phase("transformer.h.3.mlp"), Some(Phase::Mlp));
        assert_eq!(phase("nn.Module: lm_head"), Some(Phase::Head));
        assert_eq!(phase("aten::embedding, seq = 0"), Some(Phase::Embedding));
        assert_eq!(phase("aten::_scaled_dot_product_flash_attention"), Some(Phase::Attention));
        assert_eq!(phase("optimizer"), None);
        assert_eq!(builtin("gemm", &["prefill"]).stage, Some(Stage::Prefill));
    }

    #[test]
    fn kernels_of_real_exports_have_a_class() {
        for (kernel, expected) in [
            ("void flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128>>(Flash_fwd_params)", "attention"),
            ("void BatchDecodeWithPagedKVCacheKernel<0, 2, 1>(T9)", "attention"),
            ("kernel_unified_attention", "attention"),
            ("reshape_and_cache_kernel_flash", "cache"),
            ("void vllm::act_and_mul_kernel<c10::BFloat16>(T1 *)", "activation"),
            ("fused_moe_kernel", "moe"),
            ("void mul_mat_q<8, 32, 0>(const char *)", "gemm"),
            ("void mul_mat_vec_q<(ggml_type)8, 1>(void const *)", "gemv"),
            ("nvjet_sm121_tst_mma_96x128x64_3_16x128x64_tmaAB_bz_TNNN", "gemm"),
            ("ampere_sgemm_128x64_nn", "gemm"),
            ("triton_red_fused_add_mul_rms_norm_2", "norm"),
            (
                "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>(int)",
                "elementwise",
            ),
        ] {
            assert_eq!(class(kernel), expected, "{kernel}");
        }
        let decode = builtin("void BatchDecodeWithPagedKVCacheKernel<0>(T9)", &[]);
        assert_eq!((decode.stage, decode.phase), (Some(Stage::Decode), Some(Phase::Attention)));
        // A GEMM serves every phase: nothing is claimed.
        assert_eq!(builtin("ampere_sgemm_128x64_nn", &[]).phase, None);
    }

    #[test]
    fn a_user_s_rule_overrides_the_file_and_built_in_ones_do_not() {
        let user =
            Rules::parse("mine.toml", "[[rule]]\nkernel = 'gemm_(v\\d)'\nversion = '$1'\nphase = 'mlp'")
                .unwrap();
        let launch = || KernelRecord {
            kernel: "flash_gemm_v3".into(),
            version: Some("v0".into()),
            phase: Some(Phase::Head),
            ..KernelRecord::default()
        };
        let mut kernels = [launch()];
        let mut classifier = Classifier::new(Some(user));
        kernels.iter_mut().for_each(|k| classifier.apply(k));
        assert_eq!((kernels[0].version.as_deref(), kernels[0].phase), (Some("v3"), Some(Phase::Mlp)));
        let mut kernels = [launch()];
        let mut classifier = Classifier::default();
        kernels.iter_mut().for_each(|k| classifier.apply(k));
        assert_eq!((kernels[0].version.as_deref(), kernels[0].phase), (Some("v0"), Some(Phase::Head)));
        assert_eq!(kernels[0].class.as_deref(), Some("gemm"));
    }

    #[test]
    fn the_built_in_rules_compile() {
        let rules = Rules::parse("rules.toml", BUILTIN).and_then(|rules| rules.checked("rules.toml"));
        assert!(rules.unwrap().0.len() > 30);
    }

    #[test]
    fn a_rule_about_ranges_needs_one() {
        let rules = Rules::parse("mine.toml", "[[rule]]\nnvtx = '^$'\nclass = 'x'").unwrap();
        assert_eq!(rules.meaning("k", &[]), Meaning::default());
    }

    #[test]
    fn a_wrong_rule_is_named() {
        let rules = |text| Rules::parse("mine.toml", text).and_then(|r| r.checked("mine.toml"));
        let message = |text| rules(text).unwrap_err().to_string();
        assert!(
            message("[[rule]]\nkernel = 'a'\nclass = 'b'\n[[rule]]\nclass = 'x'")
                .starts_with("mine.toml: rule 2: it has neither")
        );
        assert!(message("[[rule]]\nkernel = 'a'").contains("says nothing"));
        assert!(message("[[rule]]\nkernel = '('\nclass = 'x'").contains("unclosed group"));
        assert!(message("[[rule]]\nkernal = 'a'").contains("kernal"));
        assert!(message("[[rule]]\nkernel = 'a'\nstage = 'middle'").contains("prefill"));
    }
}
