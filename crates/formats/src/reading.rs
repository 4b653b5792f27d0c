//! What all readers need.

use profile::{Counters, Moment, Profile, Recording, room};

use crate::error::ReadError;

/// Adds up what a file's weights come to, and refuses what no clock could have measured: later sums then cannot overflow.
#[derive(Debug, Default)]
pub(crate) struct TotalWeight {
    sum_ns: u64,
    entries: u64,
}

impl TotalWeight {
    pub(crate) fn add(&mut self, weight_ns: u64) -> Result<(), ReadError> {
        /// So few take little beside the tables that they go into.
        const QUESTION_ENTRIES: u64 = 256;
        self.entries += 1;
        if self.entries.is_multiple_of(QUESTION_ENTRIES) && !room::is_there(0) {
            return Err(ReadError::no_memory());
        }
        let sum = self.sum_ns.checked_add(weight_ns);
        self.sum_ns = sum.ok_or_else(|| ReadError::new("the weights up to here add up to more than 584 years"))?;
        Ok(())
    }
}

/// The profile of a file that says nothing of its recording: it lasts as long as its longest thread.
pub(crate) fn finish_without_header(recording: Recording) -> Profile {
    let mut profile = recording.finish(Moment::default(), Counters::default());
    profile.end.monotonic_ns = profile.threads.iter().map(|thread| thread.timeline.end_ns()).max().unwrap_or(0);
    profile.counters.memory_bytes = 0; // that of the reader, which is no news of the program
    profile
}
