//! What stands beside a roofline chart: what shapes, fills and colours mean, its ceilings, and its points by number.

use super::canvas::Rgb;
use super::chart_ceilings::Line;
use super::font;
use super::legend::{self, Entry, Sample, Section};
use super::marks::{self, BLACK, GREY, Shape};
use super::options::{ChartOptions, Colors};
use super::roofline::{Mark, PANEL};
use crate::llm::{Phase, Stage};
use crate::roofline::{Level, Roofline, changes};

/// Rows of the panel's table of points; the terminal's table has them all.
const LISTED: usize = 60;

/// The versions in the order that gives their shapes.
pub(super) fn versions(roofline: &Roofline) -> Vec<&str> {
    let mut names: Vec<&str> = roofline.points.iter().filter_map(|p| p.version.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What stands beside the chart. `outside` is whether a point stands at the edge, `numbered` whether points are
/// labelled by numbers, which are then listed.
pub(super) fn sections(
    roofline: &Roofline,
    marks: &[Mark<'_>],
    ceilings: &[Line],
    numbered: bool,
    outside: bool,
    options: &ChartOptions,
) -> Vec<Section> {
    let by_version = options.colors == Colors::Version;
    let series = match options.colors {
        Colors::Precision => "Precision (colour)",
        _ if options.analytic => "Context (colour)",
        _ => "File (colour)",
    };
    let phases = if by_version { Vec::new() } else { phase_entries(marks) };
    let mut sections = vec![
        version_section(roofline, by_version),
        Section { title: "Stage (fill)", entries: stage_entries(marks) },
        Section { title: "Phase (colour), per step", entries: phases },
        Section {
            title: series,
            entries: if by_version { Vec::new() } else { file_entries(roofline, marks) },
        },
        Section { title: "Notes", entries: note_entries(roofline, marks, outside, options) },
        Section { title: "Ceilings", entries: ceiling_entries(ceilings) },
    ];
    if numbered {
        sections.push(Section { title: "Points, by time", entries: point_entries(marks) });
    }
    sections
}

fn version_section(roofline: &Roofline, colored: bool) -> Section {
    let all = versions(roofline);
    let entry = |name: &&str| {
        let index = marks::version_index(name, &all);
        let color = if colored { marks::version_color(index) } else { BLACK };
        Entry {
            sample: Sample::Marker { shape: Shape::of(index), color, filled: true },
            text: (*name).to_string(),
        }
    };
    let title = if colored { "Version, per step" } else { "Version (shape)" };
    Section { title, entries: all.iter().map(entry).collect() }
}

fn stage_entries(marks: &[Mark<'_>]) -> Vec<Entry> {
    let present = Stage::ALL.into_iter().filter(|s| marks.iter().any(|m| m.point.stage == Some(*s)));
    let entry = |stage: Stage| Entry {
        sample: Sample::Marker { shape: Shape::Circle, color: BLACK, filled: stage == Stage::Prefill },
        text: stage.name().to_string(),
    };
    present.map(entry).collect()
}

fn phase_entries(marks: &[Mark<'_>]) -> Vec<Entry> {
    let phases = Phase::ALL.into_iter().map(Some).chain([None]);
    let level = |p: Option<Phase>| if p.is_some() { Level::Phase } else { Level::Stage };
    phases
        .filter(|p| marks.iter().any(|m| m.point.level == level(*p) && m.point.phase == *p))
        .map(|p| Entry {
            sample: Sample::Box(marks::phase_color(p)),
            text: p.map_or("whole stage", Phase::name).to_string(),
        })
        .collect()
}

fn file_entries(roofline: &Roofline, marks: &[Mark<'_>]) -> Vec<Entry> {
    if roofline.files.len() < 2 {
        return Vec::new();
    }
    let kernels = |file: &str| {
        marks.iter().any(|m| {
            m.point.file == file && matches!(m.point.level, Level::Kernel | Level::Launch | Level::Group)
        })
    };
    let entry = |(i, file): (usize, &String)| Entry {
        sample: Sample::Box(marks::series_color(i)),
        text: roofline.label_of(file),
    };
    roofline.files.iter().enumerate().filter(|(_, f)| kernels(f)).map(entry).collect()
}

fn note_entries(
    roofline: &Roofline,
    marks: &[Mark<'_>],
    outside: bool,
    options: &ChartOptions,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    if marks.iter().any(|m| m.point.is_lower_bound()) {
        let text = "lower bound: FLOPs not all counted".to_string();
        entries.push(Entry { sample: Sample::Arrow, text });
    }
    let deeper = marks.iter().max_by_key(|m| m.deeper.len()).map(|m| m.deeper.as_slice()).unwrap_or_default();
    if !deeper.is_empty() {
        let names: Vec<&str> = deeper.iter().map(|(level, _)| level.name()).collect();
        let text = format!("joined smaller points: bytes of {}", names.join(", "));
        entries.push(Entry { sample: Sample::Nothing, text });
    }
    if options.has_changes() && !changes(roofline).is_empty() {
        let text = format!("arrows: from {} to a later file", roofline.label_of(&roofline.files[0]));
        entries.push(Entry { sample: Sample::Nothing, text });
    }
    if outside {
        let text = "arrow at the edge: intensity beyond the axis".to_string();
        entries.push(Entry { sample: Sample::Nothing, text });
    }
    let left_out = roofline.points.len() - marks.len();
    if left_out > 0 {
        let text = format!("{left_out} without FLOPs, bytes or time not drawn");
        entries.push(Entry { sample: Sample::Nothing, text });
    }
    if marks.iter().any(|m| m.point.dram_bytes().is_none()) {
        let text = "bytes of phases: analytic floor, not DRAM".to_string();
        entries.push(Entry { sample: Sample::Nothing, text });
    }
    entries
}

fn ceiling_entries(ceilings: &[Line]) -> Vec<Entry> {
    let entries = |line: &Line| {
        let sample = Sample::Line { color: line_color(line), dashed: line.bandwidth && !line.dram };
        let value = format!("{} ({})", line.value_text, line.source);
        let text = format!("{} {value}", line.name);
        if font::width(&text, legend::SIZE, false) <= PANEL - 40.0 - legend::INDENT {
            return vec![Entry { sample, text }];
        }
        // A number that is cut in the middle would be another number.
        vec![Entry { sample, text: line.name.clone() }, Entry { sample: Sample::Nothing, text: value }]
    };
    ceilings.iter().flat_map(entries).collect()
}

fn point_entries(marks: &[Mark<'_>]) -> Vec<Entry> {
    let names: Vec<String> = marks.iter().take(LISTED).map(|m| m.point.label()).collect();
    let fitted = font::fit_apart(&names, 11.0, PANEL - 40.0 - legend::INDENT);
    let entry = |(m, text): (&Mark<'_>, String)| Entry { sample: Sample::Number(m.number), text };
    let mut entries: Vec<Entry> = marks.iter().zip(fitted).map(entry).collect();
    let more = marks.len().saturating_sub(LISTED);
    if more > 0 {
        entries.push(Entry { sample: Sample::Nothing, text: format!("and {more} more: see the table") });
    }
    entries
}

/// Caches stand back behind main memory.
pub(super) fn line_color(line: &Line) -> Rgb {
    if line.bandwidth && !line.dram { GREY } else { BLACK }
}
