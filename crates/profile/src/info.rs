//! A finished profile and what it says about itself.

use crate::ending::Ending;
use crate::function::FunctionTable;
use crate::strings::StringTable;
use crate::thread::Thread;
use crate::tree::CallTree;

/// One time on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since 1970 UTC.
    pub unix_ns: u64,
    /// Nanoseconds of the monotonic clock all timestamps are on.
    pub monotonic_ns: u64,
}

/// What is known when a recording begins. Empty or 0 where a file does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingInfo {
    /// When it began.
    pub start: Moment,
    /// Interval asked for between two samples of a thread.
    pub interval_ns: u64,
    /// Version of the interpreter, `3.13.1` for instance.
    pub python_version: String,
    /// Implementation, `CPython` for instance.
    pub implementation: String,
    /// System and machine.
    pub platform: String,
    /// Process number.
    pub pid: u32,
    /// Command line of the program.
    pub argv: Vec<String>,
}

/// The honest numbers: what was got and what was lost.
///
/// Those the recording knows itself ([`samples`](Self::samples), [`collapsed`](Self::collapsed),
/// [`coarsened`](Self::coarsened), [`folded_threads`](Self::folded_threads), [`memory_bytes`](Self::memory_bytes)) are filled
/// in by [`Recording`](crate::Recording); whoever samples gives the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Samples recorded.
    pub samples: u64,
    /// Samples lost because the ring was full.
    pub dropped: u64,
    /// Ticks that were due and did not come.
    pub missed_ticks: u64,
    /// Samples whose stack was deeper than the depth limit; the innermost frames were kept.
    pub truncated_stacks: u64,
    /// Samples whose stack could not be read to its end.
    pub torn_stacks: u64,
    /// Samples that lost inner frames because the memory for the call tree was used up. Their weights are whole.
    pub collapsed: u64,
    /// Samples merged into a neighbour with the same stack and state to save memory: recorded minus still apart.
    pub coarsened: u64,
    /// Ended threads whose samples were put together under one name to save memory.
    pub folded_threads: u64,
    /// CPU time the profiler itself took, its handlers included.
    pub profiler_cpu_ns: u64,
    /// Of that, time inside signal handlers.
    pub handler_ns: u64,
    /// Heap the profiler holds: what the caller counted (ring, caches) plus the recording.
    pub memory_bytes: u64,
}

/// A finished recording, or a snapshot of one.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What was known at the beginning.
    pub info: RecordingInfo,
    /// When it ended, or when the snapshot was taken.
    pub end: Moment,
    /// Why. [`Recording`](crate::Recording) does not know; whoever ends it fills it in.
    pub ending: Ending,
    /// The honest numbers.
    pub counters: Counters,
    /// Names and files.
    pub strings: StringTable,
    /// Functions.
    pub functions: FunctionTable,
    /// Stacks.
    pub tree: CallTree,
    /// Threads in order of first sight; the folded record, if there is one, comes last.
    pub threads: Vec<Thread>,
}

impl Profile {
    /// How long it lasted.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.end.monotonic_ns.saturating_sub(self.info.start.monotonic_ns)
    }

    /// The rate that was got: samples of all threads a second; 0 if it lasted no time.
    #[must_use]
    pub fn samples_per_second(&self) -> f64 {
        match self.duration_ns() {
            0 => 0.0,
            duration_ns => self.counters.samples as f64 * 1e9 / duration_ns as f64,
        }
    }
}
