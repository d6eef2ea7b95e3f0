//! The instrumented model passes, written once over [`crate::backend::Backend`], and the weights they run with.

mod gpt;
mod grammar;
mod llama;
mod model;
mod recorder;
mod rope;
mod safetensors;
mod state;
mod tokens;
mod trained;
mod weights;

pub use grammar::{GrammarText, LINE_BYTES, STORY_BYTES, grammar_text, story_bits};
pub use model::{Logits, Model};

/// The name that passes in progress elsewhere still use.
pub type Gpt<B> = Model<B>;

pub use recorder::{RecordError, Recorder};
pub use safetensors::{SafetensorsWeights, read_model_dir, read_model_spec, write_logits};
pub use state::State;
pub use tokens::{TokenError, TokenisedText, Tokenizer, TokenizerFile, beginning, read_text};
pub use trained::{TrainedError, trained_model, trained_names};
pub use weights::{MemoryWeights, RandomWeights, WeightError, Weights, prompt_ids};

use crate::backend::BackendError;
use crate::llm::SpecError;

impl PassError {
    /// [`BackendError::refused_bytes`] of the backend's error; `None` of every other.
    pub fn refused_bytes(&self) -> Option<f64> {
        match self {
            Self::Backend(error) => error.refused_bytes(),
            _ => None,
        }
    }
}

/// Why a pass could not be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// A weight is missing or misshapen.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// The model is not one that kprof computes.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// More tokens than the model has positions for.
    #[error("{needed} tokens per sequence, and {model} has positions for {limit}")]
    TooLong {
        /// What was asked.
        needed: usize,
        /// The model's name.
        model: String,
        /// Its positions.
        limit: usize,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab}")]
    TokenRange {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
}
