//! The interpreters and their thread states, from the interpreter's own lists.
//!
//! The lists are read without a lock, so an entry may be freed while it is read: a state counts only if it names the
//! interpreter whose list it is in, and whoever uses it checks the thread with the system.

// Nothing here may panic: it would unwind out of a signal handler.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use crate::layout::Layout;
use crate::memory::Memory;

/// More interpreters than anybody makes; bounds a list that has been torn into a ring.
const MAX_INTERPRETERS: usize = 256;
/// More threads than are sampled at once, over all interpreters.
const MAX_THREADS: usize = 8192;

/// A thread state found in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadState {
    /// Its address.
    pub address: u64,
    /// Its interpreter.
    pub interpreter: u64,
    /// `pthread_self()` of its thread; 0 before the thread has begun.
    pub thread_id: u64,
    /// The system's id of its thread; `None` up to 3.10, but on Windows.
    pub native_thread_id: Option<u64>,
}

/// Shows each thread state of each interpreter to `visit`, the newest first. Allocates nothing.
///
/// Returns whether every list was read to its end: one that changes meanwhile may break off at a state that was just freed, and
/// the states behind it, which are older, are not shown then.
pub fn for_each_thread<M: Memory>(
    memory: &M,
    layout: &Layout,
    runtime_address: u64,
    visit: &mut impl FnMut(ThreadState),
) -> bool {
    let read = |address: u64, offset: u32| memory.read_u64(address.wrapping_add(u64::from(offset))).unwrap_or(0);
    let mut threads_left = MAX_THREADS;
    let mut interpreter = read(runtime_address, layout.runtime.interpreters_head);
    let mut is_complete = true;
    for _ in 0..MAX_INTERPRETERS {
        if interpreter == 0 {
            return is_complete;
        }
        let mut state = read(interpreter, layout.interpreter.threads_head);
        while state != 0 && read(state, layout.thread_state.interp) == interpreter {
            let Some(left) = threads_left.checked_sub(1) else { return false };
            threads_left = left;
            let id = |offset: u32| layout.thread_id(memory, state, offset).unwrap_or(0);
            let thread_id = id(layout.thread_state.thread_id);
            let native_thread_id = layout.thread_state.native_thread_id.map(id);
            if thread_id != 0 {
                visit(ThreadState { address: state, interpreter, thread_id, native_thread_id });
            }
            state = read(state, layout.thread_state.next);
        }
        is_complete &= state == 0;
        interpreter = read(interpreter, layout.interpreter.next);
    }
    false
}

/// Whether the thread state at `state` is in its interpreter's list and of the thread that the system calls `native_thread_id`.
///
/// When a state is deleted its neighbours are joined before its memory is freed (`Python/pystate.c`, `tstate_delete_common`, 3.9
/// to 3.15), so whatever is left in that memory, the state that it names as its neighbour leads past it.
pub fn is_listed<M: Memory>(memory: &M, layout: &Layout, state: u64, native_thread_id: u64) -> bool {
    let thread = &layout.thread_state;
    let read = |address: u64, offset: u32| memory.read_u64(address.wrapping_add(u64::from(offset))).ok();
    let is_its_own =
        thread.native_thread_id.is_none_or(|offset| layout.thread_id(memory, state, offset) == Some(native_thread_id));
    let here = match read(state, thread.previous) {
        Some(0) => {
            read(state, thread.interp).and_then(|interpreter| read(interpreter, layout.interpreter.threads_head))
        }
        Some(previous) => read(previous, thread.next),
        None => None,
    };
    is_its_own && here == Some(state)
}

/// A number made of the newest thread state of each interpreter, which tells whether any was born since it was last asked:
/// each new one becomes the head of its interpreter's list (`Python/pystate.c`, `add_threadstate`, 3.11 to 3.15). Those that
/// were deleted it does not tell of.
///
/// `None` where the system's ids are not in the list (up to 3.10 on Unix), because a new thread may have the addresses of one
/// that has gone, or where the lists cannot be read.
pub fn newest_threads<M: Memory>(memory: &M, layout: &Layout, runtime_address: u64) -> Option<u64> {
    let read = |address: u64, offset: u32| memory.read_u64(address.wrapping_add(u64::from(offset))).ok();
    let native_thread_id = layout.thread_state.native_thread_id?;
    let mut number = 0u64;
    let mut interpreter = read(runtime_address, layout.runtime.interpreters_head)?;
    for _ in 0..MAX_INTERPRETERS {
        if interpreter == 0 {
            return Some(number);
        }
        let head = read(interpreter, layout.interpreter.threads_head)?;
        let of_head = if head == 0 {
            (0, 0)
        } else {
            let id = |offset: u32| layout.thread_id(memory, head, offset);
            (id(layout.thread_state.thread_id)?, id(native_thread_id)?)
        };
        for word in [interpreter, head, of_head.0, of_head.1] {
            number = (number ^ word).wrapping_mul(MIXER).rotate_left(29);
        }
        interpreter = read(interpreter, layout.interpreter.next)?;
    }
    None
}

/// An odd number without a pattern, 2^64 divided by the golden ratio, so that each bit of a word moves many of the result.
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::memory::fake::FakeMemory;
    use alloc::vec;
    use alloc::vec::Vec;

    const RUNTIME: u64 = 0x1000;

    fn layout() -> Layout {
        let identity = Identity {
            hexversion: 0x030c_01f0,
            free_threaded: false,
            debug: false,
            trace_refs: false,
            is_cpython: true,
        };
        Layout::detect(&identity, &FakeMemory::default(), 0).expect("3.12")
    }

    /// The fields of the ids are narrower on Windows, and in other places.
    fn put_id(memory: &mut FakeMemory, at: u64, offset: u32, id: u64) {
        let bytes = id.to_le_bytes();
        memory.put_bytes(at + u64::from(offset), &bytes[..layout().thread_state.id_bytes as usize]);
    }

    fn put_native_id(memory: &mut FakeMemory, at: u64, id: u64) {
        let offset = layout().thread_state.native_thread_id.expect("3.12 has it");
        put_id(memory, at, offset, id);
    }

    fn put_thread(memory: &mut FakeMemory, at: u64, next: u64, interpreter: u64, id: u64) {
        memory.put_u64(at, 0);
        memory.put_u64(at + 8, next);
        memory.put_u64(at + 16, interpreter);
        put_id(memory, at, layout().thread_state.thread_id, id);
        put_native_id(memory, at, id + 1);
    }

    fn read_all(memory: &FakeMemory) -> (Vec<u64>, bool) {
        let mut found = Vec::new();
        let is_complete = for_each_thread(memory, &layout(), RUNTIME, &mut |state| found.push(state.address));
        (found, is_complete)
    }

    fn two_interpreters() -> FakeMemory {
        let mut memory = FakeMemory::default();
        memory.put_u64(RUNTIME + 40, 0x2000);
        memory.put_u64(0x2000, 0x3000);
        memory.put_u64(0x2000 + 72, 0x4000);
        memory.put_u64(0x3000, 0);
        memory.put_u64(0x3000 + 72, 0x6000);
        put_thread(&mut memory, 0x4000, 0x5000, 0x2000, 7);
        put_thread(&mut memory, 0x5000, 0, 0x2000, 8);
        put_thread(&mut memory, 0x6000, 0, 0x3000, 9);
        memory
    }

    #[test]
    fn all_threads_of_all_interpreters() {
        assert_eq!(read_all(&two_interpreters()), (vec![0x4000, 0x5000, 0x6000], true));
    }

    #[test]
    fn a_state_of_another_interpreter_ends_the_list() {
        let mut memory = two_interpreters();
        memory.put_u64(0x5000 + 16, 0xdead_0000);
        assert_eq!(read_all(&memory), (vec![0x4000, 0x6000], false));
    }

    #[test]
    fn a_thread_that_has_not_begun_is_left_out() {
        let mut memory = two_interpreters();
        put_id(&mut memory, 0x4000, layout().thread_state.thread_id, 0);
        assert_eq!(read_all(&memory), (vec![0x5000, 0x6000], true));
    }

    #[test]
    fn a_birth_shows_even_at_the_address_of_the_dead() {
        let newest = |memory: &FakeMemory| newest_threads(memory, &layout(), RUNTIME);
        let mut memory = two_interpreters();
        let before = newest(&memory);
        assert!(before.is_some());
        // A new one in either interpreter.
        for (interpreter, head) in [(0x2000, 0x4000), (0x3000, 0x6000)] {
            let mut later = two_interpreters();
            put_thread(&mut later, 0x7000, head, interpreter, 10);
            later.put_u64(interpreter + 72, 0x7000);
            assert_ne!(newest(&later), before);
        }
        // The head has ended, and the next thread was given its memory and its stack.
        put_native_id(&mut memory, 0x4000, 1234);
        assert_ne!(newest(&memory), before);
        // The last one but the head has ended.
        let mut later = two_interpreters();
        later.put_u64(0x4000 + 8, 0);
        assert_eq!(newest(&later), before);
        // A whole interpreter has gone.
        let mut later = two_interpreters();
        later.put_u64(0x2000, 0);
        assert_ne!(newest(&later), before);
    }

    #[test]
    fn a_state_that_was_deleted_is_not_listed() {
        let mut memory = two_interpreters();
        memory.put_u64(0x5000, 0x4000);
        let listed = |memory: &FakeMemory| [0x4000, 0x5000, 0x6000].map(|state| is_listed(memory, &layout(), state, 8));
        assert_eq!(listed(&memory), [true, false, false]);
        assert!(is_listed(&memory, &layout(), 0x5000, 9) && is_listed(&memory, &layout(), 0x6000, 10));
        // The memory of the dead is as it was.
        memory.put_u64(0x2000 + 72, 0x5000);
        memory.put_u64(0x5000, 0);
        assert!(!is_listed(&memory, &layout(), 0x4000, 8));
        assert!(is_listed(&memory, &layout(), 0x5000, 9));
        memory.put_u64(0x2000 + 72, 0);
        assert!(!is_listed(&memory, &layout(), 0x5000, 9));
        // Nothing is there any more.
        assert!(!is_listed(&FakeMemory::default(), &layout(), 0x5000, 9));
    }

    #[test]
    fn a_ring_ends() {
        let mut memory = two_interpreters();
        memory.put_u64(0x5000 + 8, 0x4000);
        let (found, is_complete) = read_all(&memory);
        assert_eq!((found.len(), is_complete), (MAX_THREADS, false));
    }
}
