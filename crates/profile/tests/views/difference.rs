//! What two profiles say of a change, on profiles whose truth is known.

use profile::{Clock, Difference, DifferenceOptions, Profile};
use proptest::prelude::*;

use crate::support::{Builder, Chance, INTERVAL_NS, ON_CPU, name, profile};

fn options() -> DifferenceOptions {
    DifferenceOptions::new(Clock::Cpu)
}

/// The functions that are said to have changed, with their ratio in per cent.
fn changes(before: &Profile, after: &Profile, difference: &Difference) -> Vec<(String, f64)> {
    let changes = difference.changes();
    changes.map(|change| (before.describe_difference(after, change).1.to_owned(), change.ratio)).collect()
}

/// Functions and the time each takes, in intervals; one caller of all, one of half of them.
type Program = Vec<(String, f64)>;

fn program(intervals: f64) -> Program {
    // From 25 % down to a few thousandths.
    let sizes = [25.0, 20.0, 15.0, 12.0, 8.0, 6.0, 5.0, 4.0, 2.0, 1.0, 0.7, 0.5, 0.4, 0.2, 0.1, 0.1];
    let name = |number: usize| format!("main {}f{number}", if number.is_multiple_of(2) { "outer " } else { "" });
    sizes.iter().enumerate().map(|(number, size)| (name(number), size / 100.0 * intervals)).collect()
}

/// A profile of the program: as many samples as it takes intervals, each by chance in one of its functions.
fn run(program: &Program, chance: &mut Chance) -> Profile {
    let shares: Vec<f64> = program.iter().map(|(_, intervals)| *intervals).collect();
    let samples = shares.iter().sum::<f64>().round() as usize;
    let mut builder = Builder::new();
    let main = builder.thread("MainThread", 1);
    let mut counts = vec![0; program.len()];
    (0..samples).for_each(|_| counts[chance.pick(&shares)] += 1);
    for ((stack, _), count) in program.iter().zip(counts).filter(|&(_, count)| count > 0) {
        builder.record_samples(main, stack, count);
    }
    builder.finish()
}

/// In how many of 100 pairs of runs exactly `expected` is reported.
fn right_of_100(before: &Program, after: &Program, options: &DifferenceOptions, expected: &[&str], seed: u64) -> u32 {
    let mut chance = Chance(seed);
    let mut right = 0;
    for _ in 0..100 {
        let (one, other) = (run(before, &mut chance), run(after, &mut chance));
        let changes = changes(&one, &other, &one.difference(&other, options));
        right += u32::from(changes.iter().map(|(name, _)| name.as_str()).eq(expected.iter().copied()));
    }
    right
}

fn slowed(program: &Program, number: usize, factor: f64) -> Program {
    let mut slowed = program.clone();
    slowed[number].1 *= factor;
    slowed
}

const RUN: f64 = 12_000.0;

#[test]
fn two_runs_of_the_same_program_report_nothing() {
    let same = program(RUN);
    let right = right_of_100(&same, &same, &options(), &[], 1);
    assert!(right >= 95, "{right} of 100");
    // Nor do short ones, or one that is four times as long.
    for (before, after) in [(300.0, 300.0), (3_000.0, 12_000.0)] {
        let right = right_of_100(&program(before), &program(after), &options(), &[], 2);
        assert!(right >= 95, "{right} of 100");
    }
    // Nor does a comparison by units that were done at one speed.
    let by_unit = DifferenceOptions { units: Some((2.0, 8.0)), ..options() };
    let right = right_of_100(&program(3_000.0), &program(12_000.0), &by_unit, &[], 3);
    assert!(right >= 95, "{right} of 100");
}

#[test]
fn a_function_slowed_by_a_fifth_is_reported_and_nothing_else() {
    let before = program(RUN);
    for (number, name) in [(0, "f0"), (1, "f1")] {
        let after = slowed(&before, number, 1.2);
        let right = right_of_100(&before, &after, &options(), &[name], 4);
        assert!(right >= 95, "{name}: {right} of 100");
    }
}

#[test]
fn so_it_is_when_the_second_run_is_longer() {
    let before = program(RUN);
    let after: Program = slowed(&before, 1, 1.2).into_iter().map(|(name, size)| (name, size * 2.0)).collect();
    let right = right_of_100(&before, &after, &options(), &["f1"], 5);
    assert!(right >= 95, "{right} of 100");
    // By the unit of work everything else has become slower, and says so.
    let by_unit = DifferenceOptions { units: Some((1.0, 2.0)), ..options() };
    let right = right_of_100(&before, &after, &by_unit, &["f1"], 5);
    assert!(right >= 95, "{right} of 100");
}

#[test]
fn one_that_became_faster_and_one_that_is_new() {
    let before = program(RUN);
    let mut after = slowed(&before, 0, 0.7);
    after.push(("main new".to_owned(), 0.02 * RUN));
    let right = right_of_100(&before, &after, &options(), &["f0", "new"], 6);
    assert!(right >= 95, "{right} of 100");
}

#[test]
fn the_interval_of_a_ratio_holds_the_truth_in_95_of_100() {
    let before = program(RUN);
    let after = slowed(&before, 1, 1.2);
    let mut chance = Chance(7);
    let (mut inside, mut all) = (0, 0);
    for _ in 0..200 {
        let (one, other) = (run(&before, &mut chance), run(&after, &mut chance));
        for function in one.difference(&other, &options()).functions {
            let truth = if name(&one, function.before.unwrap()) == "f1" { 1.2 } else { 1.0 };
            inside += u32::from(function.ratio_low <= truth && truth <= function.ratio_high);
            all += 1;
        }
    }
    let share = f64::from(inside) / f64::from(all);
    // It is wide rather than narrow: a sum that is given leaves less to chance.
    assert!((0.945..=0.99).contains(&share), "{share}");
}

#[test]
fn own_time_is_compared_and_total_time_shown_beside_it() {
    let before = profile(&[("main f", 5_000), ("main g", 5_000), ("main h", 5_000), ("other", 5_000)]);
    let after = profile(&[("main f", 6_000), ("main g", 5_000), ("main h", 5_000), ("other", 5_000)]);
    let difference = before.difference(&after, &options());
    assert_eq!((difference.before_ns, difference.after_ns), (200_000, 210_000));
    assert!((difference.scale - 1.0).abs() < 0.002, "{}", difference.scale);
    let [change] = difference.changes().collect::<Vec<_>>()[..] else { panic!("{difference:?}") };
    assert_eq!(before.describe_difference(&after, change), (profile::Origin::Own, "f", "/srv/app.py", 1));
    assert_eq!((change.own_before_ns, change.own_after_ns), (50_000, 60_000));
    assert_eq!((change.total_before_ns, change.total_after_ns), (50_000, 60_000));
    assert!((change.ratio - 1.2).abs() < 0.003 && change.confidence > 0.999, "{change:?}");
    assert!(change.ratio_low > 1.1 && change.ratio_high < 1.3, "{change:?}");
    // The caller has no time of its own, so it is not compared; the others are.
    let names: Vec<&str> =
        difference.functions.iter().map(|function| name(&before, function.before.unwrap())).collect();
    assert_eq!(names.len(), 4);
    assert!(!names.contains(&"main"));
}

#[test]
fn by_unit_everything_may_have_changed() {
    let before = profile(&[("f", 5_000), ("g", 5_000)]);
    let after = profile(&[("f", 6_000), ("g", 6_000)]);
    assert_eq!(changes(&before, &after, &before.difference(&after, &options())), []);
    let by_unit = DifferenceOptions { units: Some((1.0, 1.0)), ..options() };
    let difference = before.difference(&after, &by_unit);
    let names: Vec<String> = changes(&before, &after, &difference).into_iter().map(|(name, _)| name).collect();
    assert_eq!((names, difference.scale), (vec!["f".to_owned(), "g".to_owned()], 1.0));
}

#[test]
fn a_change_that_is_smaller_than_asked_for_is_none() {
    let before = profile(&[("f", 90_000), ("g", 90_000), ("h", 90_000)]);
    let after = profile(&[("f", 99_000), ("g", 90_000), ("h", 90_000)]);
    for (at_least, count) in [(0.03, 1), (0.05, 1), (0.12, 0)] {
        let difference = before.difference(&after, &DifferenceOptions { at_least, ..options() });
        assert_eq!(difference.changes().count(), count, "{at_least}");
    }
}

#[test]
fn nothing_against_something() {
    let (nothing, something) = (profile(&[]), profile(&[("f", 100)]));
    let difference = nothing.difference(&something, &options());
    let [function] = &difference.functions[..] else { panic!("{difference:?}") };
    assert_eq!((function.before, function.own_after_ns, function.ratio), (None, 1_000, f64::INFINITY));
    assert!(function.is_certain);
    let difference = something.difference(&nothing, &options());
    assert_eq!((difference.functions[0].after, difference.functions[0].ratio), (None, 0.0));
    let difference = nothing.difference(&nothing, &options());
    assert_eq!((difference.functions.len(), difference.scale), (0, 1.0));
}

fn in_folder(folder: &str, names: &[(&str, &str)]) -> Profile {
    let info = profile::RecordingInfo { interval_ns: INTERVAL_NS, ..profile::RecordingInfo::default() };
    let mut recording = profile::Recording::without_limit(info);
    let main = recording.add_thread(profile::NewThread::default());
    for (file, name) in names {
        let function = recording.intern_function(name, &format!("{folder}{file}"), 1, false);
        let leaf = recording.child(profile::NodeId::ROOT, function, 1);
        recording.record(main, profile::Observation { leaf, wall_ns: 10, cpu_ns: 10, state: ON_CPU });
    }
    recording.finish(profile::Moment::default(), profile::Counters::default())
}

#[test]
fn functions_that_moved_with_their_file_are_the_same() {
    let before = in_folder("/old/", &[("a.py", "f"), ("x/b.py", "g"), ("y/b.py", "g"), ("c.py", "f")]);
    let after = in_folder("/new/", &[("a.py", "f"), ("b.py", "g"), ("c.py", "h")]);
    let difference = before.difference(&after, &options());
    let mut seen: Vec<(bool, bool, &str)> = difference
        .functions
        .iter()
        .map(|function| {
            let (_, name, _, _) = before.describe_difference(&after, function);
            (function.before.is_some(), function.after.is_some(), name)
        })
        .collect();
    seen.sort_unstable();
    // Which of the two `g` it is cannot be told, so it is neither.
    let expected = [
        (false, true, "g"),
        (false, true, "h"),
        (true, false, "f"),
        (true, false, "g"),
        (true, false, "g"),
        (true, true, "f"),
    ];
    assert_eq!(seen, expected);
}

proptest! {
    #[test]
    fn a_profile_does_not_differ_from_itself(sizes in prop::collection::vec(1..400u64, 0..12)) {
        let names: Vec<String> = (0..sizes.len()).map(|number| format!("main f{number}")).collect();
        let stacks: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(sizes).collect();
        let one = profile(&stacks);
        let difference = one.difference(&one, &options());
        prop_assert_eq!(difference.changes().count(), 0);
        prop_assert!((difference.scale - 1.0).abs() < 1e-12);
        prop_assert!(difference.functions.iter().all(|function| (function.ratio - 1.0).abs() < 1e-12));
    }
}
