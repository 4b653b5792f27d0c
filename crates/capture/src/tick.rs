//! When a thread is looked at: one tick in each interval, at a random place in it.
//!
//! Time is cut into cells of one interval, the same cells for every thread. A thread's tick in a cell lies at a place
//! drawn from the cell's number and the thread's seed. So there is exactly one tick an interval (the rate is exact, not
//! only in the mean), every place in a program's own period is equally likely (nothing periodic is aliased), and the
//! handler needs no state to find the next deadline but the clock.

/// The ticks of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    /// Monotonic time of the first cell's start, in ns.
    pub(crate) origin_ns: u64,
    pub(crate) interval_ns: u64,
}

impl Ticks {
    /// The cell that `now_ns` lies in.
    pub(crate) fn cell(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.origin_ns).checked_div(self.interval_ns).unwrap_or(0)
    }

    /// When the tick of `cell` falls, in ns of the monotonic clock.
    pub(crate) fn deadline_ns(&self, cell: u64, seed: u64) -> u64 {
        // The top 32 bits of the draw scale to the interval without a division: (draw / 2^32) * interval.
        let draw = u128::from(mix(seed ^ cell) >> 32);
        let place_ns = (draw * u128::from(self.interval_ns)) >> 32;
        self.origin_ns.wrapping_add(cell.wrapping_mul(self.interval_ns)).wrapping_add(place_ns as u64)
    }

    /// The first cell after `last` whose tick is still to come at `now_ns`.
    pub(crate) fn next_cell(&self, last: u64, now_ns: u64, seed: u64) -> u64 {
        let here = self.cell(now_ns).max(last.wrapping_add(1));
        if self.deadline_ns(here, seed) > now_ns { here } else { here.wrapping_add(1) }
    }
}

/// A well-mixed function of 64 bits (the finaliser of SplitMix64; Steele, Lea, Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKS: Ticks = Ticks { origin_ns: 5_000, interval_ns: 1_000 };

    #[test]
    fn each_cell_has_its_tick_inside() {
        for cell in 0..10_000 {
            let deadline = TICKS.deadline_ns(cell, 7);
            assert_eq!(TICKS.cell(deadline), cell);
        }
    }

    #[test]
    fn the_places_are_spread_evenly() {
        // 10,000 draws into ten bins: each has a binomial count of mean 1,000 and standard deviation 30; five of those.
        let mut bins = [0i64; 10];
        for cell in 0..10_000 {
            bins[(TICKS.deadline_ns(cell, 42) % 1_000 / 100) as usize] += 1;
        }
        assert!(bins.iter().all(|count| (count - 1_000).abs() < 150), "{bins:?}");
    }

    #[test]
    fn the_next_tick_is_later_and_skips_no_cell_in_time() {
        let mut cell = 0;
        for _ in 0..1_000 {
            let now = TICKS.deadline_ns(cell, 3);
            let next = TICKS.next_cell(cell, now, 3);
            assert_eq!(next, cell + 1);
            cell = next;
        }
    }

    #[test]
    fn from_the_origin_on_the_first_tick_is_in_the_first_cell() {
        // As a thread is armed that lives when the session begins.
        for seed in 0..10_000 {
            let next = TICKS.next_cell(TICKS.cell(TICKS.origin_ns).wrapping_sub(1), TICKS.origin_ns, seed);
            let deadline = TICKS.deadline_ns(next, seed);
            // A place at the very start of the first cell is none that is still to come.
            assert!(next == 0 || TICKS.deadline_ns(0, seed) == TICKS.origin_ns, "{seed}: {deadline}");
        }
    }

    #[test]
    fn after_a_long_absence_the_next_is_the_nearest_to_come() {
        let now = 5_000 + 777_500;
        let next = TICKS.next_cell(3, now, 9);
        assert!(TICKS.deadline_ns(next, 9) > now);
        assert!(next == 777 || next == 778);
    }
}
