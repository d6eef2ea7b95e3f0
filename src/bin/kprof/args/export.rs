//! The `--export-*` flags that commands share.

use clap::Args;
use std::path::PathBuf;

/// Where to write results besides the table; `-` is stdout.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Exports ('-' is stdout)")]
pub(crate) struct ExportArgs {
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) export_json: Option<PathBuf>,
    /// Write the results as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) export_csv: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) export_markdown: Option<PathBuf>,
    /// Write the chart as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_svg: Option<PathBuf>,
    /// Write the chart as PNG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_png: Option<PathBuf>,
}
