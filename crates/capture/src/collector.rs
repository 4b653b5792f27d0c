//! What comes out of the ring becomes a recording: stacks are named, times are told apart, parked threads are watched.
//!
//! The collector never takes the GIL and never runs Python code. Everything it reads of the interpreter it reads as memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use interpreter::RawFrame;
use profile::{Counters, Ending, FunctionId, Moment, NodeId, Observation, Profile, Recording, RecordingInfo, State};

use crate::fault;
use crate::gate;
use crate::outside::{self, Look};
use crate::platform::{self, TaskFiles, Tid};
use crate::record::{self, Record};
use crate::reserve;
use crate::roster::{LiveThread, Roster, Watch};
use crate::safe_load::LiveMemory;
use crate::shared::{Shared, get};
use crate::sigprof;
use crate::stacks::{Owner, RawStack, Stacks};
use crate::symbols::Symbols;

/// Where the system does not say what a thread is doing, a parked one whose CPU clock has moved by less than this since
/// its last sample is taken as parked still, once: it is the rest of our own handler and of what the program does when a
/// call was interrupted (CPython looks for signals and calls again, 10 to 100 µs on a slow machine). Without this an idle
/// thread would be signalled for ever.
const SETTLING_NS: u64 = 200_000;

/// How often it is checked that SIGPROF is still ours: one system call ten times a second.
const SIGPROF_CHECK_NS: u64 = 100_000_000;

/// The collector's side of a session.
pub(crate) struct Collector {
    shared: Arc<Shared>,
    recording: Recording,
    roster: Roster,
    stacks: Stacks,
    /// The innermost frame of a thread that collects garbage.
    garbage_collection: FunctionId,
    /// Frames of the record being read, innermost first; kept to save allocations.
    frames: Vec<RawFrame>,
    missed_ticks: u64,
    /// Samples taken from outside.
    looks: u64,
    /// Of them, with a stack deeper than the limit.
    truncated_looks: u64,
    is_paused: bool,
    /// When the recording ended because no memory was left.
    ended_early: Option<Moment>,
    /// Samples that were taken and could not be recorded any more.
    lost: u64,
    /// When SIGPROF was last seen to be ours.
    sigprof_seen_ns: u64,
    /// CPU time of the collector's own thread.
    pub(crate) cpu_ns: u64,
    started_ns: u64,
}

impl Collector {
    pub(crate) fn new(shared: Arc<Shared>, info: RecordingInfo, memory_limit_bytes: usize) -> Self {
        let started_ns = info.start.monotonic_ns;
        let stacks_bytes = Stacks::share_bytes(memory_limit_bytes);
        let mut recording = Recording::new(info, memory_limit_bytes - stacks_bytes);
        let truncated = recording.intern_function("<truncated>", "", 0, false);
        let garbage_collection = recording.intern_function("<GC>", "", 0, false);
        Self {
            shared,
            recording,
            roster: Roster::new(),
            stacks: Stacks::new(truncated, stacks_bytes),
            garbage_collection,
            frames: Vec::new(),
            missed_ticks: 0,
            looks: 0,
            truncated_looks: 0,
            is_paused: false,
            ended_early: None,
            lost: 0,
            sigprof_seen_ns: started_ns,
            cpu_ns: 0,
            started_ns,
        }
    }

    /// The first round, of the thread that starts the session: that one is taken in whatever the interpreter's list shows, which
    /// may break off before it while others come and go.
    pub(crate) fn first_pass(&mut self, tid: Tid, python_id: u64, cpu_ns: u64) {
        self.roster.admit(&self.shared, &mut self.recording, tid, python_id, platform::monotonic_ns(), cpu_ns);
        self.pass(true, &mut TaskFiles::default());
    }

    /// One round: take what is in the ring, find threads that came and went, look at those that are parked. Where that is
    /// not their turn, only at those that nobody has looked at yet: a round that is there for the ring must not add to the
    /// looks, whose times are to be independent of each other. `files` are the calling thread's.
    pub(crate) fn pass(&mut self, is_their_turn: bool, files: &mut TaskFiles) {
        self.drain();
        if self.has_ended_early() {
            return;
        }
        let now_ns = platform::monotonic_ns();
        self.keep_signals(now_ns);
        // Who has not moved is where it was.
        let moves = self.note_rest(now_ns, is_their_turn);
        let reads_list = moves == Moves::Unknown || self.roster.must_discover(&self.shared, now_ns);
        if reads_list {
            self.find_threads(now_ns);
        }
        if reads_list || moves == Moves::Known {
            self.look_at_parked(now_ns, is_their_turn, files);
        }
        if reserve::has_run_out() {
            self.end_early();
        }
    }

    /// Whether the recording has ended because no memory was left. The session is there until it is stopped.
    pub(crate) fn has_ended_early(&self) -> bool {
        self.ended_early.is_some()
    }

    /// No memory is left: the recording is complete up to now, and nothing is added to it. What only recording needs is given
    /// back, so that there is room for what comes at the end.
    #[cold]
    fn end_early(&mut self) {
        // Nobody keeps the names of the dead from here on.
        reserve::run_out();
        // One reading of the clock: no thread's time goes beyond the recording's.
        let end = now();
        let now_ns = end.monotonic_ns;
        self.ended_early = Some(end);
        self.shared.is_paused.store(true, Ordering::SeqCst);
        for thread in self.roster.threads.values_mut().filter(|thread| !thread.has_ended) {
            if !self.is_paused {
                let cpu_ns = platform::thread_cpu_ns(thread.tid);
                settle_rest(&mut self.recording, thread, now_ns, cpu_ns);
            }
            thread.disarm(&self.shared);
        }
        self.is_paused = true;
        self.shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).forget_all();
        self.recording.freeze();
        self.drain();
    }

    /// A program that installs its own SIGPROF handler while we run would get our ticks, and one that enables faulthandler
    /// our faults: ours goes on top again, and theirs gets what is theirs.
    fn keep_signals(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.sigprof_seen_ns) >= SIGPROF_CHECK_NS {
            self.sigprof_seen_ns = now_ns;
            // If it cannot be asked or set, ticks go where they go; nothing else depends on it. The same with faults.
            if matches!(sigprof::install(), Ok(true)) && !self.roster.ticks_have_ended {
                // A tick that theirs got instead is the last of its thread: nobody has set the next.
                self.roster.tick_again(&self.shared, now_ns);
            }
            let _ = fault::install();
        }
    }

    /// Takes in threads that are new and lets go of those that ended.
    fn find_threads(&mut self, now_ns: u64) {
        for tid in self.roster.discover(&self.shared, &mut self.recording, now_ns) {
            // A thread without a thread state may only have left Python for a while.
            if platform::thread_cpu_ns(tid).is_none() {
                self.end_thread(tid, now_ns, None);
                self.roster.forget(tid);
            }
        }
    }

    /// Notes which of the parked threads that are to be looked at have not moved, and says what the others did.
    fn note_rest(&mut self, now_ns: u64, is_their_turn: bool) -> Moves {
        let shared = Arc::clone(&self.shared);
        let mut moves = Moves::None;
        for thread in self.roster.due(&shared, is_their_turn) {
            let cpu_ns = platform::thread_cpu_ns(thread.tid);
            if let Some(watch) = thread.watch.as_mut().filter(|watch| Some(watch.cpu_ns) == cpu_ns) {
                watch.idle_until_ns = now_ns;
                continue;
            }
            if !platform::HAS_TICKS || thread.thread_state == 0 || cpu_ns.is_none() {
                return Moves::Unknown;
            }
            moves = Moves::Known;
        }
        moves
    }

    /// Looks at each parked thread. One whose CPU clock has not moved is where it was. One that has moved and is blocked
    /// again is sampled from here, so that no signal disturbs its call; one that runs gets its tick.
    fn look_at_parked(&mut self, now_ns: u64, is_their_turn: bool, files: &mut TaskFiles) {
        let shared = Arc::clone(&self.shared);
        let ticks_have_ended = self.roster.ticks_have_ended;
        // Whoever lives at the start has a tick in the very first interval: where its place has just gone by, that tick is
        // late by the time that the start took, not left out.
        let armed_from_ns = if self.roster.is_first_pass() { shared.ticks.origin_ns } else { now_ns };
        for thread in self.roster.due(&shared, is_their_turn) {
            if thread.watch.is_some_and(|watch| watch.idle_until_ns == now_ns) {
                continue;
            }
            let Some(cpu_ns) = platform::thread_cpu_ns(thread.tid) else { continue };
            // Where looks take a while, each has a time of its own.
            let now_ns = if platform::HAS_TICKS { now_ns } else { platform::monotonic_ns() };
            if let Some(watch) = thread.watch.as_mut().filter(|watch| watch.cpu_ns == cpu_ns) {
                watch.idle_until_ns = now_ns;
                continue;
            }
            let is_settling = thread.watch.is_none()
                && thread.was_blocked
                && cpu_ns.saturating_sub(thread.counted_cpu_ns) < SETTLING_NS;
            if reserve::has_run_out() {
                // What an address means cannot be relied on any more.
                return;
            }
            match outside::look(&shared, files, thread, now_ns, cpu_ns, &mut self.frames) {
                Look::Seen { symbols, .. } if cannot_name(&symbols) => return,
                Look::Seen { state, truncated, position, symbols } => {
                    let owner = Owner { thread: thread.id, slot: thread.slot };
                    let stack = RawStack { frames: &self.frames, truncated, position };
                    let mut leaf = self.stacks.leaf(&LiveMemory, &mut self.recording, symbols, owner, &stack);
                    if state.is_in_gc() {
                        leaf = self.recording.child(leaf, self.garbage_collection, 0);
                    }
                    if !platform::HAS_TICKS {
                        self.missed_ticks += thread.missed_looks(&shared, now_ns, state);
                    }
                    weigh(&mut self.recording, thread, leaf, state, now_ns, cpu_ns);
                    thread.watch = platform::CLOCK_SHOWS_REST.then_some(Watch { cpu_ns, idle_until_ns: now_ns });
                    self.looks += 1;
                    self.truncated_looks += u64::from(truncated);
                }
                Look::Unlisted => {
                    // It has left Python or ended since the list was read; the next pass reads it again.
                    thread.thread_state = 0;
                }
                Look::CannotTell if is_settling => {
                    thread.watch = Some(Watch { cpu_ns, idle_until_ns: now_ns });
                }
                Look::Runs | Look::CannotTell if ticks_have_ended => {}
                // Its first tick comes in its turn: the moment at which it was found says where it was found.
                Look::Runs | Look::CannotTell if thread.is_fresh => thread.arm(&shared, armed_from_ns),
                Look::Runs | Look::CannotTell => thread.tick_now(&shared, now_ns),
            }
        }
    }

    /// Whether any thread waits for a look.
    pub(crate) fn has_parked_threads(&self) -> bool {
        self.roster.has_parked(&self.shared)
    }

    /// Reads all published records.
    fn drain(&mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(record) = record::front(&shared.ring) {
            if self.has_ended_early() {
                self.lost += u64::from(record.header.generation != record::NOBODY);
            } else {
                self.take(&shared, &record);
            }
            shared.ring.release(record.position, record.length_words);
        }
        let mut symbols = shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        symbols.forget_dead_before(shared.ring.drained_position());
    }

    fn take(&mut self, shared: &Shared, record: &Record) {
        let header = record.header;
        if header.generation == record::NOBODY {
            return;
        }
        self.missed_ticks += u64::from(header.missed_ticks);
        // Of a thread that has given its last numbers nothing more is recorded.
        let Some(thread) = self.roster.by_slot(header.slot, header.generation) else { return };
        self.frames.clear();
        self.frames.extend((0..header.frames).map(|index| record::frame(&shared.ring, record, index)));
        let symbols = shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if cannot_name(&symbols) {
            drop(symbols);
            self.lost += 1;
            return;
        }
        let state = State::from_bits(header.state);
        let owner = Owner { thread: thread.id, slot: header.slot };
        let stack = RawStack { frames: &self.frames, truncated: header.truncated, position: record.position };
        let mut leaf = self.stacks.leaf(&LiveMemory, &mut self.recording, symbols, owner, &stack);
        if state.is_in_gc() {
            leaf = self.recording.child(leaf, self.garbage_collection, 0);
        }
        weigh(&mut self.recording, thread, leaf, state, header.time_ns, header.cpu_ns);
    }

    /// A thread says that it begins, itself; it is taken in from its first moment.
    pub(crate) fn thread_started(&mut self, tid: Tid, python_id: u64, name: Option<&str>) -> bool {
        if self.has_ended_early() {
            return false;
        }
        if let Some(name) = name {
            self.roster.name(&mut self.recording, tid, name);
        }
        let now_ns = platform::monotonic_ns();
        self.roster.admit(&self.shared, &mut self.recording, tid, python_id, now_ns, 0);
        match self.roster.threads.get(&tid) {
            Some(thread) => {
                // It runs, at this very moment.
                thread.arm(&self.shared, now_ns);
                true
            }
            None => false,
        }
    }

    /// A thread says that it ends, itself, with its CPU clock; `false` if it was not sampled.
    pub(crate) fn thread_ended(&mut self, tid: Tid, name: Option<&str>, cpu_ns: u64) -> bool {
        if self.has_ended_early() || self.roster.threads.get(&tid).is_none_or(|thread| thread.has_ended) {
            return false;
        }
        if let Some(name) = name {
            self.roster.name(&mut self.recording, tid, name);
        }
        // Its samples are still in the ring.
        self.drain();
        self.end_thread(tid, platform::monotonic_ns(), Some(cpu_ns));
        true
    }

    fn end_thread(&mut self, tid: Tid, now_ns: u64, cpu_ns: Option<u64>) {
        if let Some(thread) = self.roster.threads.get_mut(&tid).filter(|thread| !thread.has_ended) {
            // Of a thread that is gone nobody knows when it went: its time ends at the last look.
            let to_ns = if cpu_ns.is_some() { now_ns } else { thread.counted_to_ns };
            if !self.is_paused {
                settle_rest(&mut self.recording, thread, to_ns, cpu_ns);
            }
            self.recording.end_thread(thread.id, now_ns);
        }
        self.roster.retire(&self.shared, tid);
    }

    /// The name of a thread in `threading`.
    pub(crate) fn name_thread(&mut self, tid: Tid, name: &str) {
        if !self.has_ended_early() {
            self.roster.name(&mut self.recording, tid, name);
        }
    }

    /// Brings every thread's weights up to now: the rest since its last sample goes to that sample.
    pub(crate) fn settle_all(&mut self) {
        if self.is_paused {
            // They were brought up to the pause, and what comes after it does not count.
            self.drain();
            return;
        }
        // A last look: on a busy machine the collector's own may be a while ago.
        self.pass(true, &mut TaskFiles::default());
        if self.has_ended_early() {
            return;
        }
        let now_ns = platform::monotonic_ns();
        for thread in self.roster.threads.values_mut().filter(|thread| !thread.has_ended) {
            let cpu_ns = platform::thread_cpu_ns(thread.tid);
            settle_rest(&mut self.recording, thread, now_ns, cpu_ns);
        }
        self.roster.refresh_system_names(&mut self.recording);
    }

    /// Deletes all timers, for good.
    pub(crate) fn end_ticks(&mut self) {
        self.shared.is_paused.store(true, Ordering::SeqCst);
        // A handler that was about to leave a record behind has done so (a record that is not finished holds up those behind it), and
        // none is about to set a timer that is gone.
        gate::wait_until_empty();
        self.roster.delete_timers(&self.shared);
    }

    /// Ticks cease; the recording is complete up to now.
    pub(crate) fn pause(&mut self) {
        self.settle_all();
        self.is_paused = true;
        for thread in self.roster.threads.values().filter(|thread| !thread.has_ended) {
            thread.disarm(&self.shared);
        }
    }

    /// Ticks go on; what happened since [`Self::pause`] is in nobody's weights.
    pub(crate) fn resume(&mut self) {
        // Samples of the last moment before the pause.
        self.drain();
        if self.has_ended_early() {
            return;
        }
        self.is_paused = false;
        let now_ns = platform::monotonic_ns();
        for thread in self.roster.threads.values_mut().filter(|thread| !thread.has_ended) {
            self.recording.skip_to(thread.id, now_ns);
            thread.counted_to_ns = now_ns;
            thread.counted_cpu_ns = platform::thread_cpu_ns(thread.tid).unwrap_or(thread.counted_cpu_ns);
            // Every thread is parked: the next pass sees which ones run.
            thread.watch = None;
            thread.was_blocked = false;
            thread.was_on_cpu = false;
        }
    }

    /// The profile so far; `None` where there is no memory for it.
    pub(crate) fn snapshot(&mut self) -> Option<Profile> {
        self.settle_all();
        // What is copied is less than all there is.
        reserve::can_be_had(self.recording.memory_bytes()).then(|| {
            let counters = self.counters();
            let mut profile = self.recording.snapshot(self.ended_early.unwrap_or_else(now), counters);
            if self.has_ended_early() {
                profile.ending = Ending::OutOfMemory;
            }
            profile
        })
    }

    /// The finished profile of a session that `ending` brings to its end.
    pub(crate) fn finish(self, ending: Ending) -> Profile {
        let counters = self.counters();
        let ending = if self.has_ended_early() { Ending::OutOfMemory } else { ending };
        let profile = self.recording.finish(self.ended_early.unwrap_or_else(now), counters);
        Profile { ending, ..profile }
    }

    /// What was got and what was lost up to now.
    pub(crate) fn counters(&self) -> Counters {
        let counts = &self.shared.counts;
        let handler_ns = get(&counts.handler_ns);
        Counters {
            samples: (get(&counts.samples) + self.looks).saturating_sub(self.lost),
            dropped: get(&counts.ring_full) + self.lost,
            missed_ticks: self.missed_ticks,
            truncated_stacks: get(&counts.truncated) + self.truncated_looks,
            torn_stacks: get(&counts.torn),
            profiler_cpu_ns: handler_ns + self.cpu_ns,
            handler_ns,
            memory_bytes: self.fixed_bytes() as u64,
            ..Counters::default()
        }
    }

    /// Heap and pages held beside the recording.
    fn fixed_bytes(&self) -> usize {
        let symbols = self.shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.shared.fixed_bytes + symbols.memory_bytes() + self.stacks.memory_bytes()
    }

    /// All memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.fixed_bytes() + self.recording.memory_bytes()
    }

    /// Threads that are sampled now.
    pub(crate) fn thread_count(&self) -> usize {
        self.roster.count()
    }

    /// Threads that get ticks from the collector, and threads that found no slot.
    pub(crate) fn thread_limits(&self) -> (u64, u64) {
        (self.roster.without_timer, self.roster.refused)
    }

    /// Monotonic time of the session's start.
    pub(crate) fn started_ns(&self) -> u64 {
        self.started_ns
    }
}

/// What those parked threads have done that are to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    /// Nobody has moved.
    None,
    /// Some have, and it is known where their states in the interpreter are.
    Known,
    /// One that has moved must be looked for in the interpreter's list; nobody behind it was asked.
    Unknown,
}

/// Whether code addresses may mean something else than the symbols know, for want of memory to keep it.
fn cannot_name(symbols: &Symbols) -> bool {
    if symbols.is_incomplete {
        reserve::run_out();
    }
    reserve::has_run_out()
}

/// Records a sample of `thread` with what went by since its last one.
///
/// Of the CPU time since its last sample on CPU, half goes to that one and half to this: a sample stands for what was run around
/// it, not only before. What comes late in a burst of work would otherwise seem to take longer than what comes early, because
/// the sample before is most often in another burst: of two equal halves the second had 56 % at bursts of 12 ms every 20.
fn weigh(recording: &mut Recording, thread: &mut LiveThread, leaf: NodeId, state: State, time_ns: u64, cpu_ns: u64) {
    settle_idle(recording, thread);
    let wall_ns = time_ns.saturating_sub(thread.counted_to_ns);
    let used_ns = cpu_ns.saturating_sub(thread.counted_cpu_ns) + thread.pending_cpu_ns;
    let (earlier_ns, carried_ns, pending_ns) = match (state.is_blocked(), thread.was_on_cpu) {
        (true, _) => (0, 0, used_ns),
        (false, false) => (0, used_ns, 0),
        (false, true) => (used_ns / 2, used_ns - used_ns / 2, 0),
    };
    recording.add_cpu_to_last_on_cpu(thread.id, earlier_ns);
    thread.was_on_cpu |= !state.is_blocked();
    thread.pending_cpu_ns = pending_ns;
    thread.counted_to_ns = thread.counted_to_ns.max(time_ns);
    thread.counted_cpu_ns = thread.counted_cpu_ns.max(cpu_ns);
    thread.was_blocked = state.is_blocked();
    thread.is_fresh = false;
    recording.record(thread.id, Observation { leaf, wall_ns, cpu_ns: carried_ns, state });
}

/// The time that a parked thread was seen not to move belongs to its last sample.
fn settle_idle(recording: &mut Recording, thread: &mut LiveThread) {
    if let Some(watch) = thread.watch.take()
        && watch.idle_until_ns > thread.counted_to_ns
    {
        recording.extend_last(thread.id, watch.idle_until_ns - thread.counted_to_ns, 0);
        thread.counted_to_ns = watch.idle_until_ns;
    }
}

/// What no further sample will carry: the wall time up to `to_ns` and the CPU time up to `cpu_ns`.
fn settle_rest(recording: &mut Recording, thread: &mut LiveThread, to_ns: u64, cpu_ns: Option<u64>) {
    settle_idle(recording, thread);
    if to_ns > thread.counted_to_ns {
        recording.extend_last(thread.id, to_ns - thread.counted_to_ns, 0);
        thread.counted_to_ns = to_ns;
    }
    let cpu_ns = cpu_ns.unwrap_or(thread.counted_cpu_ns);
    let rest_ns = thread.pending_cpu_ns + cpu_ns.saturating_sub(thread.counted_cpu_ns);
    if rest_ns > 0 {
        recording.add_cpu_to_last_on_cpu(thread.id, rest_ns);
    }
    thread.pending_cpu_ns = 0;
    thread.counted_cpu_ns = thread.counted_cpu_ns.max(cpu_ns);
}

fn now() -> Moment {
    Moment { unix_ns: platform::realtime_ns(), monotonic_ns: platform::monotonic_ns() }
}
