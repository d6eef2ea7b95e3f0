//! The `--export-*` flags that commands share.

use clap::Args;
use std::path::{Path, PathBuf};

/// Where to write a table that has no chart; `-` is stdout, and then the table is not printed.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Exports ('-' is stdout)")]
pub(crate) struct TableExportArgs {
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) export_json: Option<PathBuf>,
    /// Write the results as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) export_csv: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) export_markdown: Option<PathBuf>,
}

impl TableExportArgs {
    /// Every place named.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let all = [&self.export_json, &self.export_csv, &self.export_markdown];
        all.into_iter().filter_map(|path| path.as_deref()).collect()
    }
}

/// Where to write a table and its chart.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Exports ('-' is stdout)")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) tables: TableExportArgs,
    /// Write the chart as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_svg: Option<PathBuf>,
    /// Write the chart as PNG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_png: Option<PathBuf>,
}
