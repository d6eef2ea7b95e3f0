//! What a report says about its session: devices with their attributes, versions, command lines.
//!
//! The message is split over several blocks, each with some of its fields.

use super::value::{self, Scalar};
use super::wire::{Break, Message};
use crate::profile::{ComputeCapability, ProfilerInfo};
use std::collections::BTreeMap;

/// A device and its attributes by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Device {
    pub(super) name: Option<String>,
    pub(super) attributes: BTreeMap<String, Scalar>,
}

impl Device {
    /// The device's compute capability.
    pub(super) fn capability(&self) -> Option<ComputeCapability> {
        let part = |part: &str| {
            let name = format!("device__attribute_compute_capability_{part}");
            let value = self.attributes.get(&name)?.number()?;
            (0.0..1000.0).contains(&value).then_some(value as u32)
        };
        Some(ComputeCapability { major: part("major")?, minor: part("minor")? })
    }
}

/// What the blocks together say.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    devices: BTreeMap<u64, Device>,
    versions: BTreeMap<String, String>,
    executable: Option<String>,
    command: Option<String>,
    started: Option<u64>,
    process_name: Option<String>,
    /// The profiled process, where blocks do not name theirs.
    pub(super) process_id: Option<u64>,
}

impl Session {
    /// Adds the fields that one block has.
    pub(super) fn merge(&mut self, details: Message<'_>) -> Result<(), Break> {
        for field in details.fields() {
            let field = field?;
            match (field.number, field.value.message()) {
                (1, _) => self.process_id = field.value.integer().filter(|p| *p > 0).or(self.process_id),
                (2, _) => self.started = field.value.integer().filter(|t| *t > 0).or(self.started),
                (6, Some(attributes)) => self.device(attributes),
                (8, Some(version)) => {
                    if let (Some(provider), Some(number)) = (version.text_of(1), version.text_of(2)) {
                        self.versions.insert(provider, number);
                    }
                }
                (9, Some(program)) => self.executable = program.text_of(1).or(self.executable.take()),
                (11, Some(command)) => {
                    self.command = Some(command.text()).filter(|c| !c.is_empty()).or(self.command.take());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn device(&mut self, attributes: Message<'_>) {
        let index = attributes.first(1).and_then(|v| v.integer()).unwrap_or_default();
        let device = self.devices.entry(index).or_default();
        device.name = attributes.text_of(2).or(device.name.take());
        for attribute in attributes.messages(3) {
            let value = attribute.first(2).and_then(|v| v.message()).and_then(value::scalar);
            if let (Some(name), Some(value)) = (attribute.text_of(1), value) {
                device.attributes.insert(name, value);
            }
        }
    }

    /// Takes the name of the profiled process, which every block repeats.
    pub(super) fn process(&mut self, process: Message<'_>) {
        if self.process_name.is_none() {
            self.process_name = process.text_of(3);
        }
    }

    /// The device of an index; the only one, where the index names none.
    pub(super) fn device_of(&self, index: u64) -> Option<&Device> {
        let only = || self.devices.values().next().filter(|_| self.devices.len() == 1);
        self.devices.get(&index).or_else(only)
    }

    /// What a run keeps of it.
    pub(super) fn info(&self) -> ProfilerInfo {
        let version = |provider: &str| self.versions.get(provider).cloned();
        ProfilerInfo {
            name: "Nsight Compute".to_string(),
            version: version("Nsight Compute Target"),
            command: self.command.as_deref().map(|c| c.trim().to_string()),
            executable: self.executable.clone().or_else(|| self.process_name.clone()),
            cuda: version("CUDA Version"),
            started_unix_s: self.started,
        }
    }
}
