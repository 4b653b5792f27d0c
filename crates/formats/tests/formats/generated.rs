//! Profiles of all kinds for property tests, and what makes two of them the same.

use profile::{Ending, FunctionId, NewThread, NodeId, Observation, Profile, Recording, State};
use proptest::prelude::*;

use crate::sample;

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]", 1 => prop::sample::select(sample::hard_names()), 1 => ".{0,8}"]
}

fn any_weight() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0u64), 4 => 1..20_000_000u64, 1 => 0..1u64 << 50]
}

prop_compose! {
    /// Everything that a recording can hold: states, counts, gaps before, between and behind the samples, threads of the same
    /// name, ended and folded ones, functions that no stack has.
    pub(crate) fn any_profile()(
        functions in prop::collection::vec((any_text(), any_text(), 0..3u32, any::<bool>()), 1..6),
        names in prop::collection::vec(any_text(), 1..4),
        same_ids in any::<bool>(),
        samples in prop::collection::vec(
            (any::<usize>(), prop::collection::vec((any::<usize>(), 0..4u32), 0..5), (any_weight(), any_weight()), any::<u8>(),
             prop_oneof![3 => Just(1u64), 1 => 2..9u64, 1 => 1..1u64 << 40], any_weight()),
            0..60),
        ends in prop::collection::vec(prop::option::of(5..1000u64), 3),
        last_gap_ns in any_weight(),
        folded in 0..3u64,
        ending in prop::sample::select(vec![Ending::Unsaid, Ending::GoesOn, Ending::Stop, Ending::Exit, Ending::Sigterm, Ending::OutOfMemory]),
    ) -> Profile {
        let mut recording = Recording::without_limit(sample::info());
        let functions: Vec<_> =
            functions.iter().map(|(name, file, line, native)| recording.intern_function(name, file, *line, *native)).collect();
        let threads: Vec<_> = names.into_iter().zip(100..).map(|(name, id)| {
            let native_id = if same_ids { 7 } else { id };
            recording.add_thread(NewThread { name, native_id, python_id: 9, is_main: id == 101, started_ns: 5 })
        }).collect();
        let mut now_ns = 5;
        for (thread, frames, (wall_ns, cpu_ns), state, count, skipped_ns) in samples {
            let leaf = frames.into_iter().fold(NodeId::ROOT, |node, (function, line)| {
                recording.child(node, functions[function % functions.len()], line)
            });
            let thread = threads[thread % threads.len()];
            if skipped_ns % 2 == 1 {
                recording.skip_to(thread, now_ns + skipped_ns);
            }
            now_ns += wall_ns;
            let state = State::from_bits(state);
            recording.record_several(thread, Observation { leaf, wall_ns, cpu_ns, state }, count);
        }
        recording.skip_to(threads[0], now_ns.saturating_add(last_gap_ns));
        for (&thread, end) in threads.iter().zip(ends) {
            end.into_iter().for_each(|end_ns| recording.end_thread(thread, end_ns));
        }
        let mut profile = sample::finish(recording);
        profile.threads.last_mut().expect("there is one at least").folded_threads = folded;
        profile.ending = ending;
        profile
    }
}

/// A function: name, file, first line, native.
type Function<'a> = (&'a str, &'a str, u32, bool);

fn function(profile: &Profile, id: FunctionId) -> Function<'_> {
    let function = profile.functions.get(id);
    let text = |id| profile.strings.get(id);
    (text(function.name), text(function.file), function.first_line, function.is_native)
}

/// Asserts that two profiles are the same in everything.
pub(crate) fn assert_same(read: &Profile, written: &Profile) {
    assert_same_but_samples(read, written);
    for (read, written) in read.threads.iter().zip(&written.threads) {
        assert_eq!(read.timeline.start_ns(), written.timeline.start_ns());
        assert_eq!(read.timeline.end_ns(), written.timeline.end_ns());
        assert!(read.timeline.iter().eq(&written.timeline), "the samples of {:?}", read.name);
    }
    assert_same_names(read, written);
    assert_eq!(read.functions.len(), written.functions.len());
    assert_eq!(read.tree.len(), written.tree.len());
}

/// Asserts that what is not in lists of samples is the same.
pub(crate) fn assert_same_but_samples(read: &Profile, written: &Profile) {
    assert_eq!(read.info, written.info);
    assert_eq!(read.end, written.end);
    assert_eq!(read.ending, written.ending);
    assert_eq!(read.counters, written.counters);
    assert_eq!(read.threads.len(), written.threads.len());
    for (read, written) in read.threads.iter().zip(&written.threads) {
        assert_eq!(read.name, written.name);
        assert_eq!(
            (read.native_id, read.python_id, read.is_main, read.started_ns, read.ended_ns, read.folded_threads),
            (
                written.native_id,
                written.python_id,
                written.is_main,
                written.started_ns,
                written.ended_ns,
                written.folded_threads
            )
        );
    }
}

/// Asserts that functions and nodes are the same as far as `read` has them.
pub(crate) fn assert_same_names(read: &Profile, written: &Profile) {
    for id in read.functions.ids() {
        assert_eq!(function(read, id), function(written, id));
    }
    for id in read.tree.ids().skip(1) {
        let node = |profile: &Profile| (profile.tree.parent(id), profile.tree.function(id), profile.tree.line(id));
        assert_eq!(node(read), node(written));
    }
}
