//! The table of thread slots that the handler and the collector share.
//!
//! A signal carries a [`TickValue`] that names a slot and the slot's generation. The generation is odd while the slot
//! belongs to a thread and moves on when that thread is let go, so a late signal of a deleted timer finds a slot that is
//! no longer its own and is ignored.
//!
//! While a slot is [`ARMED`] its thread's handler owns the timer and re-arms it; the handler that finds its thread blocked
//! sets [`PARKED`], and from then on the collector owns it until it arms it again.
//!
//! A timer is deleted only while no handler can set it, because the kernel may give its id to the next timer of the program.
//! A handler holds the slot ([`Slot::hold`]) from before it looks at the generation until it is done; [`Slot::vacate`] moves the
//! generation on first and then waits for whoever holds it. Both count by read-modify-writes of one number, as in
//! [`crate::turnstile`]: so either the handler is waited for, or it sees that the slot is no longer its own.

use std::ops::Deref;

use crate::platform::{Tid, TimerId};
use crate::sync::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering, yield_now};

/// Threads that can be sampled at once: 4,096 slots of one cache line are 256 KiB of address space, touched as needed.
pub(crate) const MAX_THREADS: usize = 4096;

/// So much deeper a stack may be than at the tick before without a second walk; each is 16 bytes of the ring, unused most
/// often.
const MORE_FRAMES: u32 = 16;

/// The thread was found blocked: no tick comes until the collector sees its CPU clock move.
pub(crate) const PARKED: u32 = 0;
/// The thread is on CPU as far as is known: its timer runs.
pub(crate) const ARMED: u32 = 1;

/// So often [`Slot::vacate`] gives up the processor to a handler. That takes microseconds, but its thread may be held by a debugger.
const MAX_WAITS: u32 = 1000;

/// A thread's id as the slot has it: systems differ in its size. Handler-safe.
fn widest(tid: impl Into<i64>) -> i64 {
    tid.into()
}

/// One thread's part of what the handler needs. All zero is a vacant slot, so the table is fresh pages of memory.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct Slot {
    generation: AtomicU32,
    tid: AtomicI64,
    /// The kernel's id plus one: its ids begin at 0, which must not look like "none".
    timer_plus_one: AtomicI32,
    phase: AtomicU32,
    /// Handlers that are at it: its thread's, and one more for each that a signal handler of others has let in meanwhile.
    holders: AtomicU32,
    /// The cell of the last tick, for counting the missed ones.
    last_cell: AtomicU64,
    missed_ticks: AtomicU32,
    /// Walks of this tick that were torn.
    torn_walks: AtomicU32,
    /// Frames of the stack at the last tick.
    last_frames: AtomicU32,
    /// Where the thread's ticks fall within their intervals, see [`crate::tick`].
    seed: AtomicU64,
}

impl Slot {
    /// As fresh pages are.
    #[cfg(test)]
    pub(crate) fn vacant() -> Self {
        Self {
            generation: AtomicU32::new(0),
            tid: AtomicI64::new(0),
            timer_plus_one: AtomicI32::new(0),
            phase: AtomicU32::new(PARKED),
            holders: AtomicU32::new(0),
            last_cell: AtomicU64::new(0),
            missed_ticks: AtomicU32::new(0),
            torn_walks: AtomicU32::new(0),
            last_frames: AtomicU32::new(0),
            seed: AtomicU64::new(0),
        }
    }

    /// One whose next owner but one gets the first generation again.
    #[cfg(test)]
    pub(crate) fn vacant_before_the_wrap() -> Self {
        let slot = Self::vacant();
        slot.generation.store(TickValue::GENERATION_MASK - 1, Ordering::Relaxed);
        slot
    }

    /// The collector gives the slot to a thread; returns the new generation.
    pub(crate) fn occupy(&self, tid: Tid, seed: u64, cell: u64) -> u32 {
        self.tid.store(widest(tid), Ordering::Relaxed);
        self.timer_plus_one.store(0, Ordering::Relaxed);
        self.phase.store(PARKED, Ordering::Relaxed);
        self.last_cell.store(cell, Ordering::Relaxed);
        self.missed_ticks.store(0, Ordering::Relaxed);
        self.torn_walks.store(0, Ordering::Relaxed);
        self.last_frames.store(0, Ordering::Relaxed);
        self.seed.store(seed, Ordering::Relaxed);
        // Release, with the Acquire in `belongs_to`: the handler sees the fields of the thread whose generation it has.
        let generation = (self.generation.load(Ordering::Relaxed) + 1) & TickValue::GENERATION_MASK;
        self.generation.store(generation, Ordering::Release);
        generation
    }

    /// The collector lets the thread go: signals under way are now stale. The timer is the caller's to delete.
    pub(crate) fn vacate(&self) -> Vacated {
        let generation = (self.generation.load(Ordering::Relaxed) + 1) & TickValue::GENERATION_MASK;
        // Release, with the Acquire in `belongs_to`; the count below is behind it.
        self.generation.store(generation, Ordering::Release);
        let timer = self.timer();
        self.timer_plus_one.store(0, Ordering::Relaxed);
        // Release: a handler that counts itself later sees the new generation. Acquire: what one did that has left is done.
        let is_held = || self.holders.fetch_add(0, Ordering::AcqRel) != 0;
        for _ in 0..MAX_WAITS {
            if !is_held() {
                return Vacated { timer, is_left: true };
            }
            yield_now();
        }
        Vacated { timer, is_left: false }
    }

    /// The slot for a handler whose signal carries `generation`, if that is the one that lives here now; handler-safe.
    pub(crate) fn hold(&self, generation: u32) -> Option<Held<'_>> {
        // Acquire, with the Release in `vacate`. Made at once, so that every way out lets go again.
        self.holders.fetch_add(1, Ordering::Acquire);
        let held = Held { slot: self };
        if self.belongs_to(generation) { Some(held) } else { None }
    }

    /// Whether `generation` is the one that lives here now; handler-safe.
    pub(crate) fn belongs_to(&self, generation: u32) -> bool {
        generation & 1 == 1 && self.generation.load(Ordering::Acquire) == generation
    }

    /// The generation that lives here now; handler-safe.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether this is the slot of thread `tid`, which has no timer and was sent a tick; handler-safe.
    pub(crate) fn awaits_tick_without_timer(&self, tid: Tid) -> bool {
        self.generation() & 1 == 1
            && self.tid.load(Ordering::Relaxed) == widest(tid)
            && self.timer().is_none()
            && !self.is_parked()
    }

    pub(crate) fn timer(&self) -> Option<TimerId> {
        match self.timer_plus_one.load(Ordering::Relaxed) {
            0 => None,
            more => Some(TimerId(more.wrapping_sub(1))),
        }
    }

    pub(crate) fn set_timer(&self, timer: TimerId) {
        self.timer_plus_one.store(timer.0.wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn clear_timer(&self) {
        self.timer_plus_one.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.phase.load(Ordering::Acquire) == PARKED
    }

    pub(crate) fn set_phase(&self, phase: u32) {
        // Release, with the Acquire in `is_parked`: who takes the timer over sees what the other left in the slot.
        self.phase.store(phase, Ordering::Release);
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed.load(Ordering::Relaxed)
    }

    pub(crate) fn last_cell(&self) -> u64 {
        self.last_cell.load(Ordering::Relaxed)
    }

    pub(crate) fn set_last_cell(&self, cell: u64) {
        self.last_cell.store(cell, Ordering::Relaxed);
    }

    /// Adds to the missed ticks; only this thread's handler writes them.
    pub(crate) fn add_missed(&self, ticks: u64) {
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        let sum = self.missed_ticks.load(Ordering::Relaxed).saturating_add(ticks);
        self.missed_ticks.store(sum, Ordering::Relaxed);
    }

    /// Notes a torn walk; how many there were before it since the last whole one.
    pub(crate) fn note_torn_walk(&self) -> u32 {
        let before = self.torn_walks.load(Ordering::Relaxed);
        self.torn_walks.store(before.saturating_add(1), Ordering::Relaxed);
        before
    }

    pub(crate) fn note_whole_walk(&self) {
        self.torn_walks.store(0, Ordering::Relaxed);
    }

    /// How many frames the thread's stack may have now: those of the last tick and some more.
    pub(crate) fn expected_frames(&self) -> u64 {
        u64::from(self.last_frames.load(Ordering::Relaxed).saturating_add(MORE_FRAMES))
    }

    /// How many it has.
    pub(crate) fn expect_frames(&self, frames: u64) {
        self.last_frames.store(u32::try_from(frames).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) -> u32 {
        self.missed_ticks.load(Ordering::Relaxed)
    }

    pub(crate) fn clear_missed(&self) {
        self.missed_ticks.store(0, Ordering::Relaxed);
    }
}

/// A slot whose thread's handler is at work: as long as this lives, its timer is there and is the thread's.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    slot: &'a Slot,
}

impl Deref for Held<'_> {
    type Target = Slot;
    fn deref(&self) -> &Slot {
        self.slot
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Release, with the Acquire in `vacate`: the timer is set before it is deleted.
        self.slot.holders.fetch_sub(1, Ordering::Release);
    }
}

/// What is left of a slot that was given up.
#[derive(Debug)]
pub(crate) struct Vacated {
    /// The timer it had.
    pub(crate) timer: Option<TimerId>,
    /// No handler is at it any more. If not, neither timer nor slot may be used for anything else yet.
    pub(crate) is_left: bool,
}

/// The value that rides on our signals: 24 bits of mark and session, 16 of slot, 24 of generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TickValue {
    pub(crate) session: u8,
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

impl TickValue {
    /// Generations are kept to what fits beside the slot; odd and even alternate across the wrap.
    pub(crate) const GENERATION_MASK: u32 = 0xff_ffff;
    /// Marks a value as ours among the signals of others ("SP").
    const MARK: u64 = 0x5350;

    pub(crate) fn to_bits(self) -> u64 {
        (Self::MARK << 48)
            | (u64::from(self.session) << 40)
            | (u64::from(self.slot) << 24)
            | u64::from(self.generation & Self::GENERATION_MASK)
    }

    /// `None` for a value that is not one of ours; handler-safe.
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        (bits >> 48 == Self::MARK).then_some(Self {
            session: (bits >> 40) as u8,
            slot: (bits >> 24) as u16,
            generation: bits as u32 & Self::GENERATION_MASK,
        })
    }
}
