//! What a profile adds up to.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::by_function::by_key;
use crate::function::FunctionId;
use crate::info::Profile;
use crate::state::Gil;
use crate::thread::{Thread, ThreadIndex};
use crate::timeline::Sample;
use crate::tree::NodeId;

/// A view of one recording: which time is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clock {
    /// Time on a processor.
    Cpu,
    /// Time that went by, on a processor or waiting.
    Wall,
    /// Time that went by while the thread held the global interpreter lock, so that no other could run Python code.
    Gil,
}

impl Clock {
    /// All clocks, in the order in which they are shown.
    pub const ALL: [Clock; 3] = [Clock::Cpu, Clock::Wall, Clock::Gil];

    /// The word for it: `CPU`, `wall` or `GIL`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Clock::Cpu => "CPU",
            Clock::Wall => "wall",
            Clock::Gil => "GIL",
        }
    }
}

impl Sample {
    /// What the sample weighs on a clock, in nanoseconds.
    #[must_use]
    pub const fn weight_ns(&self, clock: Clock) -> u64 {
        match clock {
            Clock::Cpu => self.cpu_ns,
            Clock::Wall => self.wall_ns,
            Clock::Gil => match self.state.gil() {
                Gil::Holds => self.wall_ns,
                Gil::Unknown | Gil::Waits | Gil::Detached => 0,
            },
        }
    }
}

/// Sums over samples, on every clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weights {
    /// CPU time.
    pub cpu_ns: u64,
    /// Wall time.
    pub wall_ns: u64,
    /// Wall time during which the thread held the GIL.
    pub gil_ns: u64,
    /// Samples.
    pub samples: u64,
}

impl Weights {
    /// The sum on one clock, in nanoseconds.
    #[must_use]
    pub const fn on(&self, clock: Clock) -> u64 {
        match clock {
            Clock::Cpu => self.cpu_ns,
            Clock::Wall => self.wall_ns,
            Clock::Gil => self.gil_ns,
        }
    }
}

impl From<Sample> for Weights {
    fn from(sample: Sample) -> Weights {
        let gil_ns = sample.weight_ns(Clock::Gil);
        Weights { cpu_ns: sample.cpu_ns, wall_ns: sample.wall_ns, gil_ns, samples: sample.count }
    }
}

impl AddAssign for Weights {
    fn add_assign(&mut self, other: Weights) {
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.wall_ns = self.wall_ns.saturating_add(other.wall_ns);
        self.gil_ns = self.gil_ns.saturating_add(other.gil_ns);
        self.samples = self.samples.saturating_add(other.samples);
    }
}

impl std::iter::Sum for Weights {
    fn sum<I: Iterator<Item = Weights>>(weights: I) -> Weights {
        weights.fold(Weights::default(), |mut sum, weights| {
            sum += weights;
            sum
        })
    }
}

/// What one function weighs over all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionTotal {
    /// The function.
    pub function: FunctionId,
    /// While it was the innermost frame.
    pub own: Weights,
    /// While it was anywhere on the stack; once a sample, however often it is on that stack.
    pub total: Weights,
}

/// What one thread's time with one stack adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackTotal {
    /// The thread.
    pub thread: ThreadIndex,
    /// The stack; [`NodeId::ROOT`] is the empty one.
    pub leaf: NodeId,
    /// Its sums.
    pub weights: Weights,
}

impl Thread {
    /// What its samples add up to.
    #[must_use]
    pub fn weights(&self) -> Weights {
        self.timeline.iter().map(Weights::from).sum()
    }
}

impl Profile {
    /// What all samples of all threads add up to.
    #[must_use]
    pub fn weights(&self) -> Weights {
        self.threads.iter().map(Thread::weights).sum()
    }

    /// What the samples with an empty stack add up to: threads that were in no Python function.
    #[must_use]
    pub fn weights_without_python(&self) -> Weights {
        self.weights_by_leaf()[NodeId::ROOT.index()]
    }

    /// For each node of the tree, what the samples with that leaf add up to. By [`NodeId::index`].
    #[must_use]
    pub fn weights_by_leaf(&self) -> Vec<Weights> {
        let mut own = vec![Weights::default(); self.tree.len()];
        for sample in self.threads.iter().flat_map(|thread| &thread.timeline) {
            own[sample.leaf.index()] += sample.into();
        }
        own
    }

    /// The sums by thread and stack, in the order of threads and nodes.
    #[must_use]
    pub fn stack_totals(&self) -> Vec<StackTotal> {
        let mut totals = Vec::new();
        for (thread, index) in self.threads.iter().zip(0..) {
            let mut by_leaf: BTreeMap<NodeId, Weights> = BTreeMap::new();
            for sample in &thread.timeline {
                *by_leaf.entry(sample.leaf).or_default() += sample.into();
            }
            let thread = ThreadIndex(index);
            totals.extend(by_leaf.into_iter().map(|(leaf, weights)| StackTotal { thread, leaf, weights }));
        }
        totals
    }

    /// Every function that was seen, those with the most time of their own on `clock` first; then by total time, then by
    /// first sight. Samples with an empty stack belong to none: see [`Self::weights_without_python`].
    #[must_use]
    pub fn function_totals(&self, clock: Clock) -> Vec<FunctionTotal> {
        let own = self.weights_by_leaf();
        let sums = by_key(&self.tree, &own, self.functions.len(), |node| self.tree.function(node).index());
        let mut functions: Vec<FunctionTotal> = sums
            .into_iter()
            .zip(0..)
            .map(|(sum, id)| FunctionTotal { function: FunctionId(id), own: sum.own, total: sum.total })
            .collect();
        functions.retain(|function| function.total != Weights::default());
        functions.sort_by_key(|function| {
            std::cmp::Reverse((function.own.on(clock), function.total.on(clock), std::cmp::Reverse(function.function)))
        });
        functions
    }
}
