//! Ranges around steps, layers, phases and ops of a pass, for a profiler that is attached; without one, a branch each.
//!
//! The profiler is not this module's business: whoever runs passes installs an observer ([`super::Marks::observe`]).

use super::Site;
use crate::llm::{Phase, Stage};
use std::fmt;
use std::sync::Arc;

/// Is told of ranges as they open and close: push/pop, the last opened closes first, all on one thread.
pub trait RangeObserver: fmt::Debug + Send + Sync {
    /// A range opens inside those that are open.
    fn push(&self, name: &str);

    /// The range of an op opens.
    fn op(&self, name: &str) {
        self.push(name);
    }

    /// The innermost range closes.
    fn pop(&self);
}

/// The ranges that are open: `kprof/v1/decode`, in it `kprof/v1/decode/layer 3`, in it
/// `kprof/v1/decode/layer 3/attention`, in it `kprof/v1/decode/layer 3/attention/attn.qkv`. Each name is a whole path,
/// because tools show the innermost alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    observer: Option<Arc<dyn RangeObserver>>,
    step: String,
    layer: Option<usize>,
    open: usize,
}

impl Ranges {
    pub(super) fn observe(&mut self, observer: Option<Arc<dyn RangeObserver>>) {
        self.close_to(0);
        self.observer = observer;
    }

    pub(super) fn begin_step(&mut self, version: &str, stage: Stage) {
        if self.observer.is_none() {
            return;
        }
        self.close_to(0);
        self.step = format!("kprof/{version}/{stage}");
        let name = self.step.clone();
        self.push(&name);
    }

    pub(super) fn enter(&mut self, layer: Option<usize>, phase: Phase) {
        // Outside a step, as when logits are checked, there is nothing to name.
        if self.observer.is_none() || self.open == 0 {
            return;
        }
        let path = self.path(layer);
        if layer.is_some() && layer == self.layer {
            self.close_to(2);
        } else {
            self.close_to(1);
            if layer.is_some() {
                self.push(&path);
            }
            self.layer = layer;
        }
        self.push(&format!("{path}/{phase}"));
    }

    /// An op begins; whether a range was opened for it.
    pub(super) fn begin_op(&mut self, site: &Site) -> bool {
        let named = self.observer.is_some() && self.open > 0;
        if named {
            let name = format!("{}/{}/{}", self.path(site.layer), site.phase, site.label);
            if let Some(observer) = &self.observer {
                observer.op(&name);
                self.open += 1;
            }
        }
        named
    }

    /// The op for which a range was opened ends.
    pub(super) fn end_op(&mut self) {
        self.close_to(self.open.saturating_sub(1));
    }

    fn path(&self, layer: Option<usize>) -> String {
        match layer {
            Some(layer) => format!("{}/layer {layer}", self.step),
            None => self.step.clone(),
        }
    }

    pub(super) fn end_step(&mut self) {
        self.close_to(0);
    }

    fn push(&mut self, name: &str) {
        if let Some(observer) = &self.observer {
            observer.push(name);
            self.open += 1;
        }
    }

    fn close_to(&mut self, depth: usize) {
        if let Some(observer) = &self.observer {
            while self.open > depth {
                observer.pop();
                self.open -= 1;
            }
        }
        if depth < 2 {
            self.layer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<String>>);

    impl RangeObserver for Heard {
        fn push(&self, name: &str) {
            self.0.lock().unwrap().push(name.to_string());
        }

        fn pop(&self) {
            self.0.lock().unwrap().push("pop".to_string());
        }
    }

    #[test]
    fn ranges_nest_as_step_layer_phase_and_all_are_closed_at_the_end() {
        let heard = Arc::new(Heard::default());
        let mut ranges = Ranges::default();
        ranges.observe(Some(heard.clone()));
        ranges.enter(None, Phase::Head); // outside a step
        ranges.begin_step("v1", Stage::Decode);
        ranges.enter(None, Phase::Embedding);
        ranges.enter(Some(0), Phase::Attention);
        ranges.enter(Some(0), Phase::Mlp);
        ranges.enter(Some(1), Phase::Attention);
        ranges.enter(None, Phase::Head);
        ranges.end_step();
        let expected = [
            "kprof/v1/decode",
            "kprof/v1/decode/embedding",
            "pop",
            "kprof/v1/decode/layer 0",
            "kprof/v1/decode/layer 0/attention",
            "pop",
            "kprof/v1/decode/layer 0/mlp",
            "pop",
            "pop",
            "kprof/v1/decode/layer 1",
            "kprof/v1/decode/layer 1/attention",
            "pop",
            "pop",
            "kprof/v1/decode/head",
            "pop",
            "pop",
        ];
        assert_eq!(*heard.0.lock().unwrap(), expected);
    }

    #[test]
    fn an_op_is_named_by_its_own_place_inside_the_phase_that_is_open() {
        let heard = Arc::new(Heard::default());
        let mut ranges = Ranges::default();
        ranges.observe(Some(heard.clone()));
        let site = |layer, label| Site { phase: Phase::Attention, layer, label };
        assert!(!ranges.begin_op(&site(None, "logits"))); // outside a step
        ranges.begin_step("v1", Stage::Decode);
        ranges.enter(Some(3), Phase::Attention);
        assert!(ranges.begin_op(&site(Some(3), "attn.qkv")));
        ranges.end_op();
        ranges.enter(Some(3), Phase::Mlp);
        ranges.end_step();
        let expected = [
            "kprof/v1/decode",
            "kprof/v1/decode/layer 3",
            "kprof/v1/decode/layer 3/attention",
            "kprof/v1/decode/layer 3/attention/attn.qkv",
            "pop",
            "pop",
            "kprof/v1/decode/layer 3/mlp",
            "pop",
            "pop",
            "pop",
        ];
        assert_eq!(*heard.0.lock().unwrap(), expected);
    }

    #[test]
    fn a_step_that_failed_is_closed_by_the_next() {
        let heard = Arc::new(Heard::default());
        let mut ranges = Ranges::default();
        ranges.observe(Some(heard.clone()));
        ranges.begin_step("v1", Stage::Prefill);
        ranges.begin_step("v2", Stage::Prefill);
        ranges.observe(None);
        ranges.begin_step("v3", Stage::Prefill);
        assert_eq!(*heard.0.lock().unwrap(), ["kprof/v1/prefill", "pop", "kprof/v2/prefill", "pop"]);
    }
}
