//! How the collector's thread sleeps between two rounds, and who wakes it.
//!
//! A round that has parked threads to look at comes at a time of its own, which nobody's doings may change. Where no thread
//! is parked, the collector sleeps until the ring should be looked at, and a thread that parks itself meanwhile wakes it: from
//! then on it is to be looked at once an interval.

use std::time::Duration;

use crate::platform;
use crate::sync::{AtomicBool, AtomicU32, Ordering, fence};

/// The collector's sleep.
#[derive(Debug, Default)]
pub(crate) struct Nap {
    /// Grows with each waking, so that one that comes just before the sleep ends it.
    wakings: AtomicU32,
    /// A thread that parks itself has to wake the collector.
    ends_with_parking: AtomicBool,
}

impl Nap {
    /// To be asked before the collector looks whether there is something to do; see [`Self::sleep`].
    pub(crate) fn wakings(&self) -> u32 {
        self.wakings.load(Ordering::SeqCst)
    }

    /// From now on a thread that parks itself ends the sleep, or does not.
    pub(crate) fn end_with_parking(&self, yes: bool) {
        self.ends_with_parking.store(yes, Ordering::SeqCst);
        // With the fence in `note_parking`: of the one who sets this and then looks at who is parked, and the other who parks
        // itself and then looks at this, one sees what the other did.
        fence(Ordering::SeqCst);
    }

    /// Sleeps for `time`, or until somebody wakes us, or not at all if that has been done since there were `seen` wakings.
    pub(crate) fn sleep(&self, seen: u32, time: Duration) {
        platform::wait_while_equal(&self.wakings, seen, time);
    }

    /// Ends the sleep.
    pub(crate) fn wake(&self) {
        self.wakings.fetch_add(1, Ordering::SeqCst);
        platform::wake_waiter(&self.wakings);
    }

    /// The calling thread has parked itself. Handler-safe.
    pub(crate) fn note_parking(&self) {
        fence(Ordering::SeqCst);
        // The first to find it set does it for all.
        if self.ends_with_parking.load(Ordering::SeqCst) && self.ends_with_parking.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }
}
