//! One file per subcommand.

mod bench;
mod ceilings;
mod compare;
mod convert;
mod devices;
mod doctor;
mod estimate;
mod figures;
mod history;
mod import;
mod kernels;
mod logits;
mod merge;
mod ncu;
mod phase;
mod plot;
mod regress;
mod report;
mod roofline;
mod schema;
mod served;
mod shell;
mod sides;
mod versions;
mod view;

use crate::args::{Cli, Command};

pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Phase(args) => phase::run(&args),
        Command::Latency(args) => bench::latency::run(&args),
        Command::Perplexity(args) => bench::perplexity::run(&args),
        Command::Memory(args) => bench::memory::run(&args),
        Command::Capacity(args) => bench::capacity::run(&args),
        Command::Crossover(args) => bench::crossover::run(&args),
        Command::Run(args) => bench::run::run(&args),
        Command::Roofline(args) => roofline::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Regress(args) => regress::run(&args),
        Command::History(args) => history::run(&args),
        Command::Ncu(args) => ncu::run(&args),
        Command::Estimate(args) => estimate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::View(args) => view::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Ceilings(args) => ceilings::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Kernels(args) => kernels::run(&args),
        Command::Logits(args) => logits::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Versions(args) => versions::run(&args),
    }
}
