//! What every benchmark's command does: check where results go, load a run or plan and measure one, report it.

use super::{lines, paragraphs, ranks};
use crate::args::{LogArgs, OutputArgs, TableExportArgs};
use crate::exit::Interrupted;
use crate::log;
use crate::output::{self, Export};
use crate::progress::Line;
use kprof::profile::{Finding, Run, RunFile, read_run_file};
use kprof::render::{self, Table};
use kprof::scaling::RankQuantity;
use std::path::PathBuf;

/// A benchmark as a command.
pub(super) trait Benchmark {
    /// What is measured, once it is known to be possible.
    type Plan;

    /// The command: what a report of a run file is asked for with.
    const NAME: &'static str;

    /// What ranks of one launch are held beside each other by.
    const OVER_RANKS: RankQuantity;

    /// Where its results go.
    fn out(&self) -> Out<'_>;

    /// Finds every mistake in the flags, before the long work.
    fn plan(&self) -> anyhow::Result<Self::Plan>;

    /// Measures into a run file.
    fn measure(&self, plan: &Self::Plan, line: &mut Line) -> anyhow::Result<Run>;

    /// The report; `None` where the run has nothing of this benchmark.
    fn report(&self, run: &Run) -> Option<Shown>;
}

/// Where a report goes besides the terminal.
#[derive(Clone, Copy)]
pub(super) struct Out<'a> {
    args: &'a OutputArgs,
    /// `None` for what the nanoGPT benchmark knows nothing of.
    log: Option<&'a LogArgs>,
}

/// A report in all forms that it is written in.
pub(super) struct Shown {
    pub(super) heading: String,
    pub(super) tables: Vec<Table>,
    /// What the tables come to, in words.
    pub(super) said: Vec<String>,
    pub(super) findings: Vec<Finding>,
    pub(super) json: String,
    pub(super) csv: String,
}

/// Runs the command.
pub(super) fn drive<B: Benchmark>(benchmark: &B) -> anyhow::Result<()> {
    let out = benchmark.out();
    out.check()?;
    if let Some(file) = &out.args.load {
        let run = match read_run_file(file)? {
            RunFile::One(run) => run,
            RunFile::Ranks(of_ranks) => return ranks::report(benchmark, &of_ranks),
        };
        let Some(shown) = benchmark.report(&run) else {
            anyhow::bail!("{} has nothing to report here: it is no run of `kprof {}`", run.file, B::NAME);
        };
        return out.write(&run, false, &shown);
    }
    let plan = benchmark.plan()?;
    let mut line = Line::new(out.args.quiet);
    let run = benchmark.measure(&plan, &mut line)?;
    line.clear();
    let Some(shown) = benchmark.report(&run) else {
        return Err(Interrupted(format!("nothing was measured; {} holds the manifest only", run.file)).into());
    };
    out.write(&run, true, &shown)?;
    complete(B::NAME, &run)
}

/// What was interrupted has its own exit code, after its report.
fn complete(name: &str, run: &Run) -> anyhow::Result<()> {
    if run.complete {
        return Ok(());
    }
    Err(Interrupted(format!(
        "{0} holds what was measured until then; kprof {name} --load {0} reports it again",
        run.file
    ))
    .into())
}

impl Shown {
    pub(super) fn terminal(&self) -> String {
        let width = output::width();
        paragraphs(
            std::iter::once(format!("{}\n", self.heading))
                .chain(self.tables.iter().map(|table| table.to_terminal(width)))
                .chain([lines(&self.said, "")])
                .chain([render::findings(&self.findings, output::color(), output::wrap_width())]),
        )
    }

    pub(super) fn markdown(&self) -> String {
        paragraphs(
            std::iter::once(format!("{}\n", self.heading))
                .chain(self.tables.iter().map(Table::to_markdown))
                .chain([lines(&self.said, "- ")]),
        )
    }
}

impl<'a> Out<'a> {
    pub(super) fn new(args: &'a OutputArgs, log: Option<&'a LogArgs>) -> Self {
        Self { args, log }
    }

    /// Where tables go.
    pub(super) fn tables(&self) -> &'a TableExportArgs {
        &self.args.tables
    }

    /// Where lines of the nanoGPT benchmark's format go.
    pub(super) fn jsonl(&self) -> Option<PathBuf> {
        self.log.and_then(|log| log.export_jsonl.clone())
    }

    /// Where the JSON goes.
    pub(super) fn json(&self) -> Option<PathBuf> {
        if self.args.json { Some(PathBuf::from("-")) } else { self.args.tables.export_json.clone() }
    }

    /// Says what could not be written, before anything is measured; a log that is to be cleared is.
    fn check(&self) -> anyhow::Result<()> {
        let (json, tables) = (self.json(), &self.args.tables);
        let jsonl = self.jsonl();
        let others = [&json, &tables.export_csv, &tables.export_markdown, &jsonl].map(Option::as_deref);
        output::check_writable(others.into_iter().flatten())?;
        self.log.map_or(Ok(()), log::check)
    }

    /// Prints the table, unless an export takes stdout, and exports.
    fn write(&self, run: &Run, fresh: bool, shown: &Shown) -> anyhow::Result<()> {
        let (json, tables) = (self.json(), &self.args.tables);
        let jsonl = self.jsonl();
        let exports = [
            Export { path: &json, make: &|| Ok(shown.json.clone().into_bytes()) },
            Export { path: &tables.export_csv, make: &|| Ok(shown.csv.clone().into_bytes()) },
            Export { path: &tables.export_markdown, make: &|| Ok(shown.markdown().into_bytes()) },
            Export { path: &jsonl, make: &|| log::jsonl(run) },
        ];
        if !output::takes_stdout(&exports) {
            output::print(&shown.terminal())?;
        }
        if fresh {
            eprintln!("wrote {}", run.file);
            self.log.map_or(Ok(()), |log| log::append(log, run))?;
        }
        output::write_exports(&exports)
    }
}
