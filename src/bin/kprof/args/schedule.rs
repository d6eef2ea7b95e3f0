//! The flags of how often and how long to measure, the same for every benchmark.

use super::compare::Fraction;
use super::counts::count;
use clap::Args;
use kprof::runner::Schedule;
use kprof::units::Seconds;
use std::str::FromStr;

#[derive(Args, Clone, Debug)]
pub(crate) struct ScheduleArgs {
    /// The least unrecorded rounds first; more follow while times still fall. 0: none, so that the first one is cold
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Measurement")]
    pub(crate) warmup: usize,
    /// Repetitions: a number such as 20, or the least and the most, such as 5-30, between which --precision ends it
    #[arg(short = 'r', long, value_name = "N[-M]", default_value = "5-30", help_heading = "Measurement")]
    pub(crate) repetitions: Repetitions,
    /// End between the least and the most repetitions when every median is known to so much (half its 95 % interval)
    #[arg(long, value_name = "PERCENT", default_value = "2%", help_heading = "Measurement")]
    pub(crate) precision: Fraction,
    /// Begin no repetition that would end later than this after the start of measuring, e.g. 50s or 500ms
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = positive_time, help_heading = "Measurement")]
    pub(crate) max_time: Seconds,
}

impl ScheduleArgs {
    /// The schedule, with `seed` for its order.
    pub(crate) fn schedule(&self, seed: u64) -> Schedule {
        Schedule {
            warmup: self.warmup,
            least: self.repetitions.least,
            most: self.repetitions.most,
            precision: self.precision.0,
            max_time_s: Some(self.max_time.0),
            seed,
        }
    }
}

/// How many repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repetitions {
    least: usize,
    most: usize,
}

impl FromStr for Repetitions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let (least, most) = (count(least)?, count(most)?);
        if least > most {
            return Err(format!("'{text}' ends before it begins; write the least first, such as 5-30"));
        }
        Ok(Self { least, most })
    }
}

/// A time above 0.
pub(crate) fn positive_time(text: &str) -> Result<Seconds, String> {
    let time = Seconds::parse(text).map_err(|e| e.to_string())?;
    if time.0 > 0.0 { Ok(time) } else { Err(format!("'{text}' is no time after the start")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_a_number_or_the_least_and_the_most() {
        let of = |text: &str| text.parse::<Repetitions>();
        assert_eq!(of("20"), Ok(Repetitions { least: 20, most: 20 }));
        assert_eq!(of("5-30"), Ok(Repetitions { least: 5, most: 30 }));
        assert!(of("30-5").unwrap_err().contains("ends before it begins"));
        assert!(of("0").unwrap_err().contains("'0' is no count"));
    }
}
