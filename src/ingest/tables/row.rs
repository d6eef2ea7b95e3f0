//! A row of a table as a record.

use super::kinds::{bare, unit};
use crate::ingest::steps::step_mark;
use crate::ingest::timeline::TraceError;
use crate::profile::{CopyKind, CopyRecord, KernelRecord, Measured, RangeRecord, Timeline};

/// A row with what is needed to find its cells and to say where it is.
pub(super) struct Row<'a> {
    pub(super) file: &'a str,
    pub(super) line: u64,
    pub(super) header: &'a csv::StringRecord,
    pub(super) cells: &'a csv::StringRecord,
}

impl<'a> Row<'a> {
    /// The header's own spelling and the cell of the first of `columns` that the table has; an empty cell is absent.
    fn cell(&self, columns: &[&str]) -> Option<(&'a str, &'a str)> {
        columns.iter().find_map(|column| {
            let at = self.header.iter().position(|h| bare(h) == *column)?;
            let cell = self.cells.get(at)?.trim();
            (!cell.is_empty()).then(|| (self.header.get(at).unwrap_or_default(), cell))
        })
    }

    fn text(&self, columns: &[&str]) -> Option<String> {
        self.cell(columns).map(|(_, cell)| cell.to_string())
    }

    fn error(&self, header: &str, cell: &str, what: &str) -> TraceError {
        let why = format!("column {header}: '{cell}' is no {what}");
        TraceError::Csv { file: self.file.to_string(), line: self.line, why }
    }

    /// A number; thousands may be set off by commas.
    fn number(&self, columns: &[&str]) -> Result<Option<(&'a str, f64)>, TraceError> {
        let Some((header, cell)) = self.cell(columns) else { return Ok(None) };
        let value = cell.replace(',', "").parse::<f64>().ok().filter(|v| v.is_finite());
        value.map(|v| Some((header, v))).ok_or_else(|| self.error(header, cell, "number"))
    }

    /// A time in seconds, by the unit of its column.
    fn seconds(&self, columns: &[&str]) -> Result<Option<f64>, TraceError> {
        let Some((header, value)) = self.number(columns)? else { return Ok(None) };
        let per_second = match unit(header) {
            Some("ns" | "nsec") => 1e9,
            Some("us" | "μs" | "µs" | "usec") => 1e6,
            Some("ms" | "msec") => 1e3,
            Some("s" | "sec") => 1.0,
            // rocprofv3 and rocprof-compute say so in their documents: nanoseconds.
            None if header.contains("Timestamp") || header.ends_with("Ns") => 1e9,
            _ => return Err(self.error(header, header, "column with a unit of time that kprof knows")),
        };
        Ok(Some(value / per_second))
    }

    fn needed<T>(&self, value: Option<T>, column: &str) -> Result<T, TraceError> {
        let why = || format!("column {column} is empty");
        value.ok_or_else(|| TraceError::Csv { file: self.file.to_string(), line: self.line, why: why() })
    }

    /// Bytes, by the unit of their column; rounded to 0 they say nothing.
    fn bytes(&self, columns: &[&str]) -> Result<Option<f64>, TraceError> {
        let Some((header, value)) = self.number(columns)? else { return Ok(None) };
        let factor = match unit(header) {
            Some("byte" | "B" | "bytes") => 1.0,
            Some("KB" | "kB") => 1e3,
            Some("MB") => 1e6,
            Some("GB") => 1e9,
            Some("KiB") => 1024.0,
            Some("MiB") => 1024.0 * 1024.0,
            Some("GiB") => 1024.0 * 1024.0 * 1024.0,
            _ => return Ok(None),
        };
        Ok(Some(value * factor).filter(|bytes| *bytes > 0.0))
    }

    fn count(&self, columns: &[&str]) -> Result<u64, TraceError> {
        let (header, value) = self.needed(self.number(columns)?, columns[0])?;
        if value < 0.0 || value.fract() != 0.0 || value > 1e15 {
            return Err(self.error(header, &value.to_string(), "count"));
        }
        Ok(value as u64)
    }

    /// A kernel summed over its launches; `None` for a call of the host, which rocprof's statistics have as well.
    pub(super) fn kernel_sum(&self) -> Result<Option<KernelRecord>, TraceError> {
        let name = self.needed(self.text(&["Kernel Name", "Name"]), "Name")?;
        if ["hip", "hsa_", "__hip", "roctx"].iter().any(|api| name.starts_with(api)) {
            return Ok(None);
        }
        let time = self.needed(self.seconds(&["Total Time", "TotalDurationNs"])?, "Total Time")?;
        Ok(Some(KernelRecord {
            file: self.file.to_string(),
            kernel: name,
            launches: self.count(&["Kern Inst", "Instances", "Calls"])?,
            nvtx: self.text(&["NVTX Range"]).into_iter().collect(),
            timeline: Some(Timeline::default()),
            time: Some(Measured::new(time, self.time_source(&["Total Time", "TotalDurationNs"]))),
            ..KernelRecord::default()
        }))
    }

    fn time_source(&self, columns: &[&str]) -> String {
        let header = self.cell(columns).map_or(columns[0], |(header, _)| header);
        format!("column {header}")
    }

    /// One launch.
    pub(super) fn launch(&self) -> Result<KernelRecord, TraceError> {
        let (start, time) = self.interval()?;
        let (device, number) = self.device();
        let grid = self.extent(["GrdX", "GrdY", "GrdZ"]).or_else(|| self.grid_of_items());
        let block = self
            .extent(["BlkX", "BlkY", "BlkZ"])
            .or_else(|| self.extent(["Workgroup_Size_X", "Workgroup_Size_Y", "Workgroup_Size_Z"]));
        let correlation = self.number(&["CorrId", "Correlation_Id", "Correlation_ID"])?;
        Ok(KernelRecord {
            file: self.file.to_string(),
            launch: self.text(&["Dispatch_Id", "Dispatch_ID"]),
            kernel: self.needed(self.text(&["Kernel_Name", "Name"]), "Name")?,
            launches: 1,
            device,
            grid,
            block,
            registers: self.registers()?,
            static_shared_bytes: self.whole_bytes(&["StcSMem"])?,
            dynamic_shared_bytes: self.whole_bytes(&["DymSMem"])?,
            context: self.text(&["Ctx"]),
            stream: self.text(&["Strm", "Stream_Id", "Queue_Id"]),
            timeline: Some(Timeline {
                start_s: Some(start),
                device: number,
                correlation: correlation.map(|(_, id)| id as u64),
                ..Timeline::default()
            }),
            time: Some(Measured::new(time, self.time_source(&["Duration", "End_Timestamp"]))),
            ..KernelRecord::default()
        })
    }

    fn registers(&self) -> Result<Option<u32>, TraceError> {
        let Some((header, value)) = self.number(&["Reg/Trd"])? else { return Ok(None) };
        let is_count = value >= 0.0 && value.fract() == 0.0 && value <= f64::from(u32::MAX);
        if is_count { Ok(Some(value as u32)) } else { Err(self.error(header, &value.to_string(), "count")) }
    }

    /// Bytes where they stand in bytes: in MB with three decimals, as nsys writes them, shared memory is off by up to 500 B.
    fn whole_bytes(&self, columns: &[&str]) -> Result<Option<u64>, TraceError> {
        let found =
            self.number(columns)?.filter(|(header, _)| matches!(unit(header), Some("byte" | "B" | "bytes")));
        Ok(found.filter(|(_, value)| *value >= 0.0 && value.fract() == 0.0).map(|(_, value)| value as u64))
    }

    /// Start and duration, in seconds.
    fn interval(&self) -> Result<(f64, f64), TraceError> {
        if self.cell(&["Start_Timestamp"]).is_some() {
            // Nanoseconds since the machine started have more digits than a double holds once divided.
            let whole = |column: &str| -> Result<i64, TraceError> {
                let (header, cell) = self.needed(self.cell(&[column]), column)?;
                cell.parse().map_err(|_| self.error(header, cell, "whole number of nanoseconds"))
            };
            let (start, end) = (whole("Start_Timestamp")?, whole("End_Timestamp")?);
            return Ok((start as f64 / 1e9, end.saturating_sub(start) as f64 / 1e9));
        }
        let start = self.needed(self.seconds(&["Start"])?, "Start")?;
        Ok((start, self.needed(self.seconds(&["Duration"])?, "Duration")?))
    }

    /// `NVIDIA A100-SXM4-80GB (0)`, `Agent 2` or `2`: name and number.
    fn device(&self) -> (Option<String>, Option<u32>) {
        let Some(cell) = self.text(&["Device", "Agent_Id", "GPU_ID"]) else { return (None, None) };
        if let Some((name, number)) = cell.strip_suffix(')').and_then(|c| c.rsplit_once(" ("))
            && let Ok(number) = number.parse()
        {
            return (Some(name.to_string()), Some(number));
        }
        let number = cell.strip_prefix("Agent ").unwrap_or(&cell).parse().ok();
        (if number.is_some() { None } else { Some(cell) }, number)
    }

    fn extent(&self, columns: [&str; 3]) -> Option<String> {
        let sides: Option<Vec<&str>> =
            columns.iter().map(|c| self.cell(&[c]).map(|(_, cell)| cell)).collect();
        sides.map(|s| format!("({})", s.join(", ")))
    }

    /// AMD counts work-items in a grid, CUDA blocks: as blocks, where they divide evenly.
    fn grid_of_items(&self) -> Option<String> {
        let side = |axis: &str| {
            let of = |what: &str| self.cell(&[&format!("{what}_Size_{axis}")])?.1.parse::<u64>().ok();
            let (items, group) = (of("Grid")?, of("Workgroup")?);
            (group > 0 && items.is_multiple_of(group)).then(|| (items / group).to_string())
        };
        let sides: Option<Vec<String>> = ["X", "Y", "Z"].into_iter().map(side).collect();
        sides.map(|s| format!("({})", s.join(", ")))
    }

    /// A copy or a filling; `None` for a kernel.
    pub(super) fn copy(&self) -> Result<Option<CopyRecord>, TraceError> {
        let Some(kind) = self.operation(&["Direction", "Name"]) else { return Ok(None) };
        let (start, time_s) = self.interval()?;
        let memory = match (self.text(&["SrcMemKd"]), self.text(&["DstMemKd"])) {
            (Some(from), Some(to)) => Some(format!("{from} -> {to}")),
            (from, to) => from.or(to),
        };
        Ok(Some(CopyRecord {
            file: self.file.to_string(),
            kind,
            memory,
            count: 1,
            bytes: self.bytes(&["Bytes"])?,
            time_s,
            stream: self.text(&["Strm", "Stream_Id"]),
            timeline: Timeline { start_s: Some(start), device: self.device().1, ..Timeline::default() },
        }))
    }

    /// Copies of a kind, summed; `None` for a kernel.
    pub(super) fn copy_sum(&self) -> Result<Option<CopyRecord>, TraceError> {
        let Some(kind) = self.operation(&["Operation", "Name"]) else { return Ok(None) };
        let time_s = self.needed(self.seconds(&["Total Time", "TotalDurationNs"])?, "Total Time")?;
        Ok(Some(CopyRecord {
            file: self.file.to_string(),
            kind,
            memory: self.text(&["Operation", "Name"]),
            count: self.count(&["Count", "Instances", "Calls"])?,
            bytes: None,
            time_s,
            stream: None,
            timeline: Timeline::default(),
        }))
    }

    /// The bytes of a kind of copy.
    pub(super) fn copy_bytes(&self) -> Result<Option<(String, f64)>, TraceError> {
        Ok(self.text(&["Operation"]).zip(self.bytes(&["Total"])?))
    }

    /// What a copy's or filling's name says of it: `[CUDA memcpy Host-to-Device]`, `MEMORY_COPY_HOST_TO_DEVICE`.
    fn operation(&self, columns: &[&str]) -> Option<CopyKind> {
        let name = self.cell(columns)?.1.to_ascii_lowercase().replace(['_', '-'], " ");
        let is_copy = name.starts_with("[cuda mem") || name.starts_with("memory copy");
        let directed = ["host to device", "device to host", "device to device"].iter().any(|d| name == *d);
        if !is_copy && !directed {
            return None;
        }
        let kinds = [
            ("memset", CopyKind::Set),
            ("host to device", CopyKind::HostToDevice),
            ("htod", CopyKind::HostToDevice),
            ("device to host", CopyKind::DeviceToHost),
            ("dtoh", CopyKind::DeviceToHost),
            ("device to device", CopyKind::DeviceToDevice),
            ("dtod", CopyKind::DeviceToDevice),
            ("peer to peer", CopyKind::PeerToPeer),
            ("ptop", CopyKind::PeerToPeer),
            ("host to host", CopyKind::HostToHost),
        ];
        Some(kinds.iter().find(|(word, _)| name.contains(word)).map_or(CopyKind::Unknown, |(_, kind)| *kind))
    }

    /// An NVTX range.
    pub(super) fn range(&self) -> Result<RangeRecord, TraceError> {
        let name = self.needed(self.text(&["Name"]), "Name")?;
        let (start_s, time_s) = self.interval()?;
        Ok(RangeRecord {
            file: self.file.to_string(),
            step: step_mark(&name),
            name,
            start_s,
            time_s: Some(time_s),
            thread: self.text(&["TID"]),
            rank: None,
        })
    }
}
