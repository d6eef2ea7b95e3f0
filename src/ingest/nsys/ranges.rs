//! NVTX ranges.

use super::names::Names;
use crate::ingest::rules::{Meaning, Rules};
use crate::ingest::sqlite::{Database, SqliteError};
use crate::ingest::timeline::{Collected, Interner, Lane, Name, Range};
use std::collections::HashMap;

/// A range of a thread, opened and closed by push and pop.
const PUSH_POP: i64 = 59;
/// A range of a process.
const START_END: i64 = 60;

/// A process, by the number that nsys gives one of its threads: all but its last 24 bits.
pub(super) fn process_of(thread: i64) -> i64 {
    thread & !0xff_ffff
}

/// The lane of a thread's ranges: process and thread as the system numbers them.
pub(super) fn thread_lane(thread: i64, names: &mut Interner) -> Lane {
    names.name(&format!("{}:{}", thread >> 24 & 0xff_ffff, thread & 0xff_ffff))
}

/// The lane of a process's ranges.
pub(super) fn process_lane(thread: i64, names: &mut Interner) -> Lane {
    names.name(&format!("{}", thread >> 24 & 0xff_ffff))
}

pub(super) fn read(
    database: &mut Database,
    strings: &Names,
    collected: &mut Collected,
) -> Result<(), SqliteError> {
    let columns = ["start", "end", "eventType", "text", "textId", "globalTid"];
    let mut meaningful: HashMap<Name, bool> = HashMap::new();
    let mut ranks: Vec<u32> = Vec::new();
    let Collected { names, ranges, matmuls, .. } = collected;
    database.scan("NVTX_EVENTS", &columns, &mut |row| {
        let text = match (row[3].text(), strings.get(row[4].integer())) {
            (Some(text), _) => text.to_string(),
            (None, Some(name)) => names.text(name).to_string(),
            (None, None) => return,
        };
        ranks.extend(text.strip_prefix("MPI Rank ").and_then(|r| r.parse::<u32>().ok()));
        let (Some(start_ns), Some(kind)) = (row[0].integer(), row[2].integer()) else { return };
        let thread = row[5].integer().unwrap_or(0);
        let lane = match kind {
            PUSH_POP => thread_lane(thread, names),
            START_END => process_lane(thread, names),
            _ => return,
        };
        let operator = operator(&text);
        let name = names.name(operator.as_ref().map_or(text.as_str(), |o| o.name));
        if let Some(operator) = &operator {
            if let Some(shape) = operator.matmul() {
                *matmuls.entry(shape).or_default() += 1;
            }
            let means = || Rules::builtin().meaning("", &[operator.name.to_string()]) != Meaning::default();
            if !*meaningful.entry(name).or_insert_with(means) {
                return;
            }
        }
        let end_ns = row[1].integer().unwrap_or(i64::MAX);
        ranges.push(Range { start_ns, end_ns, lane, name, recorded: operator.is_none() });
    })?;
    ranks.sort_unstable();
    ranks.dedup();
    // Of several processes in one export none has a rank of its own.
    if let [rank] = ranks[..] {
        collected.info.rank = Some(rank);
    }
    Ok(())
}

/// An operator in a range of `torch.autograd.profiler.emit_nvtx()`: `aten::mm, op_id = 7, seq = 3, sizes = [[2, 4], [4, 8]]`.
/// Each call has a name of its own by its numbers, so it is kept by its operator's.
struct Operator<'a> {
    name: &'a str,
    rest: &'a str,
}

fn operator(text: &str) -> Option<Operator<'_>> {
    let (name, rest) = text.split_once(", ")?;
    let numbered = ["op_id = ", "seq = ", "sizes = "].iter().any(|k| rest.starts_with(k));
    numbered.then_some(Operator { name, rest })
}

impl Operator<'_> {
    /// Rows, inner dimension and columns of a matrix product whose sizes were recorded.
    fn matmul(&self) -> Option<(u64, u64, u64)> {
        if !matches!(self.name, "aten::mm" | "aten::addmm") {
            return None;
        }
        let sizes = self.rest.split_once("sizes = ")?.1;
        // More of the kind may follow.
        let mut values = serde_json::Deserializer::from_str(sizes).into_iter::<Vec<serde_json::Value>>();
        let all = values.next()?.ok()?;
        let matrix = |v: &serde_json::Value| {
            let sides: Vec<u64> = v.as_array()?.iter().filter_map(serde_json::Value::as_u64).collect();
            <[u64; 2]>::try_from(sides).ok()
        };
        let matrices: Vec<[u64; 2]> = all.iter().filter_map(matrix).collect();
        match matrices[..] {
            [.., [rows, inner], [inner_too, columns]] if inner == inner_too => Some((rows, inner, columns)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_of_pytorch_are_told_from_other_ranges() {
        let mm = operator("aten::mm, op_id = 7, seq = 3, sizes = [[2, 4], [4, 8]]").unwrap();
        assert_eq!((mm.name, mm.matmul()), ("aten::mm", Some((2, 4, 8))));
        let addmm =
            operator("aten::addmm, seq = 3, sizes = [[8], [2, 4], [4, 8], [], []], input_op_ids = [(1,0)]")
                .unwrap();
        assert_eq!(addmm.matmul(), Some((2, 4, 8)));
        assert_eq!(operator("aten::view, op_id = 314290").unwrap().name, "aten::view");
        assert!(operator("step 3, batch 4").is_none() && operator("kprof/v1/decode").is_none());
    }

    #[test]
    fn threads_and_processes_are_numbered_as_the_system_does() {
        let mut names = Interner::default();
        let thread = (1_i64 << 48) + (100 << 24) + 111;
        let lane = thread_lane(thread, &mut names);
        assert_eq!(names.text(lane), "100:111");
        let process = process_lane(thread, &mut names);
        assert_eq!(names.text(process), "100");
        assert_eq!(process_of(thread), (1 << 48) + (100 << 24));
    }
}
