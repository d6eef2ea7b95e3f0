//! How every benchmark is repeated: warm-up until times are steady, lanes interleaved in a seeded order, repetitions until
//! intervals are narrow enough or time is up, and what a reader should know of how that went.
//!
//! A *lane* is what is measured side by side (a version, a version at a length, a command); a *round* runs every lane once.
//! A benchmark makes [`Rounds`] of its [`Schedule`], hands them closures that run one lane and say how long it took, and
//! records what [`Rounds::finish`] gives.

mod findings;
mod order;

use crate::profile::{CacheState, Ended, Finding, ScheduleRecord};
use crate::stats::{CONFIDENCE, LEAST_FOR_TREND, Sample, Trend, relative_half_width};
use order::shuffle;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use std::time::Instant;

/// The most rounds of warm-up while times still fall.
const MOST_WARMUPS: usize = 20;
/// The most of the whole time that warming up may take beyond the rounds asked for.
const WARMUP_SHARE: f64 = 0.1;
/// Times still fall where so clear a trend comes up by chance in 1 of 20 warm-ups.
const STILL_FALLING: f64 = 0.05;

/// How often and how long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The least rounds of warm-up, which are not recorded; more follow until times no longer fall. 0: none at all.
    pub warmup: usize,
    /// The least repetitions, at least 1, unless time is up before.
    pub least: usize,
    /// The most repetitions.
    pub most: usize,
    /// Between the least and the most, it ends when half of every median's 95 % interval is at most this part of the median.
    /// Such a rule ends a little too soon where values were alike by chance, as any that looks at the values does.
    pub precision: f64,
    /// No round is begun that would, by the last one's time, end after this many seconds.
    pub max_time_s: Option<f64>,
    /// The seed of the order.
    pub seed: u64,
}

impl Schedule {
    /// So many repetitions, neither more nor less, after one round of warm-up at least.
    pub fn exactly(repetitions: usize, seed: u64) -> Self {
        Self { warmup: 1, least: repetitions, most: repetitions, precision: 0.0, max_time_s: None, seed }
    }
}

/// Which lane is to run, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The lane.
    pub lane: usize,
    /// Which repetition, from 0; `None` while warming up.
    pub repetition: Option<usize>,
    /// Turns done, warm-up included.
    pub done: usize,
    /// Turns in all, as far as can be told by now.
    pub total: usize,
}

/// The seconds that a turn took: one or more durations, each under a name, the same for every turn of a lane.
pub type Timed = Vec<(&'static str, f64)>;

/// One duration of one lane, in the order measured.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    lane: usize,
    what: &'static str,
    values: Vec<f64>,
}

/// A schedule at work.
pub struct Rounds {
    schedule: Schedule,
    lanes: Vec<String>,
    now: Box<dyn Fn() -> f64>,
    warm: Vec<Series>,
    series: Vec<Series>,
    warmups: usize,
    done: usize,
    steady: bool,
    repetitions: usize,
    ended: Ended,
}

impl std::fmt::Debug for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rounds").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Rounds {
    /// Rounds over `lanes`, by their names; the time of [`Schedule::max_time_s`] begins now.
    pub fn new(schedule: Schedule, lanes: Vec<String>) -> Self {
        let began = Instant::now();
        Self::with_clock(schedule, lanes, Box::new(move || began.elapsed().as_secs_f64()))
    }

    fn with_clock(schedule: Schedule, lanes: Vec<String>, now: Box<dyn Fn() -> f64>) -> Self {
        Self {
            schedule,
            lanes,
            now,
            warm: Vec::new(),
            series: Vec::new(),
            warmups: 0,
            done: 0,
            steady: true,
            repetitions: 0,
            ended: Ended::Count,
        }
    }

    /// Seconds since the beginning.
    pub fn elapsed_s(&self) -> f64 {
        (self.now)()
    }

    /// Runs rounds that are not recorded: the least asked for, then until the last five times of no lane fall (the test of
    /// Mann and Kendall), a tenth of all the time is over, or 20 rounds are made.
    ///
    /// # Errors
    /// Those of `turn`.
    pub fn warm_up<E>(&mut self, mut turn: impl FnMut(Turn) -> Result<Timed, E>) -> Result<(), E> {
        let schedule = self.schedule;
        if schedule.warmup == 0 {
            return Ok(());
        }
        loop {
            let began_s = self.elapsed_s();
            for lane in 0..self.lanes.len() {
                let total = self.done - lane + self.lanes.len() * (1 + schedule.least);
                let timed = turn(Turn { lane, repetition: None, done: self.done, total })?;
                push(&mut self.warm, lane, timed);
                self.done += 1;
            }
            self.warmups += 1;
            if self.warmups < schedule.warmup {
                continue;
            }
            self.steady = !self.still_falling();
            let next_ends_s = self.elapsed_s() + (self.elapsed_s() - began_s);
            let is_late = schedule.max_time_s.is_some_and(|max| next_ends_s > max * WARMUP_SHARE);
            let is_told = self.warmups >= LEAST_FOR_TREND && self.steady;
            if is_told || is_late || self.warmups >= MOST_WARMUPS.max(schedule.warmup) {
                return Ok(());
            }
        }
    }

    /// Whether the latest times of any lane fall too clearly for chance; false where there are too few to tell.
    fn still_falling(&self) -> bool {
        self.warm.iter().any(|series| {
            let latest = &series.values[series.values.len().saturating_sub(LEAST_FOR_TREND)..];
            let sample = Sample::new(latest.to_vec()).ok();
            sample.and_then(|s| Trend::of(&s)).is_some_and(|t| t.p_falling < STILL_FALLING)
        })
    }

    /// Runs every lane once in each repetition, in an order that is shuffled anew, until the schedule ends. At least one
    /// repetition runs.
    ///
    /// # Errors
    /// Those of `turn`.
    pub fn repeat<E>(&mut self, mut turn: impl FnMut(Turn) -> Result<Timed, E>) -> Result<(), E> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.schedule.seed);
        let mut order: Vec<usize> = (0..self.lanes.len()).collect();
        loop {
            let began_s = self.elapsed_s();
            shuffle(&mut order, &mut rng);
            let repetition = Some(self.repetitions);
            let total = self.done + order.len() * self.schedule.least.saturating_sub(self.repetitions).max(1);
            for lane in order.iter().copied() {
                let timed = turn(Turn { lane, repetition, done: self.done, total })?;
                push(&mut self.series, lane, timed);
                self.done += 1;
            }
            self.repetitions += 1;
            let took_s = self.elapsed_s() - began_s;
            if let Some(ended) = self.end(took_s) {
                self.ended = ended;
                return Ok(());
            }
        }
    }

    fn end(&self, took_s: f64) -> Option<Ended> {
        let schedule = &self.schedule;
        if self.repetitions >= schedule.most {
            return Some(Ended::Count);
        }
        if self.repetitions >= schedule.least && self.widest().is_some_and(|w| w.1 <= schedule.precision) {
            return Some(Ended::Precision);
        }
        let is_late = schedule.max_time_s.is_some_and(|max| self.elapsed_s() + took_s > max);
        is_late.then_some(Ended::Time)
    }

    /// The duration whose median is known the least, with half its interval as a part of it.
    fn widest(&self) -> Option<(&Series, f64)> {
        let widths = self.series.iter().filter_map(|series| {
            let sample = Sample::new(series.values.clone()).ok()?;
            Some((series, relative_half_width(&sample, CONFIDENCE))).filter(|w| w.1.is_finite())
        });
        widths.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn about(&self, series: &Series) -> String {
        format!("{} {}", self.lanes[series.lane], series.what).trim().to_string()
    }

    /// Repetitions that every lane completed.
    pub fn repetitions(&self) -> usize {
        self.repetitions
    }

    /// How it went, and what a reader should know of it.
    pub fn finish(&self) -> (ScheduleRecord, Vec<Finding>) {
        let schedule = &self.schedule;
        let record = ScheduleRecord {
            warmups: self.warmups,
            repetitions: self.repetitions,
            least: schedule.least,
            most: schedule.most,
            precision: (schedule.least < schedule.most).then_some(schedule.precision),
            reached: self.widest().map(|w| w.1),
            ended: self.ended,
            seed: schedule.seed,
            cache: CacheState::Hot,
            flushed_bytes: None,
        };
        (record, findings::of(self))
    }
}

fn push(all: &mut Vec<Series>, lane: usize, timed: Timed) {
    for (what, value) in timed.into_iter().filter(|(_, value)| value.is_finite()) {
        match all.iter_mut().find(|s| s.lane == lane && s.what == what) {
            Some(series) => series.values.push(value),
            None => all.push(Series { lane, what, values: vec![value] }),
        }
    }
}

#[cfg(test)]
mod tests;
