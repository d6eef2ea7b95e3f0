//! NVIDIA's CUPTI, found at run time: which kernels ran, for how long and how they were launched, and hardware counters of
//! ops. Never needed: without it, kprof times by events.
//!
//! Both go by ops: an observer of ranges ([`RangeObserver`]) is told when one begins and ends, and tells CUPTI. One trace or
//! count is on at a time in a process.

#![allow(unsafe_code)]

mod activity;
mod counters;
mod error;
mod library;
mod sys;

pub use activity::TracedKernel;
pub use counters::CounterOffer;
pub use error::CuptiError;

use super::driver::Gpu;
use crate::backend::RangeObserver;
use counters::{Counting, Ranges, Session};
use library::Library;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// CUPTI for one device.
#[derive(Debug)]
pub struct Cupti {
    library: Arc<Library>,
    gpu: Rc<Gpu>,
}

/// Values of an op's metrics, in the order of the metrics.
pub type OpValues = (String, Vec<Option<f64>>);

impl Cupti {
    /// CUPTI, from `file` or wherever it is found.
    ///
    /// # Errors
    /// When it is not there, or is a version whose records are not known.
    pub fn open(gpu: &Rc<Gpu>, file: Option<&Path>) -> Result<Self, CuptiError> {
        let library = Library::find(file, gpu.device.driver)?;
        Ok(Self { library: Arc::new(library), gpu: Rc::clone(gpu) })
    }

    /// Which it is.
    pub fn describe(&self) -> String {
        self.library.describe()
    }

    /// Prepares a trace of kernels.
    pub fn trace(&self) -> Trace {
        Trace { library: Arc::clone(&self.library), ops: Arc::default(), on: Cell::new(false) }
    }

    /// What can be counted on the device.
    ///
    /// # Errors
    /// When the library is too old, the device is not one that it counts on, or the driver forbids it.
    pub fn offer(&self) -> Result<CounterOffer, CuptiError> {
        Counting::offer(&self.library, &self.gpu)
    }

    /// Prepares to count `metrics`, and sees that the driver lets it be done.
    ///
    /// # Errors
    /// When a metric is not one of the chip, the driver forbids it, or another profiler is at work.
    pub fn counters(&self, offer: &CounterOffer, metrics: &[String]) -> Result<Counters, CuptiError> {
        let counting = Rc::new(Counting::new(&self.library, &self.gpu, offer, metrics)?);
        // What is refused only when it is turned on is better known before anything is measured.
        drop(counting.session(1)?);
        Ok(Counters { counting, ops: Arc::default(), session: None })
    }
}

/// The ops that an observer was told of while it was to listen.
#[derive(Debug, Default)]
struct Ops {
    listening: bool,
    names: Vec<String>,
    /// Of the open ranges whether they are ops that were announced.
    open: Vec<bool>,
    error: Option<CuptiError>,
}

type SharedOps = Arc<Mutex<Ops>>;

fn locked(ops: &SharedOps) -> MutexGuard<'_, Ops> {
    ops.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is announced to CUPTI when an op begins and ends.
trait Announce: std::fmt::Debug + Send + Sync {
    fn begin(&self, number: usize) -> Result<(), CuptiError>;
    fn end(&self) -> Result<(), CuptiError>;
}

/// Tells CUPTI of ops while it is to listen.
#[derive(Debug)]
struct Observer<A> {
    ops: SharedOps,
    to: A,
}

impl<A: Announce> RangeObserver for Observer<A> {
    fn push(&self, _name: &str) {
        locked(&self.ops).open.push(false);
    }

    fn op(&self, name: &str) {
        let mut ops = locked(&self.ops);
        let announced = ops.listening;
        if announced {
            let number = ops.names.len();
            ops.names.push(name.to_string());
            if let Err(error) = self.to.begin(number) {
                ops.error.get_or_insert(error);
            }
        }
        ops.open.push(announced);
    }

    fn pop(&self) {
        let mut ops = locked(&self.ops);
        if ops.open.pop() == Some(true)
            && let Err(error) = self.to.end()
        {
            ops.error.get_or_insert(error);
        }
    }
}

/// A trace of kernels.
#[derive(Debug)]
pub struct Trace {
    library: Arc<Library>,
    ops: SharedOps,
    on: Cell<bool>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        if self.on.get() {
            // An error before this one is told already.
            let _ = self.stop();
        }
    }
}

#[derive(Debug)]
struct ToTrace(Arc<Library>);

impl Announce for ToTrace {
    fn begin(&self, number: usize) -> Result<(), CuptiError> {
        activity::push(&self.0, number)
    }

    fn end(&self) -> Result<(), CuptiError> {
        activity::pop(&self.0)
    }
}

impl Trace {
    /// Who is to be told of ranges.
    pub fn observer(&self) -> Arc<dyn RangeObserver> {
        Arc::new(Observer { ops: Arc::clone(&self.ops), to: ToTrace(Arc::clone(&self.library)) })
    }

    /// Kernels from here on are recorded; the device is idle.
    ///
    /// # Errors
    /// When CUPTI refuses.
    pub fn start(&self) -> Result<(), CuptiError> {
        activity::start(&self.library)?;
        self.on.set(true);
        *locked(&self.ops) = Ops { listening: true, ..Ops::default() };
        Ok(())
    }

    /// The names of the ops that ran since, and their kernels; the device is done.
    ///
    /// # Errors
    /// When CUPTI refuses, or lost records.
    pub fn stop(&self) -> Result<(Vec<String>, Vec<TracedKernel>), CuptiError> {
        self.on.set(false);
        let ops = std::mem::take(&mut *locked(&self.ops));
        let kernels = activity::stop(&self.library)?;
        ops.error.map_or(Ok((ops.names, kernels)), Err)
    }
}

/// A count of ops.
#[derive(Debug)]
pub struct Counters {
    counting: Rc<Counting>,
    ops: SharedOps,
    session: Option<Session>,
}

impl Announce for Ranges {
    fn begin(&self, number: usize) -> Result<(), CuptiError> {
        self.push(number)
    }

    fn end(&self) -> Result<(), CuptiError> {
        self.pop()
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Counters {
    /// Counting is off: an observer that is still there tells nobody of anything.
    fn forget(&mut self) {
        *locked(&self.ops) = Ops::default();
        self.session = None;
    }

    /// How often the work is run.
    pub fn passes(&self) -> usize {
        self.counting.passes()
    }

    /// Turns counting on for at most `ops` in a pass; who is to be told of ranges.
    ///
    /// # Errors
    /// When CUPTI refuses.
    pub fn enable(&mut self, ops: usize) -> Result<Arc<dyn RangeObserver>, CuptiError> {
        self.forget();
        let session = self.counting.session(ops.max(1))?;
        let to = session.ranges();
        self.session = Some(session);
        Ok(Arc::new(Observer { ops: Arc::clone(&self.ops), to }))
    }

    /// A pass begins: no op is counted until [`Self::listen`].
    ///
    /// # Errors
    /// When CUPTI refuses.
    pub fn start(&self) -> Result<(), CuptiError> {
        *locked(&self.ops) = Ops::default();
        self.session.as_ref().map_or(Ok(()), Session::start)
    }

    /// Whether ops are counted from here on.
    pub fn listen(&self, on: bool) {
        locked(&self.ops).listening = on;
    }

    /// The pass ends; whether all were made.
    ///
    /// # Errors
    /// When CUPTI refuses.
    pub fn stop(&self) -> Result<bool, CuptiError> {
        locked(&self.ops).listening = false;
        if let Some(error) = locked(&self.ops).error.take() {
            return Err(error);
        }
        self.session.as_ref().map_or(Ok(true), Session::stop)
    }

    /// The ops of the last pass with the values of their metrics, and counting is off.
    ///
    /// # Errors
    /// When CUPTI refuses, or has not every op.
    pub fn finish(&mut self) -> Result<Vec<OpValues>, CuptiError> {
        let names = std::mem::take(&mut locked(&self.ops).names);
        let values = self.session.as_ref().map_or(Ok(Vec::new()), Session::values)?;
        self.forget();
        let mut of_ops: Vec<Option<Vec<Option<f64>>>> = vec![None; names.len()];
        for (number, values) in values {
            if let Some(place) = of_ops.get_mut(number) {
                *place = Some(values);
            }
        }
        let missing = of_ops.iter().filter(|values| values.is_none()).count();
        if missing > 0 {
            let reason = format!("{missing} of {} ops have no range", names.len());
            return Err(CuptiError::Call { call: "cuptiRangeProfilerDecodeData", reason });
        }
        Ok(names.into_iter().zip(of_ops.into_iter().flatten()).collect())
    }
}
