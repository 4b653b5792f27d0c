//! The call tree for reading: calls of one function put together, small ones folded away.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::analysis::{Clock, Weights};
use crate::by_function::totals;
use crate::function::FunctionId;
use crate::info::Profile;
use crate::tree::{CallTree, NodeId};

/// What is shown of a call tree.
#[derive(Clone, Copy, Debug)]
pub struct FoldOptions {
    /// Calls with a smaller share of the whole are folded away.
    pub min_share: f64,
    /// So many calls at most: those with the largest totals.
    pub max_calls: usize,
    /// Tell the lines of a function apart.
    pub lines: bool,
}

/// One call of a folded tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedCall {
    /// How many of the calls that lead to it, itself included, stand beside others that are shown. So a chain of calls, each of
    /// which calls but one other that is shown, stays on one level.
    pub level: usize,
    /// Its caller calls others that are shown.
    pub has_siblings: bool,
    /// It is the last of them.
    pub is_last: bool,
    /// The function.
    pub function: FunctionId,
    /// The line where lines are told apart, else 0.
    pub line: u32,
    /// While it was the innermost frame.
    pub own: Weights,
    /// With all that it called.
    pub total: Weights,
    /// How many calls of others it made that were folded away.
    pub folded_calls: usize,
    /// What they come to.
    pub folded: Weights,
}

impl Profile {
    /// The calls to show, every one before those it made, and of these the largest first.
    ///
    /// A function that calls itself is one call, however often it does.
    #[must_use]
    pub fn folded_calls(&self, clock: Clock, options: &FoldOptions) -> Vec<FoldedCall> {
        let (tree, folded_node) = self.tree_by_function(options.lines);
        let mut own = vec![Weights::default(); tree.len()];
        for (node, weights) in folded_node.into_iter().zip(self.weights_by_leaf()) {
            own[node.index()] += weights;
        }
        let total = totals(&tree, &own);
        let whole_ns = total[NodeId::ROOT.index()].on(clock);
        let least_ns = ((whole_ns as f64 * options.min_share).ceil() as u64).max(1);
        let mut shown: Vec<NodeId> =
            tree.ids().skip(1).filter(|node| total[node.index()].on(clock) >= least_ns).collect();
        // No call is larger than the one it comes from, and with equals the outer one comes first: all that are kept hang together.
        shown.sort_by_key(|node| Reverse(total[node.index()].on(clock)));
        shown.truncate(options.max_calls);

        let mut children: FxHashMap<NodeId, Vec<NodeId>> = FxHashMap::default();
        shown.iter().for_each(|&node| children.entry(tree.parent(node)).or_default().push(node));
        let mut folded = vec![(0usize, Weights::default()); tree.len()];
        let mut is_shown = vec![false; tree.len()];
        shown.iter().for_each(|node| is_shown[node.index()] = true);
        for node in tree.ids().skip(1).filter(|node| !is_shown[node.index()]) {
            let (calls, sum) = &mut folded[tree.parent(node).index()];
            if total[node.index()] != Weights::default() {
                *calls += 1;
                *sum += total[node.index()];
            }
        }

        // What is still to be shown, the next one last: a call, its level, whether it stands beside others, and is the last of them.
        let mut open: Vec<(NodeId, usize, bool, bool)> = Vec::new();
        let mut enter = |node: NodeId, level: usize, open: &mut Vec<_>| {
            let inner = children.remove(&node).unwrap_or_default();
            let has_siblings = inner.len() > 1;
            let level = level + usize::from(has_siblings);
            let last = inner.len().saturating_sub(1);
            open.extend(inner.into_iter().enumerate().rev().map(|(at, node)| (node, level, has_siblings, at == last)));
        };
        let mut calls = Vec::with_capacity(shown.len());
        enter(NodeId::ROOT, 0, &mut open);
        while let Some((node, level, has_siblings, is_last)) = open.pop() {
            let (folded_calls, folded) = folded[node.index()];
            calls.push(FoldedCall {
                level,
                has_siblings,
                is_last,
                function: tree.function(node),
                line: tree.line(node),
                own: own[node.index()],
                total: total[node.index()],
                folded_calls,
                folded,
            });
            enter(node, level, &mut open);
        }
        calls
    }

    /// The call tree by function, or by function and line, and the node of it that each node of this one's is in.
    pub(crate) fn tree_by_function(&self, lines: bool) -> (CallTree, Vec<NodeId>) {
        let mut tree = CallTree::new(usize::MAX);
        let mut folded_node = vec![NodeId::ROOT; self.tree.len()];
        for node in self.tree.ids().skip(1) {
            let parent = folded_node[self.tree.parent(node).index()];
            let function = self.tree.function(node);
            let line = if lines { self.tree.line(node) } else { 0 };
            let calls_itself = parent != NodeId::ROOT && tree.function(parent) == function && tree.line(parent) == line;
            folded_node[node.index()] = if calls_itself { parent } else { tree.child(parent, function, line) };
        }
        (tree, folded_node)
    }
}
