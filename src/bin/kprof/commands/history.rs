//! `kprof history`.

use crate::args::HistoryArgs;
use crate::exit::usage;
use crate::output::{self, Export};
use kprof::compare::{history, unlike};
use kprof::profile::{Run, read_run};
use kprof::render;

pub(crate) fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    let mut runs = args.runs.iter().map(|file| read_run(file)).collect::<Result<Vec<Run>, _>>()?;
    let started = |run: &Run| run.manifest.as_ref().map(|m| m.started.clone());
    runs.sort_by_key(started);
    let Some(latest) = runs.pop() else { return Ok(()) };
    // Only what can be compared with the latest run is its history.
    let refused = |run: &Run| unlike(run, &latest).iter().any(|u| !args.allow.contains(&u.aspect));
    let (unlikes, mut runs): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(refused);
    let notes: String = unlikes
        .iter()
        .map(|run| {
            let differs: Vec<String> = unlike(run, &latest).iter().map(ToString::to_string).collect();
            format!("left out: {}, unlike {} in {}\n", run.file, latest.file, differs.join(", "))
        })
        .collect();
    runs.push(latest);
    let all = history(&runs, args.threshold.0);
    if all.is_empty() {
        return Err(usage(format!("{notes}a history needs two runs that have a version in common")));
    }
    let exports = [
        Export { path: &args.export.export_json, make: &|| Ok(render::history_json(&all).into_bytes()) },
        Export { path: &args.export.export_csv, make: &|| Ok(render::history_csv(&all).into_bytes()) },
        Export {
            path: &args.export.export_markdown,
            make: &|| Ok(render::history_table(&all).to_markdown().into_bytes()),
        },
    ];
    if !output::takes_stdout(&exports) {
        let table = render::history_table(&all).to_terminal(output::width());
        output::print(&format!("{table}\n{}{notes}", render::history_lines(&all)))?;
    }
    output::write_exports(&exports)
}
