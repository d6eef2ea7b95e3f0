//! Memory modules out of the firmware's tables: what kind, how many, how fast. For administrators only, and most virtual
//! machines have none.

use super::system::System;
use crate::profile::MemoryModules;

/// The kinds of memory that inference machines have (SMBIOS 3.7, table 78), and their numbers.
const KINDS: &[(u8, &str)] = &[
    (0x18, "DDR3"),
    (0x1A, "DDR4"),
    (0x1D, "LPDDR3"),
    (0x1E, "LPDDR4"),
    (0x20, "HBM"),
    (0x21, "HBM2"),
    (0x22, "DDR5"),
    (0x23, "LPDDR5"),
    (0x24, "HBM3"),
];

/// A structure of type 17 (SMBIOS 3.7, 7.18).
const MEMORY_DEVICE: u8 = 17;

pub(super) fn modules(system: &System) -> Option<MemoryModules> {
    let table = std::fs::read(system.path("sys/firmware/dmi/tables/DMI")).ok()?;
    let modules: Vec<Module> = structures(&table).filter_map(module).collect();
    let slowest = modules.iter().map(|m| m.transfers_per_s).reduce(f64::min)?;
    let width_bits: u64 = modules.iter().map(|m| u64::from(m.width_bits)).sum();
    let kind = modules[0].kind;
    Some(MemoryModules {
        kind: modules.iter().all(|m| m.kind == kind).then_some(kind).flatten().map(str::to_string),
        count: modules.len(),
        transfers_per_s: slowest,
        width_bits,
        at_most_byte_per_s: slowest * width_bits as f64 / 8.0,
    })
}

struct Module {
    kind: Option<&'static str>,
    width_bits: u16,
    transfers_per_s: f64,
}

/// The structures of a table, each its formatted part: type, length and handle come first, and strings, ended by two
/// zeros, follow it (SMBIOS 3.7, 6.1).
fn structures(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = table;
    std::iter::from_fn(move || {
        let length = usize::from(*rest.get(1)?).max(4);
        let structure = rest.get(..length)?;
        let strings = &rest[length..];
        let end = strings.windows(2).position(|two| two == [0, 0]).map_or(strings.len(), |at| at + 2);
        rest = &strings[end..];
        Some(structure)
    })
}

/// A slot with a module in it; an empty one has the size 0. Width at 0x0A, size at 0x0C, kind at 0x12, speeds in MT/s:
/// rated at 0x15, configured at 0x20, where 0 is unknown and 0xFFFF stands for an extended field at 0x54 and 0x58.
fn module(structure: &[u8]) -> Option<Module> {
    let word = |at: usize| Some(u16::from_le_bytes(structure.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(u32::from_le_bytes(structure.get(at..at + 4)?.try_into().ok()?));
    if structure.first() != Some(&MEMORY_DEVICE) || word(0x0C)? == 0 {
        return None;
    }
    let speed = |short: usize, extended: usize| match word(short)? {
        0 => None,
        0xFFFF => long(extended).filter(|speed| *speed > 0),
        speed => Some(u32::from(speed)),
    };
    let width_bits = word(0x0A).filter(|width| *width != 0 && *width != 0xFFFF)?;
    let kind = structure.get(0x12)?;
    Some(Module {
        kind: KINDS.iter().find(|(number, _)| number == kind).map(|(_, name)| *name),
        width_bits,
        transfers_per_s: f64::from(speed(0x20, 0x58).or_else(|| speed(0x15, 0x54))?) * 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(size: u16, kind: u8, rated: u16, configured: u16) -> Vec<u8> {
        let mut bytes = vec![0; 0x28];
        (bytes[0], bytes[1]) = (MEMORY_DEVICE, 0x28);
        bytes[0x0A..0x0C].copy_from_slice(&64_u16.to_le_bytes());
        bytes[0x0C..0x0E].copy_from_slice(&size.to_le_bytes());
        bytes[0x12] = kind;
        bytes[0x15..0x17].copy_from_slice(&rated.to_le_bytes());
        bytes[0x20..0x22].copy_from_slice(&configured.to_le_bytes());
        bytes.extend(b"DIMM\0\0");
        bytes
    }

    fn of(table: &[u8]) -> Option<MemoryModules> {
        let folder = tempfile::tempdir().unwrap();
        let tables = folder.path().join("sys/firmware/dmi/tables");
        std::fs::create_dir_all(&tables).unwrap();
        std::fs::write(tables.join("DMI"), table).unwrap();
        modules(&System::at(folder.path()))
    }

    #[test]
    fn modules_are_counted_and_the_slowest_sets_the_bound() {
        let other: &[u8] = &[1, 4, 0, 0, b'x', 0, 0];
        let table = [
            other,
            &device(0x4000, 0x22, 5600, 4800),
            &device(0, 0x22, 0, 0),
            &device(0x4000, 0x22, 4800, 0),
        ]
        .concat();
        let found = of(&table).unwrap();
        assert_eq!((found.kind.as_deref(), found.count, found.width_bits), (Some("DDR5"), 2, 128));
        // 4800 MT/s x 16 bytes.
        assert_eq!((found.transfers_per_s, found.at_most_byte_per_s), (4.8e9, 76.8e9));
    }

    #[test]
    fn damaged_and_empty_tables_give_nothing() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[17, 40, 0, 0, 1]), None);
        let whole = device(0x4000, 0x22, 4800, 4800);
        (0..whole.len()).for_each(|cut| drop(of(&whole[..cut])));
        assert_eq!(of(&device(0, 0x22, 4800, 4800)), None);
    }
}
