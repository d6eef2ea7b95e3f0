//! Memory of activations: blocks that are used again and never given back, the same block for the same place in a step.

use super::driver::Gpu;
use super::error::CudaError;
use super::handles::Memory;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Free blocks by size and address. A block that is dropped is free for whatever is asked for later on the one stream.
///
/// Of free blocks the one with the lowest address is taken, so that a step that finds the same blocks free as the one
/// before asks for the same launches: that is what lets a captured graph stand for it.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    gpu: Rc<Gpu>,
    blocks: Rc<RefCell<Blocks>>,
}

#[derive(Debug, Default)]
struct Blocks {
    owned: HashMap<u64, Memory>,
    free: BTreeMap<usize, BTreeSet<u64>>,
}

impl Arena {
    pub(super) fn new(gpu: &Rc<Gpu>) -> Self {
        Self { gpu: Rc::clone(gpu), blocks: Rc::default() }
    }

    /// A block of at least `bytes`, undefined.
    pub(super) fn block(&self, bytes: usize) -> Result<Rc<Block>, CudaError> {
        let size = class(bytes);
        let found = self.blocks.borrow_mut().free.get_mut(&size).and_then(BTreeSet::pop_first);
        let address = match found {
            Some(address) => address,
            None => {
                let memory = self.gpu.allocate(size, "activations")?;
                let address = memory.address;
                self.blocks.borrow_mut().owned.insert(address, memory);
                address
            }
        };
        Ok(Rc::new(Block { blocks: Rc::clone(&self.blocks), address, size }))
    }
}

impl Arena {
    /// Gives free blocks back to the device.
    pub(super) fn release(&self) {
        let mut blocks = self.blocks.borrow_mut();
        let free = std::mem::take(&mut blocks.free);
        for address in free.into_values().flatten() {
            blocks.owned.remove(&address);
        }
    }
}

/// Sizes are rounded up to an eighth of their power of two, 256 B at least.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(256);
    let step = (bytes.next_power_of_two() / 16).max(256);
    bytes.next_multiple_of(step)
}

/// Memory until it is dropped.
#[derive(Debug)]
pub(super) struct Block {
    blocks: Rc<RefCell<Blocks>>,
    pub(super) address: u64,
    size: usize,
}

impl Block {
    /// Its contents on the host, after waiting.
    pub(super) fn download(&self, gpu: &Gpu, to: &mut [u8]) -> Result<(), CudaError> {
        let blocks = self.blocks.borrow();
        blocks.owned.get(&self.address).map_or(Ok(()), |memory| gpu.download(memory, to))
    }
}

impl Block {
    /// Replaces its contents.
    pub(super) fn upload(&self, gpu: &Gpu, from: &[u8]) -> Result<(), CudaError> {
        let blocks = self.blocks.borrow();
        blocks.owned.get(&self.address).map_or(Ok(()), |memory| gpu.write(memory, from))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.blocks.borrow_mut().free.entry(self.size).or_default().insert(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::class;

    #[test]
    fn sizes_grow_by_an_eighth_at_most() {
        assert_eq!([1, 256, 257, 4096, 4097].map(class), [256, 256, 512, 4096, 4608]);
        for bytes in (1..2_000_000).step_by(997) {
            let size = class(bytes);
            assert!(size >= bytes && size.is_multiple_of(256), "{bytes}: {size}");
            assert!(size - bytes < bytes / 8 + 256, "{bytes}: {size}");
        }
    }
}
