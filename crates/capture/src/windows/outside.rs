//! A sample of a thread, taken by the collector while the thread stands still.
//!
//! The thread is suspended for as long as its registers and frames are read, some microseconds. Meanwhile the collector
//! allocates nothing, takes no lock, loads nothing and calls nothing of CPython: the thread may hold any lock there is. What is
//! needed is made ready before, the lock over the symbols too, which the thread may be about to take in the deallocation hook.
//!
//! There is one lock that a look may need: a read that faults is dispatched by the system under its lock over the vectored handlers,
//! which the thread that stands still may have, in the middle of dispatching, adding or removing. Such a thread is in no
//! change of its frames, so nothing that is read of it faults as long as it has a state at all; that is looked at before it
//! is suspended and again after.

use std::sync::MutexGuard;

use interpreter::{Memory, RawFrame, WalkEnd, is_listed, walk};
use profile::{Gil, Running, State};

use crate::activity::{Activity, activity, is_at_rest};
use crate::collection;
use crate::gil_wait;
use crate::host::Host;
use crate::platform::{self, TaskFiles, Tid};
use crate::roster::LiveThread;
use crate::safe_load::LiveMemory;
use crate::shared::{Shared, add};
use crate::stand_still::{Registers, stand_still};
use crate::symbols::Symbols;

/// A thread that is met while the interpreter changes its chain of frames is looked at again at once: it must only come to run
/// the few instructions that are left. So often in a row, then the sample is lost and counted, and the thread's next one
/// carries its weight.
const MAX_TORN_RETRIES: u32 = 20;

/// What a look found.
pub(crate) enum Look<'a> {
    /// Its frames are in the buffer, and what they name is alive while the lock is held.
    Seen { state: State, truncated: bool, position: u64, symbols: MutexGuard<'a, Symbols> },
    /// It is the thread that looks, or it was torn too often.
    Runs,
    /// Its state is in the interpreter's list no more.
    Unlisted,
    /// The system does not let it be looked at, or the interpreter knows no single state of it.
    CannotTell,
}

/// What was found while the thread stood still.
struct Found {
    end: WalkEnd,
    program_counter: u64,
    gil: Gil,
    in_gc: bool,
}

/// Looks at a thread whose CPU clock shows `cpu_ns` at `now_ns`. Fills `frames`, innermost first.
pub(crate) fn look<'a>(
    shared: &'a Shared,
    _files: &mut TaskFiles,
    thread: &LiveThread,
    now_ns: u64,
    cpu_ns: u64,
    frames: &mut Vec<RawFrame>,
) -> Look<'a> {
    let LiveThread { tid, thread_state, .. } = *thread;
    let used_ns = cpu_ns.saturating_sub(thread.counted_cpu_ns);
    let elapsed_ns = now_ns.saturating_sub(thread.counted_to_ns);
    let is_listed = || is_listed(&LiveMemory, &shared.host.layout, thread_state, tid as u64);
    if thread_state == 0 {
        return Look::CannotTell;
    }
    if !is_listed() {
        return Look::Unlisted;
    }
    if tid == platform::own_tid() {
        return Look::Runs;
    }
    for attempt in 0..=MAX_TORN_RETRIES {
        if attempt > 0 {
            std::thread::yield_now();
        }
        frames.clear();
        // The walk shows no more than that, so nothing is allocated while the thread stands still.
        frames.reserve(shared.max_depth_frames);
        let symbols = shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = platform::with_thread(tid, |handle| {
            stand_still(handle, |registers| examine(shared, tid, thread_state, registers, frames))
        });
        let Some(Some(found)) = found else { return Look::CannotTell };
        // It may have been deleted just before the thread stood still. Not asked meanwhile: the states beside it are others', may be
        // freed at any time, and no read may fault then.
        if !is_listed() {
            return Look::Unlisted;
        }
        if matches!(found.end, WalkEnd::Torn(_)) {
            add(&shared.counts.put_off, 1);
            continue;
        }
        let truncated = matches!(found.end, WalkEnd::Truncated);
        let running = match activity(&LiveMemory, found.program_counter) {
            Activity::InSystemCall if found.gil == Gil::Waits || is_at_rest(used_ns, elapsed_ns) => Running::Blocked,
            Activity::InSystemCall | Activity::InProgram => Running::OnCpu,
        };
        let gil = match (found.gil, running) {
            // One that runs does not wait; of one that is blocked it may be known only that somebody waits.
            (Gil::Unknown, Running::OnCpu) if !shared.host.layout.free_threaded => Gil::Detached,
            (gil, _) => gil,
        };
        let state = State::new(running, gil).with_truncated(truncated).with_in_gc(found.in_gc);
        return Look::Seen { state, truncated, position: shared.ring.reserved_position(), symbols };
    }
    add(&shared.counts.torn, 1);
    Look::Runs
}

/// What there is to see of a thread that stands still. Allocates nothing and takes no lock.
fn examine(shared: &Shared, tid: Tid, thread_state: u64, registers: &Registers, frames: &mut Vec<RawFrame>) -> Found {
    let host = &shared.host;
    let program_counter = registers.0.Rip;
    let layout = &host.layout;
    let is_its_own = layout.thread_id(&LiveMemory, thread_state, layout.thread_state.thread_id) == Some(tid as u64);
    if !is_its_own || host.is_entering_interpreter(program_counter) {
        let end = WalkEnd::Torn(interpreter::TornReason::Unlinked);
        return Found { end, program_counter, gil: Gil::Unknown, in_gc: false };
    }
    let capacity = frames.capacity();
    let end = walk(&LiveMemory, layout, host.code_type, thread_state, shared.max_depth_frames, &mut |found| {
        shared.filter.mark_all(found.iter().map(|frame| frame.code_address));
        // No more than there is room for: nothing may be allocated here.
        let room = capacity.saturating_sub(frames.len());
        frames.extend_from_slice(found.get(..room).unwrap_or(found));
    });
    let gil = gil(host, thread_state, registers);
    let in_gc = gil == Gil::Holds && collection::is_collecting(shared, thread_state);
    Found { end, program_counter, gil, in_gc }
}

/// What is certain of a thread that stands still.
fn gil(host: &Host, thread_state: u64, registers: &Registers) -> Gil {
    let layout = &host.layout;
    if layout.free_threaded {
        return Gil::Unknown;
    }
    let Some(gil) = layout.gil_address(&LiveMemory, host.runtime_address, thread_state) else { return Gil::Unknown };
    let holder = LiveMemory.read_u64(gil.wrapping_add(u64::from(layout.gil_last_holder)));
    let locked = LiveMemory.read_u32(gil.wrapping_add(u64::from(layout.gil_locked)));
    if (holder, locked) == (Ok(thread_state), Ok(1)) {
        return Gil::Holds;
    }
    match gil_wait::is_for_gil(registers) {
        Some(true) => Gil::Waits,
        Some(false) => Gil::Detached,
        None if layout.nobody_waits_for(&LiveMemory, gil) => Gil::Detached,
        None => Gil::Unknown,
    }
}
