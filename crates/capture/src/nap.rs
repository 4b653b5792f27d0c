//! How the collector's thread sleeps between two rounds, and who wakes it.
//!
//! A round that has parked threads to look at comes at a time of its own, which nobody's doings may change. Where no thread
//! is parked, there is nothing to do but to read the ring, and the collector sleeps long: a thread that parks itself meanwhile
//! wakes it, because from then on it is to be looked at once an interval. So does a tick that finds the ring half full or a
//! thread that the collector does not know.

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
    /// Whoever sees that the collector is needed has to wake it.
    ends_with_need: AtomicBool,
}

impl Nap {
    /// To be asked before the collector looks whether there is something to do; see [`Self::sleep`].
    pub(crate) fn wakings(&self) -> u32 {
        self.wakings.load(Ordering::SeqCst)
    }

    /// From now on a thread that parks itself ends the sleep, or does not.
    pub(crate) fn end_with_parking(&self, yes: bool) {
        self.ends_with_parking.store(yes, Ordering::SeqCst);
        // With the fence in `wake_if`: of the one who sets this and then looks at who is parked, and the other who parks
        // itself and then looks at this, one sees what the other did.
        fence(Ordering::SeqCst);
    }

    /// From now on who needs the collector ends the sleep; to be said before the collector looks at what it may be needed for.
    pub(crate) fn end_with_need(&self) {
        self.ends_with_need.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Sleeps for `time`, or until somebody wakes us, or not at all if that has been done since there were `seen` wakings.
    pub(crate) fn sleep(&self, seen: u32, time: Duration) {
        platform::wait_while_equal(&self.wakings, seen, time);
    }

    /// Ends the sleep. Handler-safe.
    pub(crate) fn wake(&self) {
        self.wakings.fetch_add(1, Ordering::SeqCst);
        platform::wake_waiter(&self.wakings);
    }

    /// The calling thread has parked itself. Handler-safe.
    pub(crate) fn note_parking(&self) {
        self.wake_if(&self.ends_with_parking);
    }

    /// The calling thread has seen something that the collector should not wait with. Handler-safe.
    pub(crate) fn note_need(&self) {
        self.wake_if(&self.ends_with_need);
    }

    fn wake_if(&self, asked: &AtomicBool) {
        fence(Ordering::SeqCst);
        // The first to find it set does it for all.
        if asked.load(Ordering::SeqCst) && asked.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }
}
