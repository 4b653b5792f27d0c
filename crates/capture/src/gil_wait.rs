//! Whether a thread that waits on a futex waits for the GIL.
//!
//! glibc lets the waiters of a condition variable wait on a word of the variable itself, and both let those of a mutex wait on a word of
//! the mutex, so such a word lies in the GIL. In musl each waiter of a condition waits on a word of its own stack, in a node of
//! the list that begins in the variable (`src/thread/pthread_cond_timedwait.c` of 1.2.3), so the list is looked
//! through there. What glibc has in that place is a counter; the extension is built for either library and is loaded only where
//! that is, so which of them it is need not be found out.

use interpreter::Memory;

use crate::cpu_context::FutexWord;
use crate::host::Host;

/// Whether `word` is what a thread waits on that waits for the GIL which `thread_state` would have to take. Where it takes
/// looking through those who wait, no more than `max_waiters` of them are looked at. Handler-safe.
pub(crate) fn is_for_gil<M: Memory>(
    memory: &M,
    host: &Host,
    thread_state: u64,
    word: &FutexWord,
    max_waiters: usize,
) -> bool {
    let layout = &host.layout;
    let Some(gil) = layout.gil_address(memory, host.runtime_address, thread_state) else { return false };
    word.is_in(|address| address.wrapping_sub(gil) < u64::from(layout.gil_size_bytes))
        || cfg!(target_env = "musl")
            && layout.gil_conditions(gil).iter().any(|each| waits_on_musl_condition(memory, *each, word, max_waiters))
}

/// `_c_head` in musl's `pthread_cond_t`: the waiter that came last.
const HEAD: u64 = 8;
/// `next` in `struct waiter { prev, next; int state, barrier; int *notify; }`: the one that came before, 0 for none.
/// `barrier` is what is waited on.
const NEXT: u64 = 8;
const WAITER_BYTES: u64 = 32;

/// Whether `word` lies in one of the first `max_waiters` nodes of the condition variable at `condition`.
///
/// The list may change meanwhile. A node that leaves it still points into it, until its thread has written over it: then the
/// way may end, or lead astray, and a wait is not found. One that is not for this condition can be found only behind a thread
/// that has come to wait for another in the same place of its stack between the two loads that lead over it.
fn waits_on_musl_condition<M: Memory>(memory: &M, condition: u64, word: &FutexWord, max_waiters: usize) -> bool {
    let mut link = condition.wrapping_add(HEAD);
    for _ in 0..max_waiters {
        let Ok(waiter) = memory.read_u64(link) else { return false };
        if waiter == 0 {
            return false;
        }
        if word.is_in(|address| address.wrapping_sub(waiter) < WAITER_BYTES) {
            return true;
        }
        link = waiter.wrapping_add(NEXT);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use interpreter::Fault;
    use std::collections::BTreeMap;

    const CONDITION: u64 = 0x5000;
    const OTHER_CONDITION: u64 = 0x5058;
    const BARRIER: u64 = 20;
    const MAX_WAITERS: usize = 8;

    /// Words by address; what was not written is not mapped. Each load is counted.
    #[derive(Default)]
    struct Words {
        words: BTreeMap<u64, u64>,
        loads: std::cell::Cell<usize>,
    }

    impl Memory for Words {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            self.loads.set(self.loads.get() + 1);
            self.words.get(&address).copied().ok_or(Fault)
        }
    }

    /// Where the stack of a thread has its node.
    fn node(thread: u64) -> u64 {
        0x7000_0000_0fe0 + thread * 0x10_0000
    }

    impl Words {
        /// As `pthread_cond_timedwait` does: the newest comes first.
        fn wait(&mut self, condition: u64, thread: u64) {
            let before = self.words.insert(condition + HEAD, node(thread)).unwrap_or(0);
            self.words.insert(node(thread) + NEXT, before);
        }

        fn waits(&self, condition: u64, word: u64) -> bool {
            self.loads.set(0);
            waits_on_musl_condition(self, condition, &FutexWord::At(word), MAX_WAITERS)
        }
    }

    #[test]
    fn nobody_waits() {
        let memory = Words { words: BTreeMap::from([(CONDITION + HEAD, 0)]), ..Words::default() };
        assert!(!memory.waits(CONDITION, node(1) + BARRIER));
        assert!(!memory.waits(CONDITION, BARRIER));
    }

    #[test]
    fn each_of_those_who_wait() {
        let mut memory = Words::default();
        for thread in 0..MAX_WAITERS as u64 {
            memory.wait(CONDITION, thread);
            for waiting in 0..=thread {
                assert!(memory.waits(CONDITION, node(waiting) + BARRIER), "{waiting} of {thread}");
            }
            assert!(!memory.waits(CONDITION, node(thread + 1) + BARRIER));
            assert!(!memory.waits(CONDITION, node(thread) - 4));
            assert!(!memory.waits(CONDITION, node(thread) + WAITER_BYTES));
        }
    }

    #[test]
    fn not_those_of_another_condition() {
        let mut memory = Words::default();
        memory.wait(CONDITION, 1);
        memory.wait(OTHER_CONDITION, 2);
        assert!(memory.waits(OTHER_CONDITION, node(2) + BARRIER));
        assert!(!memory.waits(CONDITION, node(2) + BARRIER));
        assert!(!memory.waits(OTHER_CONDITION, node(1) + BARRIER));
    }

    #[test]
    fn a_torn_list_ends_where_it_is_torn() {
        let mut memory = Words::default();
        (0..3).for_each(|thread| memory.wait(CONDITION, thread));
        for wrong in [0, 1, 0x6000, u64::MAX, u64::MAX - NEXT] {
            memory.words.insert(node(1) + NEXT, wrong);
            assert!(memory.waits(CONDITION, node(2) + BARRIER));
            assert!(memory.waits(CONDITION, node(1) + BARRIER));
            assert!(!memory.waits(CONDITION, node(0) + BARRIER), "{wrong:#x}");
        }
        assert!(!Words::default().waits(CONDITION, node(0) + BARRIER));
    }

    #[test]
    fn a_list_without_an_end_is_left() {
        let mut memory = Words::default();
        (0..3).for_each(|thread| memory.wait(CONDITION, thread));
        memory.words.insert(node(0) + NEXT, node(2));
        assert!(memory.waits(CONDITION, node(0) + BARRIER));
        assert!(!memory.waits(CONDITION, node(3) + BARRIER));
        assert_eq!(memory.loads.get(), MAX_WAITERS);
    }

    #[test]
    fn no_more_are_looked_at_than_may() {
        let mut memory = Words::default();
        (0..=MAX_WAITERS as u64).for_each(|thread| memory.wait(CONDITION, thread));
        assert!(memory.waits(CONDITION, node(1) + BARRIER));
        assert!(!memory.waits(CONDITION, node(0) + BARRIER));
    }

    #[cfg(target_arch = "aarch64")]
    #[test]
    fn a_register_that_points_into_the_node_will_do() {
        let mut memory = Words::default();
        (0..2).for_each(|thread| memory.wait(CONDITION, thread));
        let mut kept = [0; 10];
        kept[3] = node(0) + BARRIER;
        assert!(waits_on_musl_condition(&memory, CONDITION, &FutexWord::Near(kept), MAX_WAITERS));
        kept[3] = node(2);
        assert!(!waits_on_musl_condition(&memory, CONDITION, &FutexWord::Near(kept), MAX_WAITERS));
    }
}
