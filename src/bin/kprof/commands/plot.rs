//! `kprof plot`: figures of runs, one file each.

use super::figures;
use crate::args::{FigureFormat, PlotArgs};
use crate::output;
use anyhow::Context as _;
use kprof::host;
use kprof::profile::write_atomically;
use kprof::render::plot::{ChartOptions, FIGURES, Figure, FigureKind, to_png};
use kprof::render::{self, Column, Table};
use std::path::PathBuf;

pub(crate) fn run(args: &PlotArgs) -> anyhow::Result<()> {
    if args.list {
        return output::print(&list());
    }
    if args.terminal {
        return terminal(args);
    }
    let asked = figures::named(&args.figures)?;
    figures::check_folder(&args.out)?;
    let mut input = figures::read(&args.runs, &args.label, args.device.as_deref())?;
    input.top = args.top;
    input.against = figures::against(args.against.as_deref(), &input)?;
    let drawn_by = host::kprof_info();
    let options = |kind: &FigureKind| ChartOptions {
        title: args.title.clone(),
        footer: render::footer(kind.runs(&input), &drawn_by),
        theme: args.theme.into(),
        size: args.size.map(|size| size.0),
        ..ChartOptions::default()
    };
    let all = args.figures.iter().any(|name| name == "all");
    let mut left_out = Vec::new();
    let mut written = 0;
    for kind in asked {
        match kind.draw(&input, &options(kind)) {
            Ok(figure) => {
                write(args, kind, &figure)?;
                written += 1;
            }
            Err(missing) if all => left_out.push((kind, missing)),
            Err(missing) => return Err(missing.into()),
        }
    }
    anyhow::ensure!(
        written > 0,
        "{} has the records of no figure; `kprof plot --list` says what each needs",
        input.files().join(", ")
    );
    if !left_out.is_empty() {
        let names: Vec<String> =
            left_out.iter().map(|(kind, missing)| format!("{} ({})", kind.name, missing.needs)).collect();
        eprintln!("left out, for want of records: {}", names.join(", "));
    }
    Ok(())
}

fn write(args: &PlotArgs, kind: &FigureKind, figure: &Figure) -> anyhow::Result<()> {
    for format in &args.format {
        let (end, bytes) = match format {
            FigureFormat::Svg => ("svg", figure.svg.clone().into_bytes()),
            FigureFormat::Png => {
                ("png", to_png(&figure.svg).with_context(|| format!("cannot draw {}", kind.name))?)
            }
        };
        let path: PathBuf = args.out.join(format!("{}.{end}", kind.name));
        write_atomically(&path, &bytes).context("cannot write the figure")?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// The roofline and the phases in characters.
fn terminal(args: &PlotArgs) -> anyhow::Result<()> {
    let input = figures::read(&args.runs, &args.label, args.device.as_deref())?;
    let (width, glyphs) = (output::width(), render::Glyphs::of(args.ascii));
    let height = (width * 3 / 10).clamp(14, 40);
    let drawn = render::roofline_text(&input.roofline, width.min(160) - 10, height, glyphs);
    let bars = input.reports.iter().flatten().map(|report| render::phase_bars(report, width, glyphs));
    let lines = drawn.chart.into_iter().chain([String::new()]).chain(drawn.key).map(|line| line + "\n");
    let parts: String = lines.chain(bars.map(|bars| format!("\n{bars}"))).collect();
    output::print_as_is(&parts)
}

fn list() -> String {
    let mut table = Table::new(vec![
        Column::text("figure"),
        Column::text("shows").shrinks_to(30),
        Column::text("drawn from").shrinks_to(20).dispensable(1),
    ]);
    for figure in FIGURES {
        table.push(vec![figure.name.into(), figure.shows.into(), figure.needs.into()]);
    }
    table.to_terminal(output::width())
}
