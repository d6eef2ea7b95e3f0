//! The raw page as the graphical program exports it: one metric per line, one launch per column.
//!
//! The first record is `ID,0,1,...`; the unit stands in brackets after the metric's name.

use super::launches::{Cell, Collected, Key, Launch};
use super::layout::split_unit;
use super::metrics;
use super::records::{Record, Records};
use std::borrow::Cow;

/// Collects the launches, if `text` is such an export.
pub(super) fn collect<'a>(text: &'a str, out: &mut Collected<'a>) {
    let mut records = Records::new(text);
    let mut record = records.record();
    if !records.next(&mut record) || !is_first_record(&record) {
        return;
    }
    let mut launches: Vec<Launch<'a>> = (1..record.len())
        .map(|i| Launch { key: Key { id: record.get(i), ..Key::default() }, ..Launch::default() })
        .collect();
    let mut named = 0;
    while records.next(&mut record) {
        if record.closed && record.len() == launches.len() + 1 {
            named = named.max(line(&record, &mut launches, named, out));
        } else if record.closed {
            records.rewind_to_second_line(&record);
        }
    }
    if named > 0 {
        out.tables = 1;
        out.launches = launches;
    }
}

fn is_first_record(record: &Record<'_>) -> bool {
    let number = |i| {
        let cell = record.raw(i).trim();
        !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit())
    };
    record.closed && record.raw(0) == "ID" && record.len() > 1 && (1..record.len()).all(number)
}

/// Kernel names by how much they say: the full signature is preferred.
const NAMES: [&str; 4] = ["Function Name", "Demangled Name", "Kernel Name", "Original Demangled Name"];

/// Takes one line; gives how good a kernel name it had, 0 for none.
fn line<'a>(
    record: &Record<'a>,
    launches: &mut [Launch<'a>],
    named: usize,
    out: &mut Collected<'a>,
) -> usize {
    let (name, unit) = split_unit(record.raw(0));
    if let Some(rank) = NAMES.iter().position(|n| *n == name) {
        if rank + 1 > named {
            each(record, launches, |launch, cell| launch.key.kernel = cell);
        }
        return rank + 1;
    }
    match name {
        "Grid Size" => each(record, launches, |launch, cell| launch.grid = cell),
        "Block Size" => each(record, launches, |launch, cell| launch.block = cell),
        "Context ID" | "Context" => each(record, launches, |launch, cell| launch.context = cell),
        "Stream ID" | "Stream" => each(record, launches, |launch, cell| launch.stream = cell),
        "Device Name" => each(record, launches, |launch, cell| launch.device_name = cell),
        "CC" => each(record, launches, |launch, cell| launch.capability = cell),
        "Process" | "Process ID" => {
            each(record, launches, |launch, cell| launch.key.process = process_id(cell))
        }
        _ => values(record, launches, (name, unit), out),
    }
    0
}

fn each<'a>(record: &Record<'a>, launches: &mut [Launch<'a>], set: impl Fn(&mut Launch<'a>, Cow<'a, str>)) {
    launches.iter_mut().enumerate().for_each(|(i, launch)| set(launch, record.get(i + 1)));
}

fn values<'a>(
    record: &Record<'a>,
    launches: &mut [Launch<'a>],
    (name, unit): (&'a str, &'a str),
    out: &mut Collected<'a>,
) {
    if !name.contains("__") {
        return;
    }
    let needed = metrics::is_needed(name);
    for (i, launch) in launches.iter_mut().enumerate() {
        let raw = record.get(i + 1);
        out.votes.see(&raw);
        if needed {
            let unit_at = (record.line, 1);
            launch.cells.push(Cell { metric: name, shown: name, unit, raw, unit_at });
        }
    }
}

/// `[3212] D:\x\y.exe` is process 3212.
fn process_id(cell: Cow<'_, str>) -> Cow<'_, str> {
    match cell.strip_prefix('[').and_then(|c| c.split_once(']')) {
        Some((id, _)) => Cow::Owned(id.to_string()),
        None => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_a_launch_and_the_full_name_wins() {
        let text = "ID,0,1\nFunction Name,f,g\nOriginal Demangled Name,\"f(int, int)\",g()\n\
                    Demangled Name,f(..,g(..\ngpu__time_duration.sum [ms],3.66,\"1,000\"\n";
        let mut out = Collected::default();
        collect(text, &mut out);
        assert_eq!(out.launches.len(), 2);
        assert_eq!(out.launches[0].key.kernel, "f(int, int)");
        assert_eq!(out.launches[1].cells[0].raw, "1,000");
        assert_eq!(out.launches[1].cells[0].unit, "ms");
    }

    #[test]
    fn other_text_gives_nothing() {
        let mut out = Collected::default();
        collect("ID,x\nFunction Name,f\n", &mut out);
        collect("", &mut out);
        assert!(out.launches.is_empty());
    }
}
