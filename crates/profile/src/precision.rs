//! How precisely the share of a function is known.
//!
//! A share is `p = Σ wᵢxᵢ / Σ wᵢ` over the observations, `wᵢ` being what an observation weighs on the clock, and `xᵢ` 1 where it
//! counts for the function and 0 otherwise. Its standard error is `√(Σ wᵢ²(xᵢ − p)²) / Σ wᵢ`; with equal weights that is the
//! familiar `√(p(1 − p)/n)`. Ticks lie at random places of equal cells of time, which spreads them more evenly than chance
//! alone would, so the true error is that or smaller.
//!
//! How many observations an entry of a timeline stands for:
//! - as many as samples that were put together in it, their weights taken as equal;
//! - while the thread did not run it was looked at once an interval, and one look is one observation: a sleep of a second
//!   is known to an interval, though it is one sample.

use std::ops::AddAssign;

use crate::analysis::Clock;
use crate::by_function::{OwnAndTotal, by_key};
use crate::info::Profile;
use crate::state::Running;
use crate::timeline::Sample;

/// The sum of weights and that of their squares, over observations. Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) weight: f64,
    pub(crate) squares: f64,
}

impl Spread {
    /// `observations` of the same weight, which come to `weight_ns`.
    pub(crate) fn of(weight_ns: u64, observations: f64) -> Spread {
        let weight = weight_ns as f64;
        Spread { weight, squares: weight * weight / observations.max(1.0) }
    }

    /// How many observations of one weight would tell as much.
    pub(crate) fn effective_count(self) -> f64 {
        if self.squares > 0.0 { self.weight * self.weight / self.squares } else { 0.0 }
    }

    /// The standard error of the share that this is of `whole`; 0 if there is no whole.
    pub(crate) fn share_error(self, whole: Spread) -> f64 {
        if whole.weight <= 0.0 {
            return 0.0;
        }
        let share = self.weight / whole.weight;
        // Rounding may leave a difference just below 0.
        let others = (whole.squares - self.squares).max(0.0);
        let rest = 1.0 - share;
        (self.squares * rest * rest + others * share * share).sqrt() / whole.weight
    }
}

impl AddAssign for Spread {
    fn add_assign(&mut self, other: Spread) {
        self.weight += other.weight;
        self.squares += other.squares;
    }
}

/// The standard errors of a function's shares of all that was recorded on a clock: 0.01 is one percentage point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShareErrors {
    /// Of the share in which it was the innermost frame.
    pub own: f64,
    /// Of the share in which it was anywhere on the stack.
    pub total: f64,
}

impl Profile {
    /// Whether the profile says enough to tell how precise it is. One of another tool that does not say at what interval it
    /// sampled leaves open what its weights count.
    #[must_use]
    pub fn has_precision(&self) -> bool {
        self.info.interval_ns > 0
    }

    /// The rate that running threads were sampled at, a second: that which was asked for, less the ticks that found no sample.
    /// 0 if the profile does not say or nothing ran.
    #[must_use]
    pub fn running_rate_hz(&self) -> f64 {
        let samples = self.threads.iter().flat_map(|thread| &thread.timeline).filter(|sample| sample.cpu_ns > 0);
        let taken: u64 = samples.map(|sample| sample.count).sum();
        if taken == 0 || self.info.interval_ns == 0 {
            return 0.0;
        }
        let due = taken.saturating_add(self.counters.missed_ticks).saturating_add(self.counters.dropped);
        1e9 / self.info.interval_ns as f64 * (taken as f64 / due as f64)
    }

    /// The standard error of each function's shares on a clock, by [`crate::FunctionId::index`].
    #[must_use]
    pub fn share_errors(&self, clock: Clock) -> Vec<ShareErrors> {
        self.share_errors_by_key(clock, self.functions.len(), |node| self.tree.function(node).index())
    }

    /// As [`Self::share_errors`], for anything that frames can be put together by.
    pub(crate) fn share_errors_by_key(
        &self,
        clock: Clock,
        keys: usize,
        key_of: impl Fn(crate::tree::NodeId) -> usize,
    ) -> Vec<ShareErrors> {
        let own = self.spread_by_leaf(clock, |sample| self.looks(sample, clock));
        let mut whole = Spread::default();
        own.iter().for_each(|&spread| whole += spread);
        let errors = |sum: OwnAndTotal<Spread>| ShareErrors {
            own: sum.own.share_error(whole),
            total: sum.total.share_error(whole),
        };
        by_key(&self.tree, &own, keys, key_of).into_iter().map(errors).collect()
    }

    /// By function, over entries as the independent events that they are from one run to the next.
    pub(crate) fn spread_by_function(&self, clock: Clock) -> Vec<OwnAndTotal<Spread>> {
        let own = self.spread_by_leaf(clock, |sample| sample.count as f64);
        by_key(&self.tree, &own, self.functions.len(), |node| self.tree.function(node).index())
    }

    fn spread_by_leaf(&self, clock: Clock, observations: impl Fn(&Sample) -> f64) -> Vec<Spread> {
        let mut spreads = vec![Spread::default(); self.tree.len()];
        for sample in self.threads.iter().flat_map(|thread| &thread.timeline) {
            spreads[sample.leaf.index()] += Spread::of(sample.weight_ns(clock), observations(&sample));
        }
        spreads
    }

    /// How many observations of the weight on `clock` an entry stands for.
    fn looks(&self, sample: &Sample, clock: Clock) -> f64 {
        let ran = match sample.state.running() {
            Running::OnCpu => true,
            Running::Blocked => false,
            // A file that keeps no states.
            Running::Unknown => sample.cpu_ns > 0,
        };
        let count = sample.count as f64;
        if clock == Clock::Cpu || ran || self.info.interval_ns == 0 {
            return count;
        }
        count.max((sample.weight_ns(clock) as f64 / self.info.interval_ns as f64).round())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_give_the_binomial_error() {
        let mut whole = Spread::default();
        let mut own = Spread::default();
        for number in 0..100 {
            let one = Spread::of(10, 1.0);
            whole += one;
            if number < 20 {
                own += one;
            }
        }
        let binomial = (0.2f64 * 0.8 / 100.0).sqrt();
        assert!((own.share_error(whole) - binomial).abs() < 1e-12);
        // The same, put together to save memory.
        let merged = Spread::of(200, 20.0);
        assert!((merged.share_error(Spread::of(1_000, 100.0)) - binomial).abs() < 1e-12);
        assert_eq!(whole.effective_count(), 100.0);
    }

    #[test]
    fn by_hand_with_unequal_weights() {
        // Weights 3 (in), 1 (in), 2 (out), 2 (out): p = 1/2, Σ w²(x − p)² = (9 + 1 + 4 + 4)/4.
        let mut own = Spread::of(3, 1.0);
        own += Spread::of(1, 1.0);
        let mut whole = own;
        whole += Spread::of(4, 2.0);
        assert_eq!(own.share_error(whole), (18.0f64 / 4.0).sqrt() / 8.0);
        assert_eq!(whole.effective_count(), 64.0 / 18.0);
    }

    #[test]
    fn nothing_and_all_are_certain() {
        let whole = Spread::of(50, 5.0);
        assert_eq!(Spread::default().share_error(whole), 0.0);
        assert_eq!(whole.share_error(whole), 0.0);
        assert_eq!(Spread::default().share_error(Spread::default()), 0.0);
        assert_eq!(Spread::default().effective_count(), 0.0);
    }
}
