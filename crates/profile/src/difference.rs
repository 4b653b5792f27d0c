//! What differs between two profiles, and how sure that is.
//!
//! Functions are compared by their own time: one that became slower takes longer by itself, while everything that calls it takes
//! longer in total only. They are the same function if name and file are; one that is left over is looked for by the last part
//! of its path, so that two checkouts of a program can be compared.
//!
//! **Scale.** The second profile's times are divided by a factor, either that of the units of work that the user names, or
//! the one by which the fewest functions have changed (`scale.rs`).
//!
//! **Confidence.** A function's time is a number of samples times what each weighs. Were its true time the same in both, and `a`
//! and `b` its numbers of samples, then `b` of `a + b` would be binomial with a known chance `q`. A function counts as changed if
//! that cannot be believed even of a true change by [`DifferenceOptions::at_least`]: machines do not run at one speed, so a
//! hundredth is no news. Since many functions are compared, their chances are adjusted by Holm's method: that any of
//! those shown as certain is due to the choice of samples has a chance below [`DifferenceOptions::false_alarms`].
//!
//! Samples of unequal weights count as the number of equal ones that tells as much, and one long wait is one event, however
//! long: what waits take is known to a tick within one run, but varies from run to run.

use std::collections::HashMap;

use crate::analysis::Clock;
use crate::function::FunctionId;
use crate::info::Profile;
use crate::origin::Origin;
use crate::precision::Spread;
use crate::scale::{Ratio, Scale, common_scale};
use crate::statistics::{adjust_by_holm, chance_of_at_least, chance_of_at_most};

/// How two profiles are compared.
#[derive(Clone, Copy, Debug)]
pub struct DifferenceOptions {
    /// The time to compare.
    pub clock: Clock,
    /// How many units of work (requests, rounds) the first and the second profile stand for; `None` finds out what stood still.
    pub units: Option<(f64, f64)>,
    /// A function changed if it did by more than this share of its own time.
    pub at_least: f64,
    /// Functions that have less than this share of all time are not compared.
    pub min_share: f64,
    /// The chance that anything at all is shown as certain that is not.
    pub false_alarms: f64,
}

impl DifferenceOptions {
    /// Changes of more than 3 % of functions with at least half a per cent of the time, with a chance of 1 % of a false alarm.
    #[must_use]
    pub fn new(clock: Clock) -> DifferenceOptions {
        DifferenceOptions { clock, units: None, at_least: 0.03, min_share: 0.005, false_alarms: 0.01 }
    }
}

/// One function's own and total time in both profiles, ns, as they were measured.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionDifference {
    /// In the first profile; several may have this name and file.
    pub before: Option<FunctionId>,
    /// In the second.
    pub after: Option<FunctionId>,
    /// Own time in the first.
    pub own_before_ns: u64,
    /// Own time in the second.
    pub own_after_ns: u64,
    /// Total time in the first.
    pub total_before_ns: u64,
    /// Total time in the second.
    pub total_after_ns: u64,
    /// Own time in the second, divided by the scale, over that in the first: 1.2 is a fifth more. Infinite for a new function.
    pub ratio: f64,
    /// Where the true ratio is in 95 of 100 cases, from here ...
    pub ratio_low: f64,
    /// ... to here.
    pub ratio_high: f64,
    /// How sure it is that it changed, from 0 to 1, all that were compared taken together.
    pub confidence: f64,
    /// It changed: the confidence is as high as was asked.
    pub is_certain: bool,
}

/// What differs between two profiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// How it was compared.
    pub clock: Clock,
    /// What the second profile's times are to be divided by to be compared with the first's.
    pub scale: f64,
    /// The own times of all functions of the first, ns.
    pub before_ns: u64,
    /// The own times of all functions of the second, ns.
    pub after_ns: u64,
    /// All functions that were compared: those that changed first, then by the time that they grew or shrank by.
    pub functions: Vec<FunctionDifference>,
}

impl Difference {
    /// Those that changed for certain.
    pub fn changes(&self) -> impl Iterator<Item = &FunctionDifference> {
        self.functions.iter().take_while(|function| function.is_certain)
    }
}

/// A function in one of the two profiles.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    id: Option<FunctionId>,
    own: Spread,
    own_ns: u64,
    total_ns: u64,
}

impl Profile {
    /// What differs in `after` from this profile.
    #[must_use]
    pub fn difference(&self, after: &Profile, options: &DifferenceOptions) -> Difference {
        let pairs = pairs(self, after, options.clock);
        let whole = |side: fn(&(Side, Side)) -> &Side| {
            pairs.iter().map(side).fold((Spread::default(), 0u64), |(mut spread, ns), side| {
                spread += side.own;
                (spread, ns.saturating_add(side.own_ns))
            })
        };
        let ((whole_before, before_ns), (whole_after, after_ns)) = (whole(|pair| &pair.0), whole(|pair| &pair.1));
        let scale = match options.units {
            Some((before, after)) => Scale { log: (after / before).ln(), variance: 0.0 },
            None => common_scale(&ratios(&pairs), (whole_after.weight / whole_before.weight).ln()),
        };
        let factor = scale.log.exp();
        let least = options.min_share * (whole_before.weight + whole_after.weight / factor);
        let compared: Vec<&(Side, Side)> = pairs
            .iter()
            .filter(|(before, after)| {
                let both = before.own.weight + after.own.weight / factor;
                both > 0.0 && both >= least
            })
            .collect();
        let weights_of_one = (weight_of_one(whole_before), weight_of_one(whole_after));
        let tests: Vec<Test> =
            compared.iter().map(|(before, after)| Test::new(before.own, after.own, weights_of_one, scale)).collect();
        let chances: Vec<f64> = tests.iter().map(|test| test.chance(options.at_least)).collect();
        let mut functions: Vec<FunctionDifference> = compared
            .iter()
            .zip(&tests)
            .zip(adjust_by_holm(&chances))
            .map(|(((before, after), test), chance)| FunctionDifference {
                before: before.id,
                after: after.id,
                own_before_ns: before.own_ns,
                own_after_ns: after.own_ns,
                total_before_ns: before.total_ns,
                total_after_ns: after.total_ns,
                ratio: test.ratio,
                ratio_low: test.ratio * (-test.log_error * TWO_SIDED_95).exp(),
                ratio_high: test.ratio * (test.log_error * TWO_SIDED_95).exp(),
                confidence: 1.0 - chance,
                is_certain: chance < options.false_alarms,
            })
            .collect();
        let change = |function: &FunctionDifference| {
            (function.own_after_ns as f64 / factor - function.own_before_ns as f64).abs()
        };
        functions
            .sort_by(|one, other| other.is_certain.cmp(&one.is_certain).then(change(other).total_cmp(&change(one))));
        Difference { clock: options.clock, scale: factor, before_ns, after_ns, functions }
    }

    /// The origin, name, file and line of a function that was compared, as the second profile has it if it does.
    #[must_use]
    pub fn describe_difference<'a>(
        &'a self,
        after: &'a Profile,
        function: &FunctionDifference,
    ) -> (Origin, &'a str, &'a str, u32) {
        let (profile, id) = match (function.after, function.before) {
            (Some(id), _) => (after, id),
            (None, id) => (self, id.unwrap_or(FunctionId::NONE)),
        };
        let found = profile.functions.get(id);
        (profile.origin(id), profile.strings.get(found.name), profile.strings.get(found.file), found.first_line)
    }
}

/// So many standard errors to both sides hold the truth in 95 of 100 cases.
const TWO_SIDED_95: f64 = 1.959_963_985;

/// The comparison of one function.
struct Test {
    /// Its numbers of samples, less what is lost to not knowing the scale for certain.
    before: f64,
    after: f64,
    /// The odds that one of them is of the second profile, were the ratio 1.
    odds: f64,
    ratio: f64,
    /// Standard error of the ratio's logarithm.
    log_error: f64,
}

impl Test {
    fn new(before: Spread, after: Spread, weights_of_one: (f64, f64), scale: Scale) -> Test {
        // A function that one side lacks would have weighed there what all others do.
        let (one_before, one_after) = (
            if before.weight > 0.0 { weight_of_one(before) } else { weights_of_one.0 },
            if after.weight > 0.0 { weight_of_one(after) } else { weights_of_one.1 },
        );
        let (count_before, count_after) = (before.effective_count(), after.effective_count());
        let variance = 1.0 / count_before + 1.0 / count_after;
        let kept = if variance.is_finite() { variance / (variance + scale.variance) } else { 1.0 };
        Test {
            before: count_before * kept,
            after: count_after * kept,
            odds: scale.log.exp() * one_before / one_after,
            ratio: after.weight / scale.log.exp() / before.weight,
            log_error: (variance + scale.variance).sqrt(),
        }
    }

    /// The chance of a difference as large as this one or larger if the true one were just `at_least`, up or down.
    fn chance(&self, at_least: f64) -> f64 {
        let second = |ratio: f64| {
            let odds = self.odds * ratio;
            if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 }
        };
        let grown = chance_of_at_least(self.after, self.before, second(1.0 + at_least));
        let shrunk = chance_of_at_most(self.after, self.before, second((1.0 - at_least).max(0.0)));
        (2.0 * grown.min(shrunk)).min(1.0)
    }
}

/// What an observation weighs, those that weigh more counting more.
fn weight_of_one(spread: Spread) -> f64 {
    if spread.weight > 0.0 { spread.squares / spread.weight } else { 1.0 }
}

/// The functions that have time of their own in both.
fn ratios(pairs: &[(Side, Side)]) -> Vec<Ratio> {
    pairs
        .iter()
        .filter(|(before, after)| before.own.weight > 0.0 && after.own.weight > 0.0)
        .map(|(before, after)| Ratio {
            log: (after.own.weight / before.own.weight).ln(),
            variance: 1.0 / before.own.effective_count() + 1.0 / after.own.effective_count(),
        })
        .collect()
}

/// Name and file of a function.
type Key<'a> = (&'a str, &'a str);

/// Every function of either profile, with what it is in each.
fn pairs(before: &Profile, after: &Profile, clock: Clock) -> Vec<(Side, Side)> {
    let (before, after) = (sides(before, clock), sides(after, clock));
    let mut partner: HashMap<Key<'_>, usize> = after.iter().enumerate().map(|(at, &(key, _))| (key, at)).collect();
    let mut pairs = Vec::with_capacity(before.len());
    let mut left_before = Vec::new();
    for (key, side) in before {
        match partner.remove(&key) {
            Some(at) => pairs.push((side, after[at].1)),
            None => left_before.push((key, side)),
        }
    }
    let left_after: Vec<(Key<'_>, Side)> = after.iter().filter(|(key, _)| partner.contains_key(key)).copied().collect();
    // Elsewhere on the disk: by the name of the file, where only one of each side comes into question.
    let (moved_before, moved_after) = (only_of_their_name(&left_before), only_of_their_name(&left_after));
    let mut is_paired = vec![false; left_after.len()];
    for (number, (key, side)) in left_before.iter().enumerate() {
        let short = short(key);
        let other =
            (moved_before.get(&short) == Some(&Some(number))).then(|| moved_after.get(&short).copied().flatten());
        match other.flatten() {
            Some(at) => {
                is_paired[at] = true;
                pairs.push((*side, left_after[at].1));
            }
            None => pairs.push((*side, Side::default())),
        }
    }
    let new = left_after.iter().zip(is_paired).filter(|&(_, is_paired)| !is_paired);
    pairs.extend(new.map(|((_, side), _)| (Side::default(), *side)));
    pairs
}

/// The name of a function and the last part of its path.
fn short<'a>(key: &Key<'a>) -> Key<'a> {
    (key.0, key.1.rsplit(['/', '\\']).next().unwrap_or(key.1))
}

/// By short name, the position of the function that alone has it; `None` where several do.
fn only_of_their_name<'a>(functions: &[(Key<'a>, Side)]) -> HashMap<Key<'a>, Option<usize>> {
    let mut positions: HashMap<Key<'a>, Option<usize>> = HashMap::new();
    for (position, (key, _)) in functions.iter().enumerate() {
        positions.entry(short(key)).and_modify(|several| *several = None).or_insert(Some(position));
    }
    positions
}

/// The functions of a profile by name and file, in the order of first sight; those that share both are one here.
fn sides(profile: &Profile, clock: Clock) -> Vec<(Key<'_>, Side)> {
    let spreads = profile.spread_by_function(clock);
    let mut totals = profile.function_totals(clock);
    totals.sort_by_key(|total| total.function);
    let mut position: HashMap<Key<'_>, usize> = HashMap::new();
    let mut sides: Vec<(Key<'_>, Side)> = Vec::new();
    for total in totals {
        let function = profile.functions.get(total.function);
        let key = (profile.strings.get(function.name), profile.strings.get(function.file));
        let at = *position.entry(key).or_insert_with(|| {
            sides.push((key, Side { id: Some(total.function), ..Side::default() }));
            sides.len() - 1
        });
        let side = &mut sides[at].1;
        side.own += spreads[total.function.index()].own;
        side.own_ns = side.own_ns.saturating_add(total.own.on(clock));
        side.total_ns = side.total_ns.saturating_add(total.total.on(clock));
    }
    sides
}
