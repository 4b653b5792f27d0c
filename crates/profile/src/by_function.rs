//! Sums by stack made into sums by function.

use std::ops::AddAssign;

use crate::tree::{CallTree, NodeId};

/// The sums of one node or function: where it is innermost, and with all that it called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnAndTotal<T> {
    pub(crate) own: T,
    pub(crate) total: T,
}

/// For each node, what it and all nodes below it add up to. By [`NodeId::index`], as `own` is.
pub(crate) fn totals<T: Copy + AddAssign>(tree: &CallTree, own: &[T]) -> Vec<T> {
    // A parent comes before its children, so going backwards every node is complete when it is added to its parent.
    let mut total = own.to_vec();
    for node in tree.ids().skip(1).rev() {
        let sum = total[node.index()];
        total[tree.parent(node).index()] += sum;
    }
    total
}

/// For each of `keys` keys, what the nodes with that key add up to; a stack counts once for the total of a key, however often
/// the key is on it. `key_of` gives a node's key, and is not asked for the root.
pub(crate) fn by_key<T: Copy + Default + AddAssign>(
    tree: &CallTree,
    own: &[T],
    keys: usize,
    key_of: impl Fn(NodeId) -> usize,
) -> Vec<OwnAndTotal<T>> {
    let total = totals(tree, own);
    let mut sums = vec![OwnAndTotal::default(); keys];
    // Depth first, with the number of times each key is on the way down: only its outermost frame counts.
    let mut on_stack = vec![0u32; keys];
    let mut way_down: Vec<NodeId> = Vec::new();
    for node in tree.depth_first().into_iter().skip(1) {
        let parent = tree.parent(node);
        while way_down.last().is_some_and(|&last| last != parent) {
            let left = way_down.pop().expect("it has a last");
            on_stack[key_of(left)] -= 1;
        }
        way_down.push(node);
        let key = key_of(node);
        sums[key].own += own[node.index()];
        if on_stack[key] == 0 {
            sums[key].total += total[node.index()];
        }
        on_stack[key] += 1;
    }
    sums
}
