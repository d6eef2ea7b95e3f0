//! Trains the tiny model that `kprof perplexity` measures where no other is named: a byte-level GPT-2 on text of a
//! known grammar ([`kprof::pass::grammar_text`]), with candle's autograd, in minutes.
//!
//! ```sh
//! cargo run --release --example train_grammar -- --out profiles/models/grammar-bytes
//! cargo run --release --example train_grammar -- --share 2 --out profiles/models/grammar-bytes-shared
//! ```
//!
//! Writes config.json, model.safetensors (bf16) and training.json: the command, every setting, the loss curve, and what
//! was reached beside what is possible. Products run on one thread each and gradients are added up in one order, so that
//! the same command gives the same file, bit for bit, on machines with the same vector instructions.

mod data;
mod gpt;
mod ops;
mod optimizer;
mod report;

use anyhow::Context as _;
use candle_core::Tensor;
use clap::Parser;
use data::Batches;
use gpt::{Gpt, Shape};
use optimizer::{AdamW, Schedule};
use report::{Point, Report};
use std::path::PathBuf;
use std::time::Instant;

/// Trains a byte-level GPT-2 on text of a known grammar.
#[derive(Parser, Clone, Debug, serde::Serialize)]
struct Args {
    /// The model directory to write.
    #[arg(long)]
    #[serde(skip)]
    out: PathBuf,
    /// Layers that share K and V in every second part of a batch; 1 for none. The other parts share nothing, so that one
    /// model serves with and without sharing.
    #[arg(long, default_value_t = 1)]
    share: usize,
    /// Optimiser steps.
    #[arg(long, default_value_t = 2000)]
    steps: usize,
    /// Parts of a batch: each is a thread, and their gradients are added up in order.
    #[arg(long, default_value_t = 4)]
    parts: usize,
    /// Windows of a part.
    #[arg(long, default_value_t = 4)]
    windows: usize,
    /// Width of the residual stream.
    #[arg(long, default_value_t = 64)]
    hidden: usize,
    /// Layers.
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// Attention heads.
    #[arg(long, default_value_t = 4)]
    heads: usize,
    /// The largest learning rate.
    #[arg(long, default_value_t = 3e-3)]
    rate: f64,
    /// Steps until it is reached.
    #[arg(long, default_value_t = 100)]
    warmup: usize,
    /// The seed of weights, texts and offsets.
    #[arg(long, default_value_t = 20_251_121)]
    seed: u64,
    /// Of this many windows, one begins anywhere in a text; the others at a rule, as they are evaluated.
    #[arg(long, default_value_t = 4)]
    anywhere: usize,
    /// Steps between evaluations.
    #[arg(long, default_value_t = 250)]
    evaluate: usize,
}

fn main() -> anyhow::Result<()> {
    // One thread per product: the parts of a batch are the threads. Set before candle makes its pool.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let args = Args::parse();
    let shape = Shape::new(args.layers, args.hidden, args.heads);
    let model = Gpt::random(shape, args.seed)?;
    let mut optimizer = AdamW::new(model.parameters());
    let schedule = Schedule { largest: args.rate, warmup: args.warmup, steps: args.steps };
    let mut batches = Batches::new(args.seed, args.anywhere);
    let mut report = Report::new(&args, &model);
    let began = Instant::now();
    for step in 1..=args.steps {
        let parts = (0..args.parts).map(|_| batches.next(args.windows)).collect::<Result<Vec<_>, _>>()?;
        let (loss, gradients) = gradients(&model, &parts, args.share)?;
        optimizer.step(model.parameters(), &gradients, schedule.rate(step))?;
        if step % args.evaluate == 0 || step == args.steps || step == 1 {
            let plain = data::evaluate(&model, 1)?;
            let shared = (args.share > 1).then(|| data::evaluate(&model, args.share)).transpose()?;
            let point = Point { step, bits_per_byte: loss / std::f64::consts::LN_2, plain, shared };
            report.add(point, began.elapsed().as_secs_f64());
        }
    }
    report.write(&args.out, &model).with_context(|| format!("cannot write {}", args.out.display()))
}

/// The mean loss in nats per byte, and the gradient of each parameter, over all parts.
fn gradients(model: &Gpt, parts: &[(Tensor, Tensor)], share: usize) -> anyhow::Result<(f64, Vec<Vec<f32>>)> {
    let of_part = |(i, (inputs, targets)): (usize, &(Tensor, Tensor))| {
        let share = if i % 2 == 1 { share } else { 1 };
        let loss = model.loss(inputs, targets, share)?;
        let store = loss.backward()?;
        let of = |name: &str| format!("no gradient of {name}");
        let gradients = model.parameters().iter().map(|(name, var)| {
            // The K/V columns of a borrowing layer have no part in a shared pass: their gradient is zero.
            let gradient = store.get(var).with_context(|| of(name))?;
            Ok(gradient.flatten_all()?.to_vec1::<f32>()?)
        });
        Ok((f64::from(loss.to_scalar::<f32>()?), gradients.collect::<anyhow::Result<Vec<_>>>()?))
    };
    let results: Vec<anyhow::Result<(f64, Vec<Vec<f32>>)>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            parts.iter().enumerate().map(|part| scope.spawn(move || of_part(part))).collect();
        threads.into_iter().map(|t| t.join().expect("a part does not panic")).collect()
    });
    let mut sum: Option<(f64, Vec<Vec<f32>>)> = None;
    let weight = 1.0 / parts.len() as f32;
    for result in results {
        let (loss, gradients) = result?;
        let (total, all) =
            sum.get_or_insert_with(|| (0.0, gradients.iter().map(|g| vec![0.0; g.len()]).collect()));
        *total += loss * f64::from(weight);
        for (into, from) in all.iter_mut().zip(gradients) {
            into.iter_mut().zip(from).for_each(|(a, b)| *a += weight * b);
        }
    }
    sum.context("a batch has at least one part")
}
