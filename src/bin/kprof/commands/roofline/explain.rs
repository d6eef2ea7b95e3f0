//! What goes to stdout: the table, or how its numbers came about.

use super::text::table;
use super::unmatched::listed;
use crate::args::{ByArg, RooflineArgs};
use kprof::ingest::ncu::{MetricValues, metric_values};
use kprof::ingest::{Classifier, Rules};
use kprof::profile::KernelRecord;
use kprof::render::{self, MetricRow};
use kprof::roofline::{Point, Roofline, grid_name};
use std::path::Path;

/// What goes to stdout: the table, or how its numbers came about.
pub(super) fn result(args: &RooflineArgs, roofline: &Roofline) -> anyhow::Result<String> {
    let Some(pattern) = &args.explain else { return Ok(table(args, roofline)) };
    let named = |p: &&Point| pattern.is_match(&p.name()) || pattern.is_match(&p.label());
    let points: Vec<&Point> = roofline.points.iter().filter(named).take(args.top).collect();
    if points.is_empty() {
        let names = listed(roofline.points.iter().map(Point::label).collect());
        anyhow::bail!("nothing to explain matches '{pattern}'; there are:{names}");
    }
    let explained: anyhow::Result<Vec<_>> =
        points.into_iter().map(|p| Ok((p, metrics_of(args, p)?))).collect();
    Ok(render::explain(&explained?))
}

/// The metrics behind a point of one kernel, out of its file; none for what is no export of Nsight Compute.
fn metrics_of(args: &RooflineArgs, point: &Point) -> anyhow::Result<Vec<MetricRow>> {
    let Some(kernel) = &point.kernel else { return Ok(Vec::new()) };
    let mut rules = Classifier::new(args.rules.as_deref().map(Rules::read).transpose()?);
    let is_one = |own: &Option<String>, found: &Option<String>| own.is_none() || own == found;
    let wanted = |record: &KernelRecord| {
        let place = rules.meaning(record);
        record.kernel == *kernel
            && is_one(&point.launch, &record.launch)
            && (args.by != ByArg::Grid || point.group.as_ref() == Some(&grid_name(record)))
            && (&point.version, point.phase) == (&place.version, place.phase)
    };
    let Ok(values) = metric_values(Path::new(&point.file), wanted) else { return Ok(Vec::new()) };
    let row = |v: MetricValues| MetricRow {
        metric: v.metric,
        unit: v.unit.to_string(),
        launches: v.launches,
        min: v.min,
        max: v.max,
        sum: v.sum,
    };
    Ok(values.into_iter().map(row).collect())
}
