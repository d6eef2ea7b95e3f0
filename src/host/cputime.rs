//! CPU time from `/proc/stat`: what ran, what waited, and what the hypervisor took away.

use super::system::System;
use std::collections::HashMap;

/// Ticks per second of the times in `/proc`: USER_HZ, which is 100 on every architecture that Linux has today, so that
/// programs may rely on it (time(7)).
pub(super) const TICKS_PER_S: f64 = 100.0;

/// CPU time since boot, in seconds, summed over some CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CpuTime {
    /// Programs (guests among them), the kernel and interrupts.
    pub(super) busy_s: f64,
    /// Nothing to do, or waiting for a disk.
    pub(super) idle_s: f64,
    /// Something to do while the hypervisor ran somebody else.
    pub(super) steal_s: f64,
}

impl CpuTime {
    /// Of the CPUs in `of`, or of all.
    pub(super) fn read(system: &System, of: Option<&[usize]>) -> Option<Self> {
        Self::parse(&system.text("proc/stat")?, of)
    }

    /// Fields of a line `cpu3 user nice system idle iowait irq softirq steal guest guest_nice`, in ticks; guest time is
    /// part of user time (proc(5)). `None` where no CPU asked for is listed.
    fn parse(stat: &str, of: Option<&[usize]>) -> Option<Self> {
        let mut sum = Self::default();
        let mut found = false;
        for line in stat.lines().take_while(|line| line.starts_with("cpu")) {
            let mut fields = line.split_whitespace();
            let Some(number) = fields.next()?.strip_prefix("cpu").and_then(|n| n.parse::<usize>().ok())
            else {
                continue;
            };
            if of.is_some_and(|of| !of.contains(&number)) {
                continue;
            }
            let ticks: Vec<f64> = fields.filter_map(|f| f.parse().ok()).collect();
            let at = |i: usize| ticks.get(i).copied().unwrap_or(0.0) / TICKS_PER_S;
            sum.busy_s += at(0) + at(1) + at(2) + at(5) + at(6);
            sum.idle_s += at(3) + at(4);
            sum.steal_s += at(7);
            found = true;
        }
        found.then_some(sum)
    }

    /// The part of all time that was stolen; `None` before any time has passed.
    pub(super) fn steal_share(self) -> Option<f64> {
        let all = self.busy_s + self.idle_s + self.steal_s;
        (all > 0.0).then(|| self.steal_s / all)
    }
}

/// User and system time of this process in all its threads, in seconds, from `/proc/self/stat` (proc(5): fields 14 and 15
/// in ticks; the name in parentheses may hold anything).
pub(super) fn own_s(system: &System) -> Option<f64> {
    let stat = system.text("proc/self/stat")?;
    let after = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

/// Voluntary and involuntary context switches of each thread of this process; `None` where the system does not say.
pub(super) fn switches(system: &System) -> Option<HashMap<String, [u64; 2]>> {
    let threads = system.names("proc/self/task")?;
    let of = |thread: String| {
        // A thread may end between the two.
        let status = system.text(&format!("proc/self/task/{thread}/status"))?;
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        Some((thread, [value("voluntary_ctxt_switches:")?, value("nonvoluntary_ctxt_switches:")?]))
    };
    Some(threads.into_iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::super::system::system_of;
    use super::*;

    const STAT: &str = "cpu  300 0 60 600 0 0 0 40 0 0\ncpu0 100 10 20 200 5 3 2 10 50 0\ncpu1 200 0 40 400 0 0 0 30 0 0\nintr 5\n";

    #[test]
    fn the_lines_of_the_cpus_asked_for_are_summed() {
        // cpu0: 100 + 10 + 20 + 3 + 2 busy, guest among user; 200 + 5 idle; 10 stolen, all in 1/100 s.
        let of = |cpus: Option<&[usize]>| CpuTime::parse(STAT, cpus);
        let one = of(Some(&[0])).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(one.busy_s, 1.35) && close(one.idle_s, 2.05) && close(one.steal_s, 0.1), "{one:?}");
        let both = of(None).unwrap();
        assert!(close(both.busy_s, 3.75) && close(both.steal_s, 0.4), "{both:?}");
        assert!(close(both.steal_share().unwrap(), 0.4 / (3.75 + 6.05 + 0.4)));
        assert_eq!(of(Some(&[7])), None);
    }

    #[test]
    fn the_own_time_is_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b) c) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20\n";
        let (_folder, system) = system_of(&[("proc/self/stat", stat)]);
        assert_eq!(own_s(&system), Some(3.0));
    }
}
