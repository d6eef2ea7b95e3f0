//! What of CUPTI's headers is used here, and no more: constants, structs and functions, in their own layout.
//!
//! Checked against the headers of CUDA 12.0, 12.4, 12.6, 12.8, 12.9, 13.0 and 13.5: sizes, offsets, values and the names that the
//! libraries export. The structs of the range profiler begin with their own size, by which newer libraries know older ones: in 13.5
//! four have more at their end.

#![allow(unsafe_code)]

use crate::backend::cuda::library::functions;
use std::ffi::{c_char, c_void};

/// A handle of CUPTI's, or of the driver's.
pub(super) type Opaque = *mut c_void;

/// CUpti_ActivityKind.
pub(super) const KIND_DRIVER: u32 = 4;
pub(super) const KIND_RUNTIME: u32 = 5;
pub(super) const KIND_KERNEL: u32 = 3;
pub(super) const KIND_CONCURRENT_KERNEL: u32 = 10;
pub(super) const KIND_EXTERNAL_CORRELATION: u32 = 39;
/// CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0.
pub(super) const EXTERNAL_CUSTOM0: u32 = 3;
/// CUPTI_ACTIVITY_FLAG_FLUSH_FORCED.
pub(super) const FLUSH_FORCED: u32 = 1;
/// CUptiResult.
pub(super) const SUCCESS: i32 = 0;
pub(super) const MAX_LIMIT_REACHED: i32 = 12;
pub(super) const HARDWARE_BUSY: i32 = 26;
pub(super) const NOT_SUPPORTED: i32 = 27;
pub(super) const VIRTUALIZED_DEVICE_NOT_SUPPORTED: i32 = 33;
pub(super) const INSUFFICIENT_PRIVILEGES: i32 = 35;
pub(super) const OLD_PROFILER_API_INITIALIZED: i32 = 36;
pub(super) const MULTIPLE_SUBSCRIBERS: i32 = 39;
pub(super) const VIRTUALIZED_INSUFFICIENT_PRIVILEGES: i32 = 40;
pub(super) const CONFIDENTIAL_COMPUTING: i32 = 41;
/// CUPTI_UserRange and CUPTI_UserReplay.
pub(super) const USER_RANGE: u32 = 2;
pub(super) const USER_REPLAY: u32 = 3;
/// CUPTI_PROFILER_TYPE_RANGE_PROFILER.
pub(super) const TYPE_RANGE_PROFILER: u32 = 0;
/// CUpti_MetricType: counters, ratios, throughputs.
pub(super) const METRIC_TYPES: [u32; 3] = [0, 1, 2];
/// CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED, _DISABLED and _SUPPORTED.
pub(super) const UNSUPPORTED: u32 = 1;
pub(super) const DISABLED: u32 = 2;
pub(super) const SUPPORTED: u32 = 3;

/// The fields that every CUpti_ActivityKernel from number 4 to 13 begins with: newer ones only add behind them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct ActivityKernel {
    pub(super) kind: u32,
    pub(super) cache_config: u8,
    pub(super) shared_memory_config: u8,
    pub(super) registers: u16,
    pub(super) partitioned_cache: [u32; 2],
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) completed: u64,
    pub(super) device: u32,
    pub(super) context: u32,
    pub(super) stream: u32,
    pub(super) grid: [i32; 3],
    pub(super) block: [i32; 3],
    pub(super) static_shared: i32,
    pub(super) dynamic_shared: i32,
    pub(super) local_per_thread: u32,
    pub(super) local_total: u32,
    pub(super) correlation: u32,
    pub(super) grid_id: i64,
    pub(super) name: *const c_char,
    pub(super) reserved: *mut c_void,
    pub(super) queued: u64,
    pub(super) submitted: u64,
    pub(super) launch_type: u8,
    pub(super) carveout: [u8; 3],
    pub(super) shared_executed: u32,
    pub(super) graph_node: u64,
}

/// CUpti_ActivityExternalCorrelation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct ActivityExternalCorrelation {
    pub(super) kind: u32,
    pub(super) external_kind: u32,
    pub(super) external: u64,
    pub(super) correlation: u32,
    pub(super) reserved: u32,
}

pub(super) type BufferRequested = unsafe extern "C" fn(*mut *mut u8, *mut usize, *mut usize);
pub(super) type BufferCompleted = unsafe extern "C" fn(Opaque, u32, *mut u8, usize, usize);

functions! {
    /// What every CUPTI has.
    Tracing {
        cuptiGetVersion(*mut u32) -> i32;
        cuptiGetResultString(i32, *mut *const c_char) -> i32;
        cuptiActivityRegisterCallbacks(BufferRequested, BufferCompleted) -> i32;
        cuptiActivityEnable(u32) -> i32;
        cuptiActivityDisable(u32) -> i32;
        cuptiActivityFlushAll(u32) -> i32;
        cuptiActivityGetNextRecord(*mut u8, usize, *mut *mut u32) -> i32;
        cuptiActivityGetNumDroppedRecords(Opaque, u32, *mut usize) -> i32;
        cuptiActivityPushExternalCorrelationId(u32, u64) -> i32;
        cuptiActivityPopExternalCorrelationId(u32, *mut u64) -> i32;
    }
}

functions! {
    /// What CUPTI has since CUDA 12.6.
    Profiling {
        cuptiProfilerInitialize(*mut Plain) -> i32;
        cuptiProfilerDeviceSupported(*mut DeviceSupported) -> i32;
        cuptiProfilerGetCounterAvailability(*mut CounterAvailability) -> i32;
        cuptiDeviceGetChipName(*mut ChipName) -> i32;
        cuptiProfilerHostInitialize(*mut HostInitialize) -> i32;
        cuptiProfilerHostDeinitialize(*mut OfHost) -> i32;
        cuptiProfilerHostGetBaseMetrics(*mut BaseMetrics) -> i32;
        cuptiProfilerHostConfigAddMetrics(*mut AddMetrics) -> i32;
        cuptiProfilerHostGetConfigImageSize(*mut ConfigImageSize) -> i32;
        cuptiProfilerHostGetConfigImage(*mut ConfigImage) -> i32;
        cuptiProfilerHostGetNumOfPasses(*mut Passes) -> i32;
        cuptiProfilerHostEvaluateToGpuValues(*mut Evaluate) -> i32;
        cuptiRangeProfilerEnable(*mut Enable) -> i32;
        cuptiRangeProfilerDisable(*mut OfProfiler) -> i32;
        cuptiRangeProfilerGetCounterDataSize(*mut CounterDataSize) -> i32;
        cuptiRangeProfilerCounterDataImageInitialize(*mut CounterDataImage) -> i32;
        cuptiRangeProfilerSetConfig(*mut SetConfig) -> i32;
        cuptiRangeProfilerStart(*mut OfProfiler) -> i32;
        cuptiRangeProfilerStop(*mut Stop) -> i32;
        cuptiRangeProfilerPushRange(*mut PushRange) -> i32;
        cuptiRangeProfilerPopRange(*mut OfProfiler) -> i32;
        cuptiRangeProfilerDecodeData(*mut DecodeData) -> i32;
        cuptiRangeProfilerGetCounterDataInfo(*mut CounterDataInfo) -> i32;
        cuptiRangeProfilerCounterDataGetRangeInfo(*mut RangeInfo) -> i32;
    }
}

/// Declares parameters as CUPTI takes them: their own size up to the end of the last field, a pointer that is null, and
/// the fields. New ones are zero.
macro_rules! params {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty,)* } $($last:ident: $of:ty)?;)*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug)]
        pub(super) struct $name {
            size: usize,
            private: *mut c_void,
            $(pub(super) $field: $type,)*
            $(pub(super) $last: $of,)?
        }

        impl $name {
            /// The size that CUPTI is told: without the padding at the end.
            pub(super) const SIZE: usize =
                { 16 $(+ 0 * size_of::<$of>())? } $(- 16 + std::mem::offset_of!($name, $last) + size_of::<$of>())?;

            pub(super) fn new() -> Self {
                // SAFETY: numbers and pointers, for all of which zero is a value.
                let mut params: Self = unsafe { std::mem::zeroed() };
                params.size = Self::SIZE;
                params
            }
        }
    )*};
}

params! {
    /// Parameters without any: CUpti_Profiler_Initialize_Params.
    Plain {};
    /// CUpti_Profiler_DeviceSupported_Params, up to what every version has.
    DeviceSupported {
        device: i32, is_supported: u32, architecture: u32, sli: u32, vgpu: u32, confidential: u32, cmp: u32, wsl: u32,
    } api: u32;
    /// CUpti_Profiler_GetCounterAvailability_Params.
    CounterAvailability { context: Opaque, bytes: usize, } image: *mut u8;
    /// CUpti_Device_GetChipName_Params.
    ChipName { device: usize, } name: *const c_char;
    /// CUpti_Profiler_Host_Initialize_Params.
    HostInitialize { kind: u32, chip: *const c_char, availability: *const u8, } host: Opaque;
    /// CUpti_Profiler_Host_Deinitialize_Params.
    OfHost {} host: Opaque;
    /// CUpti_Profiler_Host_GetBaseMetrics_Params.
    BaseMetrics { host: Opaque, kind: u32, names: *const *const c_char, } count: usize;
    /// CUpti_Profiler_Host_ConfigAddMetrics_Params.
    AddMetrics { host: Opaque, names: *const *const c_char, } count: usize;
    /// CUpti_Profiler_Host_GetConfigImageSize_Params.
    ConfigImageSize { host: Opaque, } bytes: usize;
    /// CUpti_Profiler_Host_GetConfigImage_Params.
    ConfigImage { host: Opaque, bytes: usize, } image: *mut u8;
    /// CUpti_Profiler_Host_GetNumOfPasses_Params.
    Passes { bytes: usize, image: *mut u8, } passes: usize;
    /// CUpti_Profiler_Host_EvaluateToGpuValues_Params.
    Evaluate {
        host: Opaque, image: *const u8, bytes: usize, range: usize, names: *const *const c_char, count: usize,
    } values: *mut f64;
    /// CUpti_RangeProfiler_Enable_Params.
    Enable { context: Opaque, } profiler: Opaque;
    /// CUpti_RangeProfiler_Disable_Params, _Start_Params and _PopRange_Params.
    OfProfiler {} profiler: Opaque;
    /// CUpti_RangeProfiler_GetCounterDataSize_Params.
    CounterDataSize {
        profiler: Opaque, names: *const *const c_char, count: usize, ranges: usize, nodes: u32,
    } bytes: usize;
    /// CUpti_RangeProfiler_CounterDataImage_Initialize_Params.
    CounterDataImage { profiler: Opaque, bytes: usize, } image: *mut u8;
    /// CUpti_RangeProfiler_SetConfig_Params.
    SetConfig {
        profiler: Opaque, config_bytes: usize, config: *const u8, image_bytes: usize, image: *mut u8, range: u32,
        replay: u32, ranges_per_pass: usize, levels: u16, first_level: u16, pass: usize,
    } target_level: u16;
    /// CUpti_RangeProfiler_Stop_Params.
    Stop { profiler: Opaque, pass: usize, target_level: usize, } is_all: u8;
    /// CUpti_RangeProfiler_PushRange_Params.
    PushRange { profiler: Opaque, } name: *const c_char;
    /// CUpti_RangeProfiler_DecodeData_Params.
    DecodeData { profiler: Opaque, } dropped: usize;
    /// CUpti_RangeProfiler_GetCounterDataInfo_Params.
    CounterDataInfo { image: *const u8, bytes: usize, } ranges: usize;
    /// CUpti_RangeProfiler_CounterData_GetRangeInfo_Params.
    RangeInfo { image: *const u8, bytes: usize, range: usize, delimiter: *const c_char, } name: *const c_char;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn records_lie_as_in_the_headers() {
        let offsets = [
            (offset_of!(ActivityKernel, registers), 6),
            (offset_of!(ActivityKernel, start), 16),
            (offset_of!(ActivityKernel, device), 40),
            (offset_of!(ActivityKernel, stream), 48),
            (offset_of!(ActivityKernel, grid), 52),
            (offset_of!(ActivityKernel, block), 64),
            (offset_of!(ActivityKernel, static_shared), 76),
            (offset_of!(ActivityKernel, dynamic_shared), 80),
            (offset_of!(ActivityKernel, correlation), 92),
            (offset_of!(ActivityKernel, name), 104),
            (offset_of!(ActivityKernel, graph_node), 144),
            (offset_of!(ActivityExternalCorrelation, external), 8),
            (offset_of!(ActivityExternalCorrelation, correlation), 16),
        ];
        assert!(offsets.iter().all(|(found, wanted)| found == wanted), "{offsets:?}");
    }

    #[test]
    fn parameters_are_as_large_as_the_headers_say() {
        // The *_STRUCT_SIZE of the headers.
        let sizes = [
            ("Initialize", Plain::SIZE, 16),
            ("DeviceSupported", DeviceSupported::SIZE, 52),
            ("GetCounterAvailability", CounterAvailability::SIZE, 40),
            ("GetChipName", ChipName::SIZE, 32),
            ("HostInitialize", HostInitialize::SIZE, 48),
            ("HostDeinitialize", OfHost::SIZE, 24),
            ("GetBaseMetrics", BaseMetrics::SIZE, 48),
            ("ConfigAddMetrics", AddMetrics::SIZE, 40),
            ("GetConfigImageSize", ConfigImageSize::SIZE, 32),
            ("GetConfigImage", ConfigImage::SIZE, 40),
            ("GetNumOfPasses", Passes::SIZE, 40),
            ("EvaluateToGpuValues", Evaluate::SIZE, 72),
            ("Enable", Enable::SIZE, 32),
            ("Disable, Start, PopRange", OfProfiler::SIZE, 24),
            ("GetCounterDataSize", CounterDataSize::SIZE, 64),
            ("CounterDataImageInitialize", CounterDataImage::SIZE, 40),
            ("SetConfig", SetConfig::SIZE, 90),
            ("Stop", Stop::SIZE, 41),
            ("PushRange", PushRange::SIZE, 32),
            ("DecodeData", DecodeData::SIZE, 32),
            ("GetCounterDataInfo", CounterDataInfo::SIZE, 40),
            ("GetRangeInfo", RangeInfo::SIZE, 56),
        ];
        for (name, found, wanted) in sizes {
            assert_eq!(found, wanted, "{name}");
        }
    }

    #[test]
    fn functions_are_asked_for_by_the_names_they_have_in_the_headers() {
        assert_eq!((Tracing::NAMES.len(), Profiling::NAMES.len()), (10, 24));
        assert!(Tracing::NAMES.iter().chain(Profiling::NAMES).all(|name| name.starts_with("cupti")));
    }
}
