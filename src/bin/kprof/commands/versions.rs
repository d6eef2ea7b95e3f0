//! `kprof versions`.

use crate::args::VersionsArgs;
use crate::exit::usage;
use crate::output::{self, Export};
use crate::versions::known;
use kprof::host;
use kprof::llm::{CacheSize, ModelSpec, cache_sizes, preset};
use kprof::pass::read_model_spec;
use kprof::render::{
    VersionsOf, versions_csv, versions_heading, versions_json, versions_notes, versions_table,
};

pub(crate) fn run(args: &VersionsArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    let model = model(args)?;
    let of =
        VersionsOf { model: &model, dtype: args.dtype, tokens: tokens(args, &model)?, batch: args.batch };
    let sizes = cache_sizes(&known(&args.file)?, &model, of.dtype, of.tokens, of.batch);
    let export = &args.export;
    let markdown = || format!("{}\n\n{}", versions_heading(&of), versions_table(&sizes, &of).to_markdown());
    let exports = [
        Export {
            path: &export.export_json,
            make: &|| Ok(versions_json(&sizes, &of, &host::kprof_info())?.into_bytes()),
        },
        Export { path: &export.export_csv, make: &|| Ok(versions_csv(&sizes, &of)?.into_bytes()) },
        Export { path: &export.export_markdown, make: &|| Ok(markdown().into_bytes()) },
    ];
    if !output::takes_stdout(&exports) {
        output::print(&text(&sizes, &of))?;
    }
    output::write_exports(&exports)
}

fn model(args: &VersionsArgs) -> anyhow::Result<ModelSpec> {
    match &args.model {
        Some(path) => Ok(read_model_spec(path)?),
        None => preset(&args.preset).map_err(usage),
    }
}

/// How many tokens, after a look at what the model has positions for.
fn tokens(args: &VersionsArgs, model: &ModelSpec) -> anyhow::Result<usize> {
    let limit = model.max_position_embeddings;
    let tokens = args.context.unwrap_or(limit);
    if tokens > limit {
        return Err(usage(format!("--context {tokens}: {} has {limit} positions", model.name)));
    }
    if tokens == 0 || args.batch == 0 {
        return Err(usage("--context and --batch are at least 1"));
    }
    Ok(tokens)
}

fn text(sizes: &[CacheSize], of: &VersionsOf<'_>) -> String {
    let table = versions_table(sizes, of).to_terminal(output::width());
    let notes = versions_notes(sizes).iter().map(|note| format!("{note}\n")).collect::<String>();
    format!("{}\n\n{table}\n{notes}", versions_heading(of))
}
