//! One moment on several clocks, so that what processes recorded can be laid on one axis.

use crate::profile::ClockRecord;
use std::time::{Duration, Instant, SystemTime};

/// Now: on the clock that was 0 at `began`, on the machine's monotonic clock and on its wall clock.
///
/// The wall clock is read between two readings of the monotonic one, and the moment is their middle: each reading is at most
/// half of `within_ns` from it. Of a few attempts the quickest counts, so that no interruption lies within.
pub(super) fn moment(began: Instant) -> ClockRecord {
    const ATTEMPTS: usize = 5;
    let name = monotonic_name();
    let mut attempts = (0..ATTEMPTS).map(|_| attempt(began, name.clone()));
    let first = attempts.next().unwrap_or_else(|| attempt(began, name.clone()));
    attempts.fold(first, |best, next| if next.within_ns < best.within_ns { next } else { best })
}

fn attempt(began: Instant, monotonic_clock: Option<String>) -> ClockRecord {
    let before = Instant::now();
    let monotonic = monotonic_ns();
    let wall = SystemTime::now();
    let after = Instant::now();
    let within = after - before;
    let at = before.saturating_duration_since(began) + within / 2;
    // A wall clock before 1970 is none.
    let wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    ClockRecord {
        at_ns: nanos(at),
        monotonic_ns: monotonic,
        monotonic_clock: monotonic.and(monotonic_clock),
        wall_unix_ns: nanos(wall),
        within_ns: nanos(within),
    }
}

/// Durations of 584 years and more are none that occur.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(unix)]
fn monotonic_ns() -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).ok()?)
}

#[cfg(not(unix))]
fn monotonic_ns() -> Option<u64> {
    None
}

/// The boot and the time namespace: processes that have both alike read one monotonic clock (time_namespaces(7)).
fn monotonic_name() -> Option<String> {
    let boot = super::line("/proc/sys/kernel/random/boot_id")?;
    let namespace = std::fs::read_link("/proc/self/ns/time").ok();
    let namespace = namespace.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Some([boot, namespace].join(" ").trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_moments_are_as_far_apart_on_every_clock() {
        let began = Instant::now();
        let first = moment(began);
        std::thread::sleep(Duration::from_millis(20));
        let second = moment(began);
        let passed = |of: fn(&ClockRecord) -> u64| of(&second) as f64 - of(&first) as f64;
        let own = passed(|c| c.at_ns);
        assert!(own >= 20e6, "{first:?} {second:?}");
        let slack = (first.within_ns + second.within_ns) as f64;
        if first.monotonic_ns.is_some() {
            let monotonic = passed(|c| c.monotonic_ns.unwrap_or_default());
            assert!((monotonic - own).abs() <= slack, "{first:?} {second:?}");
        }
        assert!(first.wall_unix_ns > 1_600_000_000_000_000_000);
        assert_eq!(first.monotonic_clock, second.monotonic_clock);
    }
}
