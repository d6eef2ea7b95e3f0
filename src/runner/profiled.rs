//! Passes under a profiler: ranges for it, and the steps that it is to look at.

use crate::attach::nvtx::{Nvtx, ProfiledPart};
use crate::backend::RangeObserver;
use crate::llm::Stage;
use std::sync::Arc;

/// Which steps of one generation lie between `cuProfilerStart` and `cuProfilerStop`: one per stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfiledSteps {
    /// The stages.
    pub stages: Vec<Stage>,
}

impl ProfiledSteps {
    /// Whether the step that ends with output token `step` of `tokens` is one: the prefill, and the last decode step.
    pub fn contains(&self, step: usize, tokens: usize) -> bool {
        let stage = if step == 0 { Stage::Prefill } else { Stage::Decode };
        self.stages.contains(&stage) && (step == 0 || step + 1 == tokens)
    }

    /// The part that is profiled, if this step is.
    pub(super) fn begin(&self, step: usize, tokens: usize) -> Option<ProfiledPart> {
        self.contains(step, tokens).then(ProfiledPart::begin)
    }
}

/// Hands the ranges of passes to NVTX: `pass` and `backend` know of no profiler, so the runner puts the two together.
#[derive(Debug)]
struct ToNvtx(&'static Nvtx);

impl RangeObserver for ToNvtx {
    fn push(&self, name: &str) {
        self.0.push(name);
    }

    fn pop(&self) {
        self.0.pop();
    }
}

/// What is to be told of ranges; nobody without a profiler that takes them.
///
/// # Errors
/// When a profiler named a library that does not attach.
pub(super) fn observer() -> Result<Option<Arc<dyn RangeObserver>>, String> {
    Ok(Nvtx::attached()?.map(|nvtx| Arc::new(ToNvtx(nvtx)) as Arc<dyn RangeObserver>))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefill_and_the_last_decode_step_are_profiled_and_no_others() {
        let of = |stages: &[Stage], tokens| {
            let steps = ProfiledSteps { stages: stages.to_vec() };
            (0..tokens).filter(|s| steps.contains(*s, tokens)).collect::<Vec<_>>()
        };
        assert_eq!(of(&Stage::ALL, 5), [0, 4]);
        assert_eq!(of(&[Stage::Decode], 5), [4]);
        assert_eq!(of(&[Stage::Prefill], 5), [0]);
        assert_eq!(of(&Stage::ALL, 1), [0]);
        assert!(of(&[], 5).is_empty());
    }
}
