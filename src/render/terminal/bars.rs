//! Bars of characters.

use super::Glyphs;
use crate::render::table::{in_scale, or_na};
use crate::roofline::PhaseReport;
use crate::units::{Scale, Seconds};
use std::fmt::Write;

/// Eighths of a block, from none to seven.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A bar of `part` (0 to 1) of `width` characters, without trailing blanks. What is more than whole is shown whole with a
/// mark, what is less than nothing as nothing: the number beside it says how much it is.
pub fn bar(part: f64, width: usize, glyphs: Glyphs) -> String {
    if !part.is_finite() || part <= 0.0 || width == 0 {
        return String::new();
    }
    if part > 1.0 {
        let full = glyphs.pick('█', '#').to_string().repeat(width - 1);
        return full + &glyphs.pick('▶', '>').to_string();
    }
    match glyphs {
        Glyphs::Ascii => "#".repeat(((part * width as f64).round() as usize).max(1)),
        Glyphs::Unicode => {
            let eighths = ((part * width as f64 * 8.0).round() as usize).max(1);
            "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
        }
    }
}

/// A bar for each part of each version's steps, all of a stage to one scale, in lines of at most `width` characters.
pub fn phase_bars(report: &PhaseReport, width: usize, glyphs: Glyphs) -> String {
    let time = Scale::for_values(
        report.stages.iter().flat_map(|s| s.phases.named()).filter_map(|(_, row)| row.time_s),
        Seconds::UNIT,
    );
    let name = report.stages.iter().map(|s| s.version.chars().count()).max().unwrap_or(0).clamp(2, 20);
    let room = width.saturating_sub(name + 31).clamp(8, 100);
    let mut out = String::new();
    for stage in &report.stages {
        let of_stage = report.stages.iter().filter(|s| s.stage == stage.stage);
        let most = of_stage.filter_map(|s| s.phases.total.time_s).fold(0.0, f64::max);
        for (part, row) in stage.phases.named() {
            let version = if part == "embedding" { stage.version.as_str() } else { "" };
            let named = if part == "embedding" { stage.stage.name() } else { "" };
            let value = or_na(row.time_s.map(|t| in_scale(&time, t)));
            let drawn =
                row.time_s.filter(|_| most > 0.0).map_or(String::new(), |t| bar(t / most, room, glyphs));
            let version: String = version.chars().take(name).collect();
            let line = format!("{version:<name$} {named:<7} {part:<9} {value:>8} {:<3}{drawn}", time.unit);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        assert_eq!(bar(0.5, 4, Glyphs::Ascii), "##");
        assert_eq!(bar(0.5, 4, Glyphs::Unicode), "██");
        assert_eq!(bar(0.53125, 4, Glyphs::Unicode), "██▏");
        // What is there is seen, and what is not is not.
        assert_eq!((bar(1e-6, 4, Glyphs::Unicode).as_str(), bar(0.0, 4, Glyphs::Ascii).as_str()), ("▏", ""));
        assert_eq!(bar(1.2, 4, Glyphs::Ascii), "###>");
        assert_eq!(bar(f64::NAN, 4, Glyphs::Ascii), "");
    }

    #[test]
    fn bars_of_phases_fit_the_width_and_the_longest_step_fills_it() {
        let report = PhaseReport::new(&phase_run(), &[]);
        for (width, glyphs) in [(80, Glyphs::Unicode), (120, Glyphs::Ascii), (60, Glyphs::Unicode)] {
            let text = phase_bars(&report, width, glyphs);
            assert_eq!(text.lines().count(), 4 * 6);
            let longest = text.lines().map(|l| l.chars().count()).max().unwrap();
            assert!(longest <= width, "{longest} > {width}\n{text}");
            assert!(
                text.lines().filter(|l| l.contains("total")).any(|l| l.chars().count() > width - 4),
                "{text}"
            );
        }
        assert!(phase_bars(&report, 80, Glyphs::Ascii).is_ascii());
    }
}
