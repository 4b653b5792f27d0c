//! How long the signal handler takes, for the benchmarks: nothing at all without the feature `bench`.

#[cfg(feature = "bench")]
pub(crate) use measured::{DURATIONS, Timed};

#[cfg(feature = "bench")]
mod measured {
    use crate::cycle_histogram::{CycleHistogram, cycles};

    /// Every call of the handler since it was last taken.
    pub(crate) static DURATIONS: CycleHistogram = CycleHistogram::new();

    /// Counts the time from its making to its end.
    pub(crate) struct Timed(u64);

    impl Timed {
        pub(crate) fn begin() -> Self {
            Self(cycles())
        }
    }

    impl Drop for Timed {
        fn drop(&mut self) {
            DURATIONS.record(cycles().wrapping_sub(self.0));
        }
    }
}

/// Does nothing.
#[cfg(not(feature = "bench"))]
pub(crate) struct Timed;

#[cfg(not(feature = "bench"))]
impl Timed {
    pub(crate) const fn begin() -> Self {
        Self
    }
}
