//! All samples of a profile in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::info::Profile;
use crate::thread::ThreadIndex;
use crate::timeline::Sample;

/// The samples of all threads by time, 8 bytes each. Samples of one time are in the order of their threads.
///
/// Made once by [`Profile::chronology`] and valid for that profile only.
#[derive(Clone, Debug)]
pub struct Chronology {
    entries: Vec<(ThreadIndex, u32)>,
}

impl Chronology {
    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sample of that number: its thread and its number in the thread's timeline.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<(ThreadIndex, usize)> {
        self.entries.get(number).map(|&(thread, number)| (thread, number as usize))
    }
}

impl Profile {
    /// Puts the samples of all threads in the order of time.
    ///
    /// # Panics
    /// If a thread has 2^32 samples or more, which would take 55 GB.
    #[must_use]
    pub fn chronology(&self) -> Chronology {
        let mut timelines: Vec<_> = self.threads.iter().map(|thread| thread.timeline.iter().enumerate()).collect();
        let mut next = BinaryHeap::with_capacity(timelines.len());
        let mut advance = |thread: usize, next: &mut BinaryHeap<_>| {
            if let Some((number, sample)) = timelines[thread].next() {
                next.push(Reverse((sample.timestamp_ns, thread, number)));
            }
        };
        (0..self.threads.len()).for_each(|thread| advance(thread, &mut next));
        let mut entries = Vec::with_capacity(self.threads.iter().map(|thread| thread.timeline.len()).sum());
        while let Some(Reverse((_, thread, number))) = next.pop() {
            let narrow = |value: usize| u32::try_from(value).expect("documented");
            entries.push((ThreadIndex(narrow(thread)), narrow(number)));
            advance(thread, &mut next);
        }
        Chronology { entries }
    }

    /// The sample of that number in the order of time, with its thread.
    #[must_use]
    pub fn sample_at(&self, chronology: &Chronology, number: usize) -> Option<(ThreadIndex, Sample)> {
        let (thread, number) = chronology.get(number)?;
        Some((thread, self.threads.get(thread.index())?.timeline.get(number)?))
    }
}
