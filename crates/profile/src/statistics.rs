//! The little statistics that comparing two profiles takes.

/// ln Γ(x) for x > 0, to about 13 digits: Stirling's series, from 10 on.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

/// The regularised incomplete beta function Iₓ(a, b), for a, b > 0 and x from 0 to 1.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The continued fraction converges fast on this side of the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta_below(b, a, 1.0 - x);
    }
    incomplete_beta_below(a, b, x)
}

fn incomplete_beta_below(a: f64, b: f64, x: f64) -> f64 {
    /// It takes some √max(a, b) steps.
    const MAX_STEPS: u32 = 100_000;
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let ln_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    // Lentz's way of evaluating 1/(1+ d₁/(1+ d₂/(1+ …))).
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..MAX_STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    (ln_front.exp() * fraction / a).clamp(0.0, 1.0)
}

/// The chance that of `a + b` events, each of which is of the second kind with chance `q`, `b` or more are. The counts need not be
/// whole.
pub(crate) fn chance_of_at_least(b: f64, a: f64, q: f64) -> f64 {
    if b <= 0.0 { 1.0 } else { incomplete_beta(b, a + 1.0, q) }
}

/// The chance that `b` or fewer are: see [`chance_of_at_least`].
pub(crate) fn chance_of_at_most(b: f64, a: f64, q: f64) -> f64 {
    if a <= 0.0 { 1.0 } else { incomplete_beta(a, b + 1.0, 1.0 - q) }
}

/// Holm's adjustment: if every test whose adjusted value is below α is believed, the chance of believing any false one is below
/// α, however many of them there are and whatever is true.
pub(crate) fn adjust_by_holm(chances: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|&one, &other| chances[one].total_cmp(&chances[other]));
    let mut adjusted = vec![1.0; chances.len()];
    let mut least = 0.0f64;
    for (rank, &test) in order.iter().enumerate() {
        least = least.max(chances[test] * (chances.len() - rank) as f64).min(1.0);
        adjusted[test] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() <= 1e-11 * other.abs().max(1e-12)
    }

    #[test]
    fn gamma_at_known_places() {
        for (x, expected) in [(1.0, 0.0), (2.0, 0.0), (5.0, 24f64.ln()), (0.5, 0.5 * std::f64::consts::PI.ln())] {
            assert!((ln_gamma(x) - expected).abs() < 1e-12, "{x}: {}", ln_gamma(x));
        }
        let ln_factorial_of_99: f64 = (1..=99).map(|n| f64::from(n).ln()).sum();
        assert!(close(ln_gamma(100.0), ln_factorial_of_99));
    }

    /// The sum that the beta function stands for.
    fn binomial_at_least(b: u32, n: u32, q: f64) -> f64 {
        let choose = |k: u32| (1..=k).fold(1.0, |product, i| product * f64::from(n - k + i) / f64::from(i));
        (b..=n).map(|k| choose(k) * q.powi(k as i32) * (1.0 - q).powi((n - k) as i32)).sum()
    }

    #[test]
    fn tails_are_those_of_the_binomial() {
        for n in [1u32, 2, 7, 30, 200] {
            for q in [0.01, 0.3, 0.5, 0.9] {
                for b in 0..=n {
                    let expected = binomial_at_least(b, n, q);
                    let (b, a) = (f64::from(b), f64::from(n - b));
                    let at_least = chance_of_at_least(b, a, q);
                    assert!(
                        (at_least - expected).abs() < 1e-11,
                        "P(X >= {b} of {n} at {q}) = {expected}, not {at_least}"
                    );
                    // One more or fewer: all there is.
                    let fewer = if b > 0.0 { chance_of_at_most(b - 1.0, a + 1.0, q) } else { 0.0 };
                    assert!((at_least + fewer - 1.0).abs() < 1e-11);
                }
            }
        }
    }

    #[test]
    fn a_million_events_are_as_the_normal_distribution_has_them() {
        // 3 standard deviations above the mean, with half an event's correction: 0.00134990 for the normal one.
        let (n, b) = (1e6f64, 500_000.0 + 1_500.0 + 0.5);
        let chance = chance_of_at_least(b, n - b, 0.5);
        assert!((chance - 0.001_349_9).abs() < 2e-6, "{chance}");
    }

    #[test]
    fn holm_by_hand() {
        // 0.01 × 3, 0.02 × 2 and 0.04 × 1.
        let got = adjust_by_holm(&[0.02, 0.01, 0.04]);
        assert_eq!(got.len(), 3);
        for (got, expected) in got.into_iter().zip([0.04, 0.03, 0.04]) {
            assert!((got - expected).abs() < 1e-15);
        }
        assert_eq!(adjust_by_holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(adjust_by_holm(&[]).is_empty());
    }
}
