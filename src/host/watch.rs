//! Watching the machine while something is measured: readings on demand, and a thread that samples in between.
//!
//! A reading takes some tens of µs and is made between timed steps, never inside one. The thread sleeps except for its
//! samples; what it costs, in CPU time of its own, is measured and handed over at the end.

use super::cputime::{CpuTime, own_s};
use super::energy::Meter;
use super::nvml::Gpus;
use super::system::System;
use super::{cgroups, clock, cputime};
use crate::profile::{ClockRecord, EnergyReading, PowerReading, TelemetryCost, TelemetryRecord, UsageRecord};
use crate::stats::Sample;
use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// CPUs whose clocks are read in a sample at most: each is a file, and on some drivers a call to that CPU.
const CLOCKS: usize = 16;

/// What to watch, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WatchOptions {
    /// The time between samples.
    pub interval: Duration,
    /// Whether the GPUs are watched too; where there are none, nothing is missing.
    pub gpus: bool,
}

/// What readings and samples are made with.
struct Instruments {
    system: System,
    cpus: Option<Vec<usize>>,
    meter: Mutex<Meter>,
    gpus: Option<Gpus>,
    began: Instant,
    samples: Mutex<Vec<TelemetryRecord>>,
}

/// A machine that is being watched, until it is stopped or dropped.
pub struct Watch {
    instruments: Arc<Instruments>,
    thread: Option<(Sender<()>, JoinHandle<TelemetryCost>)>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("running", &self.thread.is_some()).finish_non_exhaustive()
    }
}

/// What the system's counters said at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    at_s: f64,
    took_s: f64,
    cpu: Option<CpuTime>,
    own_s: Option<f64>,
    throttled_s: Option<f64>,
    /// Voluntary and involuntary switches by thread.
    switches: Option<HashMap<String, [u64; 2]>>,
    energy: Vec<(String, f64)>,
}

/// Nothing that holds these locks panics; if it did, what it left is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Starts watching.
    pub fn start(system: System, options: WatchOptions) -> Self {
        let instruments = Arc::new(Instruments {
            cpus: system.allowed_cpus(),
            meter: Mutex::new(Meter::new(&system)),
            gpus: options.gpus.then(|| Gpus::open().ok()).flatten(),
            system,
            began: Instant::now(),
            samples: Mutex::default(),
        });
        let (stop, stopped) = channel();
        let for_thread = Arc::clone(&instruments);
        let sample = move || {
            let (mut samples, mut due) = (0, Instant::now());
            let mut before = for_thread.energy();
            // The sender is dropped with the watch: that ends the thread as well.
            while stopped.recv_timeout(due.saturating_duration_since(Instant::now()))
                == Err(RecvTimeoutError::Timeout)
            {
                let record = for_thread.sample(&mut before);
                locked(&for_thread.samples).push(record);
                samples += 1;
                // A sample that took longer than the interval is not made up for.
                due = (due + options.interval).max(Instant::now());
            }
            TelemetryCost {
                interval_s: options.interval.as_secs_f64(),
                samples,
                wall_s: for_thread.began.elapsed().as_secs_f64(),
                cpu_s: thread_cpu_s(),
            }
        };
        let thread = std::thread::Builder::new().name("kprof-telemetry".into()).spawn(sample);
        // Without a thread there are readings and no samples.
        Self { instruments, thread: thread.ok().map(|thread| (stop, thread)) }
    }

    /// Reads all counters now.
    pub fn read(&self) -> Reading {
        self.instruments.read()
    }

    /// Now, on the clock of readings and samples and on the machine's.
    pub fn moment(&self) -> ClockRecord {
        clock::moment(self.instruments.began)
    }

    /// The samples since they were last taken.
    pub fn take_samples(&self) -> Vec<TelemetryRecord> {
        std::mem::take(&mut locked(&self.instruments.samples))
    }

    /// What happened between two readings; version, stage, twin and repetition are those of `of`.
    pub fn between(&self, before: &Reading, after: &Reading, of: UsageRecord) -> UsageRecord {
        let change = |value: fn(&Reading) -> Option<f64>| Some(value(after)? - value(before)?);
        let own_cpu_s = change(|r| r.own_s);
        let busy_s = change(|r| Some(r.cpu?.busy_s));
        let switches = before.switches.as_ref().zip(after.switches.as_ref()).map(|(b, a)| switched(b, a));
        UsageRecord {
            at_s: before.at_s,
            wall_s: after.at_s - before.at_s,
            cpus: self.instruments.cpus.as_ref().map(Vec::len),
            own_cpu_s,
            others_cpu_s: busy_s.zip(own_cpu_s).map(|(busy, own)| busy - own),
            steal_s: change(|r| Some(r.cpu?.steal_s)),
            throttled_s: change(|r| r.throttled_s),
            voluntary_switches: switches.map(|s| s[0]),
            involuntary_switches: switches.map(|s| s[1]),
            energy: energy_between(&before.energy, &after.energy),
            reading_s: before.took_s + after.took_s,
            ..of
        }
    }

    /// Ends the thread; what it cost, where there was one.
    pub fn stop(&mut self) -> Option<TelemetryCost> {
        let (stop, thread) = self.thread.take()?;
        drop(stop);
        thread.join().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Instruments {
    fn energy(&self) -> (f64, Vec<(String, f64)>) {
        let energy = locked(&self.meter).read();
        (self.began.elapsed().as_secs_f64(), energy)
    }

    fn read(&self) -> Reading {
        let at_s = self.began.elapsed().as_secs_f64();
        let mut energy = locked(&self.meter).read();
        energy.extend(self.gpus.iter().flat_map(Gpus::energy));
        Reading {
            cpu: CpuTime::read(&self.system, self.cpus.as_deref()),
            own_s: own_s(&self.system),
            throttled_s: cgroups::throttled_s(&self.system),
            switches: cputime::switches(&self.system),
            energy,
            at_s,
            took_s: self.began.elapsed().as_secs_f64() - at_s,
        }
    }

    fn sample(&self, before: &mut (f64, Vec<(String, f64)>)) -> TelemetryRecord {
        let now = self.energy();
        let passed_s = now.0 - before.0;
        let power = energy_between(&before.1, &now.1).into_iter().filter(|_| passed_s > 0.0);
        let record = TelemetryRecord {
            at_s: now.0,
            cpu_clock_hz: self.cpu_clock_hz(),
            power: power
                .map(|e| PowerReading { counter: e.counter, power_w: e.energy_j / passed_s })
                .collect(),
            gpus: self.gpus.as_ref().map(Gpus::sample).unwrap_or_default(),
        };
        *before = now;
        record
    }

    /// The median of at most [`CLOCKS`] of the allowed CPUs. What `/proc/cpuinfo` says is not taken: in a virtual machine
    /// it is a constant.
    fn cpu_clock_hz(&self) -> Option<f64> {
        let cpus = self.cpus.as_ref()?;
        let khz = |cpu: &usize| {
            self.system.number::<f64>(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"))
        };
        let clocks = cpus.iter().step_by(cpus.len().div_ceil(CLOCKS).max(1)).filter_map(khz);
        Sample::new(clocks.map(|khz| khz * 1e3).collect()).ok().map(|sample| sample.median())
    }
}

/// Of each counter that both name, the difference.
fn energy_between(before: &[(String, f64)], after: &[(String, f64)]) -> Vec<EnergyReading> {
    let of = |(counter, now): &(String, f64)| {
        let (_, then) = before.iter().find(|(name, _)| name == counter)?;
        Some(EnergyReading { counter: counter.clone(), energy_j: now - then })
    };
    after.iter().filter_map(of).collect()
}

/// Switches of the threads that are there at the end; those of threads that ended in between are lost.
fn switched(before: &HashMap<String, [u64; 2]>, after: &HashMap<String, [u64; 2]>) -> [u64; 2] {
    after.iter().fold([0, 0], |sum, (thread, now)| {
        let then = before.get(thread).copied().unwrap_or_default();
        // A number given to a new thread starts at 0 again.
        [0, 1].map(|i| sum[i] + now[i].checked_sub(then[i]).unwrap_or(now[i]))
    })
}

/// CPU time of the calling thread.
#[cfg(unix)]
fn thread_cpu_s() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

#[cfg(not(unix))]
fn thread_cpu_s() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::system::{put, system_of};
    use super::*;
    use crate::llm::Stage;
    use crate::profile::Twin;

    const FILES: &[(&str, &str)] = &[
        ("proc/self/status", "Cpus_allowed_list:\t0-1\n"),
        ("proc/stat", "cpu0 100 0 0 100 0 0 0 0 0 0\ncpu1 0 0 0 200 0 0 0 0 0 0\ncpu2 0 0 0 0 0 0 0 0 0 0\n"),
        ("proc/self/stat", "7 (kprof) R 1 2 3 4 5 6 7 8 9 10 50 0 0 0 20\n"),
        ("proc/self/task/7/status", "voluntary_ctxt_switches:\t10\nnonvoluntary_ctxt_switches:\t1\n"),
        ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
        ("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "1000000000\n"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "999000000\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2000000\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "3000000\n"),
    ];

    fn stage() -> UsageRecord {
        UsageRecord::of("v1", Stage::Decode, Twin::Plain, 2)
    }

    /// An interval that does not pass during a test.
    const NEVER: Duration = Duration::from_secs(3600);

    #[test]
    fn what_others_took_is_what_was_busy_and_not_ours() {
        let (folder, system) = system_of(FILES);
        let watch = Watch::start(system, WatchOptions { interval: NEVER, gpus: false });
        let before = watch.read();
        // cpu0 worked 80 more ticks and lost 20 to the hypervisor; cpu2 is not ours to use.
        put(
            folder.path(),
            "proc/stat",
            "cpu0 180 0 0 100 0 0 0 20 0 0\ncpu1 30 0 0 270 0 0 0 0 0 0\ncpu2 900 0 0 0 0 0 0 0 0 0\n",
        );
        put(folder.path(), "proc/self/stat", "7 (kprof) R 1 2 3 4 5 6 7 8 9 10 115 10 0 0 20\n");
        put(
            folder.path(),
            "proc/self/task/7/status",
            "voluntary_ctxt_switches:\t14\nnonvoluntary_ctxt_switches:\t3\n",
        );
        put(
            folder.path(),
            "proc/self/task/9/status",
            "voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t0\n",
        );
        // 1 J to the counter's turn, and half a Joule after it.
        put(folder.path(), "sys/class/powercap/intel-rapl:0/energy_uj", "500000\n");
        let found = watch.between(&before, &watch.read(), stage());
        assert_eq!((found.version.as_str(), found.repetition, found.cpus), ("v1", 2, Some(2)));
        let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-9;
        // 110 ticks busy on both, of which 75 were ours.
        assert!(
            close(found.own_cpu_s, 0.75) && close(found.others_cpu_s, 0.35) && close(found.steal_s, 0.2),
            "{found:?}"
        );
        assert_eq!((found.voluntary_switches, found.involuntary_switches), (Some(9), Some(2)));
        assert_eq!(found.throttled_s, None);
        assert_eq!(found.energy[0].counter, "package-0");
        assert!((found.energy[0].energy_j - 1.5).abs() < 1e-9);
        assert!(found.wall_s > 0.0 && found.reading_s > 0.0);
    }

    #[test]
    fn a_system_without_counters_gives_readings_without_figures() {
        let (_folder, system) = system_of(&[]);
        let mut watch = Watch::start(system, WatchOptions { interval: NEVER, gpus: false });
        let found = watch.between(&watch.read(), &watch.read(), stage());
        let expected =
            UsageRecord { at_s: found.at_s, wall_s: found.wall_s, reading_s: found.reading_s, ..stage() };
        assert_eq!(found, expected);
        assert!(watch.stop().is_some() && watch.stop().is_none());
    }

    #[test]
    fn the_thread_samples_until_it_is_stopped_and_says_what_it_cost() {
        let (_folder, system) = system_of(FILES);
        let mut watch =
            Watch::start(system, WatchOptions { interval: Duration::from_millis(1), gpus: false });
        let mut samples = Vec::new();
        while samples.len() < 3 {
            samples.extend(watch.take_samples());
            std::thread::yield_now();
        }
        let cost = watch.stop().unwrap();
        assert!(cost.samples >= samples.len() && cost.wall_s > 0.0, "{cost:?}");
        #[cfg(unix)]
        assert!(cost.cpu_s.unwrap() > 0.0 && cost.cpu_share().unwrap() <= 1.01, "{cost:?}");
        // The median of two clocks is their mean.
        assert_eq!(samples[0].cpu_clock_hz, Some(2.5e9));
        assert_eq!(samples[1].power[0].counter, "package-0");
        assert!(samples.is_sorted_by(|a, b| a.at_s < b.at_s) && samples.iter().all(|s| s.gpus.is_empty()));
    }
}
