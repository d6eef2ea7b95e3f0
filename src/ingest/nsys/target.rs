//! What was recorded where: version of nsys and of the schema, devices, when.

use crate::ingest::sqlite::{Database, SqliteError};
use crate::ingest::timeline::Collected;
use crate::profile::TraceDevice;

pub(super) fn read(database: &mut Database, collected: &mut Collected) -> Result<(), SqliteError> {
    // Called so since schema 3, and the other way round before.
    for table in ["META_DATA_EXPORT", "EXPORT_META_DATA"] {
        database.scan(table, &["name", "value"], &mut |row| {
            let value = || row[1].text().map(ToString::to_string);
            match row[0].text() {
                Some("EXPORT_PRODUCT_VERSION") => collected.profiler.version = value(),
                Some("EXPORT_SCHEMA_VERSION") => collected.info.format_version = value(),
                _ => {}
            }
        })?;
    }
    let mut devices: Vec<TraceDevice> = Vec::new();
    database.scan("TARGET_INFO_GPU", &["id", "name"], &mut |row| {
        if let Some(number) = row[0].integer().and_then(|n| u32::try_from(n).ok()) {
            devices.push(TraceDevice { number, name: row[1].text().map(ToString::to_string) });
        }
    })?;
    collected.info.devices = devices;
    database.scan("TARGET_INFO_SESSION_START_TIME", &["utcEpochNs"], &mut |row| {
        let ns = row[0].integer().and_then(|ns| u64::try_from(ns).ok());
        collected.profiler.started_unix_s = ns.map(|ns| ns / 1_000_000_000);
    })
}
