//! What ranks of a tensor-parallel group send each other in a step.

use super::{BlockLayout, Deployment, ModelSpec, StepShape};
use crate::units::Bytes;
use serde::Serialize;

/// One kind of exchange between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Collective {
    /// What for.
    pub label: &'static str,
    /// How often in a step.
    pub count: usize,
    /// Bytes of one result.
    pub message_bytes: Bytes,
    /// Bytes that each rank sends in a step, at least.
    pub sent_bytes: Bytes,
}

impl ModelSpec {
    /// The exchanges of one step; none on one rank.
    ///
    /// After attention and after the MLP each, the ranks' parts of `[batch x new, hidden]` are summed (Shoeybi et al.
    /// 2019, section 3; once where the two run side by side), and once after the embedding, whose table is shared
    /// out; the logits of last positions are gathered. A ring all-reduce of n ranks sends 2 (n - 1) / n of the
    /// message per rank, a gather (n - 1) / n (Patarasuk and Yuan 2009), and no all-reduce sends less.
    pub fn collectives(&self, deployment: &Deployment, step: &StepShape) -> Vec<Collective> {
        let ranks = deployment.tensor_parallel as f64;
        if deployment.tensor_parallel < 2 {
            return Vec::new();
        }
        let b = deployment.activations.bytes();
        let rows = (step.batch * step.new_tokens) as f64;
        let part = (ranks - 1.0) / ranks;
        let exchange = |label, count: usize, message: f64, parts: f64| Collective {
            label,
            count,
            message_bytes: Bytes(message),
            sent_bytes: Bytes(count as f64 * message * parts),
        };
        let stream = rows * self.hidden_size as f64 * b;
        let per_layer = if self.block == BlockLayout::Parallel { 1 } else { 2 };
        let logits = (step.batch * self.vocab_size) as f64 * b;
        vec![
            exchange("embedding all-reduce", 1, stream, 2.0 * part),
            exchange("layer all-reduce", per_layer * self.num_hidden_layers, stream, 2.0 * part),
            exchange("logits gather", 1, logits, part),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DType, WeightFormat, preset};
    use super::*;

    #[test]
    fn every_layer_sums_the_residual_stream_twice() {
        let model = preset("llama-2-70b").unwrap();
        let step = StepShape { batch: 4, new_tokens: 1, context: 100 };
        let one = Deployment::new(WeightFormat::plain(DType::Bf16));
        assert!(model.collectives(&one, &step).is_empty());
        let eight = Deployment { tensor_parallel: 8, ..one };
        let all = model.collectives(&eight, &step);
        // 4 rows of 8192 bf16 = 65,536 B, 160 times, 14/8 of it sent.
        assert_eq!((all[1].count, all[1].message_bytes), (160, Bytes(65_536.0)));
        assert_eq!(all[1].sent_bytes, Bytes(160.0 * 65_536.0 * 1.75));
    }
}
