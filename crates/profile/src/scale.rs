//! By what factor all of a second profile is longer than a first one, so that what did not change stands still.
//!
//! The sums of two profiles cannot say: if one function becomes slower the sum grows, and measured by it every other function would
//! seem to have shrunk. So the factor is chosen by which the fewest functions have changed: each candidate is judged by the sum
//! over all functions of their squared distance from it in standard errors, where those that are far away count as changed,
//! whatever their distance. Between candidates that are as good the one that explains least wins: factor 1 (the same work was
//! done), then the ratio of the sums.

/// One function in both profiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    /// Natural logarithm of its time in the second over that in the first.
    pub(crate) log: f64,
    /// Variance of that.
    pub(crate) variance: f64,
}

/// A factor between two profiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    /// Natural logarithm of the factor.
    pub(crate) log: f64,
    /// Variance of that.
    pub(crate) variance: f64,
}

impl Scale {
    /// The factor 1, for certain.
    pub(crate) const ONE: Scale = Scale { log: 0.0, variance: 0.0 };
}

/// Farther away than so many standard errors a function counts as changed.
const CHANGED_AT: f64 = 3.0;

/// No machine runs the same code at the same speed twice: one standard deviation of that, as a share.
const MACHINE_NOISE: f64 = 0.01;

/// How many functions are tried as the one that did not change.
const MAX_CANDIDATES: usize = 200;

/// By how much a candidate must be better than one before it.
const MIN_GAIN: f64 = 1.0;

/// The factor, given the functions that are in both profiles and the logarithm of the ratio of their sums.
pub(crate) fn common_scale(ratios: &[Ratio], log_of_sums: f64) -> Scale {
    let mut by_variance: Vec<&Ratio> = ratios.iter().collect();
    by_variance.sort_by(|one, other| one.variance.total_cmp(&other.variance));
    let tried = by_variance.iter().take(MAX_CANDIDATES).map(|ratio| ratio.log);
    let mut best: Option<(Scale, f64)> = None;
    for log in [0.0, log_of_sums].into_iter().chain(tried) {
        let scale = refined(ratios, log);
        let cost = cost(ratios, scale.log);
        if best.is_none_or(|(_, least)| cost < least - MIN_GAIN) {
            best = Some((scale, cost));
        }
    }
    best.map_or(Scale::ONE, |(scale, _)| scale)
}

fn distance(ratio: &Ratio, log: f64) -> f64 {
    (ratio.log - log).abs() / (ratio.variance + MACHINE_NOISE * MACHINE_NOISE).sqrt()
}

fn cost(ratios: &[Ratio], log: f64) -> f64 {
    ratios.iter().map(|ratio| distance(ratio, log).min(CHANGED_AT).powi(2)).sum()
}

/// The mean of the functions that have not changed by the factor at hand, each as it is precise.
fn refined(ratios: &[Ratio], mut log: f64) -> Scale {
    const ROUNDS: u32 = 5;
    let mut variance = 0.0;
    for _ in 0..ROUNDS {
        let (mut weights, mut sum) = (0.0, 0.0);
        for ratio in ratios.iter().filter(|ratio| distance(ratio, log) < CHANGED_AT) {
            let weight = 1.0 / (ratio.variance + MACHINE_NOISE * MACHINE_NOISE);
            weights += weight;
            sum += weight * ratio.log;
        }
        if weights == 0.0 {
            return Scale { log, variance: 0.0 };
        }
        log = sum / weights;
        variance = 1.0 / weights;
    }
    Scale { log, variance }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios(factors: &[f64]) -> Vec<Ratio> {
        factors.iter().map(|factor| Ratio { log: factor.ln(), variance: 0.0002 }).collect()
    }

    fn factor(factors: &[f64], of_sums: f64) -> f64 {
        common_scale(&ratios(factors), of_sums.ln()).log.exp()
    }

    fn close(one: f64, other: f64) -> bool {
        (one / other - 1.0).abs() < 1e-9
    }

    #[test]
    fn what_most_functions_agree_on() {
        assert!(close(factor(&[1.0, 1.0, 1.0, 1.2], 1.1), 1.0));
        // Three times as long a run of the same program, and one function of it slower.
        assert!(close(factor(&[3.0, 3.0, 3.0, 3.6], 3.5), 3.0));
        // Everything.
        assert!(close(factor(&[1.3, 1.3, 1.3], 1.3), 1.3));
    }

    #[test]
    fn the_size_of_the_changed_function_does_not_matter() {
        // It has nearly all the time: the sums grow by 19 %.
        assert!(close(factor(&[1.2, 1.0, 1.0, 1.0], 1.19), 1.0));
    }

    #[test]
    fn one_of_two() {
        // Which one changed cannot be told; the same work is the simpler story.
        assert!(close(factor(&[1.0, 1.2], 1.1), 1.0));
        assert!(close(factor(&[1.2, 1.0], 1.1), 1.0));
    }

    #[test]
    fn nothing_in_common() {
        assert_eq!(common_scale(&[], 0.5), Scale { log: 0.0, variance: 0.0 });
    }
}
