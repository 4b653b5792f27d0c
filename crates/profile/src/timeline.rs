//! What one thread was seen doing, in columns: 13 bytes a sample.

use std::iter::FusedIterator;
use std::sync::Arc;

use crate::budget::ALLOCATION_OVERHEAD_BYTES;
use crate::column::Column;
use crate::state::State;
use crate::tree::NodeId;

/// One entry of a thread's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Monotonic time at which the sample was taken; for several that were coarsened into one, of the last, as nearly as
    /// is still known.
    pub timestamp_ns: u64,
    /// Innermost frame; [`NodeId::ROOT`] if the thread had no Python frame.
    pub leaf: NodeId,
    /// Wall time since the thread's previous sample; since it was first seen, for the first. Time that was skipped
    /// ([`Recording::skip_to`](crate::Recording::skip_to)) is not in it.
    pub wall_ns: u64,
    /// CPU time of the thread that goes with this sample: half of what it used between this and the one on CPU before, and half of
    /// what it used up to the next. Over a thread it is exact, beside the wall time of the same sample it may be more.
    pub cpu_ns: u64,
    /// What the thread was doing.
    pub state: State,
    /// How many samples this one stands for: 1 unless it was coarsened.
    pub count: u64,
}

/// Samples a chunk. A multiple of what a thread takes in seconds, yet only 53 KB: growing a timeline never copies it, and
/// finding a sample by number adds up at most this many weights.
pub(crate) const CHUNK_SAMPLES: usize = 4096;

/// The first allocation of a chunk; it doubles from there. Most threads of a service are idle: one sample each.
const FIRST_CAPACITY: usize = 4;

#[derive(Clone, Debug, Default)]
struct Chunk {
    /// Time at the beginning: that of the sample before the first.
    start_ns: u64,
    leaf: Vec<u32>,
    state: Vec<u8>,
    wall_ns: Column,
    cpu_ns: Column,
    /// `None`: every sample stands for itself.
    count: Option<Column>,
    /// Where time was skipped, in order: the position of the sample after it, and how long. The last may be that of the
    /// sample to come.
    gaps: Vec<(u32, u64)>,
}

impl Chunk {
    fn len(&self) -> usize {
        self.leaf.len()
    }

    fn bytes(&self) -> usize {
        self.leaf.capacity() * size_of::<u32>()
            + self.state.capacity()
            + self.wall_ns.bytes()
            + self.cpu_ns.bytes()
            + self.count.as_ref().map_or(0, Column::bytes)
            + self.gaps.capacity() * size_of::<(u32, u64)>()
    }

    fn push(&mut self, sample: &Sample) {
        if self.len() == self.leaf.capacity() {
            let more = self.len().max(FIRST_CAPACITY);
            self.leaf.reserve_exact(more);
            self.state.reserve_exact(more);
            self.wall_ns.reserve_exact(more);
            self.cpu_ns.reserve_exact(more);
            if let Some(count) = &mut self.count {
                count.reserve_exact(more);
            }
        }
        if sample.count != 1 && self.count.is_none() {
            let mut count = Column::default();
            count.reserve_exact(self.leaf.capacity());
            (0..self.len()).for_each(|_| count.push(1));
            self.count = Some(count);
        }
        self.leaf.push(sample.leaf.to_column());
        self.state.push(sample.state.bits());
        self.wall_ns.push(sample.wall_ns);
        self.cpu_ns.push(sample.cpu_ns);
        if let Some(count) = &mut self.count {
            count.push(sample.count);
        }
    }

    fn add(&mut self, position: usize, wall_ns: u64, cpu_ns: u64) {
        self.wall_ns.set(position, self.wall_ns.get(position).saturating_add(wall_ns));
        self.cpu_ns.set(position, self.cpu_ns.get(position).saturating_add(cpu_ns));
    }

    /// Skips time before the sample to come.
    fn skip(&mut self, gap_ns: u64) {
        let next = u32::try_from(self.len()).expect("a chunk is short");
        match self.gaps.last_mut() {
            Some((position, last_ns)) if *position == next => *last_ns = last_ns.saturating_add(gap_ns),
            _ => self.gaps.push((next, gap_ns)),
        }
    }

    /// The time that was skipped before the sample at `position`.
    fn gap_ns(&self, position: usize) -> u64 {
        match self.gaps.binary_search_by_key(&position, |&(position, _)| position as usize) {
            Ok(gap) => self.gaps[gap].1,
            Err(_) => 0,
        }
    }

    /// The sample at `position`, given the time of the one before it.
    fn get(&self, position: usize, previous_ns: u64) -> Sample {
        let wall_ns = self.wall_ns.get(position);
        Sample {
            timestamp_ns: previous_ns.saturating_add(self.gap_ns(position)).saturating_add(wall_ns),
            leaf: NodeId::from_column(self.leaf[position]),
            wall_ns,
            cpu_ns: self.cpu_ns.get(position),
            state: State::from_bits(self.state[position]),
            count: self.count.as_ref().map_or(1, |count| count.get(position)),
        }
    }

    fn shrink_to_fit(&mut self) {
        self.leaf.shrink_to_fit();
        self.state.shrink_to_fit();
        self.wall_ns.shrink_to_fit();
        self.cpu_ns.shrink_to_fit();
        if let Some(count) = &mut self.count {
            count.shrink_to_fit();
        }
        self.gaps.shrink_to_fit();
    }
}

/// The samples of one thread, oldest first.
///
/// Time is stored as the wall weights only: a sample's timestamp is the thread's start plus all weights up to it and the
/// gaps between them where time was skipped, with a checkpoint a chunk. Full chunks do not change any more and are shared
/// with the snapshots taken of a recording.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Full chunks of [`CHUNK_SAMPLES`] each.
    sealed: Vec<Arc<Chunk>>,
    sealed_bytes: usize,
    tail: Chunk,
    end_ns: u64,
}

impl Timeline {
    /// An empty timeline that begins at a monotonic time.
    #[must_use]
    pub(crate) fn new(start_ns: u64) -> Timeline {
        Timeline { sealed: Vec::new(), sealed_bytes: 0, tail: Chunk { start_ns, ..Chunk::default() }, end_ns: start_ns }
    }

    /// Appends a sample. Its timestamp is not used: the wall weight says it.
    pub(crate) fn push(&mut self, sample: &Sample) {
        self.tail.push(sample);
        self.end_ns = self.end_ns.saturating_add(sample.wall_ns);
        if self.tail.len() == CHUNK_SAMPLES {
            let next = Chunk { start_ns: self.end_ns, ..Chunk::default() };
            let full = std::mem::replace(&mut self.tail, next);
            self.sealed_bytes += Self::sealed_chunk_bytes(&full);
            self.sealed.push(Arc::new(full));
        }
    }

    /// Skips the time up to `at_ns`: the next sample's wall weight counts from there. Time never goes back.
    pub(crate) fn skip_to(&mut self, at_ns: u64) {
        if let Some(gap_ns) = at_ns.checked_sub(self.end_ns).filter(|&gap_ns| gap_ns > 0) {
            self.tail.skip(gap_ns);
            self.end_ns = at_ns;
        }
    }

    /// Adds weights to the last sample. False if there is none.
    pub(crate) fn extend_last(&mut self, wall_ns: u64, cpu_ns: u64) -> bool {
        let Some(last) = self.len().checked_sub(1) else { return false };
        self.add(last, wall_ns, cpu_ns);
        self.end_ns = self.end_ns.saturating_add(wall_ns);
        true
    }

    /// Adds CPU time to the last sample that was on CPU, to the last of all if none was. False if there is no sample.
    pub(crate) fn add_cpu_to_last_on_cpu(&mut self, cpu_ns: u64) -> bool {
        let Some(last) = self.len().checked_sub(1) else { return false };
        let on_cpu = |chunk: &Chunk| chunk.state.iter().rposition(|&bits| State::from_bits(bits).is_on_cpu());
        let in_sealed = || {
            let chunks = self.sealed.iter().enumerate().rev();
            chunks.into_iter().find_map(|(number, chunk)| Some(number * CHUNK_SAMPLES + on_cpu(chunk)?))
        };
        let in_tail = on_cpu(&self.tail).map(|position| self.sealed.len() * CHUNK_SAMPLES + position);
        let position = in_tail.or_else(in_sealed).unwrap_or(last);
        self.add(position, 0, cpu_ns);
        true
    }

    fn add(&mut self, number: usize, wall_ns: u64, cpu_ns: u64) {
        match self.sealed.get_mut(number / CHUNK_SAMPLES) {
            None => self.tail.add(number % CHUNK_SAMPLES, wall_ns, cpu_ns),
            Some(chunk) => {
                self.sealed_bytes -= Self::sealed_chunk_bytes(chunk);
                let chunk = Arc::make_mut(chunk);
                chunk.add(number % CHUNK_SAMPLES, wall_ns, cpu_ns);
                self.sealed_bytes += Self::sealed_chunk_bytes(chunk);
            }
        }
    }

    fn sealed_chunk_bytes(chunk: &Chunk) -> usize {
        chunk.bytes() + size_of::<Chunk>() + ALLOCATION_OVERHEAD_BYTES
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.sealed_bytes + self.sealed.capacity() * size_of::<Arc<Chunk>>() + self.tail.bytes()
    }

    /// A small part from the middle of a large timeline, to try out on it what would take long on the whole.
    pub(crate) fn excerpt(&self) -> Option<Timeline> {
        const EXCERPT_CHUNKS: usize = 4;
        if self.sealed.len() < 4 * EXCERPT_CHUNKS {
            return None;
        }
        let middle = self.sealed.len() / 2;
        let mut excerpt = Timeline::new(self.sealed[middle + EXCERPT_CHUNKS].start_ns);
        excerpt.sealed = self.sealed[middle..middle + EXCERPT_CHUNKS].to_vec();
        Some(excerpt)
    }

    /// Gives back room kept for samples to come.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.sealed.shrink_to_fit();
        self.tail.shrink_to_fit();
    }

    /// Monotonic time at which it begins: the first sample's weights count from here.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.sealed.first().map_or(self.tail.start_ns, |chunk| chunk.start_ns)
    }

    /// Monotonic time up to which it reaches: that of the last sample (of the start if there is none), or up to which time
    /// was skipped since.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// How many entries there are; those that were coarsened into one count once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed.len() * CHUNK_SAMPLES + self.tail.len()
    }

    /// There is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample of that number, or `None` past the end. Adds up to 4096 weights: to see all, iterate.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<Sample> {
        if number >= self.len() {
            return None;
        }
        let chunk = self.sealed.get(number / CHUNK_SAMPLES).map_or(&self.tail, |chunk| chunk);
        let position = number % CHUNK_SAMPLES;
        let previous_ns = (0..position).fold(chunk.start_ns, |at, before| chunk.get(before, at).timestamp_ns);
        Some(chunk.get(position, previous_ns))
    }

    /// All samples, oldest first.
    #[must_use]
    pub fn iter(&self) -> Samples<'_> {
        Samples { timeline: self, next: 0, at_ns: self.start_ns() }
    }

    /// All samples, oldest first, giving back the memory of what has been read.
    pub(crate) fn drain(self) -> impl Iterator<Item = Sample> {
        let mut at_ns = self.start_ns();
        let chunks = self.sealed.into_iter().chain([Arc::new(self.tail)]);
        let places = chunks.flat_map(|chunk| (0..chunk.len()).map(move |position| (Arc::clone(&chunk), position)));
        places.map(move |(chunk, position)| {
            let sample = chunk.get(position, at_ns);
            at_ns = sample.timestamp_ns;
            sample
        })
    }
}

impl<'a> IntoIterator for &'a Timeline {
    type Item = Sample;
    type IntoIter = Samples<'a>;

    fn into_iter(self) -> Samples<'a> {
        self.iter()
    }
}

/// The samples of one thread, oldest first. See [`Timeline::iter`].
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    timeline: &'a Timeline,
    next: usize,
    at_ns: u64,
}

impl Iterator for Samples<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.next >= self.timeline.len() {
            return None;
        }
        let chunk = self.timeline.sealed.get(self.next / CHUNK_SAMPLES).map_or(&self.timeline.tail, |chunk| chunk);
        let sample = chunk.get(self.next % CHUNK_SAMPLES, self.at_ns);
        self.next += 1;
        self.at_ns = sample.timestamp_ns;
        Some(sample)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.timeline.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Samples<'_> {}
impl FusedIterator for Samples<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Gil, Running};

    const BLOCKED: State = State::new(Running::Blocked, Gil::Detached);
    const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);

    fn sample(wall_ns: u64, cpu_ns: u64, state: State) -> Sample {
        Sample { timestamp_ns: 0, leaf: NodeId::ROOT, wall_ns, cpu_ns, state, count: 1 }
    }

    #[test]
    fn a_sample_costs_13_bytes() {
        let mut timeline = Timeline::new(0);
        (0..1_000_000).for_each(|_| timeline.push(&sample(10_000_000, 10_000_000, ON_CPU)));
        let bytes = timeline.bytes();
        assert!((13_000_000..13_200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn time_is_the_running_sum_of_the_wall_weights() {
        let mut timeline = Timeline::new(1_000);
        let count = CHUNK_SAMPLES as u64 * 2 + 10;
        (1..=count).for_each(|wall| timeline.push(&sample(wall, 0, ON_CPU)));
        let time_of = |number: u64| 1_000 + (number + 1) * (number + 2) / 2;
        for (number, sample) in timeline.iter().enumerate() {
            assert_eq!(sample.timestamp_ns, time_of(number as u64));
        }
        assert_eq!(timeline.iter().len(), count as usize);
        for number in [0, 1, 4095, 4096, 4097, 8191, 8192, count - 1] {
            assert_eq!(timeline.get(number as usize).map(|sample| sample.timestamp_ns), Some(time_of(number)));
        }
        assert_eq!(timeline.get(count as usize), None);
        assert_eq!((timeline.start_ns(), timeline.end_ns()), (1_000, time_of(count - 1)));
        assert_eq!(timeline.clone().drain().collect::<Vec<_>>(), timeline.iter().collect::<Vec<_>>());
    }

    #[test]
    fn skipped_time_is_in_the_timestamps_and_in_no_weight() {
        let mut timeline = Timeline::new(1_000);
        timeline.skip_to(1_500); // before the first sample
        timeline.push(&sample(10, 1, ON_CPU));
        timeline.skip_to(2_000);
        timeline.skip_to(1_900); // time does not go back
        timeline.skip_to(3_000);
        assert_eq!(timeline.end_ns(), 3_000);
        (0..CHUNK_SAMPLES).for_each(|_| timeline.push(&sample(10, 1, ON_CPU)));
        timeline.skip_to(1_000_000); // inside the second chunk
        timeline.push(&sample(10, 1, ON_CPU));
        timeline.skip_to(2_000_000); // nothing comes after it

        let samples: Vec<_> = timeline.iter().collect();
        let times = [(0, 1_510), (1, 3_010), (2, 3_020), (4_095, 43_950), (4_096, 43_960), (4_097, 1_000_010)];
        for (number, timestamp_ns) in times {
            assert_eq!(samples[number].timestamp_ns, timestamp_ns, "sample {number}");
        }
        assert_eq!(samples.len(), CHUNK_SAMPLES + 2);
        assert!(samples.iter().all(|sample| (sample.wall_ns, sample.cpu_ns, sample.count) == (10, 1, 1)));
        assert_eq!(timeline.end_ns(), 2_000_000);
        assert!(samples.iter().enumerate().all(|(number, sample)| timeline.get(number) == Some(*sample)));
        assert_eq!(timeline.drain().collect::<Vec<_>>(), samples);
    }

    #[test]
    fn weight_that_comes_after_a_gap_leaves_later_times_true() {
        let mut timeline = Timeline::new(0);
        timeline.push(&sample(10, 0, ON_CPU));
        timeline.skip_to(100);
        assert!(timeline.extend_last(5, 0));
        timeline.push(&sample(20, 0, ON_CPU));
        let times: Vec<_> = timeline.iter().map(|sample| (sample.wall_ns, sample.timestamp_ns)).collect();
        assert_eq!(times, [(15, 15), (20, 125)]);
    }

    #[test]
    fn weights_over_32_bits_stay_exact() {
        let big = u64::from(u32::MAX);
        let mut timeline = Timeline::new(0);
        for wall in [big - 1, big, big + 1, 7] {
            timeline.push(&sample(wall, wall * 1000, ON_CPU));
        }
        assert!(timeline.extend_last(big * 5, 3));
        assert!(timeline.extend_last(1, 0));
        let weights: Vec<_> = timeline.iter().map(|sample| (sample.wall_ns, sample.cpu_ns)).collect();
        let expected =
            [(big - 1, (big - 1) * 1000), (big, big * 1000), (big + 1, (big + 1) * 1000), (big * 5 + 8, 7003)];
        assert_eq!(weights, expected);
        assert_eq!(timeline.end_ns(), 8 * big + 8);
    }

    #[test]
    fn extending_reaches_into_a_full_chunk_and_spares_the_snapshot() {
        let mut timeline = Timeline::new(0);
        (0..CHUNK_SAMPLES).for_each(|_| timeline.push(&sample(1, 1, BLOCKED)));
        let snapshot = timeline.clone();
        assert!(timeline.extend_last(100, 10));
        assert_eq!(timeline.iter().last().map(|last| (last.wall_ns, last.cpu_ns)), Some((101, 11)));
        assert_eq!(snapshot.iter().last().map(|last| (last.wall_ns, last.cpu_ns)), Some((1, 1)));
        assert_eq!((timeline.end_ns(), snapshot.end_ns()), (4196, 4096));
    }

    #[test]
    fn left_over_cpu_goes_to_the_last_sample_on_cpu() {
        let cpu = |timeline: &Timeline| timeline.iter().map(|sample| sample.cpu_ns).collect::<Vec<_>>();
        let mut timeline = Timeline::new(0);
        assert!(!timeline.add_cpu_to_last_on_cpu(5), "there is no sample to add to");
        timeline.push(&sample(1, 0, BLOCKED));
        assert!(timeline.add_cpu_to_last_on_cpu(5), "none was on CPU: the last takes it");
        timeline.push(&sample(1, 0, ON_CPU));
        timeline.push(&sample(1, 0, BLOCKED));
        assert!(timeline.add_cpu_to_last_on_cpu(7));
        assert_eq!(cpu(&timeline), [5, 7, 0]);
        (0..2 * CHUNK_SAMPLES).for_each(|_| timeline.push(&sample(1, 0, BLOCKED)));
        assert!(timeline.add_cpu_to_last_on_cpu(100));
        assert_eq!(cpu(&timeline)[..3], [5, 107, 0]);
        assert_eq!(cpu(&timeline).iter().sum::<u64>(), 112);
    }
}
