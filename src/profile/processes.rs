//! Runs of single processes as one run of several.

use super::{Finding, ProcessRecord, Record, Run, StepRecord, TelemetryRecord, UsageRecord};

impl Run {
    /// The number that the first repetition of a further process gets.
    pub fn next_repetition(&self) -> usize {
        let steps = self.steps.iter().map(|s| s.repetition + 1);
        steps.chain(self.usage.iter().map(|u| u.repetition + 1)).max().unwrap_or(0)
    }

    /// The records that add the repetitions of `other`, measured by another process (or several), to this run: their
    /// numbers go on from this run's, and times of telemetry from its end. What both have alike (manifest, ceilings, plans,
    /// caches) is added where this run has none of it; findings as they are.
    pub fn records_of(&self, other: Self) -> Vec<Record> {
        let first = self.next_repetition();
        let shift_s = self.telemetry_end_s();
        let mut records = Vec::new();
        if first == 0 {
            records.extend(
                other
                    .manifest
                    .clone()
                    .filter(|_| self.manifest.is_none())
                    .map(|m| Record::Manifest(Box::new(m))),
            );
            records.extend(
                other.ceilings.iter().filter(|_| self.ceilings.is_empty()).cloned().map(Record::Ceiling),
            );
            records.extend(other.plans.iter().cloned().map(Record::Plan));
            records.extend(other.caches.iter().cloned().map(Record::Cache));
        } else if self.processes.is_empty() {
            // What was measured before is a process too.
            let started = self.manifest.as_ref().map(|m| m.started.clone());
            records.push(Record::Process(ProcessRecord { first_repetition: 0, started }));
        }
        records.extend(processes_of(&other, first).into_iter().map(Record::Process));
        records.extend(
            other
                .steps
                .into_iter()
                .map(|step| Record::Step(StepRecord { repetition: step.repetition + first, ..step })),
        );
        records.extend(other.usage.into_iter().map(|usage| {
            let (repetition, at_s) = (usage.repetition + first, usage.at_s + shift_s);
            Record::Usage(Box::new(UsageRecord { repetition, at_s, ..usage }))
        }));
        records.extend(
            other
                .telemetry
                .into_iter()
                .map(|sample| Record::Telemetry(TelemetryRecord { at_s: sample.at_s + shift_s, ..sample })),
        );
        records.extend(other.telemetry_cost.map(Record::TelemetryCost));
        records.extend(other.schedules.into_iter().map(Record::Schedule));
        records.extend(other.findings.into_iter().map(Record::Finding));
        records
    }

    /// The end of the telemetry's clock so far.
    fn telemetry_end_s(&self) -> f64 {
        let stages = self.usage.iter().map(|u| u.at_s + u.wall_s);
        stages.chain(self.telemetry.iter().map(|t| t.at_s)).fold(0.0, f64::max)
    }
}

fn processes_of(other: &Run, first: usize) -> Vec<ProcessRecord> {
    if other.processes.is_empty() {
        let started = other.manifest.as_ref().map(|m| m.started.clone());
        return vec![ProcessRecord { first_repetition: first, started }];
    }
    let shifted =
        |p: &ProcessRecord| ProcessRecord { first_repetition: p.first_repetition + first, ..p.clone() };
    other.processes.iter().map(shifted).collect()
}

/// The findings of several processes, each kind about one thing once, with how many of `processes` had it.
pub fn findings_of_processes(all: &[Finding], processes: usize) -> Vec<Finding> {
    let mut distinct: Vec<(Finding, usize)> = Vec::new();
    for finding in all {
        match distinct.iter_mut().find(|(f, _)| (f.code, &f.about) == (finding.code, &finding.about)) {
            Some((_, count)) => *count += 1,
            None => distinct.push((finding.clone(), 1)),
        }
    }
    let told = |(finding, count): (Finding, usize)| {
        let times = format!("{} (in {count} of {processes} processes; this is the first)", finding.message);
        Finding { message: if processes > 1 { times } else { finding.message.clone() }, ..finding }
    };
    distinct.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Stage, StepShape};
    use crate::profile::{FindingCode, TimingMethod, Twin};

    fn run(repetitions: usize) -> Run {
        let step = |repetition| StepRecord {
            version: "v1".into(),
            stage: Stage::Decode,
            twin: Twin::Plain,
            repetition,
            step: 1,
            shape: StepShape { batch: 1, new_tokens: 1, context: 2 },
            time_s: 1.0,
            method: TimingMethod::HostClock,
            op_start_s: vec![],
            op_time_s: vec![],
        };
        let usage =
            UsageRecord { at_s: 1.0, wall_s: 2.0, ..UsageRecord::of("v1", Stage::Decode, Twin::Plain, 0) };
        Run { steps: (0..repetitions).map(step).collect(), usage: vec![usage], ..Run::default() }
    }

    #[test]
    fn repetitions_and_times_go_on_and_processes_are_told_apart() {
        let mut whole = Run::default();
        for other in [run(3), run(2), run(4)] {
            whole.records_of(other).into_iter().for_each(|record| whole.push(record));
        }
        let numbers: Vec<usize> = whole.steps.iter().map(|s| s.repetition).collect();
        assert_eq!(numbers, (0..9).collect::<Vec<_>>());
        let firsts: Vec<usize> = whole.processes.iter().map(|p| p.first_repetition).collect();
        assert_eq!(firsts, [0, 3, 5]);
        let began: Vec<f64> = whole.usage.iter().map(|u| u.at_s).collect();
        assert_eq!(began, [1.0, 4.0, 7.0]);
        // A run of one process that gets a second one was a process too; one of several stays several.
        let mut single = run(2);
        single.records_of(whole).into_iter().for_each(|record| single.push(record));
        let firsts: Vec<usize> = single.processes.iter().map(|p| p.first_repetition).collect();
        assert_eq!(firsts, [0, 2, 5, 7]);
    }

    #[test]
    fn a_finding_of_several_processes_is_told_once_with_their_number() {
        let finding = |message: &str| Finding::new(FindingCode::Drift, "v1", message);
        let told = findings_of_processes(&[finding("a"), finding("b")], 5);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].message, "a (in 2 of 5 processes; this is the first)");
        assert_eq!(findings_of_processes(&[finding("a")], 1)[0].message, "a");
    }
}
