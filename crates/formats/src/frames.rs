//! The call tree as formats show it that have one frame a function, or one a line.

use profile::{FunctionId, Profile};
use rustc_hash::FxHashMap;

use crate::stacks::{EMPTY_STACK, StackTree};

/// The frame list, and the call tree in terms of it.
pub(crate) struct Frames {
    /// Function and line, 0 for all lines of the function.
    pub(crate) frames: Vec<(FunctionId, u32)>,
    pub(crate) stacks: StackTree,
    /// By the position of a leaf in the call tree.
    pub(crate) stack_of_leaf: Vec<u32>,
}

impl Frames {
    pub(crate) fn new(profile: &Profile, lines: bool) -> Frames {
        let tree = &profile.tree;
        let mut frames = Vec::new();
        let mut index = FxHashMap::default();
        let mut stacks = StackTree::new();
        let mut stack_of_leaf = vec![EMPTY_STACK];
        for node in tree.ids().skip(1) {
            let key = (tree.function(node), if lines { tree.line(node) } else { 0 });
            let frame = *index.entry(key).or_insert_with(|| {
                frames.push(key);
                frames.len() as u32 - 1
            });
            let parent = stack_of_leaf[tree.parent(node).index()];
            stack_of_leaf.push(stacks.child(parent, frame));
        }
        stacks.freeze();
        Frames { frames, stacks, stack_of_leaf }
    }
}
