//! What goes into a recording comes out of its profile.

use profile::{
    Clock, Counters, FunctionId, Gil, Moment, NewThread, NodeId, Observation, Profile, Recording, RecordingInfo,
    Running, State, ThreadId, ThreadIndex, Weights,
};
use proptest::prelude::*;

const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);
const BLOCKED: State = State::new(Running::Blocked, Gil::Detached);

fn recording() -> Recording {
    Recording::new(RecordingInfo::default(), 32 << 20)
}

fn thread(recording: &mut Recording, name: &str, started_ns: u64) -> ThreadId {
    recording.add_thread(NewThread { name: name.to_owned(), started_ns, ..NewThread::default() })
}

/// The stack of functions by name, root first, each at line 1.
fn stack(recording: &mut Recording, names: &[&str]) -> NodeId {
    names.iter().fold(NodeId::ROOT, |node, name| {
        let function = recording.intern_function(name, "app.py", 10, false);
        recording.child(node, function, 1)
    })
}

fn on_cpu(leaf: NodeId, wall_ns: u64, cpu_ns: u64) -> Observation {
    Observation { leaf, wall_ns, cpu_ns, state: ON_CPU }
}

fn finish(recording: Recording) -> Profile {
    recording.finish(
        Moment { unix_ns: 5, monotonic_ns: 1_000 },
        Counters { dropped: 3, memory_bytes: 100, ..Counters::default() },
    )
}

/// Of samples that held the GIL all the while.
fn weights(cpu_ns: u64, wall_ns: u64, samples: u64) -> Weights {
    Weights { cpu_ns, wall_ns, gil_ns: wall_ns, samples }
}

fn name(profile: &Profile, function: FunctionId) -> &str {
    profile.strings.get(profile.functions.get(function).name)
}

#[test]
fn the_same_function_has_one_id() {
    let mut recording = recording();
    let id = recording.intern_function("f", "a.py", 1, false);
    assert_eq!(recording.intern_function("f", "a.py", 1, false), id);
    for (name, file, line, is_native) in
        [("g", "a.py", 1, false), ("f", "b.py", 1, false), ("f", "a.py", 2, false), ("f", "a.py", 1, true)]
    {
        assert_ne!(recording.intern_function(name, file, line, is_native), id);
    }
    let profile = finish(recording);
    assert_eq!(profile.functions.ids().len(), 5);
    assert_eq!(name(&profile, id), "f");
}

#[test]
fn counters_and_times_arrive() {
    let mut recording = recording();
    let main = thread(&mut recording, "main", 100);
    let leaf = stack(&mut recording, &["f"]);
    recording.record(main, on_cpu(leaf, 10, 9));
    recording.extend_last(main, 5, 0);
    let held = recording.memory_bytes() as u64;
    let profile = finish(recording);
    let expected = Counters { samples: 1, dropped: 3, memory_bytes: 100 + held, ..Counters::default() };
    assert_eq!(profile.counters, expected);
    assert_eq!(profile.end, Moment { unix_ns: 5, monotonic_ns: 1_000 });
    assert_eq!(profile.duration_ns(), 1_000);
    assert_eq!(profile.samples_per_second(), 1e6);
}

#[test]
fn recursion_counts_once_a_stack() {
    let mut recording = recording();
    let main = thread(&mut recording, "main", 0);
    // f calls itself, through g as well.
    for (names, cpu_ns, wall_ns) in [
        (&["main", "f", "f", "f"][..], 1, 10),
        (&["main", "f", "g", "f"], 2, 20),
        (&["main", "f"], 4, 40),
        (&["main", "g", "f"], 8, 80),
        (&["main"], 16, 160),
        (&[], 32, 320),
    ] {
        let leaf = stack(&mut recording, names);
        recording.record(main, on_cpu(leaf, wall_ns, cpu_ns));
    }
    let profile = finish(recording);
    let totals = profile.function_totals(Clock::Cpu);
    let shown: Vec<_> = totals.iter().map(|total| (name(&profile, total.function), total.own, total.total)).collect();
    let expected = [
        ("main", weights(16, 160, 1), weights(31, 310, 5)),
        ("f", weights(15, 150, 4), weights(15, 150, 4)),
        ("g", weights(0, 0, 0), weights(10, 100, 2)),
    ];
    assert_eq!(shown, expected);
    assert_eq!(profile.weights_without_python(), weights(32, 320, 1));
    assert_eq!(profile.weights(), weights(63, 630, 6));
}

#[test]
fn functions_are_ordered_by_the_clock_that_is_looked_at() {
    let mut recording = recording();
    let main = thread(&mut recording, "main", 0);
    for (function, wall_ns, cpu_ns) in [("waits", 100, 1), ("computes", 10, 10), ("also computes", 10, 10)] {
        let leaf = stack(&mut recording, &[function]);
        recording.record(main, on_cpu(leaf, wall_ns, cpu_ns));
    }
    let profile = finish(recording);
    let order = |clock| {
        let totals = profile.function_totals(clock);
        totals.iter().map(|total| name(&profile, total.function).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order(Clock::Cpu), ["computes", "also computes", "waits"]);
    assert_eq!(order(Clock::Wall), ["waits", "computes", "also computes"]);
}

#[test]
fn totals_by_thread_and_stack() {
    let mut recording = recording();
    let first = thread(&mut recording, "first", 0);
    let second = thread(&mut recording, "second", 0);
    let (f, g) = (stack(&mut recording, &["f"]), stack(&mut recording, &["g"]));
    for (thread, leaf) in [(first, g), (first, f), (second, g), (first, g)] {
        recording.record(thread, on_cpu(leaf, 10, 1));
    }
    let profile = finish(recording);
    let totals: Vec<_> =
        profile.stack_totals().iter().map(|total| (total.thread.0, total.leaf, total.weights)).collect();
    assert_eq!(totals, [(0, f, weights(1, 10, 1)), (0, g, weights(2, 20, 2)), (1, g, weights(1, 10, 1))]);
    assert_eq!(profile.threads[0].weights(), weights(3, 30, 3));
}

#[test]
fn samples_of_all_threads_in_the_order_of_time() {
    let mut recording = recording();
    let first = thread(&mut recording, "first", 0);
    let second = thread(&mut recording, "second", 15);
    let silent = thread(&mut recording, "silent", 0);
    for wall_ns in [10, 10, 10] {
        recording.record(first, on_cpu(NodeId::ROOT, wall_ns, 0));
    }
    for wall_ns in [5, 1, 100] {
        recording.record(second, on_cpu(NodeId::ROOT, wall_ns, 0));
    }
    recording.end_thread(silent, 20);
    let profile = finish(recording);
    let chronology = profile.chronology();
    let order: Vec<_> = (0..chronology.len())
        .map(|number| profile.sample_at(&chronology, number).expect("it is one of them"))
        .map(|(thread, sample)| (sample.timestamp_ns, thread.0))
        .collect();
    assert_eq!(order, [(10, 0), (20, 0), (20, 1), (21, 1), (30, 0), (121, 1)]);
    assert_eq!(chronology.get(4), Some((ThreadIndex(0), 2)));
    assert_eq!((chronology.get(6), profile.sample_at(&chronology, 6)), (None, None));
}

#[test]
fn weights_without_a_sample_to_carry_them_get_one_with_an_empty_stack() {
    let mut recording = recording();
    let (extended, left_over, nothing) =
        (thread(&mut recording, "a", 0), thread(&mut recording, "b", 0), thread(&mut recording, "c", 0));
    recording.extend_last(extended, 30, 2);
    recording.extend_last(extended, 1, 1);
    recording.add_cpu_to_last_on_cpu(left_over, 7);
    recording.add_cpu_to_last_on_cpu(nothing, 0);
    let profile = finish(recording);
    let sums: Vec<_> = profile.threads.iter().map(profile::Thread::weights).collect();
    // Nobody saw who held the GIL.
    let unseen = |cpu_ns, wall_ns, samples| Weights { gil_ns: 0, ..weights(cpu_ns, wall_ns, samples) };
    assert_eq!(sums, [unseen(3, 31, 1), unseen(7, 0, 1), unseen(0, 0, 0)]);
    assert_eq!(profile.weights_without_python(), unseen(10, 31, 2));
    assert_eq!(profile.counters.samples, 2);
}

#[test]
fn a_thread_keeps_its_name_and_its_first_end() {
    let mut recording = recording();
    let worker = thread(&mut recording, "Thread-1", 5);
    recording.rename_thread(worker, "worker");
    recording.end_thread(worker, 50);
    recording.end_thread(worker, 60);
    recording.record(worker, on_cpu(NodeId::ROOT, 1, 1));
    let profile = finish(recording);
    let worker = &profile.threads[0];
    assert_eq!((worker.name.as_str(), worker.started_ns, worker.ended_ns), ("worker", 5, Some(50)));
    assert_eq!(worker.timeline.len(), 1, "what came late counts");
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut recording = recording();
    let main = thread(&mut recording, "main", 0);
    let f = stack(&mut recording, &["f"]);
    (0..10_000).for_each(|_| recording.record(main, on_cpu(f, 10, 1)));
    let snapshot = recording.snapshot(Moment::default(), Counters::default());
    let g = stack(&mut recording, &["f", "g"]);
    (0..10_000).for_each(|_| recording.record(main, on_cpu(g, 10, 1)));
    recording.extend_last(main, 1, 1);
    assert_eq!(snapshot.weights(), weights(10_000, 100_000, 10_000));
    assert_eq!(snapshot.counters.samples, 10_000);
    assert_eq!(snapshot.function_totals(Clock::Cpu).len(), 1);
    assert_eq!(finish(recording).weights(), weights(20_001, 200_001, 20_000));
}

#[test]
fn late_weights_of_a_folded_thread_go_where_it_went() {
    let mut recording = recording();
    let first = thread(&mut recording, "t", 0);
    recording.record(first, on_cpu(NodeId::ROOT, 1, 1));
    recording.end_thread(first, 1);
    for _ in 0..3_000 {
        let next = thread(&mut recording, "t", 0);
        recording.end_thread(next, 9);
    }
    recording.record(first, on_cpu(NodeId::ROOT, 10, 2));
    recording.rename_thread(first, "nobody");
    recording.end_thread(first, 5);
    let profile = finish(recording);
    let folded = profile.threads.last().expect("there are threads");
    assert!(folded.is_folded());
    assert_eq!((folded.weights(), folded.ended_ns), (weights(3, 11, 2), Some(9)));
    assert_eq!(folded.folded_threads + profile.threads.len() as u64 - 1, 3_001);
}

#[test]
fn a_pause_is_in_the_times_and_in_no_sum() {
    let mut recording = recording();
    let main = thread(&mut recording, "main", 100);
    let f = stack(&mut recording, &["f"]);
    recording.record(main, on_cpu(f, 10, 9));
    recording.skip_to(main, 5_000);
    recording.record(main, on_cpu(f, 20, 19));
    let profile = finish(recording);
    let thread = &profile.threads[0];
    assert_eq!(thread.timeline.iter().map(|sample| sample.timestamp_ns).collect::<Vec<_>>(), [110, 5_020]);
    assert_eq!((profile.weights(), profile.weights_without_python()), (weights(28, 30, 2), weights(0, 0, 0)));
    assert_eq!(profile.function_totals(Clock::Wall)[0].total, weights(28, 30, 2));
    assert_eq!((thread.timeline.len(), profile.chronology().len(), profile.counters.samples), (2, 2, 2));
}

/// One call of the collector.
#[derive(Clone, Debug)]
enum Call {
    Start,
    End(usize),
    Record(usize, Vec<u32>, u64, u64, bool),
    Extend(usize, u64, u64),
    LeftOver(usize, u64),
    Skip(usize, u64),
}

fn any_call() -> impl Strategy<Value = Call> {
    let ns = || prop_oneof![6 => 0..10_000_000u64, 1 => 0..100_000_000_000u64];
    let lines = prop::collection::vec(0..6u32, 0..6);
    prop_oneof![
        1 => Just(Call::Start),
        1 => any::<usize>().prop_map(Call::End),
        20 => (any::<usize>(), lines, ns(), ns(), any::<bool>()).prop_map(|(t, l, w, c, s)| Call::Record(t, l, w, c, s)),
        4 => (any::<usize>(), ns(), ns()).prop_map(|(t, w, c)| Call::Extend(t, w, c)),
        2 => (any::<usize>(), ns()).prop_map(|(t, c)| Call::LeftOver(t, c)),
        2 => (any::<usize>(), ns()).prop_map(|(t, at)| Call::Skip(t, at)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However little memory there is, and whatever was given up for it.
    #[test]
    fn sums_are_exact_under_every_limit(
        calls in prop::collection::vec(any_call(), 0..2_000),
        limit_bytes in prop_oneof![Just(0usize), 5_000..200_000usize, Just(100 << 20)],
    ) {
        let mut recording = Recording::new(RecordingInfo::default(), limit_bytes);
        let function = recording.intern_function("f", "f.py", 1, false);
        let mut threads = vec![thread(&mut recording, "t", 0)];
        let mut expected = Weights::default();
        for (now, call) in calls.into_iter().enumerate() {
            let any_thread = |at: usize| threads[at % threads.len()];
            match call {
                Call::Start => threads.push(thread(&mut recording, "t", now as u64)),
                Call::End(at) => recording.end_thread(any_thread(at), now as u64),
                Call::Record(at, lines, wall_ns, cpu_ns, is_on_cpu) => {
                    let leaf = lines.iter().fold(NodeId::ROOT, |node, &line| recording.child(node, function, line));
                    let state = if is_on_cpu { ON_CPU } else { BLOCKED };
                    recording.record(any_thread(at), Observation { leaf, wall_ns, cpu_ns, state });
                    expected += weights(cpu_ns, wall_ns, 1);
                }
                Call::Extend(at, wall_ns, cpu_ns) => {
                    recording.extend_last(any_thread(at), wall_ns, cpu_ns);
                    expected += weights(cpu_ns, wall_ns, 0);
                }
                Call::LeftOver(at, cpu_ns) => {
                    recording.add_cpu_to_last_on_cpu(any_thread(at), cpu_ns);
                    expected += weights(cpu_ns, 0, 0);
                }
                Call::Skip(at, at_ns) => recording.skip_to(any_thread(at), at_ns),
            }
        }
        let profile = recording.finish(Moment::default(), Counters::default());
        expected.samples = profile.counters.samples; // calls that found no sample to extend added one
        // What extends a sample has that sample's state; of threads that were put together it is not known whose.
        expected.gil_ns = profile.weights().gil_ns;
        prop_assert!(expected.gil_ns <= expected.wall_ns);
        prop_assert_eq!(profile.weights(), expected);
        let by_stack: Weights = profile.stack_totals().iter().map(|total| total.weights).sum();
        prop_assert_eq!(by_stack, expected);
        let mut by_function: Weights = profile.function_totals(Clock::Wall).iter().map(|total| total.own).sum();
        by_function += profile.weights_without_python();
        prop_assert_eq!(by_function, expected);

        let chronology = profile.chronology();
        let times: Vec<_> = (0..chronology.len())
            .map(|number| profile.sample_at(&chronology, number).expect("it is one of them").1.timestamp_ns)
            .collect();
        prop_assert!(times.is_sorted());
        prop_assert_eq!(times.len(), profile.threads.iter().map(|thread| thread.timeline.len()).sum::<usize>());
    }
}
