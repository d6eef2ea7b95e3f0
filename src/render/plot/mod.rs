//! Charts: laid out here with the metrics of an embedded font, drawn as SVG by plotters, as PNG from that SVG.
//!
//! Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; shape and fill carry the
//! version and the stage, so that a chart still reads in grey.

mod axis;
mod canvas;
mod chart_ceilings;
mod chart_legend;
mod font;
mod labels;
mod legend;
mod marks;
mod phases;
mod png;
mod roofline;

pub use canvas::{Figure, TextBox};
pub use phases::phase_figure;
pub use png::{PngError, to_png};
pub use roofline::{ChartOptions, roofline_chart};
