//! Several profiles as one.

use std::collections::BTreeMap;

use profile::{Clock, Moment, Profile, Weights};
use proptest::prelude::*;

use crate::support::{Builder, INTERVAL_NS, ON_CPU, function_ns, samples};

fn at(unix_ns: u64, monotonic_ns: u64) -> Moment {
    Moment { unix_ns, monotonic_ns }
}

fn of_process(pid: u32, start: Moment, stacks: &[(&str, u64)]) -> Profile {
    let mut builder = Builder::of_process(pid, start);
    let main = builder.thread("MainThread", u64::from(pid));
    builder.skip_to(main, start.monotonic_ns);
    for &(stack, weight_ns) in stacks {
        builder.record(main, stack, weight_ns, weight_ns / 2, ON_CPU);
    }
    let length_ns: u64 = stacks.iter().map(|(_, weight_ns)| weight_ns).sum();
    builder.finish_at(at(start.unix_ns + length_ns, start.monotonic_ns + length_ns))
}

#[test]
fn threads_stay_apart_and_times_lie_as_the_calendar_says() {
    // The second machine has been up for longer.
    let one = of_process(7, at(10_000, 500), &[("main f", 20), ("main g", 10)]);
    let two = of_process(8, at(10_100, 90_000), &[("main f", 40)]);
    let merged = Profile::merged(&[&one, &two]);
    let expected = [
        ("MainThread (pid 7)", "main:1 f:1", 520, 20, 10),
        ("MainThread (pid 7)", "main:1 g:1", 530, 10, 5),
        ("MainThread (pid 8)", "main:1 f:1", 640, 40, 20),
    ];
    let expected =
        expected.map(|(thread, stack, time, wall, cpu)| (thread.to_owned(), stack.to_owned(), time, wall, cpu, 1u64));
    assert_eq!(samples(&merged), expected);
    assert_eq!((merged.info.start, merged.end), (at(10_000, 500), at(10_140, 640)));
    assert_eq!(function_ns(&merged, "f", Clock::Wall), (60, 60));
    assert_eq!((merged.info.pid, merged.info.interval_ns), (0, INTERVAL_NS));
    assert_eq!((merged.counters.samples, merged.counters.dropped, merged.counters.missed_ticks), (3, 4, 2));
    // In the other order all is the same but the order of the threads.
    let other = Profile::merged(&[&two, &one]);
    assert_eq!((other.info.start, other.end), (merged.info.start, merged.end));
    assert_eq!(samples(&other)[0], samples(&merged)[2]);
}

#[test]
fn two_recordings_of_one_process_are_told_apart_by_number() {
    let one = of_process(7, at(10_000, 500), &[("main f", 20)]);
    let merged = Profile::merged(&[&one, &one, &one]);
    let names: Vec<&str> = merged.threads.iter().map(|thread| thread.name.as_str()).collect();
    assert_eq!(names, ["MainThread", "MainThread #2", "MainThread #3"]);
    assert_eq!(merged.info.pid, 7);
}

#[test]
fn of_nothing_and_of_one() {
    let nothing = Profile::merged(&[]);
    assert_eq!((nothing.threads.len(), nothing.weights()), (0, Weights::default()));
    let one = of_process(7, at(10_000, 500), &[("main f", 20), ("main g", 10)]);
    let same = Profile::merged(&[&one]);
    assert_eq!(samples(&same), samples(&one));
    assert_eq!((same.info.clone(), same.end), (one.info.clone(), one.end));
    let counters = profile::Counters { memory_bytes: same.counters.memory_bytes, ..one.counters };
    assert_eq!(same.counters, counters);
}

/// The sums by thread, and by stack.
fn sums(profile: &Profile) -> (BTreeMap<String, Weights>, BTreeMap<String, (u64, u64)>) {
    let threads = profile.threads.iter().map(|thread| (thread.name.clone(), thread.weights())).collect();
    let mut stacks: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (_, stack, _, wall_ns, cpu_ns, _) in samples(profile) {
        let sum = stacks.entry(stack).or_default();
        *sum = (sum.0 + wall_ns, sum.1 + cpu_ns);
    }
    (threads, stacks)
}

fn any_profile(pid: u32) -> impl Strategy<Value = Profile> {
    let stack = prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("lib.c")], 0..5);
    let sample = (stack.prop_map(|frames| frames.join(" ")), 0..1_000u64);
    let start = (1..10_000u64, 0..10_000u64).prop_map(|(unix_ns, monotonic_ns)| at(unix_ns, monotonic_ns));
    (start, prop::collection::vec(sample, 0..15)).prop_map(move |(start, stacks)| {
        let stacks: Vec<(&str, u64)> = stacks.iter().map(|(stack, weight_ns)| (stack.as_str(), *weight_ns)).collect();
        of_process(pid, start, &stacks)
    })
}

proptest! {
    #[test]
    fn merging_is_associative_and_adds_up(a in any_profile(1), b in any_profile(2), c in any_profile(3)) {
        let left = Profile::merged(&[&Profile::merged(&[&a, &b]), &c]);
        let right = Profile::merged(&[&a, &Profile::merged(&[&b, &c])]);
        let at_once = Profile::merged(&[&a, &b, &c]);
        prop_assert_eq!(sums(&left), sums(&right));
        prop_assert_eq!(sums(&left), sums(&at_once));
        prop_assert_eq!(samples(&left).len(), samples(&at_once).len());
        let whole: Weights = [&a, &b, &c].into_iter().map(Profile::weights).sum();
        prop_assert_eq!(at_once.weights(), whole);
        prop_assert_eq!(left.counters, at_once.counters);
        prop_assert_eq!((left.info.start.unix_ns, left.end.unix_ns), (at_once.info.start.unix_ns, at_once.end.unix_ns));
        prop_assert_eq!(left.duration_ns(), at_once.duration_ns());
    }
}
