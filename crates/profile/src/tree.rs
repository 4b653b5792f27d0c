//! The call tree: every distinct stack once, as the way from the root to a node.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::function::FunctionId;

/// A node of a [`CallTree`]: one frame and all those below it, hence a stack.
///
/// A recording whose tree is full hands out *closed* ids ([`NodeId::is_closed`]): the id of the deepest frame that found
/// room, marked so that the frames further in are not attached there as if they had been called from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

const CLOSED: u32 = 1 << 31;

impl NodeId {
    /// The empty stack.
    pub const ROOT: NodeId = NodeId(0);

    /// Position in the tree. A parent's is smaller than its children's.
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 & !CLOSED) as usize
    }

    /// The node at a position.
    ///
    /// # Panics
    /// If the position is 2^31 or more, which no tree has.
    #[must_use]
    pub fn from_index(index: usize) -> NodeId {
        NodeId(u32::try_from(index).ok().filter(|id| id & CLOSED == 0).expect("a tree has fewer than 2^31 nodes"))
    }

    /// The node's inner frames were left out for want of memory. Only ids from a [`Recording`](crate::Recording) can be
    /// closed; those in a sample never are.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    pub(crate) const fn closed(self) -> NodeId {
        NodeId(self.0 | CLOSED)
    }

    pub(crate) const fn opened(self) -> NodeId {
        NodeId(self.0 & !CLOSED)
    }

    /// As stored in a timeline's column.
    pub(crate) const fn to_column(self) -> u32 {
        self.0 & !CLOSED
    }

    pub(crate) const fn from_column(value: u32) -> NodeId {
        NodeId(value)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    parent: NodeId,
    function: FunctionId,
    line: u32,
}

/// Every distinct stack. A node is a parent, a function and the line the function was at (0: unknown).
#[derive(Clone, Debug)]
pub struct CallTree {
    nodes: Vec<Node>,
    index: HashTable<NodeId>,
    max_nodes: usize,
}

/// At worst a node takes 12 bytes in `nodes` and, just after the index has doubled, two buckets of 5 bytes divided by its
/// load of 7/8; while it doubles the half-sized old one exists as well. Rounded up.
pub(crate) const NODE_COST_BYTES: usize = 32;

impl CallTree {
    /// A tree with the root only, that will hold up to `max_nodes` nodes.
    pub(crate) fn new(max_nodes: usize) -> CallTree {
        let root = Node { parent: NodeId::ROOT, function: FunctionId::NONE, line: 0 };
        CallTree { nodes: vec![root], index: HashTable::new(), max_nodes: max_nodes.clamp(1, CLOSED as usize) }
    }

    /// The node for `function` at `line` called from `parent`; `parent`, closed, if there is no room for a new one.
    pub(crate) fn child(&mut self, parent: NodeId, function: FunctionId, line: u32) -> NodeId {
        if parent.is_closed() || function == FunctionId::NONE {
            return parent.closed();
        }
        let node = Node { parent, function, line };
        let hash = FxBuildHasher.hash_one(node);
        if let Some(&id) = self.index.find(hash, |id| self.nodes[id.index()] == node) {
            return id;
        }
        if self.nodes.len() >= self.max_nodes {
            return parent.closed();
        }
        let id = NodeId::from_index(self.nodes.len());
        if !self.makes_room() {
            return parent.closed();
        }
        self.nodes.push(node);
        let nodes = &self.nodes;
        self.index.insert_unique(hash, id, |id| FxBuildHasher.hash_one(nodes[id.index()]));
        id
    }

    /// Grows for one more node where that is needed; `false` if there is no memory for it.
    fn makes_room(&mut self) -> bool {
        if self.nodes.len() == self.nodes.capacity() {
            // Doubling, as Vec does, but never past the limit.
            let more = self.nodes.len().min(self.max_nodes - self.nodes.len());
            if self.nodes.try_reserve_exact(more).is_err() {
                return false;
            }
        }
        let nodes = &self.nodes;
        self.index.try_reserve(1, |id| FxBuildHasher.hash_one(nodes[id.index()])).is_ok()
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.index.allocation_size()
    }

    /// How many nodes there are, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// There is only the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The node this one was called from; the root's is the root.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> NodeId {
        self.nodes[node.index()].parent
    }

    /// The function of a node; [`FunctionId::NONE`] for the root.
    #[must_use]
    pub fn function(&self, node: NodeId) -> FunctionId {
        self.nodes[node.index()].function
    }

    /// The line the node's function was at, 0 when unknown.
    #[must_use]
    pub fn line(&self, node: NodeId) -> u32 {
        self.nodes[node.index()].line
    }

    /// All nodes, the root first and every parent before its children.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + use<> {
        (0..self.nodes.len()).map(NodeId::from_index)
    }

    /// The nodes from `leaf` outwards, the root left out: leaf first.
    pub fn ancestors(&self, leaf: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut node = leaf.opened();
        std::iter::from_fn(move || {
            if node == NodeId::ROOT {
                return None;
            }
            let here = node;
            node = self.parent(here);
            Some(here)
        })
    }

    /// The frames of a stack as (function, line), root first; `next_back` goes from the leaf.
    #[must_use]
    pub fn frames(&self, leaf: NodeId) -> Frames<'_> {
        let mut nodes: Vec<NodeId> = self.ancestors(leaf).collect();
        nodes.reverse();
        Frames { tree: self, nodes: nodes.into_iter() }
    }

    /// The depth of every node in frames, by [`NodeId::index`]; 65535 for all that are deeper.
    pub(crate) fn depths(&self) -> Vec<u16> {
        let mut depths = vec![0u16; self.nodes.len()];
        for (node, of) in self.nodes.iter().enumerate().skip(1) {
            depths[node] = depths[of.parent.index()].saturating_add(1);
        }
        depths
    }

    /// How many frames a stack has; 0 for the root.
    #[must_use]
    pub fn depth_frames(&self, leaf: NodeId) -> usize {
        self.ancestors(leaf).count()
    }

    /// The nodes in depth-first order, the root first, siblings by first sight. Takes 12 bytes a node and no recursion.
    #[must_use]
    pub fn depth_first(&self) -> Vec<NodeId> {
        // Children come after their parent in `nodes`, so one backward pass links each parent to its first child and each
        // child to its next sibling. 0 stands for none: the root is nobody's child.
        let mut first_child = vec![0u32; self.nodes.len()];
        let mut next_sibling = vec![0u32; self.nodes.len()];
        for (child, node) in self.nodes.iter().enumerate().skip(1).rev() {
            next_sibling[child] = std::mem::replace(&mut first_child[node.parent.index()], child as u32);
        }
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut node = NodeId::ROOT;
        loop {
            order.push(node);
            let mut next = first_child[node.index()];
            while next == 0 && node != NodeId::ROOT {
                next = next_sibling[node.index()];
                node = self.parent(node);
            }
            if next == 0 {
                return order;
            }
            node = NodeId(next);
        }
    }

    /// Gives back what only [`Self::child`] needs.
    pub(crate) fn freeze(&mut self) {
        self.index = HashTable::new();
    }

    /// A copy that was frozen.
    pub(crate) fn frozen(&self) -> CallTree {
        CallTree { nodes: self.nodes.clone(), index: HashTable::new(), max_nodes: self.max_nodes }
    }
}

/// The frames of one stack, root first. See [`CallTree::frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    tree: &'a CallTree,
    nodes: std::vec::IntoIter<NodeId>,
}

impl Iterator for Frames<'_> {
    type Item = (FunctionId, u32);

    fn next(&mut self) -> Option<Self::Item> {
        self.nodes.next().map(|node| (self.tree.function(node), self.tree.line(node)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.nodes.size_hint()
    }
}

impl DoubleEndedIterator for Frames<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.nodes.next_back().map(|node| (self.tree.function(node), self.tree.line(node)))
    }
}

impl ExactSizeIterator for Frames<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    const A: FunctionId = FunctionId(1);
    const B: FunctionId = FunctionId(2);

    #[test]
    fn a_stack_is_found_again_and_read_root_first() {
        let mut tree = CallTree::new(100);
        let a = tree.child(NodeId::ROOT, A, 10);
        let ab = tree.child(a, B, 20);
        assert_eq!(tree.child(a, B, 20), ab);
        assert_ne!(tree.child(a, B, 21), ab, "another line is another node");
        assert_ne!(tree.child(NodeId::ROOT, B, 20), ab, "another caller is another node");
        assert_eq!(tree.frames(ab).collect::<Vec<_>>(), [(A, 10), (B, 20)]);
        assert_eq!(tree.frames(ab).rev().collect::<Vec<_>>(), [(B, 20), (A, 10)]);
        assert_eq!(tree.frames(NodeId::ROOT).len(), 0);
        assert_eq!((tree.depth_frames(ab), tree.depth_frames(NodeId::ROOT)), (2, 0));
    }

    #[test]
    fn a_full_tree_closes_the_stack_at_the_deepest_known_frame() {
        let mut tree = CallTree::new(3);
        let a = tree.child(NodeId::ROOT, A, 1);
        let aa = tree.child(a, A, 1);
        assert_eq!(tree.len(), 3);
        let refused = tree.child(a, B, 1);
        assert!(refused.is_closed());
        assert_eq!(refused.opened(), a);
        // A called from the refused B must not turn into the A that `a` calls itself.
        assert_eq!(tree.child(refused, A, 1), refused);
        assert_eq!(tree.child(a, A, 1), aa, "what is known is still found");
        assert_eq!(tree.frames(refused).collect::<Vec<_>>(), [(A, 1)]);
    }

    #[test]
    fn a_frame_without_function_closes_the_stack() {
        let mut tree = CallTree::new(10);
        let a = tree.child(NodeId::ROOT, A, 1);
        assert_eq!(tree.child(a, FunctionId::NONE, 5), a.closed());
        assert_eq!(tree.len(), 2);
    }

    #[test]
    fn depth_first_goes_down_before_across() {
        let mut tree = CallTree::new(10);
        let a = tree.child(NodeId::ROOT, A, 1);
        let b = tree.child(NodeId::ROOT, B, 1);
        let aa = tree.child(a, A, 1);
        let ba = tree.child(b, A, 1);
        let ab = tree.child(a, B, 1);
        let aab = tree.child(aa, B, 1);
        assert_eq!(tree.depth_first(), [NodeId::ROOT, a, aa, aab, ab, b, ba]);
        assert_eq!(CallTree::new(1).depth_first(), [NodeId::ROOT]);
    }

    #[test]
    fn a_stack_of_a_million_frames_needs_no_recursion() {
        let mut tree = CallTree::new(usize::MAX);
        let leaf = (0..1_000_000).fold(NodeId::ROOT, |node, _| tree.child(node, A, 1));
        assert_eq!(tree.depth_frames(leaf), 1_000_000);
        assert_eq!(tree.depth_first().len(), 1_000_001);
    }

    #[test]
    fn a_full_tree_takes_no_more_than_its_share() {
        for max_nodes in [1, 2, 100, 4096, 5000, 7169, 100_000] {
            let mut tree = CallTree::new(max_nodes);
            for line in 0..200_000 {
                tree.child(NodeId::ROOT, A, line);
            }
            assert_eq!(tree.len(), max_nodes);
            assert!(tree.bytes() <= max_nodes * NODE_COST_BYTES + 128, "{} bytes for {max_nodes}", tree.bytes());
        }
    }
}
