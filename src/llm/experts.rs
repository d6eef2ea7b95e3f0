//! The work of experts: how many of them a step touches, and one linear of theirs.

use super::{DType, StepShape, Work};
use crate::units::{Bytes, Flops};
use serde::{Deserialize, Serialize};

/// The expected number of different experts that `tokens` tokens are sent to, `per_token` of `experts` each.
///
/// E (1 - (1 - k/E)^n): a token misses an expert with probability 1 - k/E, n tokens miss it with its nth power, and
/// expectations add up (the occupancy problem, Feller 1968, volume 1, section IV.2). It takes tokens to choose
/// independently and evenly; a router with favourites touches fewer.
pub fn expected_experts(experts: usize, per_token: usize, tokens: f64) -> f64 {
    let all = experts as f64;
    all * (1.0 - (1.0 - per_token as f64 / all).powf(tokens))
}

/// A linear of every expert of a layer, on the tokens that are sent to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExpertLinear {
    /// Experts of the layer.
    pub experts: usize,
    /// Experts that a token is sent to.
    pub per_token: usize,
    /// Input width of one expert.
    pub input: usize,
    /// Output width of one expert.
    pub output: usize,
    /// Whether the results of a token's experts are weighted and summed.
    pub combines: bool,
    /// Storage type of the activations.
    pub dtype: DType,
}

impl ExpertLinear {
    /// Experts whose weights a step of shape `step` reads: the expectation of [`expected_experts`].
    pub fn touched(&self, step: &StepShape) -> f64 {
        expected_experts(self.experts, self.per_token, (step.batch * step.new_tokens) as f64)
    }

    /// 2 x tokens x experts per token x input x output, and 2 per element of what is summed. Activations: the
    /// tokens once and a result per expert, or a row per expert and the sum once.
    pub(super) fn work(&self, step: &StepShape) -> Work {
        let tokens = (step.batch * step.new_tokens) as f64;
        let (input, output, b) = (self.input as f64, self.output as f64, self.dtype.bytes());
        let sent = tokens * self.per_token as f64;
        let (rows_in, rows_out) = if self.combines { (sent, tokens) } else { (tokens, sent) };
        Work {
            matmul_flops: Flops(2.0 * sent * input * output),
            elementwise_flops: Flops(if self.combines { 2.0 * sent * output } else { 0.0 }),
            bytes_read: Bytes((rows_in * input + self.touched(step) * input * output) * b),
            bytes_written: Bytes(rows_out * output * b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_number_of_experts_is_that_of_counting_all_choices() {
        // 4 experts, 2 per token, 2 tokens: of the 6 x 6 pairs of choices 6 touch 2 experts, 24 touch 3, 6 touch 4.
        let counted = (6.0 * 2.0 + 24.0 * 3.0 + 6.0 * 4.0) / 36.0;
        assert!((expected_experts(4, 2, 2.0) - counted).abs() < 1e-12);
        assert_eq!(expected_experts(8, 2, 1.0), 2.0);
        assert_eq!(expected_experts(8, 8, 5.0), 8.0);
        assert!(expected_experts(256, 8, 1e6) <= 256.0);
    }

    #[test]
    fn experts_compute_for_the_tokens_sent_and_read_the_weights_of_those_touched() {
        let up = ExpertLinear {
            experts: 4,
            per_token: 2,
            input: 8,
            output: 10,
            combines: false,
            dtype: DType::Bf16,
        };
        let work = up.work(&StepShape { batch: 2, new_tokens: 1, context: 5 });
        // 2 tokens to 2 experts each: 4 rows, 2 * 4 * 8 * 10; 3 experts of 80 weights expected.
        assert_eq!(work.matmul_flops, Flops(640.0));
        assert!((work.bytes_read.0 - (16.0 + 240.0) * 2.0).abs() < 1e-9, "{work:?}");
        assert_eq!(work.bytes_written, Bytes(40.0 * 2.0));
        let down = ExpertLinear { input: 10, output: 8, combines: true, ..up };
        let work = down.work(&StepShape { batch: 2, new_tokens: 1, context: 5 });
        assert_eq!((work.elementwise_flops, work.bytes_written), (Flops(64.0), Bytes(16.0 * 2.0)));
    }
}
