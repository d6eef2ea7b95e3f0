//! The flags of `kprof plot`.

use clap::{Args, ValueEnum};
use kprof::render::plot::Theme;
use std::path::PathBuf;

/// What figures are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThemeArg {
    /// Dark on white
    Light,
    /// Light on dark
    Dark,
    /// Black and greys, for paper
    Print,
}

impl From<ThemeArg> for Theme {
    fn from(theme: ThemeArg) -> Self {
        match theme {
            ThemeArg::Light => Self::Light,
            ThemeArg::Dark => Self::Dark,
            ThemeArg::Print => Self::Print,
        }
    }
}

/// What a figure is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FigureFormat {
    /// Scalable, with text that can be selected
    Svg,
    /// Twice the size in pixels
    Png,
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) (u32, u32));

/// The widest and the highest: 8000 x 8000 pixels are 1 GB as PNG while it is made.
const SIZES: std::ops::RangeInclusive<u32> = 320..=8000;

fn size(text: &str) -> Result<Size, String> {
    let parts = text.split_once(['x', 'X']).ok_or("it is WIDTHxHEIGHT, e.g. 1200x700")?;
    let side = |side: &str| {
        let pixels: u32 = side.trim().parse().map_err(|_| format!("'{side}' is no number of pixels"))?;
        let least = format!("a side has {} to {} pixels", SIZES.start(), SIZES.end());
        SIZES.contains(&pixels).then_some(pixels).ok_or(least)
    };
    Ok(Size((side(parts.0)?, side(parts.1)?)))
}

#[derive(Args, Clone, Debug)]
#[command(
    about = "Draw figures of runs and of profilers' exports: one file each, SVG or PNG",
    after_help = "\
Examples:
  kprof plot run.jsonl                                   every figure that the run has the records for, in figures/
  kprof plot run.jsonl --figure speedup --against v1     one figure
  kprof plot run.jsonl --figure phases,steps --format png --theme dark --size 1200x700
  kprof plot before.jsonl after.jsonl --label main,patch --figure roofline-changes
  kprof plot ncu.csv --figure kernels --top 30           a profiler's export
  kprof plot run.jsonl --terminal                        roofline and bars right here
  kprof plot --list                                      what figures there are, and what they need"
)]
pub(crate) struct PlotArgs {
    /// Run files of kprof, and whatever `kprof roofline` reads
    #[arg(value_name = "RUN", required_unless_present = "list")]
    pub(crate) runs: Vec<PathBuf>,
    /// The figures to draw; all that the runs have the records for by default
    #[arg(short = 'f', long = "figure", value_name = "NAME", value_delimiter = ',', default_value = "all")]
    pub(crate) figures: Vec<String>,
    /// The folder to write them into
    #[arg(short = 'o', long, value_name = "DIR", default_value = "figures")]
    pub(crate) out: PathBuf,
    /// What they are written as
    #[arg(long, value_enum, value_name = "FORMAT", value_delimiter = ',', default_value = "svg")]
    pub(crate) format: Vec<FigureFormat>,
    /// What they are drawn for
    #[arg(long, value_enum, default_value = "light", value_name = "THEME")]
    pub(crate) theme: ThemeArg,
    /// Width and height in pixels, e.g. `--size 1200x700`; figures get higher where their labels need it
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub(crate) size: Option<Size>,
    /// What to call the runs, in their order, e.g. `--label main,patch`
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NAME")]
    pub(crate) label: Vec<String>,
    /// The version that speed-ups are against; the first one by default
    #[arg(long, value_name = "VERSION")]
    pub(crate) against: Option<String>,
    /// Kernels that bars show, before all the rest
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub(crate) top: usize,
    /// The title of every figure, in the place of its own
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Hold the runs against the ceilings of this device, e.g. `--device 'A100 SXM 80GB'`
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// Draw the roofline and bars of phases here, of characters, and write no file
    #[arg(long, conflicts_with_all = ["figures", "out", "format"])]
    pub(crate) terminal: bool,
    /// With `--terminal`: use the characters of ASCII only
    #[arg(long, requires = "terminal")]
    pub(crate) ascii: bool,
    /// List the figures, what they show and what they are drawn from
    #[arg(long)]
    pub(crate) list: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_sides_that_a_figure_can_have() {
        assert_eq!(size("1200x700").unwrap(), Size((1200, 700)));
        assert!(size("1200").unwrap_err().contains("WIDTHxHEIGHT"));
        assert!(size("1200xabc").unwrap_err().contains("'abc'"));
        assert!(size("10x700").unwrap_err().contains("320 to 8000"));
    }
}
