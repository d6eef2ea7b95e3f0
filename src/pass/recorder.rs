//! Turns a backend's marks into records: the plan once, the times of every step.

use crate::backend::OpSpan;
use crate::llm::Stage;
use crate::profile::{PlanRecord, PlannedOp};

/// A step ran other ops than the plan of its version and stage.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{version} {stage}: a step ran {found}, where the plan has {planned}")]
pub struct RecordError {
    version: String,
    stage: Stage,
    found: String,
    planned: String,
}

/// Remembers the plans seen so far.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    plans: Vec<PlanRecord>,
}

impl Recorder {
    /// Whether a plan of `version` was seen.
    pub fn knows(&self, version: &str) -> bool {
        self.plans.iter().any(|p| p.version == version)
    }

    /// The plan of `version` and `stage`, if these marks are the first of it.
    ///
    /// # Errors
    /// When the marks are of other ops than the plan has: their times would be put to the wrong names.
    pub fn plan(
        &mut self,
        version: &str,
        stage: Stage,
        spans: &[OpSpan],
    ) -> Result<Option<PlanRecord>, RecordError> {
        let ops: Vec<PlannedOp> = spans.iter().map(planned).collect();
        let Some(known) = self.plans.iter().find(|p| p.version == version && p.stage == stage) else {
            let plan = PlanRecord { version: version.to_string(), stage, ops };
            self.plans.push(plan.clone());
            return Ok(Some(plan));
        };
        if known.ops == ops {
            return Ok(None);
        }
        let differs = known.ops.iter().zip(&ops).find(|(a, b)| a != b);
        let describe = |op: &PlannedOp| format!("{} {:?}", op.label, op.op);
        let (planned, found) = differs.map_or_else(
            || (format!("{} ops", known.ops.len()), format!("{} ops", ops.len())),
            |(a, b)| (describe(a), describe(b)),
        );
        Err(RecordError { version: version.to_string(), stage, found, planned })
    }
}

fn planned(span: &OpSpan) -> PlannedOp {
    PlannedOp {
        label: span.site.label.to_string(),
        phase: span.site.phase,
        layer: span.site.layer,
        op: span.op.clone(),
    }
}
