//! Turning results into text and pictures: tables, Markdown, CSV, JSON and charts. Nothing is computed here.

mod benchmark;
mod capacity;
pub mod ceilings;
mod checked;
mod compare;
mod crossover;
mod devices;
mod doctor;
mod estimate;
mod explain;
mod findings;
mod footer;
mod history;
mod html;
mod join;
mod latency;
mod launched;
mod launches;
mod machine;
mod memory;
mod nanogpt;
mod phases;
pub mod plot;
mod quality;
mod rank_figures;
mod ranks;
mod regress;
mod roofline;
mod roofline_export;
mod table;
mod terminal;
mod timeline;
mod trace;
mod versions;
mod versus;
mod wrap;

pub use capacity::{capacity_csv, capacity_heading, capacity_json, capacity_lines, capacity_table};
pub use checked::{CHECK_NOTE, check_heading, check_table};
pub use compare::{
    compare_commands, compare_csv, compare_heading, compare_json, compare_markdown, compare_notes,
    compare_table, contributions_table, pareto_table, slowest_lines,
};
pub use crossover::{
    crossover_csv, crossover_heading, crossover_json, crossover_lines, crossover_table, stage_table,
};
pub use devices::{devices_json, devices_lines, devices_table};
pub use doctor::{doctor, doctor_json};
pub use estimate::{
    ESTIMATE_SCHEMA_VERSION, estimate_csv, estimate_heading, estimate_json, estimate_markdown,
    estimate_notes, estimate_phases, estimate_table, phases_title,
};
pub use explain::{MetricRow, explain};
pub use findings::findings;
pub use footer::footer;
pub use history::{History, history_csv, history_json, history_lines, history_table};
pub use html::{ReportOptions, report_html};
pub use join::{JOIN_NOTE, gap_table, join_heading, join_table};
pub use latency::{
    growth_lines, growth_table, latency_by_length_table, latency_csv, latency_heading, latency_json,
};
pub use launched::{launched_line, launched_table};
pub use launches::{
    ConvertError, LAUNCHES_SCHEMA_VERSION, Launches, launches_csv, launches_json, launches_jsonl,
    launches_parquet,
};
pub use machine::machine_lines;
pub use memory::{memory_csv, memory_heading, memory_json, memory_lines, memory_table};
pub use nanogpt::nanogpt_jsonl;
pub use phases::{
    comparison_lines, latency_table, phase_csv, phase_heading, phase_json, phase_table, phase_table_with_bars,
};
pub use quality::{quality_csv, quality_heading, quality_json, quality_lines, quality_table};
pub use rank_figures::{
    rank_figures, rank_figures_heading, rank_figures_json, rank_figures_notes, rank_figures_table,
};
pub use ranks::{
    RANKS_SCHEMA_VERSION, csv_by_rank, imbalance_table, ranks_heading, ranks_json, ranks_notes, ranks_table,
};
pub use regress::{regress_annotations, regress_junit, regress_lines};
pub use roofline::{roofline_notes, roofline_table};
pub use roofline_export::{ROOFLINE_SCHEMA_VERSION, roofline_csv, roofline_json};
pub use table::{Align, Column, Table};
pub use terminal::{Glyphs, TerminalRoofline, bar, phase_bars, roofline_text};
pub use timeline::{DEVICE_NOTE, class_table, copy_table, device_table, timeline_heading};
pub use trace::{TRACE_CAP, Trace, trace, trace_of_ranks};
pub use versions::{
    VERSIONS_SCHEMA_VERSION, VersionsOf, versions_csv, versions_heading, versions_json, versions_notes,
    versions_table,
};
pub use versus::{changes_table, one_sided_notes, savings_list};
pub use wrap::wrap_lines;
