//! The range profiler: hardware counters of ranges, each an op, collected over as many passes as the metrics need.
//!
//! Passes are of the caller's making (user replay): what is counted runs again for each, with the same work. Between passes
//! nothing is saved or restored, and caches hold what the work itself left there.

#![allow(unsafe_code)]

use super::error::CuptiError;
use super::library::Library;
use super::sys::*;
use crate::backend::cuda::driver::Gpu;
use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char};
use std::rc::Rc;
use std::sync::Arc;

/// The chip that is counted on, and what of it can be.
#[derive(Clone, Debug, PartialEq)]
pub struct CounterOffer {
    /// CUPTI's name for it, e.g. `gh100`.
    pub chip: String,
    /// The base names of its metrics.
    pub metrics: HashSet<String>,
}

/// The number of a range, and the values of its metrics.
pub(super) type RangeValues = (usize, Vec<Option<f64>>);

/// Metrics of one chip, ready to be counted.
#[derive(Debug)]
pub(super) struct Counting {
    library: Arc<Library>,
    f: Profiling,
    host: Opaque,
    gpu: Rc<Gpu>,
    names: Vec<CString>,
    config: Vec<u8>,
    passes: usize,
}

/// A session: the profiler on, for so many ranges per pass.
#[derive(Debug)]
pub(super) struct Session {
    counting: Rc<Counting>,
    profiler: Opaque,
    /// What the profiler writes to until it is disabled.
    image: Vec<u8>,
    /// The configuration that it reads.
    _config: Vec<u8>,
}

/// Calls a function that takes parameters.
macro_rules! call {
    ($library:expr, $f:expr, $name:ident, $params:expr) => {
        // SAFETY: parameters of the function's own type with their size; every use says what they point to.
        $library.check(stringify!($name), unsafe { ($f.$name)(&raw mut *$params) })
    };
}

fn text(at: *const c_char) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: not null, so a string of the library's.
    unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
}

impl Counting {
    /// The device's chip and its metrics.
    pub(super) fn offer(library: &Library, gpu: &Gpu) -> Result<CounterOffer, CuptiError> {
        let f = profiling(library)?;
        call!(library, f, cuptiProfilerInitialize, &mut Plain::new())?;
        supported(library, &f, gpu)?;
        let mut name = ChipName::new();
        name.device = gpu.device.ordinal;
        call!(library, f, cuptiDeviceGetChipName, &mut name)?;
        let chip = text(name.name);
        let host = host(library, &f, &chip, None)?;
        let metrics = metrics(library, &f, host);
        end_host(&f, host);
        Ok(CounterOffer { chip, metrics: metrics? })
    }

    /// Prepares to count `metrics`.
    pub(super) fn new(
        library: &Arc<Library>,
        gpu: &Rc<Gpu>,
        offer: &CounterOffer,
        metrics: &[String],
    ) -> Result<Self, CuptiError> {
        let f = profiling(library)?;
        let available = availability(library, &f, gpu)?;
        let host = host(library, &f, &offer.chip, Some(&available))?;
        let names = metrics.iter().filter_map(|m| CString::new(m.as_str()).ok()).collect();
        let mut counting = Self {
            library: Arc::clone(library),
            f,
            host,
            gpu: Rc::clone(gpu),
            names,
            config: Vec::new(),
            passes: 0,
        };
        counting.configure()?;
        Ok(counting)
    }

    /// How often the work is to be run.
    pub(super) fn passes(&self) -> usize {
        self.passes
    }

    fn pointers(&self) -> Vec<*const c_char> {
        self.names.iter().map(|name| name.as_ptr()).collect()
    }

    fn configure(&mut self) -> Result<(), CuptiError> {
        let (library, f) = (Arc::clone(&self.library), self.f);
        let names = self.pointers();
        let mut add = AddMetrics::new();
        (add.host, add.names, add.count) = (self.host, names.as_ptr(), names.len());
        call!(library, f, cuptiProfilerHostConfigAddMetrics, &mut add)?;
        let mut size = ConfigImageSize::new();
        size.host = self.host;
        call!(library, f, cuptiProfilerHostGetConfigImageSize, &mut size)?;
        self.config = vec![0; size.bytes];
        let mut image = ConfigImage::new();
        (image.host, image.bytes, image.image) = (self.host, self.config.len(), self.config.as_mut_ptr());
        call!(library, f, cuptiProfilerHostGetConfigImage, &mut image)?;
        let mut passes = Passes::new();
        (passes.bytes, passes.image) = (self.config.len(), self.config.as_mut_ptr());
        call!(library, f, cuptiProfilerHostGetNumOfPasses, &mut passes)?;
        self.passes = passes.passes;
        Ok(())
    }

    /// Turns the profiler on for at most `ranges` per pass.
    pub(super) fn session(self: &Rc<Self>, ranges: usize) -> Result<Session, CuptiError> {
        let mut enable = Enable::new();
        enable.context = self.gpu.context.cast();
        call!(self.library, self.f, cuptiRangeProfilerEnable, &mut enable)?;
        let mut session = Session {
            counting: Rc::clone(self),
            profiler: enable.profiler,
            image: Vec::new(),
            _config: self.config.clone(),
        };
        session.configure(ranges)?;
        Ok(session)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        end_host(&self.f, self.host);
    }
}

impl Session {
    fn of_profiler(&self) -> OfProfiler {
        let mut params = OfProfiler::new();
        params.profiler = self.profiler;
        params
    }

    fn configure(&mut self, ranges: usize) -> Result<(), CuptiError> {
        let (counting, profiler) = (Rc::clone(&self.counting), self.profiler);
        let (library, f) = (&counting.library, &counting.f);
        let names = counting.pointers();
        let mut size = CounterDataSize::new();
        (size.profiler, size.names, size.count) = (profiler, names.as_ptr(), names.len());
        (size.ranges, size.nodes) = (ranges, u32::try_from(ranges).unwrap_or(u32::MAX));
        call!(library, f, cuptiRangeProfilerGetCounterDataSize, &mut size)?;
        self.image = vec![0; size.bytes];
        let mut image = CounterDataImage::new();
        (image.profiler, image.bytes, image.image) = (profiler, self.image.len(), self.image.as_mut_ptr());
        call!(library, f, cuptiRangeProfilerCounterDataImageInitialize, &mut image)?;
        let mut config = SetConfig::new();
        config.profiler = profiler;
        (config.config_bytes, config.config) = (self._config.len(), self._config.as_ptr());
        (config.image_bytes, config.image) = (self.image.len(), self.image.as_mut_ptr());
        (config.range, config.replay) = (USER_RANGE, USER_REPLAY);
        config.ranges_per_pass = ranges;
        (config.levels, config.first_level, config.target_level) = (1, 1, 1);
        call!(library, f, cuptiRangeProfilerSetConfig, &mut config)
    }

    /// A pass begins.
    pub(super) fn start(&self) -> Result<(), CuptiError> {
        call!(self.counting.library, self.counting.f, cuptiRangeProfilerStart, &mut self.of_profiler())
    }

    /// The pass ends; whether it was the last that is needed.
    pub(super) fn stop(&self) -> Result<bool, CuptiError> {
        let mut stop = Stop::new();
        stop.profiler = self.profiler;
        call!(self.counting.library, self.counting.f, cuptiRangeProfilerStop, &mut stop)?;
        Ok(stop.is_all != 0)
    }

    /// What begins and ends ranges; not to be used when the session is over.
    pub(super) fn ranges(&self) -> Ranges {
        let Counting { library, f, .. } = &*self.counting;
        Ranges { library: Arc::clone(library), f: *f, profiler: self.profiler.expose_provenance() }
    }

    /// The values of every metric, by the numbers of their ranges; `None` where the counter says nothing.
    pub(super) fn values(&self) -> Result<Vec<RangeValues>, CuptiError> {
        let counting = Rc::clone(&self.counting);
        let (library, f) = (&counting.library, &counting.f);
        let mut decode = DecodeData::new();
        decode.profiler = self.profiler;
        call!(library, f, cuptiRangeProfilerDecodeData, &mut decode)?;
        if decode.dropped > 0 {
            return Err(CuptiError::Dropped { count: decode.dropped });
        }
        let mut info = CounterDataInfo::new();
        (info.image, info.bytes) = (self.image.as_ptr(), self.image.len());
        call!(library, f, cuptiRangeProfilerGetCounterDataInfo, &mut info)?;
        (0..info.ranges).map(|range| Ok((self.number(range)?, self.evaluate(range)?))).collect()
    }

    /// The number that a range was pushed with.
    fn number(&self, range: usize) -> Result<usize, CuptiError> {
        let mut info = RangeInfo::new();
        (info.image, info.bytes, info.range) = (self.image.as_ptr(), self.image.len(), range);
        info.delimiter = c"/".as_ptr();
        let call = "cuptiRangeProfilerCounterDataGetRangeInfo";
        call!(self.counting.library, self.counting.f, cuptiRangeProfilerCounterDataGetRangeInfo, &mut info)?;
        let name = text(info.name);
        name.parse().map_err(|_| CuptiError::Call { call, reason: format!("a range is called '{name}'") })
    }

    fn evaluate(&self, range: usize) -> Result<Vec<Option<f64>>, CuptiError> {
        let counting = &self.counting;
        let names = counting.pointers();
        let mut values = vec![f64::NAN; names.len()];
        let mut of = Evaluate::new();
        (of.host, of.image, of.bytes, of.range) =
            (counting.host, self.image.as_ptr(), self.image.len(), range);
        (of.names, of.count, of.values) = (names.as_ptr(), names.len(), values.as_mut_ptr());
        call!(counting.library, counting.f, cuptiProfilerHostEvaluateToGpuValues, &mut of)?;
        Ok(values.into_iter().map(|value| value.is_finite().then_some(value)).collect())
    }
}

/// Begins and ends ranges of a session.
#[derive(Debug)]
pub(super) struct Ranges {
    library: Arc<Library>,
    f: Profiling,
    profiler: usize,
}

impl Ranges {
    /// A range begins.
    pub(super) fn push(&self, number: usize) -> Result<(), CuptiError> {
        let name = CString::new(number.to_string()).unwrap_or_default();
        let mut push = PushRange::new();
        (push.profiler, push.name) = (std::ptr::with_exposed_provenance_mut(self.profiler), name.as_ptr());
        call!(self.library, self.f, cuptiRangeProfilerPushRange, &mut push)
    }

    /// The range ends.
    pub(super) fn pop(&self) -> Result<(), CuptiError> {
        let mut pop = OfProfiler::new();
        pop.profiler = std::ptr::with_exposed_provenance_mut(self.profiler);
        call!(self.library, self.f, cuptiRangeProfilerPopRange, &mut pop)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nothing can be done about a profiler that does not end.
        let _ =
            call!(self.counting.library, self.counting.f, cuptiRangeProfilerDisable, &mut self.of_profiler());
    }
}

fn profiling(library: &Library) -> Result<Profiling, CuptiError> {
    library.profiling.ok_or_else(|| CuptiError::TooOldToCount { library: library.describe() })
}

const VIRTUAL: &str = "this virtual GPU";

/// Whether the device can be counted on, and if not, for what.
fn supported(library: &Library, f: &Profiling, gpu: &Gpu) -> Result<(), CuptiError> {
    let mut of = DeviceSupported::new();
    of.device = gpu.handle;
    call!(library, f, cuptiProfilerDeviceSupported, &mut of)?;
    if of.is_supported == SUPPORTED {
        return Ok(());
    }
    let parts = [
        ("its architecture", of.architecture),
        ("SLI", of.sli),
        (VIRTUAL, of.vgpu),
        ("confidential computing", of.confidential),
        ("a mining processor", of.cmp),
        ("the Windows Subsystem for Linux", of.wsl),
    ];
    // What is not there, such as SLI, is "disabled"; of a virtual GPU that means that its owner must allow it.
    let hinders =
        |(part, level): &&(&str, u32)| *level == UNSUPPORTED || (*part == VIRTUAL && *level == DISABLED);
    let against: Vec<&str> = parts.iter().filter(hinders).map(|(part, _)| *part).collect();
    let reason = if against.is_empty() {
        "CUPTI does not support it".to_string()
    } else {
        format!("CUPTI does not support {}", against.join(", "))
    };
    Err(CuptiError::Device { device: gpu.device.name.clone(), reason })
}

/// What of the chip's counters this device has, which virtual ones have fewer of.
fn availability(library: &Library, f: &Profiling, gpu: &Gpu) -> Result<Vec<u8>, CuptiError> {
    let mut of = CounterAvailability::new();
    of.context = gpu.context.cast();
    call!(library, f, cuptiProfilerGetCounterAvailability, &mut of)?;
    let mut image = vec![0; of.bytes];
    of.image = image.as_mut_ptr();
    call!(library, f, cuptiProfilerGetCounterAvailability, &mut of)?;
    Ok(image)
}

fn host(
    library: &Library,
    f: &Profiling,
    chip: &str,
    available: Option<&[u8]>,
) -> Result<Opaque, CuptiError> {
    let chip = CString::new(chip).unwrap_or_default();
    let mut of = HostInitialize::new();
    (of.kind, of.chip) = (TYPE_RANGE_PROFILER, chip.as_ptr());
    of.availability = available.map_or(std::ptr::null(), <[u8]>::as_ptr);
    call!(library, f, cuptiProfilerHostInitialize, &mut of)?;
    Ok(of.host)
}

fn end_host(f: &Profiling, host: Opaque) {
    let mut of = OfHost::new();
    of.host = host;
    // SAFETY: made by cuptiProfilerHostInitialize, ended once.
    let _ = unsafe { (f.cuptiProfilerHostDeinitialize)(&raw mut of) };
}

/// The base names of every kind of metric.
fn metrics(library: &Library, f: &Profiling, host: Opaque) -> Result<HashSet<String>, CuptiError> {
    let mut found = HashSet::new();
    for kind in METRIC_TYPES {
        let mut of = BaseMetrics::new();
        (of.host, of.kind) = (host, kind);
        call!(library, f, cuptiProfilerHostGetBaseMetrics, &mut of)?;
        // SAFETY: CUPTI's array of so many names.
        found.extend((0..of.count).map(|i| text(unsafe { *of.names.add(i) })));
    }
    Ok(found)
}
