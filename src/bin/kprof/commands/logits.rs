//! `kprof logits`.

use crate::args::{FeedArg, LogitsArgs};
use crate::exit::usage;
use crate::model::{Chosen, Task, choose};
use crate::output;
use crate::progress::Line;
use crate::versions::named;
use kprof::backend::{Backend, HostTensor};
use kprof::host;
use kprof::llm::{LinearRows, Version};
use kprof::pass::{Model, PassError, State, write_logits};
use kprof::profile::write_atomically;
use kprof::runner::MemoryShape;
use std::collections::HashMap;
use std::path::Path;

pub(crate) fn run(args: &LogitsArgs) -> anyhow::Result<()> {
    let version = named(&args.versions_file, std::slice::from_ref(&args.version))?.remove(0);
    let chosen = choose(&args.model)?;
    version.check_model(&chosen.spec).map_err(usage)?;
    check_ids(&args.ids, chosen.spec.vocab_size, chosen.spec.max_position_embeddings)?;
    if args.out == Path::new("-") {
        return Err(usage("--out is a file: a binary format does not go to stdout"));
    }
    output::check_writable([args.out.as_path()])?;
    let tokens = args.ids.len();
    let all_at_once = args.feed == FeedArg::Prefill;
    let shape = MemoryShape {
        batch: 1,
        new_tokens: if all_at_once { tokens } else { 1 },
        capacity: tokens,
        all_logits: all_at_once,
        is_reference: chosen.is_reference(),
        on_gpu: chosen.device.is_cuda(),
        weights: args.model.weights,
    };
    chosen.check_memory(&args.model, std::slice::from_ref(&version), &shape)?;
    let mut line = Line::new(false);
    let task = Logits { chosen: &chosen, version: &version, args, line: &mut line };
    let logits = chosen.on_backend(&args.model, task)?;
    line.clear();
    let bytes = write_logits(&logits, metadata(args, &chosen.spec.name))?;
    write_atomically(&args.out, &bytes)?;
    eprintln!("wrote {}: logits {:?} f32", args.out.display(), logits.shape);
    Ok(())
}

fn check_ids(ids: &[u32], vocab: usize, positions: usize) -> anyhow::Result<()> {
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
        return Err(usage(PassError::TokenRange { id: *id, vocab }));
    }
    if ids.len() > positions {
        return Err(usage(format!("{} ids; the model has {positions} positions", ids.len())));
    }
    Ok(())
}

struct Logits<'a> {
    chosen: &'a Chosen,
    version: &'a Version,
    args: &'a LogitsArgs,
    line: &'a mut Line,
}

impl Task for Logits<'_> {
    type Output = HostTensor;

    fn run<B: Backend>(self, mut backend: B) -> anyhow::Result<HostTensor> {
        let model = self.chosen.load(&backend, self.line)?;
        self.line.update("running");
        Ok(all_logits(&mut backend, &model, self.version, self.args)?)
    }
}

/// The logits of every position, `[ids, vocab]`.
fn all_logits<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    version: &Version,
    args: &LogitsArgs,
) -> Result<HostTensor, PassError> {
    let (ids, vocab) = (&args.ids, model.spec().vocab_size);
    let mut state = State::new(backend, model.spec(), version, 1, ids.len())?;
    if args.feed == FeedArg::Prefill {
        let logits = model.forward(backend, &mut state, ids, LinearRows::All)?;
        return Ok(backend.to_host(&logits.tensor)?);
    }
    let mut data = Vec::with_capacity(ids.len() * vocab);
    for id in ids {
        let logits = model.forward(backend, &mut state, &[*id], LinearRows::Last)?;
        data.extend(backend.to_host(&logits.tensor)?.data);
    }
    Ok(HostTensor { shape: vec![ids.len(), vocab], data })
}

fn metadata(args: &LogitsArgs, model: &str) -> HashMap<String, String> {
    let ids: Vec<String> = args.ids.iter().map(ToString::to_string).collect();
    let feed = match args.feed {
        FeedArg::Prefill => "prefill",
        FeedArg::Decode => "decode",
    };
    [
        ("kprof", host::kprof_info().version),
        ("model", model.to_string()),
        ("dtype", args.model.dtype.to_string()),
        ("version", args.version.clone()),
        ("feed", feed.to_string()),
        ("ids", ids.join(",")),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_string(), value))
    .collect()
}
