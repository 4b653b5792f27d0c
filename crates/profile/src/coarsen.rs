//! Making a timeline smaller without changing what it adds up to.
//!
//! Time is cut into windows. Within a window, samples with the same stack and state become one: their weights and counts
//! add, and they stand where the first of them stood. So which stacks were seen within a window, for how long and how
//! often, stays exact; only their order inside it is lost, and no timestamp moves across a window's end. Doubling the window
//! again and again leaves at last one sample for each distinct (stack, state) of the thread.
//!
//! Time that was skipped within a window moves to the window's beginning, so that what comes later keeps its time.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::timeline::{Sample, Timeline};
use crate::tree::NodeId;

/// Up to so many distinct entries a window is searched one by one, which beats hashing.
const SEARCHED_ENTRIES: usize = 8;

/// The window that covers everything.
pub(crate) const WHOLE: u64 = u64::MAX;

/// `timeline` with the samples of each window of `window_ns` merged, its leaves replaced by what `map_leaf` says.
///
/// A window ends early at `max_entries` distinct entries, which bounds the memory needed meanwhile. The last sample stays by
/// itself: it may still be extended.
pub(crate) fn coarsen(
    timeline: Timeline,
    window_ns: u64,
    max_entries: usize,
    mut map_leaf: impl FnMut(&Sample) -> NodeId,
) -> Timeline {
    let start_ns = timeline.start_ns();
    let mut coarse = Timeline::new(start_ns);
    let end_ns = timeline.end_ns();
    let Some(last) = timeline.len().checked_sub(1) else {
        coarse.skip_to(end_ns);
        return coarse;
    };
    let mut window = Window::default();
    let mut window_number = 0;
    let mut end_of_window_ns = start_ns;
    for (number, mut sample) in timeline.drain().enumerate() {
        sample.leaf = map_leaf(&sample);
        let sample_window = (sample.timestamp_ns - start_ns) / window_ns;
        if sample_window != window_number || number == last || window.entries.len() >= max_entries {
            window.move_to(&mut coarse, end_of_window_ns);
            window_number = sample_window;
        }
        end_of_window_ns = sample.timestamp_ns;
        window.add(&sample);
    }
    window.move_to(&mut coarse, end_of_window_ns);
    coarse.skip_to(end_ns);
    coarse.shrink_to_fit();
    coarse
}

#[derive(Default)]
struct Window {
    entries: Vec<Sample>,
    /// Positions in `entries`, used from [`SEARCHED_ENTRIES`] on.
    index: HashTable<u32>,
}

impl Window {
    fn add(&mut self, sample: &Sample) {
        let same = |entry: &Sample| entry.leaf == sample.leaf && entry.state == sample.state;
        let found = if self.entries.len() <= SEARCHED_ENTRIES {
            self.entries.iter_mut().find(|entry| same(entry))
        } else {
            if self.index.is_empty() {
                (0..self.entries.len()).for_each(|position| Self::enter(&mut self.index, &self.entries, position));
            }
            let position = self.index.find(hash(sample), |&position| same(&self.entries[position as usize])).copied();
            position.map(|position| &mut self.entries[position as usize])
        };
        if let Some(entry) = found {
            entry.wall_ns = entry.wall_ns.saturating_add(sample.wall_ns);
            entry.cpu_ns = entry.cpu_ns.saturating_add(sample.cpu_ns);
            entry.count = entry.count.saturating_add(sample.count);
        } else {
            self.entries.push(*sample);
            if !self.index.is_empty() {
                Self::enter(&mut self.index, &self.entries, self.entries.len() - 1);
            }
        }
    }

    fn enter(index: &mut HashTable<u32>, entries: &[Sample], position: usize) {
        let position_u32 = u32::try_from(position).expect("a window's entries are bounded");
        index.insert_unique(hash(&entries[position]), position_u32, |&other| hash(&entries[other as usize]));
    }

    /// Appends the entries so that the last ends at `end_ns`.
    fn move_to(&mut self, timeline: &mut Timeline, end_ns: u64) {
        let wall_ns = self.entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.wall_ns));
        timeline.skip_to(end_ns.saturating_sub(wall_ns));
        self.entries.drain(..).for_each(|entry| timeline.push(&entry));
        if !self.index.is_empty() {
            self.index.clear();
        }
    }
}

fn hash(sample: &Sample) -> u64 {
    FxBuildHasher.hash_one((sample.leaf, sample.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Gil, Running, State};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn sample(leaf: usize, wall_ns: u64, cpu_ns: u64, state: State) -> Sample {
        Sample { timestamp_ns: 0, leaf: NodeId::from_index(leaf), wall_ns, cpu_ns, state, count: 1 }
    }

    fn timeline(samples: &[Sample]) -> Timeline {
        let mut timeline = Timeline::new(1_000);
        samples.iter().for_each(|sample| timeline.push(sample));
        timeline
    }

    const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);
    const BLOCKED: State = State::new(Running::Blocked, Gil::Detached);

    #[test]
    fn merges_within_a_window_and_not_across() {
        let samples = [
            sample(1, 10, 1, ON_CPU),
            sample(2, 10, 2, ON_CPU),
            sample(1, 10, 3, ON_CPU),
            sample(1, 10, 4, BLOCKED),
            // 50 ns: the second window of 50 begins with this one.
            sample(1, 10, 5, ON_CPU),
            sample(1, 10, 6, ON_CPU),
            sample(1, 10, 7, ON_CPU),
        ];
        let coarse = coarsen(timeline(&samples), 50, 1000, |sample| sample.leaf);
        let got: Vec<_> =
            coarse.iter().map(|s| (s.timestamp_ns, s.leaf.index(), s.wall_ns, s.cpu_ns, s.state, s.count)).collect();
        let expected = [
            (1020, 1, 20, 4, ON_CPU, 2),
            (1030, 2, 10, 2, ON_CPU, 1),
            (1040, 1, 10, 4, BLOCKED, 1),
            (1060, 1, 20, 11, ON_CPU, 2),
            (1070, 1, 10, 7, ON_CPU, 1), // the last stays by itself
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn skipped_time_moves_to_the_beginning_of_its_window() {
        let mut fine = Timeline::new(0);
        let one = sample(1, 10, 1, ON_CPU);
        fine.push(&one); // 10
        fine.skip_to(20);
        fine.push(&one); // 30
        fine.push(&one); // 40
        fine.skip_to(500);
        fine.push(&one); // 510, a later window
        fine.push(&one); // 520, the last
        fine.skip_to(900);
        let coarse = coarsen(fine, 100, 1000, |sample| sample.leaf);
        let got: Vec<_> = coarse.iter().map(|s| (s.timestamp_ns, s.wall_ns, s.count)).collect();
        assert_eq!(got, [(40, 30, 3), (510, 10, 1), (520, 10, 1)]);
        assert_eq!(coarse.end_ns(), 900);
        let coarse = coarsen(coarse, WHOLE, 1000, |sample| sample.leaf);
        let got: Vec<_> = coarse.iter().map(|s| (s.timestamp_ns, s.wall_ns, s.count)).collect();
        assert_eq!(got, [(510, 40, 4), (520, 10, 1)]);
    }

    #[test]
    fn nothing_stays_nothing() {
        assert!(coarsen(Timeline::new(5), WHOLE, 10, |sample| sample.leaf).is_empty());
    }

    fn sums(timeline: &Timeline) -> HashMap<(NodeId, State), (u64, u64, u64)> {
        let mut sums = HashMap::new();
        for sample in timeline {
            let sum = sums.entry((sample.leaf, sample.state)).or_insert((0, 0, 0));
            *sum = (sum.0 + sample.wall_ns, sum.1 + sample.cpu_ns, sum.2 + sample.count);
        }
        sums
    }

    fn any_sample() -> impl Strategy<Value = Sample> {
        let wall = prop_oneof![4 => 0..1_000u64, 1 => 0..20_000_000_000u64];
        (0..40usize, wall, 0..6_000_000_000u64, prop_oneof![Just(ON_CPU), Just(BLOCKED)])
            .prop_map(|(leaf, wall_ns, cpu_ns, state)| sample(leaf, wall_ns, cpu_ns, state))
    }

    proptest! {
        #[test]
        fn sums_never_change(
            samples in prop::collection::vec((any_sample(), prop_oneof![3 => Just(0), 1 => 0..5_000u64]), 0..300),
            windows in prop::collection::vec(prop_oneof![1..5_000u64, Just(WHOLE)], 1..4),
            max_entries in 1..50usize,
        ) {
            let mut fine = Timeline::new(1_000);
            for (sample, gap_ns) in &samples {
                fine.push(sample);
                fine.skip_to(fine.end_ns() + gap_ns);
            }
            let mut coarse = fine.clone();
            for window_ns in windows {
                let longest = coarse.len();
                coarse = coarsen(coarse, window_ns, max_entries, |sample| sample.leaf);
                prop_assert!(coarse.len() <= longest);
                prop_assert_eq!(sums(&coarse), sums(&fine));
                prop_assert_eq!((coarse.start_ns(), coarse.end_ns()), (fine.start_ns(), fine.end_ns()));
            }
        }

        #[test]
        fn the_whole_window_leaves_one_of_each(samples in prop::collection::vec(any_sample(), 1..300)) {
            let fine = timeline(&samples);
            let distinct = sums(&timeline(&samples[..samples.len() - 1])).len();
            prop_assert_eq!(coarsen(fine, WHOLE, 1000, |sample| sample.leaf).len(), distinct + 1);
        }
    }
}
