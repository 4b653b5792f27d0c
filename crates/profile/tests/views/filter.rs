//! Parts of profiles.

use profile::{Clock, Filter, FunctionSet, Profile, ThreadIndex, Weights};
use proptest::prelude::*;

use crate::support::{BLOCKED, Builder, ON_CPU, Shown, function_ns, name, profile, samples};

fn functions(profile: &Profile, names: &[&str]) -> FunctionSet {
    FunctionSet::new(&profile.functions, |id| names.contains(&name(profile, id)))
}

fn row(thread: &str, stack: &str, timestamp_ns: u64, wall_ns: u64, cpu_ns: u64) -> Shown {
    (thread.to_owned(), stack.to_owned(), timestamp_ns, wall_ns, cpu_ns, 1)
}

fn two_threads() -> Profile {
    let mut builder = Builder::new();
    let (main, worker) = (builder.thread("MainThread", 11), builder.thread("worker", 12));
    builder.record(main, "main:1 f:2", 10, 9, ON_CPU);
    builder.record(main, "main:1 g:3 f:2", 20, 8, ON_CPU);
    builder.record(main, "", 5, 0, BLOCKED);
    builder.skip_to(main, 50);
    builder.record(main, "main:1 g:3", 7, 7, ON_CPU);
    builder.record(worker, "job:1 g:3", 40, 1, BLOCKED);
    builder.finish()
}

#[test]
fn focus_keeps_stacks_with_a_function_and_their_times() {
    let profile = two_threads();
    let focus = Some(functions(&profile, &["g"]));
    let part = profile.filtered(&Filter { focus, ..Filter::default() });
    let expected = [
        row("MainThread", "main:1 g:3 f:2", 30, 20, 8),
        row("MainThread", "main:1 g:3", 57, 7, 7),
        row("worker", "job:1 g:3", 40, 40, 1),
    ];
    assert_eq!(samples(&part), expected);
    assert_eq!((part.counters.samples, part.counters.coarsened, part.counters.dropped), (3, 0, 2));
}

#[test]
fn trimmed_stacks_begin_at_the_focus() {
    let profile = two_threads();
    let focus = Some(functions(&profile, &["g", "f"]));
    let part = profile.filtered(&Filter { focus, trim: true, ..Filter::default() });
    let expected = [
        row("MainThread", "f:2", 10, 10, 9),
        row("MainThread", "g:3 f:2", 30, 20, 8),
        row("MainThread", "g:3", 57, 7, 7),
        row("worker", "g:3", 40, 40, 1),
    ];
    assert_eq!(samples(&part), expected);
    assert_eq!(function_ns(&part, "main", Clock::Cpu), (0, 0));
}

#[test]
fn ignore_is_the_rest() {
    let profile = two_threads();
    let ignore = Some(functions(&profile, &["g"]));
    let part = profile.filtered(&Filter { ignore, ..Filter::default() });
    // The thread of which nothing is left is gone.
    let expected = [row("MainThread", "main:1 f:2", 10, 10, 9), row("MainThread", "", 35, 5, 0)];
    assert_eq!(samples(&part), expected);
    assert_eq!(part.threads.len(), 1);
}

#[test]
fn threads_by_name_and_id() {
    let profile = two_threads();
    assert_eq!(profile.threads_called("worker"), [ThreadIndex(1)]);
    assert_eq!(profile.threads_called("11"), [ThreadIndex(0)]);
    assert_eq!(profile.threads_called("0"), []);
    assert_eq!(profile.threads_called("work"), []);
    let part = profile.filtered(&Filter { threads: Some(vec![ThreadIndex(1)]), ..Filter::default() });
    assert_eq!(samples(&part), [row("worker", "job:1 g:3", 40, 40, 1)]);
    assert_eq!(part.weights(), profile.threads[1].weights());
}

#[test]
fn a_filter_that_says_nothing_changes_nothing() {
    let profile = two_threads();
    let same = profile.filtered(&Filter::default());
    assert_eq!(samples(&same), samples(&profile));
    assert_eq!(same.counters, profile.counters);
    assert_eq!(same.threads.len(), 2);
}

#[test]
fn an_empty_set_keeps_nothing_or_all() {
    let profile = two_threads();
    let none = functions(&profile, &[]);
    assert!(none.is_empty());
    let focus = Some(none.clone());
    assert_eq!(samples(&profile.filtered(&Filter { focus, ..Filter::default() })), []);
    let ignore = Some(none);
    assert_eq!(samples(&profile.filtered(&Filter { ignore, ..Filter::default() })).len(), 5);
}

fn any_stacks() -> impl Strategy<Value = Vec<(String, u64)>> {
    let frame = prop_oneof![Just("a"), Just("b"), Just("c"), Just("lib.d")];
    let stack = prop::collection::vec(frame, 0..6).prop_map(|frames| frames.join(" "));
    prop::collection::vec((stack, 1..4u64), 0..20)
}

proptest! {
    #[test]
    fn focus_and_ignore_part_the_whole(stacks in any_stacks(), chosen in prop::collection::vec(any::<bool>(), 4), trim: bool) {
        let stacks: Vec<(&str, u64)> = stacks.iter().map(|(stack, samples)| (stack.as_str(), *samples)).collect();
        let whole = profile(&stacks);
        let names: Vec<&str> =
            ["a", "b", "c", "lib.d"].into_iter().zip(chosen).filter(|&(_, yes)| yes).map(|(name, _)| name).collect();
        let set = functions(&whole, &names);
        let inside = whole.filtered(&Filter { focus: Some(set.clone()), trim, ..Filter::default() });
        let outside = whole.filtered(&Filter { ignore: Some(set), ..Filter::default() });
        let parts: Weights = [inside.weights(), outside.weights()].into_iter().sum();
        prop_assert_eq!(parts, whole.weights());
        for function in ["a", "b", "c", "lib.d"] {
            let (own, total) = function_ns(&whole, function, Clock::Cpu);
            let (own_inside, total_inside) = function_ns(&inside, function, Clock::Cpu);
            let (own_outside, total_outside) = function_ns(&outside, function, Clock::Cpu);
            prop_assert_eq!(own_inside + own_outside, own);
            if !trim {
                prop_assert_eq!(total_inside + total_outside, total);
            }
            if names.contains(&function) {
                prop_assert_eq!((own_outside, total_outside), (0, 0));
                prop_assert_eq!(total_inside, total);
            }
        }
    }
}
