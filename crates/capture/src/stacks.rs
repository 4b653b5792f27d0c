//! Stacks become nodes of the call tree.
//!
//! Most frames of a stack are those that the thread had at its sample before, so of each thread the last stack is kept with
//! its nodes, and only what is new is named and looked up in the tree. The result is the same to the node: a frame that was
//! once given a node is given that one for ever, as the tree only grows and what it has refused once it refuses again, unless
//! a code object has died, whose address may be another's now ([`Symbols::deaths`]).

use std::sync::MutexGuard;

use interpreter::{Memory, RawFrame};
use profile::{FunctionId, NodeId, Recording, ThreadId};

use crate::symbols::Symbols;

/// So many threads have a last stack: more than run at a time on most machines. Two whose slots are so far apart take turns.
const PLACES: usize = 32;

/// What the last stacks may take of a session's memory: 2,048 frames each where the limit is 64 MB or more.
const MAX_BYTES: usize = 1 << 20;

/// A raw stack, as a record or a look has it.
pub(crate) struct RawStack<'a> {
    /// Innermost first.
    pub(crate) frames: &'a [RawFrame],
    /// There were more frames, further out.
    pub(crate) truncated: bool,
    /// Where the ring stood when it was taken.
    pub(crate) position: u64,
}

/// Whose stack it is.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) thread: ThreadId,
    pub(crate) slot: u16,
}

/// A frame and its node.
#[derive(Clone, Copy)]
struct Known {
    code_address: u64,
    instruction_offset_bytes: i32,
    node: NodeId,
}

/// The last stack of a thread.
struct Last {
    thread: Option<ThreadId>,
    truncated: bool,
    /// [`Symbols::deaths`] when it was kept.
    deaths: u64,
    /// Outermost first; no more than there is room for.
    frames: Vec<Known>,
}

/// The last stacks of threads.
pub(crate) struct Stacks {
    /// The frame that ends a stack deeper than the limit.
    truncated_frame: FunctionId,
    /// By slot.
    last: [Last; PLACES],
    max_frames: usize,
}

impl Stacks {
    /// What the last stacks may take of a session's memory.
    pub(crate) fn share_bytes(memory_limit_bytes: usize) -> usize {
        (memory_limit_bytes / 64).min(MAX_BYTES)
    }

    /// No stack is known yet; they may take `max_bytes`.
    pub(crate) fn new(truncated_frame: FunctionId, max_bytes: usize) -> Self {
        let none = |_| Last { thread: None, truncated: false, deaths: 0, frames: Vec::new() };
        let max_frames = max_bytes / size_of::<Known>() / PLACES;
        Self { truncated_frame, last: std::array::from_fn(none), max_frames }
    }

    /// The call tree node of a stack's innermost frame. Takes the locked symbols and lets them go.
    pub(crate) fn leaf<M: Memory>(
        &mut self,
        memory: &M,
        recording: &mut Recording,
        mut symbols: MutexGuard<'_, Symbols>,
        owner: Owner,
        stack: &RawStack<'_>,
    ) -> NodeId {
        let last = &mut self.last[usize::from(owner.slot) % PLACES];
        let is_last =
            last.thread == Some(owner.thread) && last.truncated == stack.truncated && last.deaths == symbols.deaths();
        let known = if is_last { last.common_frames(stack.frames) } else { 0 };
        last.frames.truncate(known);
        let mut node = match last.frames.last() {
            Some(outer) => outer.node,
            None if stack.truncated => recording.child(NodeId::ROOT, self.truncated_frame, 0),
            None => NodeId::ROOT,
        };
        // A record that was taken before a death may name the dead one: the next stack must not begin with what it meant.
        let mut is_kept = !symbols.may_name_dead();
        last.thread = is_kept.then_some(owner.thread);
        last.truncated = stack.truncated;
        last.deaths = symbols.deaths();
        for frame in stack.frames.iter().rev().skip(known) {
            match step(memory, recording, &mut symbols, node, *frame, stack.position) {
                Some(next) => node = next,
                // What is there may be a code object the next time.
                None => is_kept = false,
            }
            is_kept = is_kept && last.frames.len() < self.max_frames;
            if is_kept {
                let RawFrame { code_address, instruction_offset_bytes } = *frame;
                last.push(Known { code_address, instruction_offset_bytes, node }, self.max_frames);
            }
        }
        node
    }

    /// Heap held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.last.iter().map(|last| last.frames.capacity() * size_of::<Known>()).sum()
    }
}

impl Last {
    /// How many frames `frames`, innermost first, have in common with these, from the outermost on.
    fn common_frames(&self, frames: &[RawFrame]) -> usize {
        let is_same = |(known, frame): &(&Known, &RawFrame)| {
            known.code_address == frame.code_address && known.instruction_offset_bytes == frame.instruction_offset_bytes
        };
        self.frames.iter().zip(frames.iter().rev()).take_while(is_same).count()
    }

    fn push(&mut self, known: Known, max_frames: usize) {
        if self.frames.len() == self.frames.capacity() {
            // Doubling, as Vec does, but never past the limit.
            let more = self.frames.len().max(32).min(max_frames - self.frames.len());
            self.frames.reserve_exact(more);
        }
        self.frames.push(known);
    }
}

/// One frame further in; frames that are never shown leave the stack where it is. `None` if there is no code object.
fn step<M: Memory>(
    memory: &M,
    recording: &mut Recording,
    symbols: &mut Symbols,
    node: NodeId,
    frame: RawFrame,
    position: u64,
) -> Option<NodeId> {
    let symbol = symbols.resolve(memory, frame.code_address, position)?;
    if symbol.is_hidden || !symbol.code.is_begun(frame.instruction_offset_bytes) {
        return Some(node);
    }
    let function = *symbol.function.get_or_init(|| {
        recording.intern_function(&symbol.code.name, &symbol.code.filename, symbol.code.first_line, false)
    });
    let line = symbol.code.lines.line(frame.instruction_offset_bytes).unwrap_or(0);
    Some(recording.child(node, function, line))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use profile::{NewThread, RecordingInfo};

    use super::*;
    use crate::symbols::fake::{self, CODE, INSTRUCTIONS, SIZE, Words};
    use crate::tick::mix;

    /// Code objects there may be.
    const CODES: u64 = 12;

    /// Numbers that look drawn by chance, the same in every run.
    struct Draws(u64);

    impl Draws {
        fn below(&mut self, end: u64) -> u64 {
            self.0 += 1;
            mix(self.0) % end
        }

        fn one_in(&mut self, number: u64) -> bool {
            self.below(number) == 0
        }
    }

    /// A recording and what names its stacks.
    struct Side {
        recording: Recording,
        symbols: Mutex<Symbols>,
        stacks: Stacks,
        threads: Vec<ThreadId>,
    }

    impl Side {
        /// With room for `max_frames` last frames of each thread.
        fn new(recording_bytes: usize, living_bytes: usize, threads: usize, max_frames: usize) -> Self {
            let mut recording = Recording::new(RecordingInfo::default(), recording_bytes);
            let threads = (0..threads).map(|_| recording.add_thread(NewThread::default())).collect();
            let truncated = recording.intern_function("<truncated>", "", 0, false);
            let stacks = Stacks::new(truncated, max_frames * PLACES * size_of::<Known>());
            Self { recording, symbols: Mutex::new(fake::symbols(living_bytes)), stacks, threads }
        }

        fn leaf(&mut self, memory: &Words, thread: usize, stack: &RawStack<'_>) -> NodeId {
            let owner = Owner { thread: self.threads[thread], slot: thread as u16 };
            let symbols = self.symbols.lock().expect("nobody panics with it");
            self.stacks.leaf(memory, &mut self.recording, symbols, owner, stack)
        }
    }

    fn frame(code: u64, instruction: u64) -> RawFrame {
        RawFrame { code_address: CODE + code * SIZE, instruction_offset_bytes: instruction as i32 * 2 - 2 }
    }

    /// Runs a program of calls, returns, deaths and births of code objects, and demands the same node of each stack of both
    /// sides. Returns how many frames were taken from last stacks.
    fn compare(seed: u64, recording_bytes: usize, living_bytes: usize, max_frames: usize, one_death_in: u64) -> usize {
        const THREADS: usize = PLACES + 3;
        let mut draws = Draws(seed << 32);
        let mut memory = Words::default();
        let put = |memory: &mut Words, code: u64, life: u64| {
            let file = if code == 3 { "/own/a.py".to_owned() } else { format!("{life}.py") };
            memory.put_code(CODE + code * SIZE, &format!("f{code}"), &file);
        };
        (0..CODES - 1).for_each(|code| put(&mut memory, code, 0));
        let mut with = Side::new(recording_bytes, living_bytes, THREADS, max_frames);
        let mut without = Side::new(recording_bytes, living_bytes, THREADS, 0);
        // Outermost first.
        let mut stacks = vec![Vec::new(); THREADS];
        let (mut position, mut drained, mut reused) = (0, 0, 0);
        for _ in 0..400 {
            // Two threads that share a place, and one that has its own.
            let thread = [0, 1, PLACES][draws.below(3) as usize];
            let frames = &mut stacks[thread];
            let returns = draws.below(4) as usize;
            frames.truncate(frames.len().saturating_sub(returns));
            for _ in 0..draws.below(5).min(40 - frames.len() as u64) {
                frames.push(frame(draws.below(CODES), draws.below(INSTRUCTIONS + 2)));
            }
            position += 10;
            if draws.one_in(one_death_in) {
                let code = draws.below(CODES);
                for side in [&with, &without] {
                    side.symbols.lock().expect("nobody panics with it").retire(&memory, CODE + code * SIZE, position);
                }
                memory.remove_code(CODE + code * SIZE);
                if !draws.one_in(4) {
                    put(&mut memory, code, position);
                }
            }
            // Where there was none, one is born now and then.
            let code = draws.below(CODES);
            if draws.one_in(20) && !memory.has_code(CODE + code * SIZE) {
                put(&mut memory, code, position);
            }
            if draws.one_in(3) {
                drained = position;
                for side in [&with, &without] {
                    side.symbols.lock().expect("nobody panics with it").forget_dead_before(drained);
                }
            }
            let innermost_first: Vec<RawFrame> = frames.iter().rev().copied().collect();
            // Records before and behind the last death.
            let stack = RawStack {
                frames: &innermost_first,
                truncated: draws.one_in(20),
                position: drained.max(position - draws.below(30).min(position)),
            };
            let place = &with.stacks.last[thread % PLACES];
            reused += if place.thread == Some(with.threads[thread]) { place.common_frames(stack.frames) } else { 0 };
            assert_eq!(with.leaf(&memory, thread, &stack), without.leaf(&memory, thread, &stack));
            assert!(with.stacks.memory_bytes() <= max_frames * PLACES * size_of::<Known>());
        }
        assert_eq!(without.stacks.memory_bytes(), 0);
        reused
    }

    #[test]
    fn a_last_stack_changes_no_node() {
        for seed in 0..5 {
            let reused = compare(seed, usize::MAX / 4, 1 << 20, 1 << 12, 40);
            assert!(reused > 500, "last stacks are made use of: {reused}");
        }
    }

    #[test]
    fn nor_where_there_is_room_for_a_part_of_it_only() {
        for seed in 20..25 {
            assert!(compare(seed, usize::MAX / 4, 1 << 20, 5, 40) > 100);
        }
    }

    #[test]
    fn nor_when_the_memory_for_names_and_nodes_is_used_up() {
        // Symbols are forgotten and read again all the time, and the call tree is full after some hundred frames.
        for seed in 30..35 {
            compare(seed, 40_000, 1_000, 1 << 12, 40);
        }
    }

    #[test]
    fn nor_when_code_objects_die_all_the_time() {
        for seed in 40..45 {
            compare(seed, usize::MAX / 4, 1 << 20, 1 << 12, 2);
        }
    }
}
