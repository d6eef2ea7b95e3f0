//! A device with what was opened on it: its stream, its kernels, its memory. Everything runs on one stream, in the order it
//! was asked for.

#![allow(unsafe_code)]

use super::call::{call, check, describe, is_fault};
use super::devices::{CudaDevice, handle};
use super::error::CudaError;
use super::handles::{Event, Graph, Memory, Pinned};
use super::images::image_of;
use super::launch::Launch;
use crate::units::Bytes;
use cudarc::driver::sys::{self, CUresult};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::rc::Rc;

/// A device with its context and the stream that everything runs on.
#[derive(Debug)]
pub struct Gpu {
    /// What it is.
    pub device: CudaDevice,
    /// The driver's number for it.
    pub(super) handle: sys::CUdevice,
    /// Its primary context.
    pub(super) context: sys::CUcontext,
    /// The stream that everything runs on.
    pub(super) stream: sys::CUstream,
    pool: sys::CUmemoryPool,
    modules: RefCell<HashMap<&'static str, sys::CUmodule>>,
    functions: RefCell<HashMap<&'static str, sys::CUfunction>>,
    last: Cell<Option<Launch>>,
}

impl Gpu {
    /// Opens the device.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn open(device: CudaDevice) -> Result<Rc<Self>, CudaError> {
        let handle = handle(device.ordinal)?;
        let mut context = std::ptr::null_mut();
        // SAFETY: a device of the driver's; the primary context is kept until the Gpu is dropped.
        call!(cuDevicePrimaryCtxRetain(&raw mut context, handle))?;
        // SAFETY: that context.
        call!(cuCtxSetCurrent(context))?;
        let (mut stream, mut pool) = (std::ptr::null_mut(), std::ptr::null_mut());
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: `stream` is written.
        call!(cuStreamCreate(&raw mut stream, flags))?;
        // SAFETY: `pool` is written.
        call!(cuDeviceGetDefaultMemPool(&raw mut pool, handle))?;
        let mut keep = u64::MAX;
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // What is freed stays with the pool: giving it back at every synchronisation would cost more than a step.
        // SAFETY: this attribute is a u64.
        call!(cuMemPoolSetAttribute(pool, threshold, (&raw mut keep).cast()))?;
        Ok(Rc::new(Self {
            device,
            handle,
            context,
            stream,
            pool,
            modules: RefCell::default(),
            functions: RefCell::default(),
            last: Cell::new(None),
        }))
    }

    /// Loads one kernel, as a trial.
    ///
    /// # Errors
    /// When the device cannot run what kprof carries.
    pub fn try_kernels(&self) -> Result<(), CudaError> {
        self.function("kprof_probe_nothing").map(drop)
    }

    /// Free and total memory in bytes. What the pool keeps of freed memory is not free.
    ///
    /// # Errors
    /// When the device fails.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are written.
        call!(cuMemGetInfo_v2(&raw mut free, &raw mut total))?;
        Ok((free, total))
    }

    /// The bytes that the pool's allocations take now, and at most at any time since the last reset.
    pub(super) fn allocated(&self) -> Result<[f64; 2], CudaError> {
        use sys::CUmemPool_attribute::{CU_MEMPOOL_ATTR_USED_MEM_CURRENT, CU_MEMPOOL_ATTR_USED_MEM_HIGH};
        // What was freed on the stream counts until the stream has come to it.
        self.wait()?;
        let attribute = |which| {
            let mut bytes = 0u64;
            // SAFETY: these attributes are u64.
            call!(cuMemPoolGetAttribute(self.pool, which, (&raw mut bytes).cast())).map(|()| bytes as f64)
        };
        Ok([attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?, attribute(CU_MEMPOOL_ATTR_USED_MEM_HIGH)?])
    }

    /// Forgets the high-water mark: what is allocated now becomes the most.
    pub(super) fn reset_most_allocated(&self) -> Result<(), CudaError> {
        let mut zero = 0u64;
        let high = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        // SAFETY: this attribute is a u64, and 0 the only value it takes.
        call!(cuMemPoolSetAttribute(self.pool, high, (&raw mut zero).cast()))
    }

    /// Gives back what the pool keeps of freed memory.
    pub(super) fn trim(&self) -> Result<(), CudaError> {
        self.wait()?;
        // SAFETY: the device's own pool; what is in use stays.
        call!(cuMemPoolTrimTo(self.pool, 0))
    }

    /// `bytes` of device memory, which begins undefined; `what` is named where there is no room.
    pub(super) fn allocate(self: &Rc<Self>, bytes: usize, what: &str) -> Result<Memory, CudaError> {
        let bytes = bytes.max(16);
        let mut address = 0;
        // SAFETY: `address` is written; freed by Memory's drop.
        let code = unsafe { sys::cuMemAllocAsync(&raw mut address, bytes, self.stream) };
        if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            let (free, total) = self.memory()?;
            return Err(CudaError::OutOfMemory {
                asked: Bytes(bytes as f64),
                what: what.to_string(),
                free: Bytes(free as f64),
                total: Bytes(total as f64),
            });
        }
        check("cuMemAllocAsync", code).map_err(|e| self.blame(e))?;
        Ok(Memory { gpu: Rc::clone(self), address, bytes })
    }

    /// Device memory of zeros.
    pub(super) fn zeros(self: &Rc<Self>, bytes: usize, what: &str) -> Result<Memory, CudaError> {
        let memory = self.allocate(bytes, what)?;
        self.clear(&memory)?;
        Ok(memory)
    }

    /// Writes zeros to all of `memory`.
    pub(super) fn clear(&self, memory: &Memory) -> Result<(), CudaError> {
        // SAFETY: memory of this size.
        call!(cuMemsetD8Async(memory.address, 0, memory.bytes, self.stream)).map_err(|e| self.blame(e))
    }

    /// Device memory with these bytes.
    pub(super) fn upload(self: &Rc<Self>, data: &[u8], what: &str) -> Result<Memory, CudaError> {
        let memory = self.allocate(data.len(), what)?;
        // SAFETY: as many bytes as were allocated at least; from pageable memory the call returns when they were read.
        call!(cuMemcpyHtoDAsync_v2(memory.address, data.as_ptr().cast(), data.len(), self.stream))
            .map_err(|e| self.blame(e))?;
        Ok(memory)
    }

    /// Writes these bytes to the beginning of `to`, and waits.
    pub(super) fn write(&self, to: &Memory, data: &[u8]) -> Result<(), CudaError> {
        assert!(data.len() <= to.bytes, "a copy stays inside its memory");
        // SAFETY: as long; waited for below.
        call!(cuMemcpyHtoDAsync_v2(to.address, data.as_ptr().cast(), data.len(), self.stream))
            .map_err(|e| self.blame(e))?;
        self.wait()
    }

    /// Copies pinned host memory to `to`; the host memory is read when the stream comes to it.
    pub(super) fn send(&self, to: &Memory, from: &Pinned, bytes: usize) -> Result<(), CudaError> {
        assert!(bytes <= to.bytes && bytes <= from.bytes, "a copy stays inside its memory");
        // SAFETY: both are as long; the caller waits before it writes the pinned memory again.
        call!(cuMemcpyHtoDAsync_v2(to.address, from.start.cast(), bytes, self.stream))
            .map_err(|e| self.blame(e))
    }

    /// Copies from device memory at `address` into pinned host memory, when the stream comes to it.
    pub(super) fn receive(&self, to: &Pinned, from: &Memory, bytes: usize) -> Result<(), CudaError> {
        assert!(bytes <= to.bytes && bytes <= from.bytes, "a copy stays inside its memory");
        // SAFETY: both are as long; the caller reads after waiting.
        call!(cuMemcpyDtoHAsync_v2(to.start.cast(), from.address, bytes, self.stream))
            .map_err(|e| self.blame(e))
    }

    /// Device memory on the host, after waiting.
    pub(super) fn download(&self, from: &Memory, to: &mut [u8]) -> Result<(), CudaError> {
        assert!(to.len() <= from.bytes, "a copy stays inside its memory");
        // SAFETY: as long; waited for below.
        call!(cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from.address, to.len(), self.stream))
            .map_err(|e| self.blame(e))?;
        self.wait()
    }

    /// Waits for everything that was asked for.
    ///
    /// # Errors
    /// When a kernel faulted.
    pub(super) fn wait(&self) -> Result<(), CudaError> {
        // SAFETY: the stream lives as long as the Gpu.
        let code = unsafe { sys::cuStreamSynchronize(self.stream) };
        self.no_fault("cuStreamSynchronize", code)
    }

    /// What met the fault of a kernel before it, as that kernel's.
    fn blame(&self, error: CudaError) -> CudaError {
        match (error, self.last.get()) {
            (CudaError::Lost { reason, .. }, Some(launch)) => CudaError::fault(reason, &launch, false),
            (error, _) => error,
        }
    }

    /// An error seen while waiting comes from a kernel before.
    fn no_fault(&self, call: &'static str, code: CUresult) -> Result<(), CudaError> {
        match self.last.get() {
            Some(launch) if code != CUresult::CUDA_SUCCESS && code != CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                Err(CudaError::fault(describe(code), &launch, false))
            }
            _ => check(call, code),
        }
    }

    /// A library asked for a launch, which a fault may come from.
    pub(super) fn asked(&self, launch: Launch) {
        self.last.set(Some(launch));
    }

    /// Asks for a launch.
    pub(super) fn launch(&self, launch: &Launch) -> Result<(), CudaError> {
        let function = self.function(launch.kernel)?;
        let [x, y, z] = launch.grid;
        let mut args = [launch.args().cast_mut().cast::<c_void>()];
        // SAFETY: a loaded function whose one parameter is the struct that `args` points to (KernelArgs); the driver
        // copies it before it returns.
        let code = unsafe {
            sys::cuLaunchKernel(
                function,
                x,
                y,
                z,
                launch.threads,
                1,
                1,
                launch.shared,
                self.stream,
                args.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        let before = self.last.replace(Some(*launch));
        match code {
            CUresult::CUDA_SUCCESS => Ok(()),
            // An earlier kernel's fault, unless launches wait for their end.
            code if is_fault(code) => {
                let exact = std::env::var("CUDA_LAUNCH_BLOCKING").is_ok_and(|v| v == "1");
                let of = if exact { *launch } else { before.unwrap_or(*launch) };
                Err(CudaError::fault(describe(code), &of, exact))
            }
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Err(CudaError::NoRoomFor { call: "cuLaunchKernel" }),
            other => Err(CudaError::fault(describe(other), launch, true)),
        }
    }

    /// Loads a kernel, where that was not done before.
    pub(super) fn load(&self, kernel: &'static str) -> Result<(), CudaError> {
        self.function(kernel).map(drop)
    }

    fn function(&self, kernel: &'static str) -> Result<sys::CUfunction, CudaError> {
        if let Some(function) = self.functions.borrow().get(kernel) {
            return Ok(*function);
        }
        let module = self.module(kernel)?;
        let name = CString::new(kernel).unwrap_or_default();
        let mut function = std::ptr::null_mut();
        // SAFETY: a loaded module and a name that ends with zero.
        call!(cuModuleGetFunction(&raw mut function, module, name.as_ptr()))?;
        if let Some(bytes) = super::attention::large_shared(kernel) {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a function of the module.
            call!(cuFuncSetAttribute(function, most, bytes as i32))?;
        }
        self.functions.borrow_mut().insert(kernel, function);
        Ok(function)
    }

    /// The module with `kernel`, loaded when one of its kernels is first needed: loading compiles it for the device.
    fn module(&self, kernel: &'static str) -> Result<sys::CUmodule, CudaError> {
        let image = image_of(kernel).ok_or_else(|| CudaError::Call {
            call: "load a kernel",
            reason: format!("there is no {kernel}"),
        })?;
        if let Some(module) = self.modules.borrow().get(image.name) {
            return Ok(*module);
        }
        let text = CString::new(image.ptx).unwrap_or_default();
        let (mut module, mut log) = (std::ptr::null_mut(), vec![0u8; 4096]);
        let mut options = [
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), log.len() as *mut c_void];
        // SAFETY: PTX that ends with zero; two options with their values: a buffer and, by the driver's convention as a
        // pointer, its size.
        let code = unsafe {
            sys::cuModuleLoadDataEx(
                &raw mut module,
                text.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return Err(CudaError::NoRoomFor { call: "cuModuleLoadDataEx" });
        }
        if code != CUresult::CUDA_SUCCESS {
            let log = CStr::from_bytes_until_nul(&log).map(|l| l.to_string_lossy().trim().to_string());
            let log = log.unwrap_or_default();
            let said = if log.is_empty() { String::new() } else { format!(": {log}") };
            let (major, minor) = self.device.capability;
            return Err(CudaError::Image {
                device: self.device.name.clone(),
                major,
                minor,
                module: image.name,
                reason: format!("{}{said}", describe(code)),
            });
        }
        self.modules.borrow_mut().insert(image.name, module);
        Ok(module)
    }

    /// An event that times.
    pub(super) fn event(self: &Rc<Self>) -> Result<Event, CudaError> {
        let mut event = std::ptr::null_mut();
        // SAFETY: `event` is written; the default flags time.
        call!(cuEventCreate(&raw mut event, sys::CUevent_flags::CU_EVENT_DEFAULT as u32))?;
        Ok(Event { _gpu: Rc::clone(self), event })
    }

    /// Marks the place in the stream; during a capture, a node of the graph that marks it at every launch.
    pub(super) fn record(&self, event: &Event, capturing: bool) -> Result<(), CudaError> {
        let external = sys::CUevent_record_flags::CU_EVENT_RECORD_EXTERNAL as u32;
        // SAFETY: an event and a stream of this device, both alive.
        call!(cuEventRecordWithFlags(event.event, self.stream, if capturing { external } else { 0 }))
            .map_err(|e| self.blame(e))
    }

    /// Waits until the stream has come to `event`.
    pub(super) fn wait_for(&self, event: &Event) -> Result<(), CudaError> {
        // SAFETY: an event of this device.
        let code = unsafe { sys::cuEventSynchronize(event.event) };
        self.no_fault("cuEventSynchronize", code)
    }

    /// Seconds from one event to the other; both were waited for.
    pub(super) fn between(&self, from: &Event, to: &Event) -> Result<f64, CudaError> {
        let mut ms = 0f32;
        // SAFETY: two events of this device; `ms` is written.
        call!(cuEventElapsedTime(&raw mut ms, from.event, to.event)).map(|()| f64::from(ms) * 1e-3)
    }

    /// Records what `work` asks for instead of doing it.
    pub(super) fn capture(
        self: &Rc<Self>,
        work: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<Graph, CudaError> {
        // What other threads do with the device does not end this capture: NVML's and a profiler's calls are theirs.
        let relaxed = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream of this device.
        call!(cuStreamBeginCapture_v2(self.stream, relaxed))?;
        let worked = work();
        let mut graph = std::ptr::null_mut();
        // SAFETY: the stream that captures; it must end even where the work failed.
        let ended = call!(cuStreamEndCapture(self.stream, &raw mut graph));
        worked?;
        ended?;
        let mut executable = std::ptr::null_mut();
        // SAFETY: the graph just made.
        let made = call!(cuGraphInstantiateWithFlags(&raw mut executable, graph, 0));
        // SAFETY: the executable has a copy of its own.
        call!(cuGraphDestroy(graph))?;
        made?;
        Ok(Graph { _gpu: Rc::clone(self), executable })
    }

    /// Runs a graph.
    pub(super) fn launch_graph(&self, graph: &Graph) -> Result<(), CudaError> {
        // SAFETY: an executable graph of this device.
        let code = unsafe { sys::cuGraphLaunch(graph.executable, self.stream) };
        self.no_fault("cuGraphLaunch", code)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: nothing of the device is used any more: whatever uses it holds the Gpu. Errors are of no use here.
        unsafe {
            let _ = sys::cuStreamSynchronize(self.stream);
            for module in self.modules.borrow().values() {
                let _ = sys::cuModuleUnload(*module);
            }
            let _ = sys::cuStreamDestroy_v2(self.stream);
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.handle);
        }
    }
}
