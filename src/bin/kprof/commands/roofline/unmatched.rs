//! What to say when a filter left nothing: the names there are.

use crate::args::RooflineArgs;
use kprof::profile::short_name;
use kprof::roofline::Launches;
use std::collections::BTreeSet;

/// How many names a message lists.
const NAMES: usize = 40;

/// Names, one per line.
pub(super) fn listed(names: BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    if shown.is_empty() { " none".to_string() } else { format!("\n  {}{more}", shown.join("\n  ")) }
}

/// What to say, with the names there are, if a filter left nothing.
pub(super) fn unmatched(args: &RooflineArgs, launches: &[Launches]) -> Option<String> {
    let names: Option<Vec<Vec<&str>>> = launches.iter().map(Launches::unmatched_names).collect();
    if let (Some(pattern), Some(names)) = (&args.kernel, names) {
        let names = listed(names.into_iter().flatten().map(short_name).collect());
        return Some(format!("no kernel matches '{pattern}'; the files have:{names}"));
    }
    let path = args.nvtx.as_ref()?;
    let ranges = listed(launches.iter().flat_map(|l| l.ranges().iter().cloned()).collect());
    Some(format!("no launch is inside an NVTX range '{path}'; the files have:{ranges}"))
}
