//! Activations, and the memory they take turns in.
//!
//! Rows are padded to [`PAD`] elements and tensors to [`BAND`] rows, so that kernels work on whole vectors and tiles.
//! The padding of a row is zero; that of the rows holds anything finite or not, and nothing depends on it.

use super::memory::Memory;
use super::simd::Plain;
use crate::backend::BackendError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Elements that the length of a row is a multiple of: the depth of a bfloat16 tile product.
pub(super) const PAD: usize = 32;
/// Rows that the allocated rows are a multiple of: those of a tile.
pub(super) const BAND: usize = 16;

/// Rows of activations in the backend's storage type.
#[derive(Clone, Debug)]
pub struct CpuTensor {
    /// `None` only while it is being dropped.
    memory: Option<Arc<Memory>>,
    arena: Arena,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
}

/// Memory that tensors gave back: a step allocates what it needs once, and later steps find it here.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena(Arc<Mutex<Vec<Arc<Memory>>>>);

/// The length of a row in memory.
pub(super) fn padded(width: usize) -> usize {
    width.next_multiple_of(PAD)
}

impl Arena {
    fn free(&self) -> MutexGuard<'_, Vec<Arc<Memory>>> {
        // A panic between taking and giving back loses memory at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tensor of `[rows, width]` that holds anything.
    pub(super) fn tensor<T: Plain>(&self, rows: usize, width: usize) -> Result<CpuTensor, BackendError> {
        let stride = padded(width);
        let mut tensor = self.bytes(rows.next_multiple_of(BAND) * stride * size_of::<T>())?;
        (tensor.rows, tensor.width, tensor.stride) = (rows, width, stride);
        Ok(tensor)
    }

    /// `bytes` of memory that hold anything, as one row of bytes.
    pub(super) fn bytes(&self, bytes: usize) -> Result<CpuTensor, BackendError> {
        let memory = match self.take(bytes) {
            Some(memory) => memory,
            None => Arc::new(Memory::zeroed(bytes)?),
        };
        Ok(CpuTensor { memory: Some(memory), arena: self.clone(), rows: 1, width: bytes, stride: bytes })
    }

    /// Gives what nobody uses back to the system.
    pub(super) fn clear(&self) {
        self.free().clear();
    }

    /// The smallest free memory of at least `bytes` that is not more than four times too large.
    fn take(&self, bytes: usize) -> Option<Arc<Memory>> {
        let mut free = self.free();
        let fits = |m: &Arc<Memory>| (bytes..=4 * bytes.max(4096)).contains(&m.bytes());
        let (at, _) = free.iter().enumerate().filter(|(_, m)| fits(m)).min_by_key(|(_, m)| m.bytes())?;
        Some(free.swap_remove(at))
    }
}

impl CpuTensor {
    /// The elements with their padding: all rows of a band.
    pub(super) fn data<T: Plain>(&self) -> &[T] {
        self.memory.as_ref().map_or(&[], |m| m.of())
    }

    /// The elements to write; a tensor that has clones is not written.
    ///
    /// # Panics
    /// When the memory is shared: only new tensors are written to.
    pub(super) fn data_mut<T: Plain>(&mut self) -> &mut [T] {
        let memory = self.memory.as_mut().and_then(Arc::get_mut);
        memory.expect("a tensor is written before it is shared").of_mut()
    }

    /// Whether nobody else holds this memory.
    pub(super) fn is_unshared(&self) -> bool {
        self.memory.as_ref().is_some_and(|m| Arc::strong_count(m) == 1)
    }

    /// Row `i` with its padding.
    pub(super) fn row<T: Plain>(&self, i: usize) -> &[T] {
        &self.data()[i * self.stride..(i + 1) * self.stride]
    }
}

impl Drop for CpuTensor {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take()
            && Arc::strong_count(&memory) == 1
        {
            self.arena.free().push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_its_last_tensor_is_gone() {
        let arena = Arena::default();
        let first = arena.tensor::<f32>(3, 40).unwrap();
        assert_eq!((first.stride, first.data::<f32>().len()), (64, 16 * 64));
        let place = first.data::<f32>().as_ptr();
        let clone = first.clone();
        drop(first);
        assert_ne!(arena.tensor::<f32>(3, 40).unwrap().data::<f32>().as_ptr(), place);
        drop(clone);
        let places: Vec<_> = (0..2).map(|_| arena.tensor::<f32>(3, 40).unwrap()).collect();
        assert!(places.iter().any(|t| t.data::<f32>().as_ptr() == place));
    }
}
