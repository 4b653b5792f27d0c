//! How a recording's memory limit is shared out.

/// What the allocator adds to a block: header and rounding (glibc: 8 bytes and to the next multiple of 16).
pub(crate) const ALLOCATION_OVERHEAD_BYTES: usize = 16;

/// Ended threads that keep a record of their own, at most. Enough for a person to look through; a service that starts a
/// thread a request passes it within minutes.
const MAX_ENDED_THREADS: usize = 1024;

/// Shares of the memory limit. Names and tree are the more valuable the longer the run is, and they saturate; timelines grow
/// for ever and take what they can. The tenth that is left covers what exists only for a moment: a table that doubles holds
/// its old half meanwhile, and coarsening holds one window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Strings and functions.
    pub(crate) names_bytes: usize,
    /// The call tree and its index.
    pub(crate) tree_bytes: usize,
    /// Threads and their timelines.
    pub(crate) threads_bytes: usize,
    /// Distinct (stack, state) pairs held while one window is coarsened.
    pub(crate) window_entries: usize,
    /// Ended threads with a record of their own.
    pub(crate) max_ended_threads: usize,
    /// What exists only for a moment, while detail is given up.
    pub(crate) momentary_bytes: usize,
}

impl Budget {
    pub(crate) const UNLIMITED: Budget = Budget {
        names_bytes: usize::MAX,
        tree_bytes: usize::MAX,
        threads_bytes: usize::MAX,
        window_entries: usize::MAX,
        max_ended_threads: usize::MAX,
        momentary_bytes: 0,
    };

    pub(crate) fn new(limit_bytes: usize) -> Budget {
        let percent = |share: usize| limit_bytes / 100 * share;
        Budget {
            names_bytes: percent(15),
            tree_bytes: percent(30),
            threads_bytes: percent(45),
            // An entry takes 48 bytes and twice up to 12 in its index; 5 % at most go there.
            window_entries: (percent(5) / 96).max(64),
            // An ended thread takes about half a kilobyte; a quarter of the threads' share at most goes there.
            max_ended_threads: (percent(45) / 4 / 512).min(MAX_ENDED_THREADS),
            momentary_bytes: percent(10),
        }
    }
}
