//! A thread of the recorded process.

use crate::timeline::Timeline;

/// A thread of a [`Profile`](crate::Profile): its position in `Profile::threads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadIndex(pub u32);

impl ThreadIndex {
    /// Position in `Profile::threads`.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Name of the record into which the oldest ended threads are folded when there are too many to keep each.
pub const ENDED_THREADS_NAME: &str = "(ended threads)";

/// A thread and what it was seen doing.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Number the operating system gave it; 0 when unknown.
    pub native_id: u64,
    /// `threading.get_ident()` of it; 0 when unknown.
    pub python_id: u64,
    /// Name, kept after the thread has ended.
    pub name: String,
    /// The main thread.
    pub is_main: bool,
    /// Monotonic time at which it was first seen.
    pub started_ns: u64,
    /// Monotonic time at which it was seen to have ended; `None` if it was alive at the end of the recording.
    pub ended_ns: Option<u64>,
    /// 0 for a thread; the number of threads that were folded into this record otherwise. Their samples follow each other in
    /// no meaningful order, and the timestamps of such samples are not times.
    pub folded_threads: u64,
    /// Its samples.
    pub timeline: Timeline,
}

impl Thread {
    /// The record stands for threads that ended long ago.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        self.folded_threads > 0
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.name.capacity() + self.timeline.bytes()
    }
}
