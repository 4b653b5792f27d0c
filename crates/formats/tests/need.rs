//! How much memory views and files take, held against the bounds that whoever begins one relies on.
//!
//! One test, as the allocator's counters belong to the process.

use std::io;

use formats::{Format, WriteOptions, read, read_bytes, write, write_bytes, write_difference, write_difference_bytes};
use peak_alloc::PeakAlloc;
use profile::{
    Clock, Counters, DifferenceOptions, Filter, FoldOptions, FunctionSet, Gil, Moment, NewThread, NodeId, Observation,
    Profile, Recording, RecordingInfo, Running, State,
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);
const BLOCKED: State = State::new(Running::Blocked, Gil::Waits);

/// What whoever asks for room adds to every bound (`crates/capture/src/operation.rs`).
const SLACK_BYTES: usize = 1 << 20;

/// A profile in which everything is as many as said.
struct Shape {
    what: &'static str,
    threads: u64,
    functions: u32,
    /// Every stack is one of so many different ones, of so many frames.
    stacks: u32,
    depth: u32,
    samples: u64,
    name_bytes: usize,
}

impl Shape {
    fn profile(&self) -> Profile {
        let mut recording =
            Recording::without_limit(RecordingInfo { interval_ns: 1_000_000, ..RecordingInfo::default() });
        let functions: Vec<_> = (0..self.functions)
            .map(|number| {
                let name = format!("{number:x>width$}", width = self.name_bytes);
                recording.intern_function(&name, &format!("/srv/app/{name}.py"), number + 1, false)
            })
            .collect();
        let leaves: Vec<NodeId> = (0..self.stacks)
            .map(|stack| {
                (0..self.depth).fold(NodeId::ROOT, |node, level| {
                    let function = functions[(stack.wrapping_mul(31).wrapping_add(level) % self.functions) as usize];
                    recording.child(node, function, stack + level + 1)
                })
            })
            .collect();
        let threads: Vec<_> = (0..self.threads)
            .map(|number| {
                let name = format!("worker {number}");
                recording.add_thread(NewThread { name, native_id: number + 1, ..NewThread::default() })
            })
            .collect();
        for number in 0..self.samples {
            let leaf = leaves[(number.wrapping_mul(7_919) % leaves.len() as u64) as usize];
            let state = if number % 3 == 0 { BLOCKED } else { ON_CPU };
            let wall_ns = 900_000 + number % 1_000 * 211;
            let observation = Observation { leaf, wall_ns, cpu_ns: wall_ns / 2, state };
            recording.record(threads[(number % self.threads) as usize], observation);
        }
        let mut profile = recording.finish(Moment::default(), Counters::default());
        profile.end.monotonic_ns = 1_000_000_000;
        profile
    }
}

/// Asserts that `run` never holds more than `bound` bytes beside what was held before.
fn within<T>(what: &str, bound: usize, run: impl FnOnce() -> T) -> T {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let result = run();
    let peak = HEAP.peak_usage().saturating_sub(before);
    // A quarter is for what cannot be used because of how blocks lie.
    assert!(peak <= (bound + SLACK_BYTES) / 4 * 3, "{what}: {peak} bytes, and the bound is {bound}");
    result
}

#[test]
fn nothing_takes_more_than_is_said_beforehand() {
    let shape = |what, threads, functions, stacks, depth, samples, name_bytes| Shape {
        what,
        threads,
        functions,
        stacks,
        depth,
        samples,
        name_bytes,
    };
    let shapes = [
        shape("names", 2, 100, 100, 3, 300, 20_000),
        shape("functions", 2, 4_000, 4_000, 1, 4_000, 30),
        shape("nodes", 2, 50, 500, 40, 1_000, 20),
        shape("deep", 2, 500, 20, 1_000, 200, 20),
        shape("samples", 4, 20, 50, 10, 30_000, 10),
        shape("threads", 2_000, 20, 50, 10, 4_000, 10),
    ];
    for shape in shapes {
        let profile = shape.profile();
        let named = |what: &str| format!("{}, {what}", shape.what);
        within(&named("sums by function"), profile.sums_bytes(), || {
            (profile.function_totals(Clock::Wall), profile.share_errors(Clock::Wall))
        });
        within(&named("sums by stack"), profile.sums_bytes(), || profile.weights_by_leaf());
        within(&named("lines"), profile.view_bytes(), || profile.line_totals(Clock::Wall));
        for lines in [false, true] {
            let options = FoldOptions { min_share: 0.0, max_calls: usize::MAX, lines };
            within(&named("calls"), profile.view_bytes(), || profile.folded_calls(Clock::Wall, &options));
        }
        within(&named("activities"), profile.view_bytes(), || profile.activities());
        within(&named("order of time"), profile.view_bytes(), || profile.chronology());
        let focus = Some(FunctionSet::new(&profile.functions, |_| true));
        let filter = Filter { threads: None, focus, ignore: None, trim: false };
        within(&named("part"), profile.copy_bytes(), || profile.filtered(&filter));
        within(&named("sum"), 2 * profile.copy_bytes(), || Profile::merged(&[&profile, &profile]));
        let options = DifferenceOptions::new(Clock::Wall);
        let found = within(&named("difference"), 2 * profile.view_bytes(), || profile.difference(&profile, &options));
        within(&named("difference written"), write_difference_bytes(&profile, &profile), || {
            write_difference(&profile, &profile, &found, &mut io::sink()).expect("a sink takes everything");
        });
        for format in Format::ALL {
            for lines in [false, true] {
                let options = WriteOptions { lines, thread_roots: true, ..WriteOptions::default() };
                let what = named(&format!("{} written", format.name()));
                within(&what, write_bytes(&profile, format), || {
                    write(&profile, format, &options, &mut io::sink()).expect("a sink takes everything");
                });
            }
            if format.can_read() {
                let mut file = Vec::new();
                write(&profile, format, &WriteOptions::default(), &mut file).expect("a vector takes everything");
                // What is counted while reading is asked for as it grows, twice as much as there is at most.
                let counted = if matches!(format, Format::Spprof | Format::Pprof) { 1 << 30 } else { 0 };
                within(&named(&format!("{} read", format.name())), read_bytes(&file) + counted, || {
                    read(&file, Some(format)).expect("it is valid")
                });
            }
        }
    }
}
