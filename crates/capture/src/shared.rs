//! What a session's handlers, hook and collector have in common; reached through [`crate::gate`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::code_filter::CodeFilter;
use crate::collection::Collection;
use crate::host::Host;
use crate::nap::Nap;
use crate::pages::Pages;
use crate::ring::Ring;
use crate::slots::Slot;
use crate::symbols::Symbols;
use crate::tick::Ticks;

/// The shared memory of one session.
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) ticks: Ticks,
    /// Distinguishes this session's signals from those of the one before.
    pub(crate) session: u8,
    pub(crate) max_depth_frames: usize,
    pub(crate) ring: Ring<Pages<AtomicU64>>,
    pub(crate) slots: Pages<Slot>,
    /// Threads without a timer have slots below this one; 0 where every thread has one.
    pub(crate) slots_without_timer: AtomicUsize,
    pub(crate) filter: CodeFilter,
    pub(crate) symbols: Mutex<Symbols>,
    /// While set, handlers return at once and re-arm nothing.
    pub(crate) is_paused: AtomicBool,
    pub(crate) counts: HandlerCounts,
    pub(crate) collection: Collection,
    pub(crate) nap: Nap,
    /// [`interpreter::newest_threads`] when the collector last read the interpreter's lists; 0 where that cannot be known.
    pub(crate) newest_threads: AtomicU64,
    /// When that was, monotonic ns.
    pub(crate) threads_read_ns: AtomicU64,
    /// Size of ring, slots and filter.
    pub(crate) fixed_bytes: usize,
}

/// Every way a handler can end, and the time it took. Written by handlers, read by whoever asks for numbers.
#[derive(Default)]
pub(crate) struct HandlerCounts {
    /// Records published.
    pub(crate) samples: AtomicU64,
    /// The ring had no room.
    pub(crate) ring_full: AtomicU64,
    /// The signal belonged to a thread or session that is gone.
    pub(crate) stale: AtomicU64,
    /// The session was paused.
    pub(crate) paused: AtomicU64,
    /// The timer could not be set again; the collector takes the thread over.
    pub(crate) rearm_failed: AtomicU64,
    /// Stacks cut at the depth limit.
    pub(crate) truncated: AtomicU64,
    /// Ticks put off because the chain of frames was torn at that moment.
    pub(crate) put_off: AtomicU64,
    /// Walks that met something that cannot be.
    pub(crate) torn: AtomicU64,
    /// Nanoseconds inside the handler.
    pub(crate) handler_ns: AtomicU64,
}

/// Adds to a count; handler-safe.
pub(crate) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// Reads a count.
pub(crate) fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
