//! What the threads did: computed, or waited, and for what.

use rustc_hash::FxHashMap;

use crate::function::FunctionId;
use crate::info::Profile;
use crate::origin::Origin;
use crate::state::{Gil, Running};
use crate::tree::NodeId;

/// What a thread does with a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activity {
    /// Ran on a processor.
    Computing,
    /// Could have run, and waited for a processor.
    WaitingForProcessor,
    /// Waited for the GIL, which another thread held.
    WaitingForGil,
    /// Waited inside a system call and kept every other thread from running Python code meanwhile.
    BlockedHoldingGil,
    /// Waited inside a system call, having let the GIL go.
    Blocked,
    /// Waited; the file does not say for what.
    Waiting,
}

impl Activity {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Activity; 6] = [
        Activity::Computing,
        Activity::WaitingForProcessor,
        Activity::WaitingForGil,
        Activity::BlockedHoldingGil,
        Activity::Blocked,
        Activity::Waiting,
    ];

    /// What to call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Activity::Computing => "computing",
            Activity::WaitingForProcessor => "waiting for a processor",
            Activity::WaitingForGil => "waiting for the GIL",
            Activity::BlockedHoldingGil => "blocked, holding the GIL",
            Activity::Blocked => "blocked",
            Activity::Waiting => "waiting",
        }
    }
}

/// Where a thread was: the innermost call, and the innermost one of the program's own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Whereabouts {
    /// The innermost function.
    pub function: FunctionId,
    /// The line it was at, 0 when unknown.
    pub line: u32,
    /// The innermost function of the program's own, and its line: the same where that is the innermost of all, `None` where
    /// none is on the stack.
    pub own: Option<(FunctionId, u32)>,
}

/// How much time all threads spent on one activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivityTotal {
    /// Which.
    pub activity: Activity,
    /// How long, over all threads, ns.
    pub time_ns: u64,
    /// Where most of it was spent, and how much; `None` for computing, which the functions are there for, and for waiting for
    /// a processor, which is spread over all that computes.
    pub most: Option<(Whereabouts, u64)>,
}

impl Profile {
    /// What the threads' time went to, in the order of [`Activity::ALL`]; what took no time is left out.
    ///
    /// Computing is CPU time. What a thread that was found running did not get of the wall clock, it waited for a processor.
    #[must_use]
    pub fn activities(&self) -> Vec<ActivityTotal> {
        let mut computing_ns = 0u64;
        let mut processor_ns = 0u64;
        let mut waits: FxHashMap<(Activity, NodeId), u64> = FxHashMap::default();
        for thread in &self.threads {
            // CPU and wall time of one sample need not fit together; over a thread they do.
            let (mut cpu_ns, mut running_ns) = (0u64, 0u64);
            for sample in &thread.timeline {
                cpu_ns = cpu_ns.saturating_add(sample.cpu_ns);
                let waited_ns = sample.wall_ns.saturating_sub(sample.cpu_ns);
                let activity = match (sample.state.running(), sample.state.gil()) {
                    (Running::OnCpu, _) => {
                        running_ns = running_ns.saturating_add(sample.wall_ns);
                        continue;
                    }
                    (Running::Unknown, _) => Activity::Waiting,
                    (Running::Blocked, Gil::Waits) => Activity::WaitingForGil,
                    (Running::Blocked, Gil::Holds) => Activity::BlockedHoldingGil,
                    (Running::Blocked, Gil::Unknown | Gil::Detached) => Activity::Blocked,
                };
                // What it used of a processor meanwhile is in the sum of CPU time.
                running_ns = running_ns.saturating_add(sample.cpu_ns);
                let sum = waits.entry((activity, sample.leaf)).or_default();
                *sum = sum.saturating_add(waited_ns);
            }
            computing_ns = computing_ns.saturating_add(cpu_ns);
            processor_ns = processor_ns.saturating_add(running_ns.saturating_sub(cpu_ns));
        }
        let time_of = |activity| match activity {
            Activity::Computing => computing_ns,
            Activity::WaitingForProcessor => processor_ns,
            waiting => waits.iter().filter(|((of, _), _)| *of == waiting).map(|(_, &time_ns)| time_ns).sum(),
        };
        let all = Activity::ALL.map(|activity| ActivityTotal {
            activity,
            time_ns: time_of(activity),
            most: self.most(waits.iter().filter(|((of, _), _)| *of == activity).map(|((_, leaf), &ns)| (*leaf, ns))),
        });
        all.into_iter().filter(|total| total.time_ns > 0).collect()
    }

    /// The place that has most of these sums.
    fn most(&self, sums: impl Iterator<Item = (NodeId, u64)>) -> Option<(Whereabouts, u64)> {
        let mut places: FxHashMap<Whereabouts, u64> = FxHashMap::default();
        for (leaf, time_ns) in sums {
            if let Some(place) = self.whereabouts(leaf) {
                let sum = places.entry(place).or_default();
                *sum = sum.saturating_add(time_ns);
            }
        }
        // Of equal ones always the same, whatever order the map has.
        let rank =
            |place: &Whereabouts, time_ns: u64| (time_ns, std::cmp::Reverse((place.function, place.line, place.own)));
        places.into_iter().filter(|&(_, time_ns)| time_ns > 0).max_by_key(|&(place, time_ns)| rank(&place, time_ns))
    }

    fn whereabouts(&self, leaf: NodeId) -> Option<Whereabouts> {
        if leaf == NodeId::ROOT {
            return None;
        }
        let place = |node| (self.tree.function(node), self.tree.line(node));
        let own = self.tree.ancestors(leaf).find(|&node| self.origin(self.tree.function(node)) == Origin::Own);
        let (function, line) = place(leaf);
        Some(Whereabouts { function, line, own: own.map(place) })
    }
}
