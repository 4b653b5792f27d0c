//! The call trees of two profiles laid on one another.

use crate::analysis::Clock;
use crate::by_function::totals;
use crate::function::FunctionId;
use crate::info::Profile;
use crate::tree::NodeId;

/// One call of either profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallInBoth {
    /// Position of its caller in the list; its own for an outermost call.
    pub caller: usize,
    /// The function, of the profile that [`BothTrees::functions_of`] is.
    pub function: FunctionId,
    /// Own time in the first, ns.
    pub own_before_ns: u64,
    /// Own time in the second, ns.
    pub own_after_ns: u64,
    /// Total time in the first, ns.
    pub total_before_ns: u64,
    /// Total time in the second, ns.
    pub total_after_ns: u64,
}

/// The calls of two profiles by function, callers before those that they call.
#[derive(Clone, Debug)]
pub struct BothTrees {
    /// Names the functions of [`Self::calls`]: both profiles as one.
    pub functions_of: Profile,
    /// The calls.
    pub calls: Vec<CallInBoth>,
}

impl Profile {
    /// The call trees of this profile and of `after`.
    #[must_use]
    pub fn both_trees(&self, after: &Profile, clock: Clock) -> BothTrees {
        let functions_of = Profile::merged(&[self, after]);
        let (tree, folded_node) = functions_of.tree_by_function(false);
        let mut own = [vec![0u64; tree.len()], vec![0u64; tree.len()]];
        for (number, thread) in functions_of.threads.iter().enumerate() {
            // Merging keeps the order of the profiles and of their threads.
            let side = &mut own[usize::from(number >= self.threads.len())];
            for sample in &thread.timeline {
                let sum = &mut side[folded_node[sample.leaf.index()].index()];
                *sum = sum.saturating_add(sample.weight_ns(clock));
            }
        }
        let [total_before, total_after] = [totals(&tree, &own[0]), totals(&tree, &own[1])];
        let calls = tree
            .ids()
            .skip(1)
            .map(|node| {
                let caller = tree.parent(node);
                CallInBoth {
                    caller: if caller == NodeId::ROOT { node.index() - 1 } else { caller.index() - 1 },
                    function: tree.function(node),
                    own_before_ns: own[0][node.index()],
                    own_after_ns: own[1][node.index()],
                    total_before_ns: total_before[node.index()],
                    total_after_ns: total_after[node.index()],
                }
            })
            .collect();
        BothTrees { functions_of, calls }
    }
}
