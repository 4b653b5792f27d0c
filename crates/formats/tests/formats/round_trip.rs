//! What is written is what is read.

use std::collections::BTreeMap;

use formats::{Format, WriteOptions, read, write};
use profile::{Clock, NewThread, NodeId, Observation, Profile, Recording, State, Thread};
use proptest::prelude::*;

use crate::sample;

/// A frame: name, file, first line, native, line.
type Frame = (String, String, u32, bool, u32);

/// The sums of one thread by stack, on each clock.
type Sums = BTreeMap<Vec<Frame>, [u64; 3]>;

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab]",
        1 => prop::sample::select(sample::hard_names()),
        1 => ".{0,8}",
        1 => prop::collection::vec(prop::sample::select(vec!['\\', 'x', '{', '}', '3', 'b', ';', ' ', '(', ')', ':', '\n']), 0..8)
            .prop_map(String::from_iter),
    ]
}

fn any_weight() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0u64), 4 => 1..20_000_000u64, 1 => 0..1u64 << 50]
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![Just(sample::ON_CPU), any::<u8>().prop_map(State::from_bits)]
}

fn any_clock() -> impl Strategy<Value = Clock> {
    prop::sample::select(Clock::ALL.to_vec())
}

prop_compose! {
    fn any_profile()(
        functions in prop::collection::vec((any_text(), any_text(), 0..3u32, any::<bool>()), 1..6),
        names in prop::collection::vec(any_text(), 1..4),
        samples in prop::collection::vec(
            (any::<usize>(), prop::collection::vec((any::<usize>(), 0..4u32), 0..5), any_weight(), any_weight(), any_weight(), any_state()),
            0..60),
    ) -> Profile {
        let mut recording = Recording::without_limit(sample::info());
        let functions: Vec<_> =
            functions.iter().map(|(name, file, line, native)| recording.intern_function(name, file, *line, *native)).collect();
        // A native id each, or equal names could not be told apart.
        let threads: Vec<_> = names.into_iter().zip(100..).map(|(name, native_id)| {
            recording.add_thread(NewThread { name, native_id, python_id: 9, is_main: native_id == 101, started_ns: 5 })
        }).collect();
        let mut now_ns = 5;
        for (thread, frames, wall_ns, cpu_ns, skipped_ns, state) in samples {
            let leaf = frames.into_iter().fold(NodeId::ROOT, |node, (function, line)| {
                recording.child(node, functions[function % functions.len()], line)
            });
            let thread = threads[thread % threads.len()];
            if skipped_ns % 2 == 1 {
                recording.skip_to(thread, now_ns + skipped_ns);
            }
            now_ns += wall_ns;
            recording.record(thread, Observation { leaf, wall_ns, cpu_ns, state });
        }
        recording.end_thread(threads[0], 77);
        sample::finish(recording)
    }
}

/// What a format that holds `clocks` can say of a profile.
fn sums(profile: &Profile, thread: usize, view: impl Fn(Frame) -> Frame, clocks: &[Clock]) -> Sums {
    let mut sums = Sums::new();
    for sample in &profile.threads[thread].timeline {
        let frame = |(function, line)| {
            let function = profile.functions.get(function);
            let text = |id| profile.strings.get(id).to_owned();
            view((text(function.name), text(function.file), function.first_line, function.is_native, line))
        };
        let sum = sums.entry(profile.tree.frames(sample.leaf).map(frame).collect()).or_default();
        for (clock, sum) in Clock::ALL.into_iter().zip(sum) {
            *sum += if clocks.contains(&clock) { sample.weight_ns(clock) } else { 0 };
        }
    }
    sums.retain(|_, sum| *sum != [0; 3]);
    sums
}

fn written_and_read(profile: &Profile, format: Format, options: &WriteOptions) -> Profile {
    let mut file = Vec::new();
    write(profile, format, options, &mut file).expect("a vector takes everything");
    read(&file, None).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&file)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn speedscope(
        profile in any_profile(),
        lines in any::<bool>(),
        clock in prop::option::of(any_clock()),
    ) {
        let back = written_and_read(&profile, Format::Speedscope, &WriteOptions { clock, lines, ..WriteOptions::default() });
        let view = |(name, file, first_line, native, line): Frame| (name, file, first_line, native, if lines { line } else { 0 });
        // The wall clock and the states say what the GIL clock says.
        let clocks = match clock {
            None => Clock::ALL.to_vec(),
            Some(Clock::Wall) => vec![Clock::Wall, Clock::Gil],
            Some(clock) => vec![clock],
        };
        prop_assert_eq!(&back.info, &profile.info);
        prop_assert_eq!(back.end, profile.end);
        prop_assert_eq!(back.counters, profile.counters);
        prop_assert_eq!(back.threads.len(), profile.threads.len());
        for (number, (read, original)) in back.threads.iter().zip(&profile.threads).enumerate() {
            prop_assert_eq!(&read.name, &original.name);
            prop_assert_eq!(
                (read.native_id, read.python_id, read.is_main, read.started_ns, read.ended_ns, read.folded_threads),
                (original.native_id, original.python_id, original.is_main, original.started_ns, original.ended_ns, original.folded_threads)
            );
            prop_assert_eq!(sums(&back, number, view, &clocks), sums(&profile, number, view, &clocks));
            if clocks.len() > 1 {
                let states = |thread: &Thread| {
                    let mut states: Vec<_> = thread
                        .timeline
                        .iter()
                        .filter(|sample| sample.wall_ns > 0)
                        .map(|sample| sample.state)
                        .collect();
                    states.dedup();
                    states
                };
                prop_assert_eq!(states(read), states(original));
            }
            if clocks.len() > 1 && original.weights().wall_ns > 0 {
                prop_assert_eq!(read.timeline.end_ns(), original.timeline.end_ns(), "time is kept");
                prop_assert_eq!(read.weights().samples, original.weights().samples, "every sample counts");
            }
        }
    }

    #[test]
    fn collapsed(profile in any_profile(), lines in any::<bool>(), clock in any_clock()) {
        let options = WriteOptions { clock: Some(clock), lines, thread_roots: true, ..WriteOptions::default() };
        let back = written_and_read(&profile, Format::Collapsed, &options);
        let view = |(name, file, _, _, line): Frame| (name, file, 0, false, if lines { line } else { 0 });
        let clocks = [clock];
        prop_assert_eq!(back.counters, profile.counters);
        prop_assert_eq!(back.threads.len(), profile.threads.len());
        for (number, (read, original)) in back.threads.iter().zip(&profile.threads).enumerate() {
            prop_assert_eq!(&read.name, &original.name);
            prop_assert_eq!(sums(&back, number, view, &clocks), sums(&profile, number, view, &clocks));
        }
    }

    #[test]
    fn collapsed_without_threads_adds_them_up(profile in any_profile()) {
        let options = WriteOptions { clock: Some(Clock::Wall), lines: true, ..WriteOptions::default() };
        let back = written_and_read(&profile, Format::Collapsed, &options);
        let view = |(name, file, _, _, line): Frame| (name, file, 0, false, line);
        let mut expected = Sums::new();
        for thread in 0..profile.threads.len() {
            for (stack, sum) in sums(&profile, thread, view, &[Clock::Wall]) {
                expected.entry(stack).or_default()[1] += sum[1];
            }
        }
        expected.remove(&Vec::new()); // only in the header
        let got = if back.threads.is_empty() { Sums::new() } else { sums(&back, 0, view, &[Clock::Wall]) };
        prop_assert_eq!(got, expected);
    }
}
