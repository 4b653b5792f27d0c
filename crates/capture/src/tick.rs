//! When a thread is looked at: one tick in each interval, at a random place in it.
//!
//! Time is cut into cells of about one interval, the same cells for every thread. A thread's tick in a cell lies at a place
//! drawn from the cell's number and the thread's seed. So there is one tick an interval (the rate is exact, not
//! only in the mean), every place in a program's own period is equally likely (nothing periodic is aliased), and the
//! handler needs no state to find the next deadline but the clock.
//!
//! Of two ticks the later carries the time between them, and a tick late in its cell comes after a longer time than one that is
//! early. In a program that goes in step with the cells, what it does late in each would seem to take longer than it does: a part
//! that has 70 % of the time seemed to have 60. So cells are in turns a little shorter and a little longer than the interval,
//! and a program of any period is found at every place of them within [`TURN_CELLS`].

/// Cells in a turn: 65 shorter ones in the time of 64 intervals, then 63 longer ones in as much. The places move through a whole
/// interval in either half, 0.64 s at 10 ms, and no cell is longer or shorter than the interval by more than 1.6 %.
const TURN_CELLS: u64 = 128;
const HALF_CELLS: u64 = TURN_CELLS / 2;
const SHORT_CELLS: u64 = HALF_CELLS + 1;
const LONG_CELLS: u64 = HALF_CELLS - 1;

/// The ticks of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    /// Monotonic time of the first cell's start, in ns.
    pub(crate) origin_ns: u64,
    pub(crate) interval_ns: u64,
}

/// `whole * numerator / denominator`, rounded down.
fn part(whole: u64, numerator: u64, denominator: u64) -> u64 {
    whole.saturating_mul(numerator).checked_div(denominator).unwrap_or(0)
}

impl Ticks {
    fn half_ns(&self) -> u64 {
        self.interval_ns.saturating_mul(HALF_CELLS)
    }

    /// The cell that `now_ns` lies in.
    pub(crate) fn cell(&self, now_ns: u64) -> u64 {
        let half_ns = self.half_ns();
        let since_ns = now_ns.saturating_sub(self.origin_ns);
        let (half, rest_ns) = match since_ns.checked_div(half_ns) {
            Some(half) => (half, since_ns.wrapping_sub(half.wrapping_mul(half_ns))),
            None => return 0,
        };
        let (before, cells) = if half & 1 == 0 { (0, SHORT_CELLS) } else { (SHORT_CELLS, LONG_CELLS) };
        // Beginnings are rounded down, so this may be one short.
        let number = part(cells, rest_ns, half_ns);
        let begins_next = part(half_ns, number.wrapping_add(1), cells) <= rest_ns;
        (half >> 1)
            .wrapping_mul(TURN_CELLS)
            .wrapping_add(before)
            .wrapping_add(number)
            .wrapping_add(u64::from(begins_next))
    }

    /// When `cell` begins, in ns of the monotonic clock.
    fn start_ns(&self, cell: u64) -> u64 {
        let half_ns = self.half_ns();
        let number = cell % TURN_CELLS;
        let within_ns = match number.checked_sub(SHORT_CELLS) {
            None => part(half_ns, number, SHORT_CELLS),
            Some(long) => half_ns.wrapping_add(part(half_ns, long, LONG_CELLS)),
        };
        let turn_ns = (cell / TURN_CELLS).wrapping_mul(half_ns).wrapping_mul(2);
        self.origin_ns.wrapping_add(turn_ns).wrapping_add(within_ns)
    }

    /// When the tick of `cell` falls, in ns of the monotonic clock.
    pub(crate) fn deadline_ns(&self, cell: u64, seed: u64) -> u64 {
        let start_ns = self.start_ns(cell);
        let length_ns = self.start_ns(cell.wrapping_add(1)).wrapping_sub(start_ns);
        // The top 32 bits of the draw scale to the cell without a division: (draw / 2^32) * length.
        let draw = u128::from(mix(seed ^ cell) >> 32);
        let place_ns = (draw * u128::from(length_ns)) >> 32;
        start_ns.wrapping_add(place_ns as u64)
    }

    /// The cell of the tick that was due last at `now_ns`: a signal comes some 20 µs after its deadline, and by then the next cell
    /// may have begun, whose own tick is still to come. (To count it as that one's lost 2 % of the ticks at 1 ms, 14 % at 0.1.)
    pub(crate) fn due_cell(&self, now_ns: u64, seed: u64) -> u64 {
        let here = self.cell(now_ns);
        if self.deadline_ns(here, seed) <= now_ns { here } else { here.saturating_sub(1) }
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
    fn cells_follow_each_other_and_keep_the_rate() {
        for interval_ns in [100_000, 333_333, 1_000_000, 10_000_000, 1_000_000_000] {
            let ticks = Ticks { origin_ns: 7, interval_ns };
            for cell in 0..1_000 {
                let start = ticks.start_ns(cell);
                let length = ticks.start_ns(cell + 1) - start;
                assert!(length.abs_diff(interval_ns) <= interval_ns / 60, "{cell}: {length}");
                assert_eq!([start, start + length / 2, start + length - 1].map(|now| ticks.cell(now)), [cell; 3]);
                // One interval is the most by which they lead.
                let nominal = 7 + cell * interval_ns;
                assert!(start <= nominal + 1 && nominal - start.min(nominal) <= interval_ns, "{cell}");
            }
            assert_eq!(ticks.start_ns(1_280), 7 + 1_280 * interval_ns);
        }
    }

    /// Of two ticks the later carries the time between: a program in step with the interval gets what it used all the same.
    #[test]
    fn a_program_in_step_with_the_interval_is_weighed_right() {
        let ticks = Ticks { origin_ns: 0, interval_ns: 10_000_000 };
        let (mut seventy_ns, mut all_ns) = (0, 0);
        for seed in (0..20).map(mix) {
            let mut last = 0;
            // Ten turns, 12.8 s.
            for cell in 0..1_280 {
                let tick = ticks.deadline_ns(cell, seed);
                if tick % 10_000_000 < 7_000_000 {
                    seventy_ns += tick - last;
                }
                all_ns += tick - last;
                last = tick;
            }
        }
        let share = seventy_ns as f64 / all_ns as f64;
        // 25,600 ticks. A weight is an interval and the difference of two even draws of one: its mean square is 7/6 of the
        // interval's. sqrt(0.7 * 0.3 * 7/6 / 25,600) is 0.0031; four of those.
        assert!((share - 0.7).abs() < 0.0124, "{share}");
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
    fn a_tick_that_is_late_takes_no_other_ones_place() {
        for late_ns in [0, 20, 100, 300] {
            let (mut cell, mut ticks, seed) = (0, 0, 5);
            while cell < 10_000 {
                let now = TICKS.deadline_ns(cell, seed) + late_ns;
                let due = TICKS.due_cell(now, seed);
                assert!(due == cell || TICKS.deadline_ns(due, seed) <= now && due == cell + 1);
                ticks += 1;
                cell = TICKS.next_cell(due, now, seed);
            }
            // Lost is what was due before the tick before it came: two places of even draws nearer than that, half its square.
            let lost = 10_000.0 * (late_ns as f64 / 1_000.0).powi(2) / 2.0;
            // A binomial count; five of its deviations.
            let found = f64::from(10_000 - ticks);
            assert!(
                (found - lost).abs() <= 5.0 * lost.sqrt(),
                "{late_ns} ns late: {found} lost of 10,000, expected {lost}"
            );
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
        let here = TICKS.cell(now);
        let next = TICKS.next_cell(3, now, 9);
        assert!(TICKS.deadline_ns(next, 9) > now);
        assert!(next == here || next == here + 1);
    }
}
