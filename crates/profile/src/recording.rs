//! What the collector writes to while profiling.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::budget::{ALLOCATION_OVERHEAD_BYTES, Budget};
use crate::coarsen::{WHOLE, coarsen};
use crate::ending::Ending;
use crate::function::{Function, FunctionId, FunctionTable};
use crate::info::{Counters, Moment, Profile, RecordingInfo};
use crate::state::State;
use crate::strings::StringTable;
use crate::thread::{ENDED_THREADS_NAME, Thread};
use crate::timeline::{Sample, Timeline};
use crate::tree::{CallTree, NODE_COST_BYTES, NodeId};

/// A thread of a [`Recording`]. Never used again for another one; in the finished profile a thread is a
/// [`ThreadIndex`](crate::ThreadIndex).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(u32);

/// A thread seen for the first time.
#[derive(Clone, Debug, Default)]
pub struct NewThread {
    /// Number the operating system gave it; 0 when unknown.
    pub native_id: u64,
    /// `threading.get_ident()` of it; 0 when unknown.
    pub python_id: u64,
    /// Name, which [`Recording::rename_thread`] may change.
    pub name: String,
    /// The main thread.
    pub is_main: bool,
    /// Monotonic time of first sight; the weights of its first sample count from here.
    pub started_ns: u64,
}

/// Where a thread was found, and what went by since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Innermost frame, from [`Recording::child`]; [`NodeId::ROOT`] if the thread has no Python frame.
    pub leaf: NodeId,
    /// Wall time since the thread's previous sample.
    pub wall_ns: u64,
    /// CPU time since then.
    pub cpu_ns: u64,
    /// What the thread was doing.
    pub state: State,
}

/// A profile in the making, which keeps to a memory limit.
///
/// Under pressure it gives up detail in this order, each counted, and the sums of all weights stay exact: the order of
/// samples within ever longer windows; the names of the oldest ended threads; inner frames of stacks (`collapsed`).
/// Only a record (some 200 bytes and the name) for each thread that is alive is beyond its power.
#[derive(Debug)]
pub struct Recording {
    info: RecordingInfo,
    budget: Budget,
    strings: StringTable,
    functions: FunctionTable,
    tree: CallTree,
    threads: FxHashMap<ThreadId, Box<RecordedThread>>,
    next_thread: u32,
    /// Threads that ended and still have their own record, in that order.
    ended: VecDeque<ThreadId>,
    folded: Option<Box<RecordedThread>>,
    /// Heap bytes of all records in `threads` and `folded`.
    threads_bytes: usize,
    /// Size of the threads at which detail is given up next.
    next_reduction_bytes: usize,
    samples: u64,
    collapsed: u64,
}

#[derive(Debug)]
struct RecordedThread {
    thread: Thread,
    /// Window its timeline was last coarsened with; 0 if never.
    window_ns: u64,
    /// Size at which longer windows brought nothing more.
    settled_bytes: usize,
}

impl RecordedThread {
    fn new(new: NewThread) -> Box<RecordedThread> {
        let NewThread { native_id, python_id, name, is_main, started_ns } = new;
        let timeline = Timeline::new(started_ns);
        let ended_ns = None;
        let thread = Thread { native_id, python_id, name, is_main, started_ns, ended_ns, folded_threads: 0, timeline };
        Box::new(RecordedThread { thread, window_ns: 0, settled_bytes: 0 })
    }

    fn bytes(&self) -> usize {
        size_of::<RecordedThread>() + 2 * ALLOCATION_OVERHEAD_BYTES + self.thread.bytes()
    }

    /// What longer windows may still bring.
    fn unsettled_bytes(&self) -> usize {
        self.thread.timeline.bytes().saturating_sub(self.settled_bytes)
    }

    fn take_timeline(&mut self) -> Timeline {
        let empty = Timeline::new(self.thread.started_ns);
        std::mem::replace(&mut self.thread.timeline, empty)
    }

    /// Lengthens the window until a quarter of the entries is gone, or until it cannot get longer.
    fn coarsen(&mut self, max_entries: usize) {
        /// Neighbours that the first window brings together, and by how much windows grow: few passes over the
        /// timeline, yet not much more lost than needed.
        const GROWTH: u64 = 4;
        let timeline = &self.thread.timeline;
        let entries = timeline.len();
        let span_ns = timeline.end_ns() - timeline.start_ns();
        if self.window_ns == 0 {
            self.window_ns = (span_ns / entries.max(1) as u64).max(1);
        }
        loop {
            // The samples of a folded record have no order to lose.
            let is_whole = self.thread.is_folded() || self.window_ns.saturating_mul(GROWTH) > span_ns;
            self.window_ns = if is_whole { WHOLE } else { self.window_ns * GROWTH };
            // A pass over millions of samples takes a tenth of a second: first see whether it would bring enough.
            if let Some(excerpt) = self.thread.timeline.excerpt().filter(|_| !is_whole) {
                let entries = excerpt.len();
                if coarsen(excerpt, self.window_ns, max_entries, |sample| sample.leaf).len() > entries / 4 * 3 {
                    continue;
                }
            }
            self.thread.timeline = coarsen(self.take_timeline(), self.window_ns, max_entries, |sample| sample.leaf);
            if is_whole {
                self.settled_bytes = self.thread.timeline.bytes();
                // The next window begins small again against the span there will be then.
                self.window_ns = span_ns.max(1);
            }
            if is_whole || self.thread.timeline.len() <= entries / 4 * 3 {
                return;
            }
        }
    }

    /// Cuts every stack to half the depth of the deepest and merges what is the same then. Returns the number of samples
    /// that lost frames: 0 when all stacks are empty.
    fn shorten_stacks(&mut self, tree: &CallTree, depths: &[u16], max_entries: usize) -> u64 {
        let deepest = self.thread.timeline.iter().map(|sample| depths[sample.leaf.index()]).max().unwrap_or(0);
        let mut shortened = 0;
        self.thread.timeline = coarsen(self.take_timeline(), WHOLE, max_entries, |sample| {
            let mut leaf = sample.leaf;
            while depths[leaf.index()] > deepest / 2 {
                leaf = tree.parent(leaf);
            }
            shortened += if leaf == sample.leaf { 0 } else { sample.count };
            leaf
        });
        self.settled_bytes = self.thread.timeline.bytes();
        shortened
    }
}

impl Recording {
    /// An empty recording that will hold about `memory_limit_bytes` of heap at most.
    #[must_use]
    pub fn new(info: RecordingInfo, memory_limit_bytes: usize) -> Recording {
        Recording::with_budget(info, Budget::new(memory_limit_bytes))
    }

    /// An empty recording that keeps everything, for those who build a profile from a file.
    #[must_use]
    pub fn without_limit(info: RecordingInfo) -> Recording {
        Recording::with_budget(info, Budget::UNLIMITED)
    }

    fn with_budget(info: RecordingInfo, budget: Budget) -> Recording {
        let mut strings = StringTable::default();
        let functions = FunctionTable::new(strings.intern(""));
        Recording {
            info,
            budget,
            strings,
            functions,
            tree: CallTree::new(budget.tree_bytes / NODE_COST_BYTES),
            threads: FxHashMap::default(),
            next_thread: 0,
            ended: VecDeque::new(),
            folded: None,
            threads_bytes: 0,
            next_reduction_bytes: budget.threads_bytes,
            samples: 0,
            collapsed: 0,
        }
    }

    /// The id of a function; the same for the same four properties. `first_line` is 0 when unknown.
    ///
    /// When the memory for names is used up, or the system has none, a new function gets [`FunctionId::NONE`], at which [`Self::child`] ends a stack.
    pub fn intern_function(&mut self, name: &str, file: &str, first_line: u32, is_native: bool) -> FunctionId {
        let has_room = self.strings.bytes()
            + self.functions.bytes()
            + StringTable::cost_bytes(name)
            + StringTable::cost_bytes(file)
            + size_of::<Function>()
            <= self.budget.names_bytes
            && self.strings.makes_room(2)
            && self.functions.makes_room();
        let mut string = |text| if has_room { Some(self.strings.intern(text)) } else { self.strings.find(text) };
        let (Some(name), Some(file)) = (string(name), string(file)) else { return FunctionId::NONE };
        let function = Function { name, file, first_line, is_native };
        match self.functions.find(&function) {
            Some(id) => id,
            None if has_room => self.functions.add(function),
            None => FunctionId::NONE,
        }
    }

    /// The node for `function` at `line` (0: unknown) called from `parent`. Stacks are built with it from the root inwards.
    ///
    /// When the memory for the call tree is used up, or the system has none, a new frame gets its parent's id, closed: frames further in are left
    /// out too, and a sample recorded there counts as collapsed.
    pub fn child(&mut self, parent: NodeId, function: FunctionId, line: u32) -> NodeId {
        self.tree.child(parent, function, line)
    }

    /// Takes in a thread that was not seen before.
    pub fn add_thread(&mut self, new: NewThread) -> ThreadId {
        let id = ThreadId(self.next_thread);
        self.next_thread =
            self.next_thread.checked_add(1).expect("fewer than 2^32 threads are started in one recording");
        let thread = RecordedThread::new(new);
        self.threads_bytes += thread.bytes();
        self.threads.insert(id, thread);
        self.keep_within_budget();
        id
    }

    /// Changes the name of a thread that has its own record.
    pub fn rename_thread(&mut self, id: ThreadId, name: &str) {
        if let Some(thread) = self.threads.get_mut(&id) {
            self.threads_bytes -= thread.bytes();
            thread.thread.name = name.to_owned();
            self.threads_bytes += thread.bytes();
            self.keep_within_budget();
        }
    }

    /// Says that a thread was seen to have ended. Should anything still be recorded for it, it counts.
    pub fn end_thread(&mut self, id: ThreadId, at_ns: u64) {
        let Some(thread) = self.threads.get_mut(&id) else { return };
        if thread.thread.ended_ns.is_some() {
            return;
        }
        thread.thread.ended_ns = Some(at_ns);
        self.threads_bytes -= thread.bytes();
        thread.thread.timeline.shrink_to_fit();
        self.threads_bytes += thread.bytes();
        self.ended.push_back(id);
        if self.ended.len() > self.budget.max_ended_threads {
            // A quarter at once: folding is then rare enough to cost nothing.
            self.fold_oldest_ended(self.ended.len().div_ceil(4));
            self.keep_within_budget();
        }
    }

    /// Appends a sample to a thread's timeline.
    pub fn record(&mut self, id: ThreadId, observation: Observation) {
        self.record_several(id, observation, 1);
    }

    /// Appends what `count` samples with one stack add up to, as a file keeps them.
    pub fn record_several(&mut self, id: ThreadId, observation: Observation, count: u64) {
        let Observation { leaf, wall_ns, cpu_ns, state } = observation;
        self.samples = self.samples.saturating_add(count);
        if leaf.is_closed() {
            self.collapsed = self.collapsed.saturating_add(count);
        }
        let sample = Sample { timestamp_ns: 0, leaf: leaf.opened(), wall_ns, cpu_ns, state, count };
        self.change_timeline(id, |timeline| timeline.push(&sample));
    }

    /// Says that a thread was looked at and is still where it was: the weights of its last sample grow. Without a sample to
    /// extend, one with an empty stack is recorded.
    pub fn extend_last(&mut self, id: ThreadId, wall_ns: u64, cpu_ns: u64) {
        if !self.change_timeline(id, |timeline| timeline.extend_last(wall_ns, cpu_ns)) {
            self.record(id, Observation { leaf: NodeId::ROOT, wall_ns, cpu_ns, state: State::UNKNOWN });
        }
    }

    /// Says that nobody looked at a thread up to `at_ns`, as while profiling was paused: the wall weight of its next sample
    /// counts from there, and the time skipped is in no weight. Without meaning for a thread that was folded.
    pub fn skip_to(&mut self, id: ThreadId, at_ns: u64) {
        if self.threads.contains_key(&id) {
            self.change_timeline(id, |timeline| timeline.skip_to(at_ns));
        }
    }

    /// Adds CPU time that no further sample will carry, at the end of a thread or of the recording: to the last sample that
    /// found the thread on CPU, to its last of all if none did, to one with an empty stack if it has none.
    pub fn add_cpu_to_last_on_cpu(&mut self, id: ThreadId, cpu_ns: u64) {
        if cpu_ns != 0 && !self.change_timeline(id, |timeline| timeline.add_cpu_to_last_on_cpu(cpu_ns)) {
            self.record(id, Observation { leaf: NodeId::ROOT, wall_ns: 0, cpu_ns, state: State::UNKNOWN });
        }
    }

    fn change_timeline<R>(&mut self, id: ThreadId, change: impl FnOnce(&mut Timeline) -> R) -> R {
        let thread = match self.threads.get_mut(&id) {
            Some(thread) => thread,
            // It was folded since: its weights go where it went.
            None => self.folded.get_or_insert_with(|| {
                let folded = new_folded_record(0);
                self.threads_bytes += folded.bytes();
                folded
            }),
        };
        let timeline = &mut thread.thread.timeline;
        self.threads_bytes -= timeline.bytes();
        let result = change(timeline);
        self.threads_bytes += timeline.bytes();
        self.keep_within_budget();
        result
    }

    /// Heap bytes held: names, call tree, threads, timelines and the indexes over them.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.strings.bytes() + self.functions.bytes() + self.tree.bytes() + self.all_threads_bytes()
    }

    fn all_threads_bytes(&self) -> usize {
        // A slot of the map, its control byte, and the spare eighth that a hash table keeps.
        const SLOT_BYTES: usize = (size_of::<(ThreadId, Box<RecordedThread>)>() + 1) * 8 / 7;
        self.threads_bytes + self.threads.capacity() * SLOT_BYTES + self.ended.capacity() * size_of::<ThreadId>()
    }

    #[inline]
    fn keep_within_budget(&mut self) {
        if self.all_threads_bytes() > self.next_reduction_bytes {
            self.give_up_detail();
            // Should so many threads be alive that their mere records pass the limit, more is only tried when it pays.
            let worthwhile_bytes = self.budget.threads_bytes / 64;
            self.next_reduction_bytes = self.budget.threads_bytes.max(self.all_threads_bytes() + worthwhile_bytes);
        }
    }

    #[cold]
    fn give_up_detail(&mut self) {
        if !self.has_memory_to_spare() {
            return;
        }
        // A quarter is freed at once where windows alone can do it, so that this is rare; where they cannot, stacks are
        // only shortened for the last sixteenth.
        let limit_bytes = self.budget.threads_bytes;
        let (goal_bytes, tolerated_bytes) = (limit_bytes / 4 * 3, limit_bytes / 16 * 15);
        let max_entries = self.budget.window_entries;
        loop {
            while self.all_threads_bytes() > goal_bytes
                && self.change_largest(RecordedThread::unsettled_bytes, |thread, _| thread.coarsen(max_entries))
            {
            }
            if self.all_threads_bytes() <= tolerated_bytes {
                return;
            }
            if self.ended.is_empty() {
                break;
            }
            self.fold_oldest_ended(self.ended.len());
        }
        let depths = self.tree.depths();
        let mut shortened = u64::MAX;
        while self.all_threads_bytes() > tolerated_bytes && shortened > 0 {
            shortened = 0;
            self.change_largest(
                |thread| thread.thread.timeline.bytes(),
                |thread, tree| shortened += thread.shorten_stacks(tree, &depths, max_entries),
            );
            self.collapsed += shortened;
        }
    }

    /// Whether there is memory for what exists only while detail is given up: without it more is held than was asked for.
    fn has_memory_to_spare(&self) -> bool {
        self.budget.momentary_bytes == 0 || Vec::<u8>::new().try_reserve_exact(self.budget.momentary_bytes).is_ok()
    }

    /// Changes the threads of which `bytes` is largest, down to half of the largest. False if none is worth the effort.
    fn change_largest(
        &mut self,
        bytes: impl Fn(&RecordedThread) -> usize,
        mut change: impl FnMut(&mut RecordedThread, &CallTree),
    ) -> bool {
        /// A timeline of a few samples: less than the record it belongs to.
        const WORTHWHILE_BYTES: usize = 128;
        let largest_bytes = self.threads.values().chain(&self.folded).map(|thread| bytes(thread)).max().unwrap_or(0);
        if largest_bytes < WORTHWHILE_BYTES {
            return false;
        }
        for thread in self.threads.values_mut().chain(&mut self.folded) {
            if bytes(thread) >= largest_bytes / 2 {
                self.threads_bytes -= thread.bytes();
                change(thread, &self.tree);
                self.threads_bytes += thread.bytes();
            }
        }
        true
    }

    /// Puts the samples of the threads that ended first into the folded record.
    fn fold_oldest_ended(&mut self, count: usize) {
        for id in self.ended.drain(..count) {
            let Some(mut thread) = self.threads.remove(&id) else { continue };
            self.threads_bytes -= thread.bytes();
            let folded = self.folded.get_or_insert_with(|| {
                let folded = new_folded_record(thread.thread.started_ns);
                self.threads_bytes += folded.bytes();
                folded
            });
            self.threads_bytes -= folded.bytes();
            folded.thread.folded_threads += 1;
            folded.thread.ended_ns = folded.thread.ended_ns.max(thread.thread.ended_ns);
            thread.take_timeline().drain().for_each(|sample| folded.thread.timeline.push(&sample));
            self.threads_bytes += folded.bytes();
        }
    }

    /// Nothing will be interned any more: gives back what only that needs.
    pub fn freeze(&mut self) {
        self.strings.freeze();
        self.functions.freeze();
        self.tree.freeze();
    }

    /// The profile so far; the recording goes on. Shares the bulk of the samples with it.
    #[must_use]
    pub fn snapshot(&self, end: Moment, counters: Counters) -> Profile {
        let mut threads: Vec<_> = self.threads.iter().map(|(id, thread)| (*id, thread.thread.clone())).collect();
        threads.sort_unstable_by_key(|&(id, _)| id);
        let folded = self.folded.iter().map(|folded| folded.thread.clone());
        Profile {
            info: self.info.clone(),
            end,
            ending: Ending::GoesOn,
            counters: self.complete(counters),
            strings: self.strings.frozen(),
            functions: self.functions.frozen(),
            tree: self.tree.frozen(),
            threads: threads.into_iter().map(|(_, thread)| thread).chain(folded).collect(),
        }
    }

    /// The finished profile. Nothing is copied: the time it takes does not depend on the number of samples.
    #[must_use]
    pub fn finish(mut self, end: Moment, counters: Counters) -> Profile {
        let counters = self.complete(counters);
        self.freeze();
        let mut threads: Vec<_> = self.threads.into_iter().collect();
        threads.sort_unstable_by_key(|&(id, _)| id);
        let folded = self.folded.map(|folded| folded.thread);
        Profile {
            info: self.info,
            end,
            ending: Ending::Unsaid,
            counters,
            strings: self.strings,
            functions: self.functions,
            tree: self.tree,
            threads: threads.into_iter().map(|(_, thread)| thread.thread).chain(folded).collect(),
        }
    }

    fn complete(&self, counters: Counters) -> Counters {
        let records = self.threads.values().chain(&self.folded);
        let entries: u64 = records.map(|thread| thread.thread.timeline.len() as u64).sum();
        Counters {
            samples: self.samples,
            // Stacks may be shortened more than once; a sample is collapsed or not.
            collapsed: self.collapsed.min(self.samples),
            coarsened: self.samples - entries,
            folded_threads: self.folded.as_ref().map_or(0, |folded| folded.thread.folded_threads),
            memory_bytes: counters.memory_bytes + self.memory_bytes() as u64,
            ..counters
        }
    }
}

fn new_folded_record(started_ns: u64) -> Box<RecordedThread> {
    let name = ENDED_THREADS_NAME.to_owned();
    let mut record = RecordedThread::new(NewThread { name, started_ns, ..NewThread::default() });
    record.thread.ended_ns = Some(started_ns);
    record
}
