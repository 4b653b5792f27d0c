//! The standard error that is shown is the one that repeating shows.

use profile::{Clock, Profile};

use crate::support::{BLOCKED, Builder, Chance, INTERVAL_NS, ON_CPU, name};

fn errors_of(profile: &Profile, clock: Clock, function: &str) -> (f64, f64) {
    let errors = profile.share_errors(clock);
    let id = profile.functions.ids().find(|&id| name(profile, id) == function).unwrap();
    (errors[id.index()].own, errors[id.index()].total)
}

fn share(profile: &Profile, function: &str, clock: Clock) -> f64 {
    crate::support::function_ns(profile, function, clock).0 as f64 / profile.weights().on(clock) as f64
}

#[test]
fn the_error_is_the_spread_of_repeated_profiles() {
    // Weights as a busy machine gives them: mostly one interval, at times several.
    let weights = [(10u64, 0.8), (20, 0.15), (70, 0.05)];
    let stacks = [("main f", 0.1), ("main g", 0.6), ("main f h", 0.3)];
    let mut chance = Chance(1);
    let (mut shares, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        let mut builder = Builder::new();
        let main = builder.thread("MainThread", 1);
        for _ in 0..400 {
            let weight_ns = weights[chance.pick(&weights.map(|(_, share)| share))].0;
            let stack = stacks[chance.pick(&stacks.map(|(_, share)| share))].0;
            builder.record(main, stack, weight_ns, weight_ns, ON_CPU);
        }
        let profile = builder.finish();
        shares.push(share(&profile, "g", Clock::Cpu));
        shown.push(errors_of(&profile, Clock::Cpu, "g").0);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let centre = mean(&shares);
    let spread = mean(&shares.iter().map(|share| (share - centre).powi(2)).collect::<Vec<_>>()).sqrt();
    let predicted = mean(&shown);
    // The spread of 2,000 repetitions is itself known to 1.6 %.
    assert!((centre - 0.6).abs() < 0.003, "mean share {centre}");
    assert!((spread / predicted - 1.0).abs() < 0.06, "spread {spread}, predicted {predicted}");
    // With equal weights in mind it would be taken for a quarter less.
    assert!(predicted > 1.3 * (0.6f64 * 0.4 / 400.0).sqrt());
}

#[test]
fn own_and_total_shares_have_each_their_error() {
    let profile = crate::support::profile(&[("main f", 10), ("main g", 60), ("main f h", 30)]);
    let binomial = |share: f64| (share * (1.0 - share) / 100.0).sqrt();
    let (own, total) = errors_of(&profile, Clock::Cpu, "f");
    assert!((own - binomial(0.1)).abs() < 1e-12 && (total - binomial(0.4)).abs() < 1e-12, "{own} {total}");
    assert_eq!(errors_of(&profile, Clock::Cpu, "main").1, 0.0);
}

#[test]
fn a_long_wait_is_known_to_an_interval() {
    let mut builder = Builder::new();
    let main = builder.thread("MainThread", 1);
    for _ in 0..50 {
        builder.record(main, "f", INTERVAL_NS, INTERVAL_NS, ON_CPU);
    }
    // One sample that was looked at fifty times.
    builder.record(main, "wait", 50 * INTERVAL_NS, 0, BLOCKED);
    let profile = builder.finish();
    let error = errors_of(&profile, Clock::Wall, "wait").0;
    assert!((error - (0.25f64 / 100.0).sqrt()).abs() < 1e-12, "{error}");
    assert_eq!(errors_of(&profile, Clock::Cpu, "wait").0, 0.0);
}

#[test]
fn a_thread_that_ran_was_seen_once_however_much_a_sample_weighs() {
    let mut builder = Builder::new();
    let main = builder.thread("MainThread", 1);
    builder.record(main, "f", 500, 500, ON_CPU);
    builder.record(main, "g", 500, 500, ON_CPU);
    let profile = builder.finish();
    for clock in [Clock::Cpu, Clock::Wall] {
        let error = errors_of(&profile, clock, "f").0;
        assert!((error - (0.25f64 / 2.0).sqrt()).abs() < 1e-12, "{error}");
    }
    assert!(profile.has_precision());
}

#[test]
fn lines_have_their_errors_too() {
    let profile = crate::support::profile(&[("main:1 f:5", 20), ("main:2 f:5", 30), ("main:2 f:6", 50)]);
    let lines: Vec<_> = profile
        .line_totals(Clock::Cpu)
        .iter()
        .map(|line| (name(&profile, line.function), line.line, line.own.samples, line.total.samples))
        .collect();
    assert_eq!(lines, [("f", 5, 50, 50), ("f", 6, 50, 50), ("main", 2, 0, 80), ("main", 1, 0, 20)]);
    let errors = profile.line_totals(Clock::Cpu)[1].errors;
    assert!((errors.own - 0.05).abs() < 1e-12);
}

#[test]
fn the_rate_of_running_threads_is_that_asked_for_less_what_was_lost() {
    let mut builder = Builder::new();
    let main = builder.thread("MainThread", 1);
    builder.record_samples(main, "f", 27);
    builder.record(main, "f", 2_000_000, 0, BLOCKED);
    // 27 of 30 ticks, for one was missed and two samples were dropped; the wait was no tick.
    assert!((builder.finish().running_rate_hz() / 0.9e8 - 1.0).abs() < 1e-12);
    assert_eq!(Builder::new().finish().running_rate_hz(), 0.0);
}
