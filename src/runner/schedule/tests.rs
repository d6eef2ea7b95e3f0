//! Schedules on a scripted clock.

use super::*;
use crate::profile::FindingCode;
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

/// Rounds over two lanes whose turns take what `time` says, by lane and the number of turns of that lane so far.
fn run(schedule: Schedule, time: impl Fn(Turn, usize) -> f64) -> (Rounds, Vec<Turn>) {
    let clock = Rc::new(Cell::new(0.0));
    let reader = Rc::clone(&clock);
    let mut rounds =
        Rounds::with_clock(schedule, vec!["a".into(), "b".into()], Box::new(move || reader.get()));
    let (mut turns, mut counts) = (Vec::new(), [0usize; 2]);
    let mut turn = |turn: Turn| -> Result<Timed, Infallible> {
        let seconds = time(turn, counts[turn.lane]);
        counts[turn.lane] += 1;
        clock.set(clock.get() + seconds);
        turns.push(turn);
        Ok(vec![("step", seconds)])
    };
    let Ok(()) = rounds.warm_up(&mut turn);
    let Ok(()) = rounds.repeat(&mut turn);
    (rounds, turns)
}

fn codes(rounds: &Rounds) -> Vec<FindingCode> {
    rounds.finish().1.iter().map(|f| f.code).collect()
}

const BETWEEN: Schedule =
    Schedule { warmup: 1, least: 5, most: 40, precision: 0.02, max_time_s: Some(1000.0), seed: 1 };

/// Values that go up and down around 1 by up to `spread`, without any trend.
fn noise(i: usize, spread: f64) -> f64 {
    1.0 + spread * (((i * 37 + 11) % 101) as f64 / 50.0 - 1.0)
}

#[test]
fn it_ends_with_the_least_where_times_are_alike_and_warms_up_until_that_can_be_told() {
    let (rounds, turns) = run(BETWEEN, |_, _| 1.0);
    let (record, findings) = rounds.finish();
    assert_eq!((record.warmups, record.repetitions, record.ended), (5, 5, Ended::Precision));
    assert_eq!((record.reached, findings), (Some(0.0), vec![]));
    assert_eq!(turns.len(), 20);
    assert!(turns[..10].iter().all(|t| t.repetition.is_none()));
    assert_eq!((turns[19].done, turns[19].total), (19, 20));
}

#[test]
fn it_goes_on_until_intervals_are_narrow_or_says_that_they_are_not() {
    let (rounds, _) = run(BETWEEN, |_, i| noise(i, 0.04));
    let (record, _) = rounds.finish();
    assert_eq!(record.ended, Ended::Precision);
    assert!(record.repetitions > 5 && record.reached.unwrap() <= 0.02, "{record:?}");
    let (rounds, _) = run(BETWEEN, |_, i| noise(i, 0.4));
    assert_eq!(rounds.finish().0.ended, Ended::Count);
    assert!(codes(&rounds).contains(&FindingCode::Imprecise));
}

#[test]
fn a_number_of_repetitions_is_kept_to_whatever_the_precision() {
    let (rounds, turns) = run(Schedule::exactly(7, 3), |_, i| noise(i, 0.4));
    let (record, findings) = rounds.finish();
    assert_eq!((record.repetitions, record.precision, record.ended), (7, None, Ended::Count));
    assert_eq!(findings, []);
    assert_eq!(turns.iter().filter(|t| t.repetition.is_some()).count(), 14);
}

#[test]
fn no_round_is_begun_that_would_end_after_the_time() {
    // Two lanes of 10 s: one warm-up and four repetitions end at 100 s.
    let schedule = Schedule { max_time_s: Some(105.0), ..BETWEEN };
    let (rounds, _) = run(schedule, |_, _| 10.0);
    let (record, findings) = rounds.finish();
    // A tenth of the time is over after the first warm-up.
    assert_eq!((record.warmups, record.repetitions, record.ended), (1, 4, Ended::Time));
    assert_eq!(findings[0].message, "4 of 5 repetitions fit into --max-time");
    // One repetition runs however long it takes.
    let (rounds, _) = run(Schedule { max_time_s: Some(1.0), ..BETWEEN }, |_, _| 10.0);
    assert_eq!(rounds.repetitions(), 1);
}

#[test]
fn it_warms_up_while_times_fall() {
    // They fall for eight rounds.
    let (rounds, _) = run(BETWEEN, |_, i| if i < 8 { 2.0 - 0.1 * i as f64 } else { noise(i, 0.01) });
    let warmups = rounds.finish().0.warmups;
    assert!((9..=14).contains(&warmups), "{warmups}");
    assert!(!codes(&rounds).contains(&FindingCode::NotSteady));
    // They never stop falling.
    let (rounds, _) = run(BETWEEN, |_, i| 0.1 - 0.001 * i as f64);
    assert_eq!(rounds.finish().0.warmups, 20);
    assert!(codes(&rounds).contains(&FindingCode::NotSteady));
    // Cold is cold.
    assert_eq!(run(Schedule { warmup: 0, ..BETWEEN }, |_, _| 1.0).0.finish().0.warmups, 0);
}

#[test]
fn lanes_run_once_in_every_round_in_an_order_that_the_seed_gives() {
    let order = |seed| {
        let schedule = Schedule { seed, ..Schedule::exactly(12, 0) };
        let turns = run(schedule, |_, _| 1.0).1;
        turns.into_iter().filter(|t| t.repetition.is_some()).map(|t| t.lane).collect::<Vec<_>>()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert!(order(1).chunks(2).all(|round| round[0] + round[1] == 1));
    assert!(order(1).chunks(2).any(|round| round == [1, 0]));
}

#[test]
fn what_went_wrong_is_a_finding_about_the_worst() {
    let of = |time: &dyn Fn(usize) -> f64| {
        let schedule = Schedule { warmup: 0, ..Schedule::exactly(30, 1) };
        run(schedule, |turn, i| if turn.lane == 1 { time(i) } else { noise(i, 0.01) }).0
    };
    let slow_first = of(&|i| if i == 0 { 2.0 } else { noise(i, 0.01) });
    assert_eq!(codes(&slow_first), [FindingCode::FirstSampleSlow]);
    let finding = &slow_first.finish().1[0];
    assert_eq!(finding.about, "b step");
    assert!(finding.message.starts_with("the first repetition took 100 % longer"), "{finding}");
    assert!(finding.remedy.is_some());

    let rising = of(&|i| noise(i, 0.01) * (1.0 + 0.01 * i as f64));
    let finding = rising.finish().1.into_iter().find(|f| f.code == FindingCode::Drift).unwrap();
    // 1.29 times as long at the end, a quarter of the median.
    assert!(finding.message.starts_with("times rose by 25"), "{finding}");

    // Ten slow ones in a row, then ten fast ones, then slow ones again.
    let in_spells = of(&|i| noise(i, 0.01) + if (10..20).contains(&i) { 0.1 } else { 0.0 });
    assert!(codes(&in_spells).contains(&FindingCode::Autocorrelated));

    let spiky = of(&|i| if i % 10 == 5 { 3.0 } else { noise(i, 0.01) });
    let finding = spiky.finish().1.into_iter().find(|f| f.code == FindingCode::Outliers).unwrap();
    assert_eq!(finding.message, "3 of 30 repetitions are outside Tukey's fences: 6, 16, 26");
    assert_eq!(codes(&of(&|i| noise(i, 0.01))), []);
}
