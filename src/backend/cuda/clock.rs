//! Time on the device: events around steps and ops, resolved when the step is over.

use super::driver::Gpu;
use super::error::CudaError;
use super::handles::Event;
use super::queue::Queue;
use crate::backend::{OpSpan, Site};
use crate::llm::Op;
use std::rc::Rc;

/// An op between two recorded events.
#[derive(Debug)]
struct Pending {
    site: Site,
    op: Op,
    from: usize,
    to: usize,
}

/// Seconds since the backend was made, on the device.
///
/// Elapsed times come as f32 milliseconds, so they are taken from the last reading of the clock and summed in f64: a step
/// of 10 ms is then known to a nanosecond, however long the run.
#[derive(Debug)]
pub(super) struct DeviceClock {
    /// The last reading: an event and its time.
    last: Event,
    last_s: f64,
    /// The event of the next reading.
    next: Event,
    /// Whether `next` stands at the end of the step already.
    ended: bool,
    pending: Vec<Pending>,
}

impl DeviceClock {
    pub(super) fn new(gpu: &Rc<Gpu>) -> Result<Self, CudaError> {
        let (last, next) = (gpu.event()?, gpu.event()?);
        gpu.record(&last, false)?;
        gpu.wait_for(&last)?;
        Ok(Self { last, last_s: 0.0, next, ended: false, pending: Vec::new() })
    }

    /// An op stands between two events of the queue.
    pub(super) fn push(&mut self, site: Site, op: Op, (from, to): (usize, usize)) {
        self.pending.push(Pending { site, op, from, to });
    }

    /// Marks the end of a step, before the host waits for it.
    pub(super) fn end(&mut self, gpu: &Gpu) -> Result<(), CudaError> {
        gpu.record(&self.next, false)?;
        self.ended = true;
        Ok(())
    }

    /// Waits and reads the clock: the end of the step where that was marked, else now; and the spans of its ops.
    pub(super) fn settle(&mut self, gpu: &Gpu, queue: &Queue) -> Result<(f64, Vec<OpSpan>), CudaError> {
        if !std::mem::take(&mut self.ended) {
            gpu.record(&self.next, false)?;
        }
        gpu.wait_for(&self.next)?;
        let now_s = self.last_s + gpu.between(&self.last, &self.next)?;
        let pending = std::mem::take(&mut self.pending);
        let spans = pending.into_iter().map(|Pending { site, op, from, to }| {
            let (from, to) = (queue.event(from), queue.event(to));
            let start_s = self.last_s + gpu.between(&self.last, from)?;
            Ok(OpSpan { site, op, start_s, time_s: gpu.between(from, to)? })
        });
        let spans = spans.collect::<Result<_, CudaError>>()?;
        std::mem::swap(&mut self.last, &mut self.next);
        self.last_s = now_s;
        Ok((now_s, spans))
    }
}
