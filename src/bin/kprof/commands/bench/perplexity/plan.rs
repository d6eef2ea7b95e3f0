//! From the flags of `kprof perplexity` to what will be scored; every mistake in them is found here.

use crate::args::PerplexityArgs;
use crate::exit::usage;
use crate::model::{Chosen, choose};
use crate::versions::named;
use anyhow::Context as _;
use kprof::llm::{Version, expand_names};
use kprof::pass::{
    LINE_BYTES, STORY_BYTES, TokenisedText, Tokenizer, beginning, grammar_text, read_text, trained_names,
};
use kprof::profile::{Finding, FindingCode, TextRecord, WeightSource};
use kprof::runner::{MemoryShape, Window, windows};
use std::path::Path;

/// The context where none is asked for, in models with as many positions: GPT-2's.
const CONTEXT: usize = 1024;
/// The preset where no model is named.
const PRESET: &str = "grammar";

/// A model, a text cut into windows, and the versions that score it.
pub(in crate::commands::bench) struct Plan {
    pub(super) chosen: Chosen,
    pub(super) versions: Vec<Version>,
    pub(super) reference: String,
    pub(super) text: TokenisedText,
    pub(super) record: TextRecord,
    pub(super) windows: Vec<Window>,
    pub(super) one_pass: bool,
    pub(super) findings: Vec<Finding>,
}

pub(super) fn plan(args: &PerplexityArgs) -> anyhow::Result<Plan> {
    let mut model = args.model.clone();
    if model.model.is_none() && model.preset.is_none() {
        model.preset = Some(PRESET.to_string());
    }
    let chosen = choose(&model)?;
    if let WeightSource::Random { .. } = chosen.source {
        let name = &chosen.spec.name;
        return Err(usage(format!(
            "{name} has random weights, whose quality says nothing; name a trained model with --model DIR, or one inside \
             kprof: {}",
            trained_names().join(", ")
        )));
    }
    let (versions, reference) = versions(args, &chosen)?;
    let (text, mut record) = text(args, &chosen)?;
    let (context, stride) = cut(args, &chosen)?;
    let windows = windows(text.ids.len(), context, stride);
    if windows.is_empty() {
        let (tokens, name) = (text.ids.len(), &record.name);
        let why = "the first token has nothing before it, so at least 2 are needed";
        return Err(usage(format!("{name} is too short: {tokens} tokens; {why}")));
    }
    record.context = Some(context);
    record.stride = Some(stride);
    let plan = Plan {
        findings: short_text(&windows, &record),
        one_pass: !args.no_one_pass,
        chosen,
        versions,
        reference,
        text,
        record,
        windows,
    };
    check_memory(args, &plan)?;
    Ok(plan)
}

/// The versions asked for, and the one that they are compared with, which is put before them where it is not among them.
fn versions(args: &PerplexityArgs, chosen: &Chosen) -> anyhow::Result<(Vec<Version>, String)> {
    let is_tiny = matches!(chosen.source, WeightSource::Builtin { .. });
    let default = if is_tiny { "v0-v4" } else { "v1-v4" };
    let asked = if args.versions.is_empty() { vec![default.to_string()] } else { args.versions.clone() };
    let mut names = expand_names(&asked).map_err(usage)?;
    if !names.contains(&args.reference) {
        names.insert(0, args.reference.clone());
    }
    let versions = named(&args.versions_file, &names)?;
    versions.iter().try_for_each(|version| version.check_model(&chosen.spec)).map_err(usage)?;
    Ok((versions, args.reference.clone()))
}

/// The text's tokens, as many as are to be scored and one to begin with.
fn text(args: &PerplexityArgs, chosen: &Chosen) -> anyhow::Result<(TokenisedText, TextRecord)> {
    let tokens = args.tokens;
    let tokenizer = Tokenizer::of_model(&chosen.spec, args.model.model.as_deref(), args.tokenizer.as_deref())
        .map_err(usage)?;
    let Some(path) = &args.text else {
        return grammar(args, tokens, &tokenizer);
    };
    let whole = read_text(path)?;
    let text = tokenizer.encode(beginning(&whole, tokens + 1))?.first(tokens + 1);
    let vocab = chosen.spec.vocab_size;
    if let Some(id) = text.ids.iter().find(|id| **id as usize >= vocab) {
        let name = &chosen.spec.name;
        return Err(usage(format!(
            "the tokenizer {tokenizer} does not match {name}: it gives token {id}, and the model's vocabulary has {vocab}"
        )));
    }
    let record = record(file_name(path), &text, &tokenizer, None);
    Ok((text, record))
}

/// As many whole stories as `tokens` tokens are enough for, and at least one.
fn grammar(
    args: &PerplexityArgs,
    tokens: usize,
    tokenizer: &Tokenizer,
) -> anyhow::Result<(TokenisedText, TextRecord)> {
    if !matches!(tokenizer, Tokenizer::Bytes) {
        return Err(usage(
            "the grammar's text is for models of bytes; name a text for this one with --text FILE",
        ));
    }
    let stories = ((tokens + 1).saturating_sub(LINE_BYTES) / STORY_BYTES).max(1);
    let seed = args.model.seed;
    let made = grammar_text(seed, stories);
    let text = tokenizer.encode(&String::from_utf8(made.bytes).context("the grammar makes ASCII")?)?;
    // The rule before the first story is certain: only stories cost bits, but its bytes are scored too.
    let best = (made.bits / (text.ids.len() - 1) as f64).exp2();
    let record = record(format!("grammar, seed {seed}, {stories} stories"), &text, tokenizer, Some(best));
    Ok((text, record))
}

fn record(name: String, text: &TokenisedText, tokenizer: &Tokenizer, best: Option<f64>) -> TextRecord {
    TextRecord {
        name,
        bytes: text.bytes.iter().sum(),
        tokens: text.ids.len(),
        tokenizer: tokenizer.to_string(),
        context: None,
        stride: None,
        best_perplexity: best,
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Context and stride: what was asked for, else the model's positions and half of them, or whole stories.
fn cut(args: &PerplexityArgs, chosen: &Chosen) -> anyhow::Result<(usize, usize)> {
    let (name, positions) = (&chosen.spec.name, chosen.spec.max_position_embeddings);
    let context = args.context.unwrap_or(positions.min(CONTEXT));
    if context > positions {
        return Err(usage(format!("--context {context}: {name} has {positions} positions")));
    }
    if context < 2 {
        return Err(usage("--context is at least 2: a token and the one that it is scored after"));
    }
    let story = args.text.is_none() && context == LINE_BYTES + STORY_BYTES;
    let stride = args.stride.unwrap_or(if story { STORY_BYTES } else { context.div_ceil(2) });
    if stride > context {
        return Err(usage(format!(
            "--stride {stride} is more than the context of {context}: tokens between windows would never be scored"
        )));
    }
    Ok((context, stride))
}

fn check_memory(args: &PerplexityArgs, plan: &Plan) -> anyhow::Result<()> {
    let longest = plan.windows.iter().map(|w| w.tokens.len()).max().unwrap_or_default();
    let shape = MemoryShape {
        batch: 1,
        new_tokens: longest,
        capacity: longest,
        all_logits: plan.one_pass,
        is_reference: plan.chosen.is_reference(),
        on_gpu: plan.chosen.device.is_cuda(),
        weights: args.model.weights,
    };
    plan.chosen.check_memory(&args.model, &plan.versions, &shape)
}

/// Scored tokens under which an interval says little.
const ENOUGH_TOKENS: usize = 500;

fn short_text(windows: &[Window], record: &TextRecord) -> Vec<Finding> {
    let scored: usize = windows.iter().map(Window::scored).sum();
    if scored >= ENOUGH_TOKENS {
        return Vec::new();
    }
    let message = format!("{scored} tokens are scored: too few for small differences to show");
    let remedy = "score a longer text, or more of it with --tokens";
    vec![Finding::new(FindingCode::TooFewSamples, record.name.clone(), message).with_remedy(remedy)]
}
