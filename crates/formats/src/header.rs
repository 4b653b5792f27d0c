//! The honest numbers as they stand in a file: one JSON object, the same in every format.
//!
//! Each field may be missing, as in files of another version; it is 0 or empty then.

use profile::{
    Clock, Counters, Ending, Gil, Moment, NewThread, Profile, RecordingInfo, Running, State, Thread, ThreadIndex,
};
use serde::{Deserialize, Serialize};

use crate::labels::thread_labels;

/// Version of spprof that writes, which is this crate's.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    version: String,
    /// What was asked ...
    interval_ns: u64,
    /// ... and what was got: samples of all threads a second.
    samples_per_second: f64,
    start_unix_ns: u64,
    end_unix_ns: u64,
    start_monotonic_ns: u64,
    end_monotonic_ns: u64,
    /// Why it ended ([`Ending::label`]).
    #[serde(skip_serializing_if = "String::is_empty")]
    ending: String,
    samples: u64,
    dropped: u64,
    missed_ticks: u64,
    truncated_stacks: u64,
    torn_stacks: u64,
    collapsed: u64,
    coarsened: u64,
    folded_threads: u64,
    /// Time of threads that were in no Python function, which no frame shows.
    without_python_cpu_ns: u64,
    without_python_wall_ns: u64,
    without_python_gil_ns: u64,
    profiler_cpu_ns: u64,
    handler_ns: u64,
    memory_bytes: u64,
    implementation: String,
    python_version: String,
    platform: String,
    pid: u32,
    argv: Vec<String>,
    /// A frame is a line of a function rather than a function.
    pub(crate) lines: bool,
    /// Collapsed stacks: each begins with its thread.
    pub(crate) thread_roots: bool,
    threads: Vec<HeaderThread>,
    /// What each part of the file shows, in order.
    pub(crate) views: Vec<View>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct HeaderThread {
    name: String,
    native_id: u64,
    python_id: u64,
    is_main: bool,
    started_ns: u64,
    ended_ns: Option<u64>,
    folded_threads: u64,
    /// Which entries of its wall profile are empty because nobody looked, as while profiling was paused. They are in no sum.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<usize>,
    /// How many samples each entry of its wall profile stands for, or of its CPU profile where that is the only one: equal
    /// neighbours are one entry. Left out where each stands for one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    samples: Vec<u64>,
    /// The states of the entries of its wall profile, if there is one ...
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wall_states: StateRuns,
    /// ... and of its CPU profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cpu_states: StateRuns,
}

/// A state's byte ([`State::bits`]) and how many entries in a row have it.
type StateRuns = Vec<(u8, usize)>;

/// One clock of one thread, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    #[serde(with = "ClockName")]
    pub(crate) clock: Clock,
    /// Position in `threads`.
    pub(crate) thread: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Clock", rename_all = "lowercase")]
enum ClockName {
    Cpu,
    Wall,
    Gil,
}

impl Header {
    pub(crate) fn new(profile: &Profile, views: Vec<View>) -> Header {
        let Profile { info, end, ending, counters, threads, .. } = profile;
        let without_python = profile.weights_without_python();
        Header {
            version: VERSION.to_owned(),
            interval_ns: info.interval_ns,
            samples_per_second: profile.samples_per_second(),
            start_unix_ns: info.start.unix_ns,
            end_unix_ns: end.unix_ns,
            start_monotonic_ns: info.start.monotonic_ns,
            end_monotonic_ns: end.monotonic_ns,
            ending: ending.label().to_owned(),
            samples: counters.samples,
            dropped: counters.dropped,
            missed_ticks: counters.missed_ticks,
            truncated_stacks: counters.truncated_stacks,
            torn_stacks: counters.torn_stacks,
            collapsed: counters.collapsed,
            coarsened: counters.coarsened,
            folded_threads: counters.folded_threads,
            without_python_cpu_ns: without_python.cpu_ns,
            without_python_wall_ns: without_python.wall_ns,
            without_python_gil_ns: without_python.gil_ns,
            profiler_cpu_ns: counters.profiler_cpu_ns,
            handler_ns: counters.handler_ns,
            memory_bytes: counters.memory_bytes,
            implementation: info.implementation.clone(),
            python_version: info.python_version.clone(),
            platform: info.platform.clone(),
            pid: info.pid,
            argv: info.argv.clone(),
            lines: false,
            thread_roots: false,
            threads: threads.iter().map(HeaderThread::from).collect(),
            views,
        }
    }

    pub(crate) fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// Empties the lists that grow with the program, for a format that keeps them elsewhere.
    pub(crate) fn leave_out_lists(&mut self) {
        self.threads.clear();
        self.argv.clear();
    }

    /// The most telling of the numbers in words, for a place where people read.
    pub(crate) fn summary(&self) -> String {
        let seconds = self.end_monotonic_ns.saturating_sub(self.start_monotonic_ns) as f64 / 1e9;
        let (samples, rate, interval_ms) = (self.samples, self.samples_per_second, self.interval_ns as f64 / 1e6);
        let mut text = format!(
            "spprof {}: {samples} samples in {seconds:.3} s ({rate:.1}/s), one asked every {interval_ms} ms",
            self.version
        );
        for (number, of_what) in [
            (self.dropped, "dropped"),
            (self.missed_ticks, "ticks missed"),
            (self.truncated_stacks, "stacks truncated"),
            (self.torn_stacks, "stacks torn"),
            (self.collapsed, "stacks cut to save memory"),
        ] {
            if number > 0 {
                text.push_str(&format!(", {number} {of_what}"));
            }
        }
        if self.ending().is_early() {
            text.push_str(&format!("; the recording was ended by: {}", self.ending));
        }
        text
    }

    pub(crate) fn info(&self) -> RecordingInfo {
        RecordingInfo {
            start: Moment { unix_ns: self.start_unix_ns, monotonic_ns: self.start_monotonic_ns },
            interval_ns: self.interval_ns,
            python_version: self.python_version.clone(),
            implementation: self.implementation.clone(),
            platform: self.platform.clone(),
            pid: self.pid,
            argv: self.argv.clone(),
        }
    }

    pub(crate) fn ending(&self) -> Ending {
        Ending::from_label(&self.ending)
    }

    pub(crate) fn end(&self) -> Moment {
        Moment { unix_ns: self.end_unix_ns, monotonic_ns: self.end_monotonic_ns }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            samples: self.samples,
            dropped: self.dropped,
            missed_ticks: self.missed_ticks,
            truncated_stacks: self.truncated_stacks,
            torn_stacks: self.torn_stacks,
            collapsed: self.collapsed,
            coarsened: self.coarsened,
            folded_threads: self.folded_threads,
            profiler_cpu_ns: self.profiler_cpu_ns,
            handler_ns: self.handler_ns,
            memory_bytes: self.memory_bytes,
        }
    }

    /// What each thread is called in the file, in the order of [`Self::threads`].
    pub(crate) fn thread_labels(&self) -> Vec<String> {
        thread_labels(self.threads.iter().map(|thread| (thread.name.as_str(), thread.native_id)))
    }

    pub(crate) fn threads(&self) -> impl Iterator<Item = NewThread> + '_ {
        self.threads.iter().map(|thread| NewThread {
            native_id: thread.native_id,
            python_id: thread.python_id,
            name: thread.name.clone(),
            is_main: thread.is_main,
            started_ns: thread.started_ns,
        })
    }

    /// Says which entries of a thread's wall profile are gaps.
    pub(crate) fn set_gaps(&mut self, thread: u32, gaps: Vec<usize>) {
        self.threads[thread as usize].gaps = gaps;
    }

    /// See [`Self::set_gaps`]; none for a thread that is not listed.
    pub(crate) fn gaps(&self, thread: u32) -> &[usize] {
        self.threads.get(thread as usize).map_or(&[], |thread| &thread.gaps)
    }

    /// Says how many samples each entry of a thread stands for.
    pub(crate) fn set_samples(&mut self, thread: u32, samples: Vec<u64>) {
        if samples.iter().any(|&count| count != 1) {
            self.threads[thread as usize].samples = samples;
        }
    }

    /// See [`Self::set_samples`]. An entry stands for one at least, whatever a changed file says.
    pub(crate) fn samples(&self, thread: u32, entry: usize) -> u64 {
        self.threads.get(thread as usize).and_then(|thread| thread.samples.get(entry)).map_or(1, |&count| count.max(1))
    }

    /// Says in which state a thread was in each entry of its profile on a clock. On the GIL clock it is told by the clock.
    pub(crate) fn set_states(&mut self, thread: u32, clock: Clock, states: impl Iterator<Item = State>) {
        let thread = &mut self.threads[thread as usize];
        let runs = match clock {
            Clock::Cpu => &mut thread.cpu_states,
            Clock::Wall => &mut thread.wall_states,
            Clock::Gil => return,
        };
        for state in states {
            match runs.last_mut() {
                Some((bits, entries)) if *bits == state.bits() => *entries += 1,
                _ => runs.push((state.bits(), 1)),
            }
        }
        if let [(bits, _)] = runs[..]
            && bits == State::UNKNOWN.bits()
        {
            runs.clear();
        }
    }

    /// See [`Self::set_states`]; all unknown where it was not said.
    pub(crate) fn states(&self, thread: u32, clock: Clock) -> impl Iterator<Item = State> + '_ {
        let thread = self.threads.get(thread as usize);
        let (runs, rest) = match clock {
            Clock::Cpu => (thread.map(|thread| &thread.cpu_states), State::UNKNOWN),
            Clock::Wall => (thread.map(|thread| &thread.wall_states), State::UNKNOWN),
            Clock::Gil => (None, State::new(Running::Unknown, Gil::Holds)),
        };
        let runs = runs.map_or(&[][..], |runs| &runs[..]);
        let states = runs.iter().flat_map(|&(bits, entries)| std::iter::repeat_n(State::from_bits(bits), entries));
        states.chain(std::iter::repeat(rest))
    }

    /// The clock whose entries of a thread are the ones that are counted: the wall clock where it is there.
    pub(crate) fn counts_on(&self, thread: u32) -> Clock {
        let clocks = self.clocks_of(thread);
        [Clock::Wall, Clock::Cpu, Clock::Gil].into_iter().find(|clock| clocks.contains(clock)).unwrap_or(Clock::Cpu)
    }

    /// The clocks that there is a profile of a thread on.
    pub(crate) fn clocks_of(&self, thread: u32) -> Vec<Clock> {
        self.views.iter().filter(|view| view.thread == Some(thread)).map(|view| view.clock).collect()
    }

    /// Gives the threads of a profile that was built from [`Self::threads`] what a recording does not take.
    pub(crate) fn complete(&self, threads: &mut [Thread]) {
        for (thread, header) in threads.iter_mut().zip(&self.threads) {
            thread.ended_ns = header.ended_ns;
            thread.folded_threads = header.folded_threads;
        }
    }
}

impl From<&Thread> for HeaderThread {
    fn from(thread: &Thread) -> HeaderThread {
        HeaderThread {
            name: thread.name.clone(),
            native_id: thread.native_id,
            python_id: thread.python_id,
            is_main: thread.is_main,
            started_ns: thread.started_ns,
            ended_ns: thread.ended_ns,
            folded_threads: thread.folded_threads,
            gaps: Vec::new(),
            samples: Vec::new(),
            wall_states: Vec::new(),
            cpu_states: Vec::new(),
        }
    }
}

impl View {
    pub(crate) fn all_threads(clock: Clock) -> View {
        View { clock, thread: None }
    }

    pub(crate) fn of_thread(clock: Clock, thread: ThreadIndex) -> View {
        View { clock, thread: Some(thread.0) }
    }
}
