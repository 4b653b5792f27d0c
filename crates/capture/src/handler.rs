//! The signal handler: a thread takes a sample of itself.
//!
//! No allocation, no lock, no thread-local, no panic, no CPython call but the two that [`Host`] names; each loop is bounded
//! by the depth limit or a constant, and each way out is counted in [`HandlerCounts`](crate::shared::HandlerCounts).

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use interpreter::{Memory, RawFrame, WalkEnd, newest_threads, walk};
use profile::{Gil, Running, State};

use crate::collection;
use crate::cpu_context::{Activity, CpuContext, activity};
use crate::fault;
use crate::gate;
use crate::gil_wait;
use crate::handler_timing::{Part, Timed, bare_walk};
use crate::host::Host;
use crate::platform::{self, Sender};
use crate::record::{self, FrameWriter, Header};
use crate::ring::Reservation;
use crate::safe_load::LiveMemory;
use crate::shared::{Shared, add};
use crate::sigprof;
use crate::slots::{ARMED, PARKED, Slot, TickValue};

/// A thread that is hit while the interpreter changes its chain of frames is looked at again after this time. A few
/// instructions later the chain is whole, but the thread must come to run them: on a slow machine a timer that was set for
/// 10 µs has fired before the handler has returned. It happens to a few in a thousand samples of a program that does little
/// but call functions.
const TORN_RETRY_NS: u64 = 50_000;
/// A chain that is torn so often in a row is given up: the sample is lost and counted, its weight is carried by the thread's
/// next. On a busy machine the thread may be hit again and again before it has run a single instruction, so the number is
/// large; a thread that runs gets out with the first or second.
const MAX_TORN_RETRIES: u32 = 20;

/// Where threads are born all the time, ticks make the collector read the list no oftener than this: at 0.1 ms it would be
/// doing nothing else.
const SHORTEST_DISCOVERY_NS: u64 = 10_000_000;

/// Threads that wait for the GIL, where they have to be looked through (musl). Nearly all looks at blocked threads are the
/// collector's, which looks further.
const MAX_WAITERS: usize = 256;

/// Called for each SIGPROF by the entry points of [`sigprof`], at whichever level.
pub(crate) fn on_sigprof(level: usize, signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let _timed = Timed::begin(Part::Whole);
    let errno = platform::errno_location();
    // SAFETY: the location of errno is valid in every thread.
    let saved_errno = unsafe { *errno };
    // SAFETY: the kernel passes a valid `siginfo_t` to an SA_SIGINFO handler.
    let origin = unsafe { origin(info) };
    let mut is_ours = matches!(origin, Origin::Ours(_));
    if !matches!(origin, Origin::Others)
        && let Some(shared) = gate::enter()
    {
        let value = match origin {
            Origin::Ours(value) => Some(value),
            _ => awaited_tick(&shared, platform::own_tid()),
        };
        if let Some(value) = value {
            is_ours = true;
            // SAFETY: the kernel passes a valid `ucontext_t`; nobody else has it while we run.
            let cpu = unsafe { CpuContext::from_raw(context) };
            fault::allow_in_handler(&cpu);
            on_tick(&shared, value, &cpu);
        }
    }
    if !is_ours {
        sigprof::pass_on(level, signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = saved_errno };
}

/// Whose a SIGPROF is.
enum Origin {
    /// Ours, whichever session sent it.
    Ours(TickValue),
    /// The system does not say what belongs to it (at RLIMIT_SIGPENDING; on macOS, ever): it may be ours.
    Unsaid,
    /// Other people's.
    Others,
}

/// Reads what a signal says of itself.
///
/// # Safety
/// `info` must be valid.
unsafe fn origin(info: *const libc::siginfo_t) -> Origin {
    // SAFETY: promised by the caller. The mark in the value tells ours from those of other timers.
    match unsafe { platform::sender(info) } {
        Sender::Carries(value) => TickValue::from_bits(value).map_or(Origin::Others, Origin::Ours),
        Sender::Unsaid => Origin::Unsaid,
        Sender::Somebody => Origin::Others,
    }
}

/// The tick that the collector has sent to thread `tid`, if it has no timer and waits for one. Handler-safe.
fn awaited_tick(shared: &Shared, tid: platform::Tid) -> Option<TickValue> {
    let without_timer = shared.slots_without_timer.load(Ordering::Relaxed);
    let slots = shared.slots.as_ref().get(..without_timer)?;
    let index = slots.iter().position(|slot| slot.awaits_tick_without_timer(tid))?;
    let generation = slots.get(index)?.generation();
    Some(TickValue { session: shared.session, slot: index as u16, generation })
}

fn on_tick(shared: &Shared, value: TickValue, cpu: &CpuContext<'_>) {
    let held = match shared.slots.as_ref().get(usize::from(value.slot)) {
        Some(slot) if value.session == shared.session => slot.hold(value.generation),
        _ => None,
    };
    // To the end: the timer is not deleted meanwhile, so it is ours whenever it is set.
    let Some(held) = held else { return add(&shared.counts.stale, 1) };
    let slot: &Slot = &held;
    if shared.is_paused.load(Ordering::Relaxed) {
        slot.set_phase(PARKED);
        return add(&shared.counts.paused, 1);
    }
    let began_ns = platform::monotonic_ns();
    let cpu_ns = platform::own_cpu_ns();
    let last_cell = slot.last_cell();
    // One that was sent at once stands for a cell whose place may be still to come.
    let cell = shared.ticks.due_cell(began_ns, slot.seed()).max(last_cell);
    let elapsed_cells = cell.wrapping_sub(last_cell);
    if elapsed_cells > 1 && slot.timer().is_some() {
        slot.add_missed(elapsed_cells - 1);
    }
    slot.set_last_cell(cell);

    let activity = activity(&LiveMemory, cpu.system_call_registers());
    let moment = Moment { program_counter: cpu.program_counter(), activity, time_ns: began_ns, cpu_ns };
    let outcome = take_sample(shared, slot, value, &moment);

    let is_on_cpu = activity == Activity::OnCpu;
    let ended_ns = platform::monotonic_ns();
    add(&shared.counts.handler_ns, ended_ns.saturating_sub(began_ns));
    if outcome == Outcome::LookAgain {
        // Its sample is still to come; where that is not before the next tick, one is missed.
        slot.set_last_cell(cell.saturating_sub(1).max(last_cell));
        return;
    }
    if shared.ring.is_half_full() || is_anybody_new(shared, began_ns) {
        shared.nap.note_need();
    }
    match slot.timer() {
        Some(timer) if is_on_cpu => {
            let next = shared.ticks.next_cell(cell, ended_ns, slot.seed());
            slot.set_phase(ARMED);
            let _timed = Timed::begin(Part::Timer);
            if !platform::arm_timer(timer, shared.ticks.deadline_ns(next, slot.seed())) {
                slot.set_phase(PARKED);
                add(&shared.counts.rearm_failed, 1);
            }
        }
        // Blocked, or without a timer: the collector decides when to look again.
        _ => {
            slot.set_phase(PARKED);
            shared.nap.note_parking();
        }
    }
}

/// Whether a thread may have been born since the collector last read the interpreter's lists, if that is not just now.
fn is_anybody_new(shared: &Shared, now_ns: u64) -> bool {
    let known = shared.newest_threads.load(Ordering::Relaxed);
    let since_ns = now_ns.saturating_sub(shared.threads_read_ns.load(Ordering::Relaxed));
    let host = &shared.host;
    known != 0
        && since_ns >= SHORTEST_DISCOVERY_NS
        && newest_threads(&LiveMemory, &host.layout, host.runtime_address) != Some(known)
}

/// What became of a tick.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It has been dealt with.
    Done,
    /// The chain of frames was torn; the timer is set for another look.
    LookAgain,
}

/// Where and when the thread was hit.
struct Moment {
    program_counter: u64,
    activity: Activity,
    time_ns: u64,
    cpu_ns: u64,
}

/// Walks the thread's Python stack into the ring: once, into room for as many frames as the last time and some more. Where
/// that is not enough the room goes unused, and there is a second walk into what the first has found to be needed.
fn take_sample(shared: &Shared, slot: &Slot, value: TickValue, moment: &Moment) -> Outcome {
    let host = &shared.host;
    let thread = current_thread_state(host);
    if thread.address != 0 && host.is_entering_interpreter(moment.program_counter) {
        return look_again(shared, slot);
    }
    let max_frames = shared.max_depth_frames as u64;
    let mut room_frames = if thread.address == 0 { 0 } else { slot.expected_frames().min(max_frames) };
    for _ in 0..2 {
        let Some(taken) = shared.ring.reserve(record::length_words(room_frames)) else {
            add(&shared.counts.ring_full, 1);
            return Outcome::Done;
        };
        let (mut found_frames, mut end) = (0, WalkEnd::Complete);
        if thread.address != 0 {
            bare_walk(shared, thread.address, room_frames);
            let _timed = Timed::begin(Part::Walk);
            (found_frames, end) = walk_into_ring(shared, thread.address, taken);
        }
        if matches!(end, WalkEnd::Torn(_)) {
            record::abandon(&shared.ring, taken);
            return look_again(shared, slot);
        }
        slot.expect_frames(found_frames);
        if found_frames > room_frames {
            record::abandon(&shared.ring, taken);
            room_frames = found_frames;
            continue;
        }
        let truncated = matches!(end, WalkEnd::Truncated);
        add(&shared.counts.truncated, u64::from(truncated));
        add(&shared.counts.samples, 1);
        let header = Header {
            frames: found_frames as u16,
            slot: value.slot,
            generation: value.generation,
            state: state(shared, &thread, moment.activity).with_truncated(truncated).bits(),
            truncated,
            missed_ticks: slot.missed(),
            time_ns: moment.time_ns,
            cpu_ns: moment.cpu_ns,
        };
        slot.clear_missed();
        slot.note_whole_walk();
        record::publish(&shared.ring, taken, header);
        return Outcome::Done;
    }
    // The thread does not move while it looks at itself, so the second walk finds what the first did.
    add(&shared.counts.torn, 1);
    Outcome::Done
}

/// Walks a thread's frames into the record that is reserved as `taken`, as far as there is room. Returns how many frames there
/// are.
#[inline(always)]
fn walk_into_ring(shared: &Shared, thread_state: u64, taken: Reservation) -> (u64, WalkEnd) {
    let (host, depth) = (&shared.host, shared.max_depth_frames);
    let mut writer = FrameWriter::new(&shared.ring, taken);
    let mut found_frames = 0;
    let end = walk(&LiveMemory, &host.layout, host.code_type, thread_state, depth, &mut |frames| {
        put_frames(shared, &mut writer, frames);
        found_frames += frames.len() as u64;
    });
    (found_frames, end)
}

/// Never a part of the handler: among all that is going on there, little of what the loops need would stay in registers.
#[inline(never)]
fn put_frames(shared: &Shared, writer: &mut FrameWriter<'_>, frames: &[RawFrame]) {
    shared.filter.mark_all(frames.iter().take(writer.write(frames)).map(|frame| frame.code_address));
}

/// The chain of frames is being changed. Half a stack would be a wrong one, so nothing is recorded now.
fn look_again(shared: &Shared, slot: &Slot) -> Outcome {
    if slot.note_torn_walk() < MAX_TORN_RETRIES
        && let Some(timer) = slot.timer()
        && platform::arm_timer(timer, platform::monotonic_ns().wrapping_add(TORN_RETRY_NS))
    {
        add(&shared.counts.put_off, 1);
        return Outcome::LookAgain;
    }
    add(&shared.counts.torn, 1);
    Outcome::Done
}

/// A thread's own state in the interpreter.
struct CurrentThreadState {
    /// 0 where the thread has none.
    address: u64,
    /// The thread may run Python code now; with a GIL, it holds it.
    is_attached: bool,
}

/// Finds the calling thread's state. `unchecked` may belong to another thread up to 3.11, so it counts only when the
/// thread it names is this one; it is looked at first because a thread in a subinterpreter is attached to a state
/// that the other function does not know.
fn current_thread_state(host: &Host) -> CurrentThreadState {
    let unchecked = host.unchecked_thread_state();
    if unchecked != 0 {
        // SAFETY: returns the calling thread's handle; no lock, no allocation.
        let own = unsafe { libc::pthread_self() } as u64;
        let named = LiveMemory.read_u64(unchecked.wrapping_add(u64::from(host.layout.thread_state.thread_id)));
        if named.is_ok_and(|named| named == own) {
            return CurrentThreadState { address: unchecked, is_attached: true };
        }
    }
    CurrentThreadState { address: host.this_thread_state(), is_attached: false }
}

fn state(shared: &Shared, thread: &CurrentThreadState, activity: Activity) -> State {
    let host = &shared.host;
    let running = if activity == Activity::OnCpu { Running::OnCpu } else { Running::Blocked };
    let gil = match activity {
        _ if thread.address == 0 || host.layout.free_threaded => Gil::Unknown,
        _ if thread.is_attached => Gil::Holds,
        Activity::Blocked(Some(word))
            if gil_wait::is_for_gil(&LiveMemory, host, thread.address, &word, MAX_WAITERS) =>
        {
            Gil::Waits
        }
        _ => Gil::Detached,
    };
    let in_gc = thread.is_attached && collection::is_collecting(shared, thread.address);
    State::new(running, gil).with_in_gc(in_gc)
}
