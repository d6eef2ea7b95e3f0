//! The points of the roofline that answers: as data for its script, and as the table that shares its selection.

use super::text::{escaped, json_in_script};
use crate::hw::MemoryLevel;
use crate::llm::{Phase, Stage};
use crate::render::launched::launched_cells;
use crate::render::plot::{CeilingLine, ceiling_lines, version_index};
use crate::render::table::{in_wide_scale, or_na, percent, significant};
use crate::roofline::{Bound, Level, Point, Roofline};
use crate::units::{ByteRate, FlopRate, Scale, Seconds};
use serde::Serialize;
use std::fmt::Write;

/// More points than this make a page slow and large; those left out take the least time.
const MOST: usize = 1500;

#[derive(Serialize)]
struct Data<'a> {
    points: Vec<PointData<'a>>,
    ceilings: Vec<CeilingData>,
}

#[derive(Serialize)]
struct PointData<'a> {
    id: usize,
    name: String,
    file: String,
    level: Level,
    version: Option<&'a str>,
    stage: Option<Stage>,
    phase: Option<Phase>,
    /// The ceilings of arithmetic that it is held against.
    precision: Option<String>,
    bound: Bound,
    launches: u64,
    time_s: Option<f64>,
    flops: Option<f64>,
    bytes: Option<f64>,
    intensity: Option<f64>,
    intensity_l2: Option<f64>,
    intensity_l1: Option<f64>,
    rate: Option<f64>,
    fraction: Option<f64>,
    lower_bound: bool,
    used: &'a [String],
    sources: SourceData<'a>,
    shape: usize,
    color: usize,
}

#[derive(Serialize)]
struct SourceData<'a> {
    flops: Option<&'a str>,
    bytes: Option<&'a str>,
    time: Option<&'a str>,
}

#[derive(Serialize)]
struct CeilingData {
    name: String,
    text: String,
    source: String,
    value: f64,
    bandwidth: bool,
    dram: bool,
}

/// The points shown, with how many were left out.
pub(super) fn shown(roofline: &Roofline) -> (&[Point], usize) {
    let count = roofline.points.len().min(MOST);
    (&roofline.points[..count], roofline.points.len() - count)
}

/// The data of the script.
pub(super) fn data(roofline: &Roofline) -> String {
    let (points, _) = shown(roofline);
    let versions: Vec<&str> = points.iter().filter_map(|p| p.version.as_deref()).collect();
    let all: Vec<&Point> = points.iter().collect();
    let data = Data {
        points: points.iter().enumerate().map(|(id, p)| point(id, p, roofline, &versions)).collect(),
        ceilings: ceiling_lines(&all).into_iter().map(ceiling).collect(),
    };
    // OK because no map here has keys that are not strings, the only way that this fails.
    json_in_script(&serde_json::to_string(&data).expect("plain structures become JSON"))
}

fn point<'a>(id: usize, p: &'a Point, roofline: &Roofline, versions: &[&str]) -> PointData<'a> {
    let source = |m: &'a Option<crate::profile::Measured>| m.as_ref().map(|m| m.source.as_str());
    let file = roofline.files.iter().position(|f| *f == p.file).unwrap_or(0);
    let index = p.version.as_deref().map(|v| version_index(v, versions));
    PointData {
        id,
        name: p.label(),
        file: roofline.label_of(&p.file),
        level: p.level,
        version: p.version.as_deref(),
        stage: p.stage,
        phase: p.phase,
        precision: precision(p),
        bound: p.bound,
        launches: p.launches,
        time_s: p.time.as_ref().map(|t| t.value),
        flops: p.total_flops(),
        bytes: p.bytes.as_ref().map(|b| b.value),
        intensity: p.intensity(),
        intensity_l2: p.intensity_at(MemoryLevel::L2),
        intensity_l1: p.intensity_at(MemoryLevel::L1),
        rate: p.achieved_flop_rate(),
        fraction: p.fraction_of_ceiling(),
        lower_bound: p.is_lower_bound(),
        used: &p.used_ceilings,
        sources: SourceData { flops: source(&p.flops.total), bytes: source(&p.bytes), time: source(&p.time) },
        shape: index.unwrap_or(0),
        color: index.map_or(file, |i| i + i / 6),
    }
}

fn precision(point: &Point) -> Option<String> {
    let compute: Vec<&str> =
        point.used_ceilings.iter().map(String::as_str).filter(|c| !c.contains("bandwidth")).collect();
    (!compute.is_empty()).then(|| compute.join(" + "))
}

fn ceiling(line: CeilingLine) -> CeilingData {
    CeilingData {
        name: line.name,
        text: line.value_text,
        source: line.source,
        value: line.value,
        bandwidth: line.bandwidth,
        dram: line.dram,
    }
}

/// The table of the same points.
pub(super) fn table(roofline: &Roofline) -> String {
    let (points, left_out) = shown(roofline);
    let columns = Columns::of(roofline, points);
    let titles: String = columns.titles().iter().map(Cell::heading).collect();
    let mut out = format!(
        "<div class=\"scroll\"><table class=\"sortable\" id=\"points\"><thead><tr>{titles}</tr></thead><tbody>\n"
    );
    for (id, p) in points.iter().enumerate() {
        let cells: String = columns.cells(roofline, p).iter().map(Cell::cell).collect();
        let _ = writeln!(out, "<tr data-id=\"{id}\" title=\"{}\">{cells}</tr>", escaped(&p.name()));
    }
    out.push_str("</tbody></table></div>\n");
    if left_out > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">{left_out} more points, of less time, are not in this page.</p>"
        );
    }
    out
}

/// A cell or a title: its class, its text, and a second line where two values share a column for want of width.
struct Cell {
    class: &'static str,
    text: String,
    below: Option<String>,
}

impl Cell {
    fn new(class: &'static str, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), below: None }
    }

    fn number(text: impl Into<String>) -> Self {
        Self::new("n", text)
    }

    fn over(self, below: String) -> Self {
        Self { below: Some(below), ..self }
    }

    fn heading(&self) -> String {
        format!("<th{}>{}</th>", self.class(), self.content())
    }

    /// What has a second line is sorted by its first.
    fn cell(&self) -> String {
        let by = self.below.as_ref().map(|_| format!(" data-v=\"{}\"", escaped(&self.text)));
        format!("<td{}{}>{}</td>", self.class(), by.unwrap_or_default(), self.content())
    }

    fn class(&self) -> String {
        if self.class.is_empty() { String::new() } else { format!(" class=\"{}\"", self.class) }
    }

    fn content(&self) -> String {
        let below = self.below.as_ref().map(|below| format!("<small>{}</small>", escaped(below)));
        escaped(&self.text) + &below.unwrap_or_default()
    }
}

/// The columns that the points have something for, and the units of their values.
struct Columns {
    /// Of one file the page says which.
    runs: bool,
    launched: bool,
    time: Scale,
    rate: Scale,
    traffic: Scale,
}

impl Columns {
    fn of(roofline: &Roofline, points: &[Point]) -> Self {
        let values = |of: fn(&Point) -> Option<f64>| points.iter().filter_map(of).collect::<Vec<_>>();
        Self {
            runs: roofline.files.len() > 1,
            launched: points.iter().any(|p| p.launched.has_resources()),
            time: Scale::for_values(values(|p| p.time.as_ref().map(|t| t.value)), Seconds::UNIT),
            rate: Scale::for_values(values(Point::achieved_flop_rate), FlopRate::UNIT),
            traffic: Scale::for_values(values(Point::achieved_byte_rate), ByteRate::UNIT),
        }
    }

    fn titles(&self) -> Vec<Cell> {
        let mut titles = vec![Cell::new("wide", "kernel or phase")];
        titles.extend(self.runs.then(|| Cell::new("run", "run")));
        titles.extend([
            Cell::number(format!("time [{}]", self.time)),
            Cell::number("share [%]"),
            Cell::number("launches"),
            Cell::number("FLOP/B"),
            Cell::number(format!("rate [{}]", self.rate)),
            Cell::number(format!("traffic [{}]", self.traffic)),
            Cell::number("of ceiling [%]"),
            Cell::new("", "bound"),
        ]);
        if self.launched {
            titles.extend([
                Cell::number("grid").over("block".to_string()),
                Cell::number("registers [/thread]"),
                Cell::number("shared [B/block]").over("static + dynamic".to_string()),
            ]);
        }
        titles
    }

    fn cells(&self, roofline: &Roofline, p: &Point) -> Vec<Cell> {
        let bound = if p.is_lower_bound() { "≥ " } else { "" };
        let intensity = format!("{bound}{}", significant(p.intensity())).replace("≥ n/a", "n/a");
        let mut cells = vec![Cell::new("wide", p.label())];
        cells.extend(self.runs.then(|| Cell::new("run", roofline.label_of(&p.file))));
        cells.extend([
            Cell::number(or_na(p.time.as_ref().map(|t| in_wide_scale(&self.time, t.value)))),
            Cell::number(percent(p.share)),
            Cell::number(p.launches.to_string()),
            Cell::number(intensity),
            Cell::number(or_na(
                p.achieved_flop_rate().map(|r| format!("{bound}{}", in_wide_scale(&self.rate, r))),
            )),
            Cell::number(or_na(p.achieved_byte_rate().map(|r| in_wide_scale(&self.traffic, r)))),
            Cell::number(percent(p.fraction_of_ceiling())),
            Cell::new("", p.bound.name()),
        ]);
        if self.launched {
            let [grid, block, registers, own, asked, all] = launched_cells(p);
            let parts =
                p.launched.static_shared_bytes.is_known() || p.launched.dynamic_shared_bytes.is_known();
            let shared = Cell::number(all);
            cells.extend([
                Cell::number(grid).over(block),
                Cell::number(registers),
                if parts { shared.over(format!("{own} + {asked}")) } else { shared },
            ]);
        }
        cells
    }
}
