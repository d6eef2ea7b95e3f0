//! What goes wrong in backends.

use super::CudaError;

/// Why a backend could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// candle refused an operation.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
    /// Memory or threads that the system refuses.
    #[error("cannot get {what}: {source}")]
    System {
        /// What was asked of it.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A GPU or its driver.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A cache is full.
    #[error("the KV cache holds {capacity} tokens per sequence, and {needed} are needed")]
    CacheFull {
        /// Its capacity.
        capacity: usize,
        /// What the step needs.
        needed: usize,
    },
    /// The backend does not compute this.
    #[error("{backend} does not support {what}")]
    Unsupported {
        /// The backend.
        backend: &'static str,
        /// What was asked.
        what: String,
    },
}

impl BackendError {
    /// The bytes that a device refused for want of memory, 0 where its driver does not say how many; `None` of every other
    /// error.
    pub fn refused_bytes(&self) -> Option<f64> {
        match self {
            Self::Cuda(error) => error.refused_bytes(),
            _ => None,
        }
    }
}
