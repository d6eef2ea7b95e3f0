//! The roofline in characters: ceilings as lines, a letter for each point, and what the letters stand for.

use super::Glyphs;
use crate::render::plot::{CeilingLine, ceiling_lines};
use crate::render::table::{elide, in_wide_scale, significant};
use crate::roofline::{Point, Roofline};
use crate::units::{FlopRate, Scale};

/// A letter for each point, those of the most time first.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Room for the labels of the vertical axis.
const LEFT: usize = 9;

/// The chart and its key, in lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminalRoofline {
    /// The chart with its axes.
    pub chart: Vec<String>,
    /// What the letters and lines stand for.
    pub key: Vec<String>,
}

struct Mark<'a> {
    point: &'a Point,
    letter: char,
    intensity: f64,
    rate: f64,
}

/// Whole decades around values.
#[derive(Clone, Copy)]
struct Decades {
    low: i32,
    high: i32,
}

impl Decades {
    fn over(values: impl Iterator<Item = f64>, least: i32) -> Self {
        let logs: Vec<f64> = values.filter(|v| *v > 0.0 && v.is_finite()).map(f64::log10).collect();
        let (low, high) = (
            logs.iter().copied().fold(f64::INFINITY, f64::min),
            logs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let (mut low, mut high) = ((low - 0.1).floor() as i32, (high + 0.1).ceil() as i32);
        while high - low < least {
            if (high - low) % 2 == 0 { high += 1 } else { low -= 1 }
        }
        Self { low, high }
    }

    /// The cell of a value among `count`; `None` outside.
    fn cell(self, value: f64, count: usize) -> Option<usize> {
        let t = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        let at = (t * (count - 1) as f64).round();
        (at >= 0.0 && at < count as f64).then_some(at as usize)
    }

    /// The value in the middle of a cell.
    fn value(self, cell: f64, count: usize) -> f64 {
        10f64.powf(f64::from(self.low) + cell / (count - 1) as f64 * f64::from(self.high - self.low))
    }
}

/// Draws points and ceilings into `width` x `height` characters; the key comes apart, for the caller to place.
pub fn roofline_text(roofline: &Roofline, width: usize, height: usize, glyphs: Glyphs) -> TerminalRoofline {
    let drawable = |p: &&Point| {
        p.intensity().is_some_and(|i| i > 0.0) && p.achieved_flop_rate().is_some_and(|r| r > 0.0)
    };
    let marks: Vec<Mark<'_>> = roofline
        .points
        .iter()
        .filter(drawable)
        .zip(LETTERS.chars())
        .filter_map(|(point, letter)| {
            Some(Mark { point, letter, intensity: point.intensity()?, rate: point.achieved_flop_rate()? })
        })
        .collect();
    let drawn: Vec<&Point> = marks.iter().map(|m| m.point).collect();
    let ceilings = ceiling_lines(&drawn);
    let (columns, rows) = (width.saturating_sub(LEFT + 1).max(20), height.saturating_sub(2).max(5));
    let peaks = || ceilings.iter().filter(|l| !l.bandwidth).map(|l| l.value);
    let dram = ceilings.iter().find(|l| l.dram).map(|l| l.value);
    let ridges = peaks().filter_map(|p| Some(p / dram?));
    let x = Decades::over(marks.iter().map(|m| m.intensity).chain(ridges), 3);
    let y = Decades::over(marks.iter().map(|m| m.rate).chain(peaks()), 2);
    let mut grid = vec![vec![' '; columns]; rows];
    draw_ceilings(&mut grid, &ceilings, x, y, glyphs);
    for mark in marks.iter().rev() {
        let cell = (x.cell(mark.intensity, columns), y.cell(mark.rate, rows));
        if let (Some(column), Some(row)) = cell {
            let place = &mut grid[rows - 1 - row][column];
            *place = if place.is_ascii_alphabetic() || *place == '*' { '*' } else { mark.letter };
        }
    }
    TerminalRoofline {
        chart: framed(&grid, x, y, glyphs),
        key: key(&marks, &ceilings, roofline, width, glyphs),
    }
}

fn draw_ceilings(grid: &mut [Vec<char>], all: &[CeilingLine], x: Decades, y: Decades, glyphs: Glyphs) {
    let (rows, columns) = (grid.len(), grid[0].len());
    let highest =
        |bandwidth| all.iter().filter(move |l| l.bandwidth == bandwidth).map(|l| l.value).reduce(f64::max);
    let (top, steep) = (highest(false).unwrap_or(f64::INFINITY), highest(true));
    for line in all {
        let glyph = glyph(line, glyphs);
        let row_at = |column: usize| {
            let intensity = x.value(column as f64, columns);
            let value = if line.bandwidth { line.value * intensity } else { line.value };
            let hidden =
                if line.bandwidth { value > top } else { steep.is_some_and(|s| s * intensity < value) };
            y.cell(value, rows).filter(|_| !hidden)
        };
        for (column, row) in (0..columns).filter_map(|c| Some((c, row_at(c)?))) {
            grid[rows - 1 - row][column] = glyph;
        }
    }
}

/// What a ceiling is drawn with.
fn glyph(line: &CeilingLine, glyphs: Glyphs) -> char {
    match (line.bandwidth, line.dram) {
        (false, _) => glyphs.pick('─', '-'),
        (true, true) => glyphs.pick('╱', '/'),
        (true, false) => glyphs.pick('·', '.'),
    }
}

fn framed(grid: &[Vec<char>], x: Decades, y: Decades, glyphs: Glyphs) -> Vec<String> {
    let (rows, columns) = (grid.len(), grid[0].len());
    let scale = Scale::for_values([10f64.powf(f64::from(y.low + y.high) / 2.0)], FlopRate::UNIT);
    let mut lines = vec![format!("{:>LEFT$}", format!("[{}]", scale.unit))];
    for (i, row) in grid.iter().enumerate() {
        let decade = (y.low..=y.high).find(|e| y.cell(10f64.powi(*e), rows) == Some(rows - 1 - i));
        let label = decade.map_or(String::new(), |e| plain(10f64.powi(e) / scale.factor));
        let axis = if decade.is_some() { glyphs.pick('┤', '+') } else { glyphs.pick('│', '|') };
        let cells: String = row.iter().collect();
        lines.push(format!("{label:>w$}{axis}{}", cells.trim_end(), w = LEFT - 1));
    }
    let mut ruler: Vec<char> = vec![glyphs.pick('─', '-'); columns];
    let mut labels: Vec<char> = vec![' '; columns + 8];
    for e in x.low..=x.high {
        let Some(column) = x.cell(10f64.powi(e), columns) else { continue };
        ruler[column] = glyphs.pick('┴', '+');
        let text = plain(10f64.powi(e));
        let start = column.saturating_sub(text.len() / 2).min(columns - text.len().min(columns));
        for (i, c) in text.chars().enumerate() {
            labels[start + i] = c;
        }
    }
    let corner = glyphs.pick('└', '+');
    lines.push(format!("{}{corner}{}", " ".repeat(LEFT - 1), ruler.into_iter().collect::<String>()));
    let labels: String = labels.into_iter().collect();
    lines.push(format!("{} {}  [FLOP/B]", " ".repeat(LEFT - 1), labels.trim_end()));
    lines
}

/// A power of ten as it is read.
fn plain(value: f64) -> String {
    let e = value.log10().round() as i32;
    match e {
        0..=4 => format!("{value:.0}"),
        -3..=-1 => format!("{value:.*}", e.unsigned_abs() as usize),
        _ => format!("1e{e}"),
    }
}

fn key(
    marks: &[Mark<'_>],
    ceilings: &[CeilingLine],
    roofline: &Roofline,
    width: usize,
    glyphs: Glyphs,
) -> Vec<String> {
    let rate = Scale::for_values(marks.iter().map(|m| m.rate), FlopRate::UNIT);
    let mut lines = Vec::new();
    for line in ceilings {
        let glyph = glyph(line, glyphs);
        lines.push(elide(&format!("{glyph} {} {} ({})", line.name, line.value_text, line.source), width));
    }
    let room = width.saturating_sub(42).clamp(12, 60);
    for mark in marks {
        let lower = if !mark.point.is_lower_bound() {
            ""
        } else if glyphs == Glyphs::Ascii {
            ">="
        } else {
            "≥"
        };
        let name = elide(&mark.point.label(), room);
        let name = if glyphs == Glyphs::Ascii { name.replace('…', "~") } else { name };
        let (intensity, value) = (significant(Some(mark.intensity)), in_wide_scale(&rate, mark.rate));
        let line =
            format!("{} {name:<room$} {lower}{intensity:>8} FLOP/B {value:>8} {}", mark.letter, rate.unit);
        lines.push(line.trim_end().to_string());
    }
    let left_out = roofline.points.len() - marks.len();
    if left_out > 0 {
        lines.push(format!("{left_out} more without a place here: see the table"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Precision;
    use crate::roofline::samples::{bandwidth, phase_run, vector};
    use crate::roofline::{By, Ceilings, analyse};

    fn drawn(width: usize, height: usize, glyphs: Glyphs) -> TerminalRoofline {
        let mut run = phase_run();
        run.ceilings = vec![bandwidth(30e6), vector(Precision::Fp32, 100e6)];
        roofline_text(&analyse(&[run], By::Kernel, &Ceilings::default()), width, height, glyphs)
    }

    #[test]
    fn the_chart_fits_and_has_ceilings_axes_and_a_letter_for_each_point() {
        for (width, height) in [(80, 24), (120, 40), (60, 16)] {
            let chart = drawn(width, height, Glyphs::Unicode);
            // The unit of the upright axis, and two lines of the level one.
            assert_eq!(chart.chart.len(), height + 1);
            assert!(chart.chart.iter().all(|l| l.chars().count() <= width + 10), "{:#?}", chart.chart);
            let text = chart.chart.join("\n");
            assert!(text.contains('─') && text.contains('╱') && text.contains("FLOP/B"), "{text}");
            assert!(chart.key.iter().any(|l| l.starts_with("A ")), "{:#?}", chart.key);
            assert!(chart.key.iter().all(|l| l.chars().count() <= width), "{:#?}", chart.key);
        }
    }

    #[test]
    fn ascii_is_ascii() {
        let chart = drawn(80, 24, Glyphs::Ascii);
        assert!(chart.chart.iter().chain(&chart.key).all(|l| l.is_ascii()), "{chart:#?}");
    }

    #[test]
    fn a_point_stands_where_its_numbers_say() {
        let x = Decades { low: 0, high: 2 };
        assert_eq!((x.cell(1.0, 21), x.cell(10.0, 21), x.cell(100.0, 21)), (Some(0), Some(10), Some(20)));
        assert_eq!(x.cell(0.5, 21), None);
        assert!((x.value(10.0, 21) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_draw_is_an_empty_chart() {
        let chart = roofline_text(&Roofline::default(), 80, 24, Glyphs::Unicode);
        assert!(chart.key.is_empty() && chart.chart.len() == 25);
    }
}
