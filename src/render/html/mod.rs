//! The report: one HTML file that explains runs to somebody who has no kprof. It needs no network, and reads without
//! scripts as text, tables and figures; with them the roofline answers, and tables sort and search.

mod benchmarks;
mod compared;
mod environment;
mod page;
mod points;
mod sections;
mod text;
mod verdict;

pub use page::{ReportOptions, report_html};
