//! Charts: laid out here with the metrics of an embedded font, drawn as SVG by plotters, as PNG from that SVG.
//!
//! Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; shape and fill carry the
//! version and the stage, so that a chart still reads in grey.

mod axis;
mod bars;
mod canvas;
mod chart_ceilings;
mod chart_legend;
mod figures;
mod font;
mod labels;
mod legend;
mod marks;
mod options;
mod phases;
mod plane;
mod png;
mod roofline;
mod sheet;
mod text;
mod theme;

pub(super) use chart_ceilings::{Line as CeilingLine, ceiling_lines};
pub(super) use marks::version_index;

pub use canvas::{Area, Figure, TextBox};
pub use figures::{FIGURES, FigureInput, FigureKind, MissingRecords};
pub use options::{ChartOptions, Colors};
pub use phases::phase_figure;
pub use png::{PngError, to_png};
pub use roofline::roofline_chart;
pub use theme::Theme;
