//! What becomes one point: which launches belong together, and what they are called.

use super::point::Level;
use crate::llm::{Phase, Stage};
use crate::profile::{KernelRecord, base_name};
use std::borrow::Cow;

/// What becomes one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// All launches of one kernel, by its byte-exact name, in one file, on one device, in one phase.
    #[default]
    Kernel,
    /// Every launch.
    Launch,
    /// All instances of one template: the name without template arguments and parameters.
    NameBase,
    /// All launches of one kernel with one grid and block.
    Grid,
    /// All launches inside one NVTX range.
    Nvtx,
    /// All launches of one version, stage and phase.
    Phase,
    /// All launches of one class, such as gemm or norm.
    Class,
    /// All launches of a file.
    File,
}

impl By {
    /// Whether a point's launches are all of one kernel.
    pub(super) fn is_one_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::Launch | Self::Grid)
    }

    /// Whether a point's launches are all of one version, stage and phase.
    pub(super) fn is_one_place(self) -> bool {
        !matches!(self, Self::Nvtx | Self::Class | Self::File)
    }

    pub(super) fn level(self) -> Level {
        match self {
            Self::Launch => Level::Launch,
            Self::Kernel | Self::Grid => Level::Kernel,
            Self::NameBase | Self::Nvtx | Self::Phase | Self::Class | Self::File => Level::Group,
        }
    }
}

/// What a launch is for: as its record says, or as rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The KV-cache version.
    pub version: Option<String>,
    /// The stage.
    pub stage: Option<Stage>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The model's op, e.g. `attn.qkv`.
    pub op: Option<String>,
    /// The kind of work, e.g. `gemm`.
    pub class: Option<String>,
}

impl Place {
    /// What the record itself says.
    pub fn of(kernel: &KernelRecord) -> Self {
        let (version, class) = (kernel.version.clone(), kernel.class.clone());
        Self { version, stage: kernel.stage, phase: kernel.phase, op: None, class }
    }
}

/// What launches of one point have in common.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) file: &'a str,
    pub(super) device: Option<&'a str>,
    pub(super) place: Option<(Option<&'a str>, Option<Stage>, Option<Phase>)>,
    pub(super) shape: Option<(Option<&'a str>, Option<&'a str>)>,
    pub(super) alone: Option<Option<&'a str>>,
}

pub(super) fn key<'a>(kernel: &'a KernelRecord, place: &'a Place, by: By) -> Key<'a> {
    Key {
        name: key_name(kernel, place, by),
        file: &kernel.file,
        device: kernel.device.as_deref().filter(|_| by != By::File),
        place: by.is_one_place().then_some((place.version.as_deref(), place.stage, place.phase)),
        shape: (by == By::Grid).then_some((kernel.grid.as_deref(), kernel.block.as_deref())),
        // Rates of several launches have no sum without their times: each stays a point.
        alone: has_rates_only(kernel).then_some(kernel.launch.as_deref()),
    }
}

pub(super) fn key_name<'a>(kernel: &'a KernelRecord, place: &'a Place, by: By) -> Cow<'a, str> {
    match by {
        By::Kernel | By::Launch | By::Grid => Cow::Borrowed(&kernel.kernel),
        By::NameBase => Cow::Owned(base_name(&kernel.kernel)),
        By::Nvtx => Cow::Owned(kernel.nvtx.join("/")),
        By::Class => Cow::Borrowed(place.class.as_deref().unwrap_or_default()),
        By::Phase | By::File => Cow::Borrowed(""),
    }
}

/// What the point is called besides, or instead of, its kernel's name.
pub(super) fn group_name(first: &KernelRecord, place: &Place, by: By) -> Option<String> {
    let or = |text: Option<&str>, absent: &str| text.filter(|t| !t.is_empty()).unwrap_or(absent).to_string();
    match by {
        By::Kernel | By::Launch => None,
        By::NameBase => Some(base_name(&first.kernel)),
        By::Grid => Some(grid_name(first)),
        By::Nvtx => Some(or(Some(&first.nvtx.join("/")), "(no NVTX range)")),
        By::Class => Some(or(place.class.as_deref(), "(no known class)")),
        By::Phase => {
            let parts =
                [place.version.as_deref(), place.stage.map(Stage::name), place.phase.map(Phase::name)];
            let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
            Some(or(Some(&name), "(no known phase)"))
        }
        By::File => Some(or(first.file.rsplit(['/', '\\']).next(), &first.file)),
    }
}

pub(super) fn has_rates_only(kernel: &KernelRecord) -> bool {
    kernel.time.is_none() && kernel.rates.is_some()
}

/// How points by grid and block are told apart.
pub fn grid_name(kernel: &KernelRecord) -> String {
    let of = |what, extent: &Option<String>| extent.as_ref().map(|e| format!("{what} {e}"));
    let known: Vec<String> =
        [of("grid", &kernel.grid), of("block", &kernel.block)].into_iter().flatten().collect();
    if known.is_empty() { "(no grid in the file)".to_string() } else { known.join(" ") }
}
