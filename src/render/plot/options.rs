//! What the user decides of a chart besides its data.

use super::theme::Theme;
use crate::hw::MemoryLevel;

/// What a chart says besides its points, and how it looks.
#[derive(Clone, Debug, Default)]
pub struct ChartOptions {
    /// The title; a plain one where there is none.
    pub title: Option<String>,
    /// Provenance: program, device, files, date.
    pub footer: String,
    /// The levels of memory to draw a point for, joined by a line; none is DRAM alone, with every ceiling known.
    pub levels: Vec<MemoryLevel>,
    /// Whether rates are what ceilings allow and nothing was measured. Then groups of one file and stage are joined
    /// by a line, in their order.
    pub analytic: bool,
    /// Whether groups of one file and stage are joined by a line though they were measured.
    pub joined: bool,
    /// What it is drawn for.
    pub theme: Theme,
    /// Width and height in pixels; the figure's own where there is none. A figure that needs more for its labels takes
    /// more height.
    pub size: Option<(u32, u32)>,
    /// What colours of a roofline mean.
    pub colors: Colors,
}

impl ChartOptions {
    /// Whether files are runs, so that arrows lead from a point of the first to the same of a later one.
    pub(super) fn has_changes(&self) -> bool {
        !self.joined && self.colors != Colors::Precision
    }
}

/// What colours of a roofline's points mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colors {
    /// The phase, or of kernels the file.
    #[default]
    Phase,
    /// The version, as in every other figure.
    Version,
    /// What the files stand for, each being one precision.
    Precision,
}
