//! Where the C library keeps the kernel's id of a thread: CPython 3.9 and 3.10 know a thread by its `pthread_t` alone.

use interpreter::Memory;

use crate::platform::{self, Tid};
use crate::safe_load::LiveMemory;

/// How far into a `struct pthread` its kernel thread id is looked for; glibc 2.28–2.42 has it at 720, musl near 48.
const MAX_TID_OFFSET_BYTES: u64 = 2048;

/// Finds the offset of the kernel thread id in a `struct pthread` by looking at two threads whose ids are known: the one
/// place where both hold their own id. Faults have to be caught.
pub(crate) fn find_tid_offset_bytes() -> Option<u64> {
    let candidates = |of: u64, tid: Tid| -> Vec<u64> {
        (0..MAX_TID_OFFSET_BYTES)
            .step_by(4)
            .filter(|offset| LiveMemory.read_u32(of + offset).is_ok_and(|word| word == tid as u32))
            .collect()
    };
    let own = move || {
        // SAFETY: returns the calling thread's handle.
        let pthread = unsafe { libc::pthread_self() };
        candidates(pthread as u64, platform::own_tid())
    };
    let here = own();
    let there = {
        let _no_signals_for_it = platform::AllSignalsBlocked::new();
        std::thread::Builder::new().stack_size(64 * 1024).spawn(own).ok()?.join().ok()?
    };
    here.into_iter().find(|offset| there.contains(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault_tests::with_faults_caught;

    #[test]
    fn the_kernel_id_is_found_in_any_thread() {
        // musl's `struct pthread` is shorter than what is searched, and may end with its mapping.
        let Some(offset) = with_faults_caught(find_tid_offset_bytes) else { panic!("no offset on this C library") };
        let other = std::thread::spawn(move || {
            // SAFETY: returns the calling thread's handle.
            let pthread = unsafe { libc::pthread_self() } as u64;
            (LiveMemory.read_u32(pthread + offset).ok(), platform::own_tid() as u32)
        });
        let (found, expected) = other.join().expect("the thread ends");
        assert_eq!(found, Some(expected));
    }
}
