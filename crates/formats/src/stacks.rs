//! Stacks of labels: the call tree as a format sees it.

use rustc_hash::FxHashMap;

/// The empty stack.
pub(crate) const EMPTY_STACK: u32 = 0;

/// In place of a stack: nobody looked. No tree has a node of that number; it is written as an empty stack.
pub(crate) const GAP: u32 = u32::MAX;

/// Every distinct stack once, as in [`profile::CallTree`], but of a format's own frame numbers.
#[derive(Debug)]
pub(crate) struct StackTree {
    /// Parent and label; a parent comes before its children. The root's are not used.
    nodes: Vec<(u32, u32)>,
    index: FxHashMap<(u32, u32), u32>,
}

impl StackTree {
    pub(crate) fn new() -> StackTree {
        StackTree { nodes: vec![(EMPTY_STACK, 0)], index: FxHashMap::default() }
    }

    /// The stack that is `parent` with one more frame inside.
    pub(crate) fn child(&mut self, parent: u32, label: u32) -> u32 {
        *self.index.entry((parent, label)).or_insert_with(|| {
            self.nodes.push((parent, label));
            u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 nodes of 20 bytes fit in memory")
        })
    }

    pub(crate) fn parent(&self, node: u32) -> u32 {
        self.nodes[node as usize].0
    }

    pub(crate) fn label(&self, node: u32) -> u32 {
        self.nodes[node as usize].1
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Parent and label of every node but the root, parents before children.
    pub(crate) fn nodes(&self) -> &[(u32, u32)] {
        &self.nodes[1..]
    }

    /// The labels of a stack, root first; none for [`GAP`].
    pub(crate) fn labels(&self, leaf: u32) -> Vec<u32> {
        let mut labels = Vec::new();
        let mut node = leaf;
        while node != EMPTY_STACK && node != GAP {
            labels.push(self.label(node));
            node = self.parent(node);
        }
        labels.reverse();
        labels
    }

    /// Gives back what only [`Self::child`] needs.
    pub(crate) fn freeze(&mut self) {
        self.index = FxHashMap::default();
    }

    /// All nodes but the root, depth first, siblings by label. Without recursion: files may hold stacks of any depth.
    pub(crate) fn depth_first(&self) -> Vec<u32> {
        // Sorted so that popping from the end meets the smallest label first: siblings descending.
        let mut by_parent: Vec<u32> = (1..self.nodes.len() as u32).collect();
        by_parent.sort_unstable_by_key(|&node| {
            let (parent, label) = self.nodes[node as usize];
            (parent, std::cmp::Reverse(label))
        });
        let mut first_child = vec![0u32; self.nodes.len() + 1];
        for &(parent, _) in self.nodes() {
            first_child[parent as usize + 1] += 1;
        }
        for parent in 1..first_child.len() {
            first_child[parent] += first_child[parent - 1];
        }
        let children = |node: u32| {
            let node = node as usize;
            &by_parent[first_child[node] as usize..first_child[node + 1] as usize]
        };
        let mut order = Vec::with_capacity(by_parent.len());
        let mut open = children(EMPTY_STACK).to_vec();
        while let Some(node) = open.pop() {
            order.push(node);
            open.extend_from_slice(children(node));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_first_goes_down_before_across_and_by_label() {
        let mut tree = StackTree::new();
        let b = tree.child(EMPTY_STACK, 20);
        let a = tree.child(EMPTY_STACK, 10);
        let ab = tree.child(a, 20);
        let aa = tree.child(a, 10);
        let ba = tree.child(b, 10);
        let aba = tree.child(ab, 10);
        assert_eq!(tree.child(a, 20), ab);
        assert_eq!(tree.depth_first(), [a, aa, ab, aba, b, ba]);
        assert_eq!(tree.labels(aba), [10, 20, 10]);
        assert!(StackTree::new().depth_first().is_empty());
        assert!(tree.labels(EMPTY_STACK).is_empty() && tree.labels(GAP).is_empty());
    }
}
