//! The memory limit, held against what the allocator really gave out.
//!
//! One test, as the allocator's counters belong to the process.

use peak_alloc::PeakAlloc;
use profile::{
    Counters, Gil, Moment, NewThread, NodeId, Observation, Recording, RecordingInfo, Running, State, ThreadId, Weights,
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const LIMIT_BYTES: usize = 8 << 20;
const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);
const BLOCKED: State = State::new(Running::Blocked, Gil::Waits);

/// Multiplicative congruential generator of Park and Miller: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 % end
    }
}

/// A recording beside the sums it must come to.
struct Run {
    recording: Recording,
    heap_before: usize,
    random: Random,
    expected: Weights,
}

impl Run {
    fn new() -> Run {
        let heap_before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let recording = Recording::new(RecordingInfo::default(), LIMIT_BYTES);
        Run { recording, heap_before, random: Random(1), expected: Weights::default() }
    }

    fn thread(&mut self, name: &str) -> ThreadId {
        self.recording.add_thread(NewThread { name: name.to_owned(), ..NewThread::default() })
    }

    /// Records a sample with the stack of `lines` in one function.
    fn record(&mut self, thread: ThreadId, name: &str, lines: &[u32]) {
        let function = self.recording.intern_function(name, "app.py", 1, false);
        let leaf = lines.iter().fold(NodeId::ROOT, |node, &line| self.recording.child(node, function, line));
        let (wall_ns, cpu_ns) = (self.random.below(20_000_000), self.random.below(10_000_000));
        let state = if self.random.below(4) == 0 { BLOCKED } else { ON_CPU };
        self.recording.record(thread, Observation { leaf, wall_ns, cpu_ns, state });
        let gil_ns = if state == ON_CPU { wall_ns } else { 0 };
        self.expected += Weights { cpu_ns, wall_ns, gil_ns, samples: 1 };
    }

    /// What is counted is what is held, and neither it nor the highest point ever passed the limit.
    fn check(self, what: &str) -> profile::Profile {
        let held = HEAP.current_usage() - self.heap_before;
        let peak = HEAP.peak_usage() - self.heap_before;
        let counted = self.recording.memory_bytes();
        assert!(counted <= LIMIT_BYTES, "{what}: {counted} bytes counted");
        assert!(peak <= LIMIT_BYTES, "{what}: {peak} bytes at the highest point");
        // The allocator's own headers are counted by us and not by the test's allocator.
        assert!(held <= counted && counted <= held + held / 2, "{what}: {counted} bytes counted, {held} held");
        let profile = self.recording.finish(Moment::default(), Counters::default());
        assert_eq!(profile.weights(), self.expected, "{what}");
        assert_eq!(profile.counters.samples, self.expected.samples, "{what}");
        let entries: usize = profile.threads.iter().map(|thread| thread.timeline.len()).sum();
        assert_eq!(profile.counters.coarsened, self.expected.samples - entries as u64, "{what}");
        profile
    }
}

#[test]
fn every_kind_of_long_recording_stays_under_its_limit_and_keeps_its_sums() {
    // A service with 50 threads and a few hundred stacks.
    let mut run = Run::new();
    let threads: Vec<_> = (0..50).map(|number| run.thread(&format!("worker-{number}"))).collect();
    for _ in 0..5_000_000 {
        // Most samples are of few threads, as in real programs.
        let thread = threads[(run.random.below(50) * run.random.below(50) / 50) as usize];
        let lines = [1, 2, run.random.below(20) as u32, run.random.below(20) as u32];
        run.record(thread, "handle", &lines);
    }
    let profile = run.check("a service");
    assert!(profile.counters.coarsened > 4_000_000, "{}", profile.counters.coarsened);
    assert_eq!((profile.counters.collapsed, profile.counters.folded_threads), (0, 0), "there was no need for that");
    assert_eq!(profile.threads.len(), 50);

    // One thread, stacks that never repeat.
    let mut run = Run::new();
    let thread = run.thread("main");
    for _ in 0..300_000 {
        let lines = [(); 12].map(|()| run.random.below(1_000) as u32);
        run.record(thread, "f", &lines);
    }
    let profile = run.check("stacks that never repeat");
    assert!(profile.counters.collapsed > 0 && profile.counters.collapsed <= 300_000);

    // Functions that never repeat, with long names.
    let mut run = Run::new();
    let thread = run.thread("main");
    for number in 0..100_000 {
        run.record(thread, &format!("f{number}{}", "x".repeat(100)), &[1]);
    }
    let profile = run.check("functions that never repeat");
    assert!(profile.counters.collapsed > 0);
    assert!(profile.weights_without_python().samples >= profile.counters.collapsed, "they have no frame left");

    // A thread for each request, each with a long name.
    let mut run = Run::new();
    let main = run.thread("MainThread");
    for number in 0..100_000 {
        let thread = run.thread(&format!("request-{number}-{}", "y".repeat(200)));
        for _ in 0..3 {
            let lines = [run.random.below(500) as u32];
            run.record(thread, "request", &lines);
        }
        run.recording.end_thread(thread, number);
        run.record(main, "accept", &[1]);
    }
    let profile = run.check("a thread for each request");
    let folded = profile.threads.last().expect("there are threads");
    assert_eq!(folded.name, profile::ENDED_THREADS_NAME);
    assert_eq!(folded.folded_threads, profile.counters.folded_threads);
    let kept = profile.threads.len() as u64 - 2;
    assert_eq!(kept + folded.folded_threads, 100_000, "every thread is kept or folded");
    assert!(kept >= 100, "the last to end keep their names: {kept}");
    assert_eq!(profile.threads[0].name, "MainThread");
    assert_eq!(profile.threads[0].weights().samples, 100_000);
    assert_eq!(profile.counters.collapsed, 0);

    // Many threads alive at once, each with stacks of its own and deep ones.
    let mut run = Run::new();
    let threads: Vec<_> = (0..2_000).map(|number| run.thread(&format!("t{number}"))).collect();
    let mut lines = vec![7; 300];
    for number in 0..400_000u32 {
        let depth = run.random.below(300) as usize;
        lines[depth / 2] = number % 5;
        run.record(threads[number as usize % threads.len()], "deep", &lines[..=depth]);
    }
    let profile = run.check("many threads with deep stacks");
    assert_eq!(profile.threads.len(), 2_000);
}
