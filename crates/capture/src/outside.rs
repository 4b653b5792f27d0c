//! A sample of a blocked thread, taken by the collector: no signal, no EINTR.
//!
//! A thread that is blocked does not change its stack. So its frames can be walked from outside like from inside, if it is
//! blocked all the while: its CPU clock must show the same before the system is asked what it is doing and after its
//! frames were walked. The clock of a running thread moves with every nanosecond.
//!
//! While the lock over the symbols is held no code object that a sample may have named can die
//! ([`crate::code_lifetime`]), so the frames found are marked under the lock, and the caller names them before it lets go.

use std::sync::MutexGuard;
use std::sync::atomic::{Ordering, fence};

use interpreter::{Layout, Memory, RawFrame, WalkEnd, is_listed, walk};
use profile::{Gil, Running, State};

use crate::cpu_context::FutexWord;
use crate::gil_wait;
use crate::host::Host;
use crate::platform::{self, Doing, TaskFiles};
use crate::roster::LiveThread;
use crate::safe_load::LiveMemory;
use crate::shared::Shared;
use crate::symbols::Symbols;

/// Threads that wait for the GIL, where they have to be looked through (musl).
const MAX_WAITERS: usize = 1024;

/// What a look found.
pub(crate) enum Look<'a> {
    /// Blocked; its frames are in the buffer, and what they name is alive while the lock is held.
    Seen { state: State, truncated: bool, position: u64, symbols: MutexGuard<'a, Symbols> },
    /// On CPU, or it was for a moment during the look.
    Runs,
    /// Its state is in the interpreter's list no more.
    Unlisted,
    /// The system does not say, or the interpreter knows no single state of the thread.
    CannotTell,
}

/// Looks at a thread whose CPU clock shows `cpu_ns`. Fills `frames`, innermost first.
pub(crate) fn look<'a>(
    shared: &'a Shared,
    files: &mut TaskFiles,
    thread: &LiveThread,
    _now_ns: u64,
    cpu_ns: u64,
    frames: &mut Vec<RawFrame>,
) -> Look<'a> {
    let LiveThread { tid, thread_state, .. } = *thread;
    if thread_state == 0 {
        return Look::CannotTell;
    }
    let futex_address = match files.doing(tid) {
        Doing::Runs => return Look::Runs,
        Doing::Unknown => return Look::CannotTell,
        Doing::Blocked { futex_address } => futex_address,
    };
    let host = &shared.host;
    if !is_listed(&LiveMemory, &host.layout, thread_state, tid as u64) {
        return Look::Unlisted;
    }
    let symbols = shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    frames.clear();
    let end = walk(&LiveMemory, &host.layout, host.code_type, thread_state, shared.max_depth_frames, &mut |found| {
        shared.filter.mark_all(found.iter().map(|frame| frame.code_address));
        frames.extend_from_slice(found);
    });
    // The thread either shows on its clock that it has run, or sees the marks when it comes to free one of these code objects.
    fence(Ordering::SeqCst);
    let position = shared.ring.reserved_position();
    let state = State::new(Running::Blocked, gil(host, thread_state, futex_address));
    if platform::thread_cpu_ns(tid) != Some(cpu_ns) || matches!(end, WalkEnd::Torn(_)) {
        return Look::Runs;
    }
    let truncated = matches!(end, WalkEnd::Truncated);
    Look::Seen { state: state.with_truncated(truncated), truncated, position, symbols }
}

fn gil(host: &Host, thread_state: u64, futex_address: Option<u64>) -> Gil {
    let is_for_gil = |word| gil_wait::is_for_gil(&LiveMemory, host, thread_state, &FutexWord::At(word), MAX_WAITERS);
    if host.layout.free_threaded {
        Gil::Unknown
    } else if futex_address.is_some_and(is_for_gil) {
        Gil::Waits
    } else if holds_gil(&host.layout, host.runtime_address, thread_state) {
        Gil::Holds
    } else {
        Gil::Detached
    }
}

/// Whether the GIL is locked and `thread_state` was the last to take it.
fn holds_gil(layout: &Layout, runtime_address: u64, thread_state: u64) -> bool {
    let Some(gil) = layout.gil_address(&LiveMemory, runtime_address, thread_state) else { return false };
    let holder = LiveMemory.read_u64(gil.wrapping_add(u64::from(layout.gil_last_holder)));
    let locked = LiveMemory.read_u32(gil.wrapping_add(u64::from(layout.gil_locked)));
    holder == Ok(thread_state) && locked == Ok(1)
}
