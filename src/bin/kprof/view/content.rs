//! What the tabs show: runs, phases, ops, points, findings.

use super::sheet::{Cell, Row, Sheet};
use kprof::profile::Run;
use kprof::render::plot::FigureInput;
use kprof::render::{self, Glyphs, bar};
use kprof::roofline::{Bound, PhaseReport, Point, RanksReport, StageReport, WorkRow};
use kprof::units::{Bytes, FlopRate, Flops, Seconds, format_si};

/// Every tab that has something to show, with its title.
pub(crate) fn tabs(input: &FigureInput, glyphs: Glyphs) -> Vec<(&'static str, Sheet)> {
    let all = [
        ("Runs", runs(input)),
        ("Ranks", ranks(input)),
        ("Phases", phases(input, glyphs)),
        ("Ops", ops(input)),
        ("Points", points(input)),
        ("Findings", findings(input)),
    ];
    all.into_iter().filter(|(_, sheet)| sheet.counts().1 > 0).collect()
}

fn seconds(time: Option<f64>) -> Cell {
    Cell::number(time, |t| Seconds(t).to_string())
}

fn percent(share: Option<f64>) -> Cell {
    Cell::number(share, |s| format!("{:.1}", 100.0 * s))
}

fn runs(input: &FigureInput) -> Sheet {
    let headings =
        vec![("run", false), ("model", false), ("device", false), ("started", false), ("records", true)];
    let row = |(i, run): (usize, &Run)| {
        let manifest = run.manifest.as_ref();
        let config = manifest.and_then(|m| m.config.as_ref());
        let text = |value: Option<String>| Cell::text(value.unwrap_or_else(|| "n/a".to_string()));
        let records = run.steps.len() + run.kernels.len() + run.latencies.len() + run.memory.len();
        let device = manifest.map(|m| m.device.name.clone());
        let mut details = vec![format!("file      {}", run.file)];
        details.extend(manifest.map(|m| format!("command   {}", m.command.join(" "))));
        details.extend(config.map(|c| {
            format!("shape     prompt {}, output {} tokens, batch {}", c.prompt_length, c.tokens, c.batch)
        }));
        details.push(format!("versions  {}", run.versions().join(", ")));
        details.push(format!("complete  {}", if run.complete { "yes" } else { "no" }));
        details.extend(run.ceilings.iter().map(|c| format!("ceiling   {} {}", c.name(), c.value_text())));
        let cells = vec![
            Cell::text(input.labels[i].clone()),
            text(config.map(|c| c.model_and_types())),
            text(device.or_else(|| run.device_names().first().map(|d| (*d).to_string()))),
            text(manifest.map(|m| m.started.clone())),
            Cell::number(Some(records as f64), |n| format!("{n:.0}")),
        ];
        Row { cells, details }
    };
    Sheet::new(headings, input.runs.iter().enumerate().map(row).collect())
}

/// Every version and stage over the ranks of a launch; nothing where there are none.
fn ranks(input: &FigureInput) -> Sheet {
    let headings = vec![
        ("launch", false),
        ("version", false),
        ("stage", false),
        ("slowest", false),
        ("time", true),
        ("max/mean", true),
    ];
    let mut rows = Vec::new();
    for report in RanksReport::all(&input.runs) {
        for row in &report.imbalances {
            let slowest = row
                .time_s
                .iter()
                .flatten()
                .copied()
                .fold(None, |most: Option<f64>, time| Some(most.map_or(time, |most| most.max(time))));
            let name = |rank: usize| format!("rank {rank}");
            let mut details = vec![render::ranks_heading(&report.launch)];
            details.extend(report.launch.ranks.iter().zip(&row.time_s).map(|(rank, time)| {
                let time = time.map_or("n/a".to_string(), |time| Seconds(time).to_string());
                let host = rank.merged.host.as_deref().unwrap_or("n/a");
                format!(
                    "{}  {time}  on {host}, {}",
                    name(rank.merged.rank),
                    rank.device.as_deref().unwrap_or("n/a")
                )
            }));
            let cells = vec![
                Cell::text(report.launch.file.clone()),
                Cell::text(row.version.clone()),
                Cell::text(row.stage.name()),
                Cell::text(row.slowest.map_or("n/a".to_string(), name)),
                seconds(slowest),
                Cell::number(row.max_over_mean, |ratio| format!("{ratio:.3}")),
            ];
            rows.push(Row { cells, details });
        }
    }
    Sheet::new(headings, rows)
}

/// The stages of all runs, with what their run is called where there are several.
fn stages(input: &FigureInput) -> impl Iterator<Item = (String, &StageReport)> {
    let several = input.runs.len() > 1;
    let reports = input.reports.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref()?)));
    reports.flat_map(move |(i, report): (usize, &PhaseReport)| {
        let named = move |s: &StageReport| match several {
            true => format!("{} {}", s.version, input.labels[i]),
            false => s.version.clone(),
        };
        report.stages.iter().map(move |s| (named(s), s))
    })
}

fn work(row: &WorkRow) -> [Cell; 4] {
    [
        Cell::number(row.achieved_flop_per_s, |r| FlopRate(r).to_string()),
        Cell::number(row.intensity, |i| format!("{i:.3}")),
        percent(row.fraction_of_ceiling),
        Cell::text(row.bound.map_or("n/a", Bound::name)),
    ]
}

fn work_details(row: &WorkRow) -> Vec<String> {
    let flops = row.flops.map_or("n/a".to_string(), |f| Flops(f).to_string());
    let bytes = row.bytes.map_or("n/a".to_string(), |b| Bytes(b).to_string());
    let traffic = row.achieved_byte_per_s.map_or("n/a".to_string(), |r| format_si(r, "B/s"));
    let floor = row.floor.map_or("n/a".to_string(), |f| Seconds(f.time_s).to_string());
    vec![
        format!("FLOPs    {flops} (analytic, per step)"),
        format!("bytes    {bytes} (analytic floor, not DRAM traffic)"),
        format!("traffic  {traffic}"),
        format!("floor    {floor}: the shortest time that the ceilings allow"),
    ]
}

fn phases(input: &FigureInput, glyphs: Glyphs) -> Sheet {
    let headings = vec![
        ("version", false),
        ("stage", false),
        ("phase", false),
        ("time", true),
        ("share %", true),
        ("", false),
        ("rate", true),
        ("FLOP/B", true),
        ("of ceiling %", true),
        ("bound", false),
    ];
    let mut rows = Vec::new();
    for (version, stage) in stages(input) {
        for (name, row) in stage.phases.named() {
            let mut cells = vec![
                Cell::text(version.clone()),
                Cell::text(stage.stage.name()),
                Cell::text(name),
                seconds(row.time_s),
                percent(row.share),
                Cell::text(row.share.map_or(String::new(), |s| bar(s, 10, glyphs))),
            ];
            cells.extend(work(&row.work));
            let mut details = vec![format!("{version} {} {name}", stage.stage)];
            details.extend(row.time.as_ref().map(|t| {
                let ends = t.interval.map_or(String::new(), |i| {
                    format!(", 95 % interval {} to {}", Seconds(i.low), Seconds(i.high))
                });
                format!("time     median {} of {} repetitions{ends}", Seconds(t.median), t.count)
            }));
            details.extend(work_details(&row.work));
            rows.push(Row { cells, details });
        }
    }
    Sheet::new(headings, rows)
}

fn ops(input: &FigureInput) -> Sheet {
    let headings = vec![
        ("version", false),
        ("stage", false),
        ("op", false),
        ("phase", false),
        ("count", true),
        ("time", true),
        ("share %", true),
        ("rate", true),
        ("FLOP/B", true),
        ("of ceiling %", true),
        ("bound", false),
    ];
    let mut rows = Vec::new();
    for (version, stage) in stages(input) {
        for op in &stage.ops {
            let mut cells = vec![
                Cell::text(version.clone()),
                Cell::text(stage.stage.name()),
                Cell::text(op.label.clone()),
                Cell::text(op.phase.name()),
                Cell::number(Some(op.count as f64), |n| format!("{n:.0}")),
                seconds(op.time_s),
                percent(op.share),
            ];
            cells.extend(work(&op.work));
            let mut details = vec![format!("{version} {} {}: {:?}", stage.stage, op.label, op.op)];
            details.extend(work_details(&op.work));
            rows.push(Row { cells, details });
        }
    }
    Sheet::new(headings, rows)
}

fn points(input: &FigureInput) -> Sheet {
    let headings = vec![
        ("kernel or phase", false),
        ("run", false),
        ("time", true),
        ("share %", true),
        ("launches", true),
        ("FLOP/B", true),
        ("rate", true),
        ("of ceiling %", true),
        ("bound", false),
    ];
    let row = |p: &Point| Row {
        cells: vec![
            Cell::text(p.label()),
            Cell::text(input.roofline.label_of(&p.file)),
            seconds(p.time.as_ref().map(|t| t.value)),
            percent(p.share),
            Cell::number(Some(p.launches as f64), |n| format!("{n:.0}")),
            Cell::number(p.intensity(), |i| format!("{i:.3}")),
            Cell::number(p.achieved_flop_rate(), |r| FlopRate(r).to_string()),
            percent(p.fraction_of_ceiling()),
            Cell::text(p.bound.name()),
        ],
        details: point_details(p),
    };
    Sheet::new(headings, input.roofline.points.iter().map(row).collect())
}

fn point_details(p: &Point) -> Vec<String> {
    let from = |m: &Option<kprof::profile::Measured>, unit: &str| {
        m.as_ref().map_or("n/a".to_string(), |m| format!("{}  ({})", format_si(m.value, unit), m.source))
    };
    let mut lines = vec![
        p.name(),
        format!("time   {}", from(&p.time, "s")),
        format!("FLOPs  {}{}", if p.is_lower_bound() { ">= " } else { "" }, from(&p.flops.total, "FLOP")),
        format!("bytes  {}", from(&p.bytes, "B")),
    ];
    lines.extend(
        p.floor.map(|f| format!("floor  {}: the shortest time that the ceilings allow", Seconds(f.time_s))),
    );
    lines.extend(render::launched_line(p));
    if !p.used_ceilings.is_empty() {
        lines.push(format!("held against {}", p.used_ceilings.join(", ")));
    }
    if !p.missing.is_empty() {
        lines.push(format!("not collected: {}", p.missing.join(", ")));
    }
    lines
}

fn findings(input: &FigureInput) -> Sheet {
    let row = |f: kprof::profile::Finding| Row {
        cells: vec![Cell::text(f.about.clone()), Cell::text(f.message.clone())],
        details: [Some(f.about), Some(f.message), f.remedy.map(|r| format!("Remedy: {r}"))]
            .into_iter()
            .flatten()
            .collect(),
    };
    Sheet::new(
        vec![("about", false), ("finding", false)],
        input.findings(Vec::new()).into_iter().map(row).collect(),
    )
}
