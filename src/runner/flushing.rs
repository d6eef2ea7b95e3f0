//! Cold caches: who empties them before a step.

use super::RunnerError;
use crate::backend::Backend;
use crate::probe::Flush;
use crate::profile::CacheState;

/// What empties the caches that a step would find full.
#[derive(Debug)]
pub(super) enum Flushing {
    /// The CPU's, by reading.
    Cpu(Flush),
    /// The device's own, by the backend; so many bytes are streamed through them.
    Device(f64),
}

impl Flushing {
    /// What is needed for caches in this state; `None` where they stay as they are.
    pub(super) fn of<B: Backend>(cache: CacheState, backend: &mut B) -> Result<Option<Self>, RunnerError> {
        if cache == CacheState::Hot {
            return Ok(None);
        }
        if let Some(bytes) = backend.prepare_flush()? {
            return Ok(Some(Self::Device(bytes)));
        }
        let flush = Flush::new(backend.threads().unwrap_or(1)).ok_or(RunnerError::NoFlush)?;
        Ok(Some(Self::Cpu(flush)))
    }

    /// The bytes that are streamed through the caches each time.
    pub(super) fn bytes(&self) -> f64 {
        match self {
            Self::Cpu(flush) => flush.bytes(),
            Self::Device(bytes) => *bytes,
        }
    }

    /// Empties them, and waits until that is done: what is looked at from here on has nothing of it.
    pub(super) fn run<B: Backend>(&self, backend: &mut B) -> Result<(), RunnerError> {
        match self {
            Self::Cpu(flush) => flush.run(),
            Self::Device(_) => {
                backend.flush()?;
                backend.now();
            }
        }
        Ok(())
    }
}
