//! The shape of a step: how many tokens it computes and how far they look back.

use serde::{Deserialize, Serialize};

/// The token dimensions of one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepShape {
    /// Sequences side by side.
    pub batch: usize,
    /// Tokens per sequence that this pass computes.
    pub new_tokens: usize,
    /// Tokens per sequence that the last of them attends to, itself included.
    pub context: usize,
}

impl StepShape {
    pub(super) fn rows(&self, rows: LinearRows) -> f64 {
        match rows {
            LinearRows::All => (self.batch * self.new_tokens) as f64,
            LinearRows::Last => self.batch as f64,
        }
    }

    /// Tokens per sequence whose K and V the new tokens see: all, or those inside a window of the oldest of them.
    pub fn visible(&self, window: Option<usize>) -> usize {
        let reach = |window: usize| (window + self.new_tokens).saturating_sub(1);
        window.map_or(self.context, |w| self.context.min(reach(w)))
    }

    /// Query-key pairs per sequence and head: all of the rectangle, or only those on and under the diagonal.
    ///
    /// Unmasked: the sum over positions p = context - n + 1 ..= context of min(p, window), in two arithmetic
    /// series: positions up to the window count p, later ones the window.
    pub(super) fn pairs(&self, masked_computed: bool, window: Option<usize>) -> f64 {
        let (n, context) = (self.new_tokens, self.context);
        if masked_computed {
            return n as f64 * self.visible(window) as f64;
        }
        let window = window.unwrap_or(context).min(context);
        let growing = window.saturating_sub(context - n);
        let first = (context - n + 1) as f64;
        let last = window as f64;
        growing as f64 * (first + last) / 2.0 + (n - growing) as f64 * last
    }
}

/// Which positions an op works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinearRows {
    /// Every new token.
    All,
    /// Only the last token of each sequence.
    Last,
}
