//! `kprof doctor`: what a measurement on this machine has to reckon with, in under two seconds and without a GPU.
//!
//! Files are read at once. What can be slow (programs asked for their versions, a driver that wakes a GPU) runs beside
//! that, and is left out with the reason when it has not answered in time.

mod advice;
mod nvidia;
mod processor;

pub use advice::advice;
pub(super) use advice::harmful;

use super::nvml::Gpus;
use super::system::System;
use super::{cgroups, environment, kprof_info, now_rfc3339};
use crate::attach::ncu::{Permission, Places};
use crate::attach::{Presence, nsys};
use crate::hw::available_memory;
use crate::profile::{DIAGNOSIS_SCHEMA_VERSION, Diagnosis, Gpu, Limits, Nvidia, Nvml, Tool, Tools};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long slow answers are waited for: under two seconds with everything else.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Looks at this machine; profilers are looked for in `places`.
pub fn diagnose(places: &Places) -> Diagnosis {
    let (began, system) = (Instant::now(), System::this());
    let until = began + PATIENCE;
    let permission = Permission::read(system.root());
    let (for_ncu, for_nsys) = (places.clone(), places.clone());
    let ncu = beside(move || ncu(&for_ncu));
    let nsys = beside(move || nsys_tool(&for_nsys));
    let nvml = beside(gpus);
    let search: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|list| std::env::split_paths(&list).collect())
        .unwrap_or_default();
    let mut found = Diagnosis {
        schema_version: DIAGNOSIS_SCHEMA_VERSION,
        kprof: kprof_info(),
        taken: now_rfc3339(),
        took_s: 0.0,
        host: environment(),
        processor: processor::processor(&system),
        memory: processor::memory(&system, available_memory()),
        limits: limits(&system, &permission),
        nvidia: nvidia::nvidia(&system, places, &permission, &search),
        tools: Tools { attached: Presence::of_process().tool, ..Tools::default() },
        advice: Vec::new(),
    };
    let late = |what: &str| format!("{what} did not answer within {:.1} s", PATIENCE.as_secs_f64());
    let (info, gpus) = in_time(&nvml, until).unwrap_or_else(|| (failed(late("NVML")), None));
    found.nvidia = Nvidia { nvml: info, gpus, ..found.nvidia };
    let tool = |found: Option<Tool>, name: &str| {
        found.unwrap_or_else(|| Tool { error: Some(late(&format!("{name} --version"))), ..Tool::default() })
    };
    found.tools.ncu = tool(in_time(&ncu, until), "ncu");
    found.tools.nsys = tool(in_time(&nsys, until), "nsys");
    found.advice = advice(&found, &permission);
    found.took_s = began.elapsed().as_secs_f64();
    found
}

/// Starts `work` on a thread of its own, which the end of the program ends if nobody waits for it any more.
fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        // Nobody may be listening any more.
        let _ = sender.send(work());
    });
    receiver
}

fn in_time<T>(answer: &Receiver<T>, until: Instant) -> Option<T> {
    answer.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

fn ncu(places: &Places) -> Tool {
    match places.find() {
        Ok(ncu) => Tool {
            path: Some(ncu.path.display().to_string()),
            version: Some(ncu.version.to_string()),
            error: None,
        },
        Err(error) => Tool { error: Some(error.to_string()), ..Tool::default() },
    }
}

fn nsys_tool(places: &Places) -> Tool {
    match nsys::find(places) {
        Some(nsys) => {
            Tool { path: Some(nsys.path.display().to_string()), version: nsys.version, error: None }
        }
        None => Tool { error: Some("nsys was not found".to_string()), ..Tool::default() },
    }
}

/// What NVML says of itself and of the GPUs; `None` without it, and why.
pub fn gpus() -> (Nvml, Option<Vec<Gpu>>) {
    match Gpus::open() {
        Ok(nvml) => (nvml.info(), Some(nvml.gpus())),
        Err(error) => (failed(error), None),
    }
}

fn failed(error: String) -> Nvml {
    Nvml { error: Some(error), ..Nvml::default() }
}

fn limits(system: &System, permission: &Permission) -> Limits {
    let groups = cgroups::limits(system);
    Limits {
        container: permission.container.clone(),
        own_user_namespace: permission.own_namespace,
        cgroups: groups.versions,
        cpus: groups.cpus,
        memory_bytes: groups.memory_bytes,
        memory_used_bytes: groups.memory_used_bytes,
        throttled_s: cgroups::throttled_s(system),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_late_is_left_out() {
        let (hold, held) = channel::<()>();
        let slow = beside(move || held.recv().is_ok());
        assert_eq!(in_time(&slow, Instant::now() + Duration::from_millis(10)), None);
        hold.send(()).unwrap();
        assert_eq!(in_time(&slow, Instant::now() + Duration::from_secs(60)), Some(true));
        assert_eq!(in_time(&beside(|| 7), Instant::now() + Duration::from_secs(60)), Some(7));
    }
}
