//! What Windows changes in the layouts: `unsigned long`, the type of thread ids, has 4 bytes there, and locks are others.
//!
//! Found by compiling `tools/layouts/layouts.c` with MinGW against the headers of 3.9 to 3.13; what it printed is in
//! `tests/builds/found/windows`, and the table that 3.13.2 carries for Windows says the same. Nothing else that we read
//! differs.

use super::{GilWaiters, Layout};

/// `sizeof(unsigned long)`.
pub(super) const ID_BYTES: u32 = 4;

/// `struct _gil_runtime_state` up to its first condition variable: `interval` is an `unsigned long`.
const GIL_CONDITION: u32 = 24;
/// CPython's own condition variable up to 3.12, `{ HANDLE sem; int waiting; }`, and the CRITICAL_SECTION that follows it
/// (`_PY_EMULATED_WIN_CV` in `Include/internal/pycore_condvar.h`).
const WAITING: u32 = 8;
const CONDITION_AND_MUTEX_BYTES: u32 = 16 + 40;

/// From 3.13: a CONDITION_VARIABLE and an SRWLOCK, a pointer each.
pub(super) const GIL_CONDITIONS: GilWaiters = GilWaiters::Words([GIL_CONDITION, GIL_CONDITION + 16]);

/// `sizeof(struct _gil_runtime_state)` from 3.13.
pub(super) const GIL_SIZE_BYTES: u32 = GIL_CONDITION + 2 * 16;

/// The layout of a build for Windows whose layout elsewhere is `layout`, of 3.9 to 3.12.
pub(super) fn adapted(layout: Layout) -> Layout {
    let first = GIL_CONDITION + WAITING;
    let mut adapted = layout;
    let thread = &mut adapted.thread_state;
    thread.id_bytes = ID_BYTES;
    // The one is followed by the other; where there is only the first, it is what the system calls the thread.
    thread.native_thread_id = Some(match thread.native_thread_id {
        Some(_) => thread.thread_id + ID_BYTES,
        None => thread.thread_id,
    });
    // Two ids of 4 bytes less before it; a pointer's alignment leaves 8.
    thread.datastack_chunk = thread.datastack_chunk.map(|offset| offset - 8);
    adapted.gil_size_bytes = GIL_CONDITION + 2 * CONDITION_AND_MUTEX_BYTES;
    adapted.gil_waiters = Some(GilWaiters::Counts([first, first + CONDITION_AND_MUTEX_BYTES]));
    adapted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::layout::tables;
    use crate::{Fault, Memory};
    use alloc::vec;
    use alloc::vec::Vec;

    macro_rules! found {
        ($name:literal) => {
            include_str!(concat!("../../tests/builds/found/", $name, ".txt"))
        };
    }

    type Table = fn(Identity) -> Layout;

    /// The table, what was found with the headers for Windows, and what elsewhere.
    const FOUND: [(Table, &str, &str); 4] = [
        (tables::python_3_9, found!("windows/3.9"), found!("3.9")),
        (tables::python_3_10, found!("windows/3.10"), found!("3.10")),
        (tables::python_3_11, found!("windows/3.11"), found!("3.11")),
        (tables::python_3_12, found!("windows/3.12"), found!("3.12")),
    ];
    const FOUND_3_13: &str = found!("windows/3.13");

    fn fact(found: &str, name: &str) -> Option<u32> {
        found.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    fn adapted_layout(table: Table, found: &str) -> Layout {
        let hexversion = fact(found, "hexversion").expect("every list has it");
        adapted(table(Identity { hexversion, free_threaded: false, debug: false, trace_refs: false, is_cpython: true }))
    }

    #[test]
    fn what_changes_is_what_was_found() {
        for (table, windows, _) in FOUND {
            let layout = adapted_layout(table, windows);
            let thread = layout.thread_state;
            let native_id = fact(windows, "thread.native_thread_id").unwrap_or(thread.thread_id);
            assert_eq!(fact(windows, "thread.thread_id"), Some(thread.thread_id));
            assert_eq!(thread.native_thread_id, Some(native_id));
            assert_eq!(thread.datastack_chunk, fact(windows, "thread.datastack_chunk"));
            assert_eq!(fact(windows, "gil.before_condition_bytes"), Some(GIL_CONDITION));
            assert_eq!(fact(windows, "gil.size_bytes"), Some(layout.gil_size_bytes));
        }
        assert_eq!(fact(FOUND_3_13, "gil.before_condition_bytes"), Some(GIL_CONDITION));
        assert_eq!(fact(FOUND_3_13, "gil.size_bytes"), Some(GIL_SIZE_BYTES));
    }

    const GIL: u64 = 0x5000;

    /// A GIL whose words are zero, but for these.
    struct Gil(Vec<(u64, u64)>);

    impl Memory for Gil {
        fn read_u64(&self, address: u64) -> Result<u64, Fault> {
            let offset = address.checked_sub(GIL).ok_or(Fault)?;
            Ok(self.0.iter().find(|(at, _)| *at == offset).map_or(0, |(_, value)| *value))
        }
    }

    #[test]
    fn who_waits_up_to_3_12_is_counted_beside_the_locks() {
        let layout = adapted_layout(tables::python_3_9, FOUND[0].1);
        // `waiting` in the first halves of words, `LockCount` too.
        let free = [(48, 0xffff_ffff), (104, 0xffff_ffff)];
        assert!(layout.nobody_waits_for(&Gil(free.to_vec()), GIL));
        for (at, value) in [(32, 1), (88, 1), (48, 0xffff_fffe), (104, 0xffff_fffe)] {
            let gil = Gil([vec![(at, value)], free.to_vec()].concat());
            assert!(!layout.nobody_waits_for(&gil, GIL), "at {at}");
        }
        assert!(!layout.nobody_waits_for(&Gil(vec![]), 0x1000));
    }

    #[test]
    fn who_waits_from_3_13_is_in_the_words() {
        let layout = Layout { gil_waiters: Some(GIL_CONDITIONS), ..adapted_layout(tables::python_3_9, FOUND[0].1) };
        assert!(layout.nobody_waits_for(&Gil(vec![]), GIL));
        for at in [24, 32, 40, 48] {
            assert!(!layout.nobody_waits_for(&Gil(vec![(at, 1)]), GIL), "at {at}");
        }
        assert!(layout.nobody_waits_for(&Gil(vec![(16, 1), (56, 1)]), GIL));
    }

    #[test]
    fn nothing_else_changes() {
        let changes = ["thread.native_thread_id", "thread.datastack_chunk", "gil."];
        for (_, windows, elsewhere) in FOUND {
            let rest = |found: &'static str| -> Vec<&str> {
                let stays = |line: &&str| !changes.iter().any(|change| line.starts_with(change));
                found.lines().filter(stays).collect()
            };
            assert_eq!(rest(windows), rest(elsewhere));
            for same in ["gil.last_holder", "gil.locked"] {
                assert_eq!(fact(windows, same), fact(elsewhere, same));
            }
        }
    }
}
