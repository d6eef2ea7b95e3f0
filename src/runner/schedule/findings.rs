//! What a reader should know of how a measurement went, each with a remedy: one finding of a kind, about the worst of all
//! durations, with how many more it is true of.

use super::{Rounds, Series};
use crate::profile::{Ended, Finding, FindingCode};
use crate::stats::{Sample, Trend, autocorrelation};

/// A trend is one where so clear a one comes up by chance in 1 of 200 runs ...
const CLEAR_TREND: f64 = 0.005;
/// ... and where it changed the time by at least so much of the median: less moves no verdict.
const LEAST_DRIFT: f64 = 0.02;
/// Neighbours that correlate by this much halve the number of independent values: (1 - r) / (1 + r) = 1 / 2.
const MUCH_CORRELATED: f64 = 1.0 / 3.0;
/// Of values that are distributed normally, Tukey's fences leave out 0.7 %; ten times as many are no chance.
const MANY_OUTLIERS: f64 = 0.07;
/// With so few values beside it the first is not said to be slow, nor one to be an outlier.
const FEW: usize = 5;
/// The most repetitions named in a message.
const NAMED: usize = 6;

/// A duration with what was found of it and how bad that is.
struct Found {
    about: String,
    size: f64,
    message: String,
}

pub(super) fn of(rounds: &Rounds) -> Vec<Finding> {
    let samples: Vec<(&Series, Sample)> = rounds
        .series
        .iter()
        .filter_map(|series| Some((series, Sample::new(series.values.clone()).ok()?)))
        .collect();
    let each = |check: fn(&Sample) -> Option<(f64, String)>| {
        let found = samples.iter().filter_map(|(series, sample)| {
            let (size, message) = check(sample)?;
            Some(Found { about: rounds.about(series), size, message })
        });
        worst(found.collect(), samples.len())
    };
    let finding = |code, found: Option<(String, String)>, remedy: &str| {
        found.map(|(about, message)| Finding::new(code, about, message).with_remedy(remedy))
    };
    let more_warmup = "raise --warmup";
    let all = [
        too_few(rounds),
        imprecise(rounds),
        finding(FindingCode::NotSteady, not_steady(rounds), more_warmup),
        finding(FindingCode::FirstSampleSlow, each(first_is_slow), more_warmup),
        finding(
            FindingCode::Drift,
            each(drifts),
            "raise --warmup if times fall; if they rise, look for heat or a busier machine (`kprof doctor`)",
        ),
        finding(
            FindingCode::Autocorrelated,
            each(correlates),
            "measure for longer or in several processes (--processes), so that intervals see the slow changes too",
        ),
        finding(
            FindingCode::Outliers,
            each(has_outliers),
            "they are kept: medians hardly move; end other programs, or pin threads with --pin",
        ),
    ];
    all.into_iter().flatten().collect()
}

/// The worst, and of how many others the same is true.
fn worst(found: Vec<Found>, of: usize) -> Option<(String, String)> {
    let others = found.len().checked_sub(1)?;
    let worst = found.into_iter().max_by(|a, b| a.size.total_cmp(&b.size))?;
    let more = if others > 0 { format!(" (and {others} more of {of} durations)") } else { String::new() };
    Some((worst.about, worst.message + &more))
}

fn too_few(rounds: &Rounds) -> Option<Finding> {
    let (made, asked) = (rounds.repetitions, rounds.schedule.least);
    (made < asked).then(|| {
        let message = format!("{made} of {asked} repetitions fit into --max-time");
        Finding::new(FindingCode::TooFewSamples, "schedule", message)
            .with_remedy("raise --max-time, or measure something shorter")
    })
}

fn imprecise(rounds: &Rounds) -> Option<Finding> {
    let schedule = &rounds.schedule;
    let asked_for = schedule.least < schedule.most && rounds.repetitions >= schedule.least;
    if !asked_for || rounds.ended == Ended::Precision {
        return None;
    }
    let (series, width) = rounds.widest().filter(|w| w.1 > schedule.precision)?;
    let message = format!(
        "its median is known to +-{:.1} % after {} repetitions, and +-{:.1} % was asked for",
        width * 100.0,
        rounds.repetitions,
        schedule.precision * 100.0
    );
    let remedy = match rounds.ended {
        Ended::Time => "raise --max-time, or see to a quieter machine (`kprof doctor`)",
        _ => "raise --repetitions, or see to a quieter machine (`kprof doctor`)",
    };
    Some(Finding::new(FindingCode::Imprecise, rounds.about(series), message).with_remedy(remedy))
}

fn not_steady(rounds: &Rounds) -> Option<(String, String)> {
    let message = format!("times still fell when the warm-up ended after {} rounds", rounds.warmups);
    (!rounds.steady).then(|| ("warm-up".to_string(), message))
}

fn first_is_slow(sample: &Sample) -> Option<(f64, String)> {
    let (first, rest) = sample.values().split_first()?;
    let rest = Sample::new(rest.to_vec()).ok().filter(|r| r.count() >= FEW)?;
    let excess = first / rest.median() - 1.0;
    let is_slow = *first > rest.fences().high && excess >= LEAST_DRIFT;
    is_slow.then(|| {
        (
            excess,
            format!("the first repetition took {:.0} % longer than the median of the rest", excess * 100.0),
        )
    })
}

fn drifts(sample: &Sample) -> Option<(f64, String)> {
    let trend = Trend::of(sample)?;
    let change = trend.change / sample.median();
    let is_clear = trend.p_falling.min(trend.p_rising) < CLEAR_TREND;
    let what = if change > 0.0 { "rose" } else { "fell" };
    let message =
        || format!("times {what} by {:.1} % from the first repetition to the last", change.abs() * 100.0);
    (is_clear && change.abs() >= LEAST_DRIFT).then(|| (change.abs(), message()))
}

fn correlates(sample: &Sample) -> Option<(f64, String)> {
    let r = autocorrelation(sample)?;
    let n = sample.count() as f64;
    // Without correlation, r is normal around 0 with a deviation of 1 / sqrt n (Box and Jenkins).
    let is_clear = r > 2.576 / n.sqrt() && r > MUCH_CORRELATED;
    let message = || {
        let worth = n * (1.0 - r) / (1.0 + r);
        format!(
            "repetitions resemble the one before (correlation {r:.2}): {n:.0} of them are worth {worth:.0}, and intervals are \
             narrower than they say"
        )
    };
    is_clear.then(|| (r, message()))
}

fn has_outliers(sample: &Sample) -> Option<(f64, String)> {
    let fences = sample.fences();
    let outside: Vec<usize> =
        (0..sample.count()).filter(|i| !fences.contains(sample.values()[*i])).map(|i| i + 1).collect();
    let share = outside.len() as f64 / sample.count() as f64;
    if sample.count() <= FEW || outside.len() < 2 || share < MANY_OUTLIERS {
        return None;
    }
    let named: Vec<String> = outside.iter().take(NAMED).map(ToString::to_string).collect();
    let rest = outside.len().saturating_sub(NAMED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let message = format!(
        "{} of {} repetitions are outside Tukey's fences: {}{more}",
        outside.len(),
        sample.count(),
        named.join(", ")
    );
    Some((share, message))
}
