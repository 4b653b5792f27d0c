//! A part of a profile, as a profile.

use crate::function::{FunctionId, FunctionTable};
use crate::info::{Counters, Profile};
use crate::thread::{Thread, ThreadIndex};
use crate::timeline::{Sample, Timeline};
use crate::tree::{CallTree, NodeId};

/// Some of the functions of one profile.
#[derive(Clone, Debug)]
pub struct FunctionSet(Vec<bool>);

impl FunctionSet {
    /// Those that `contains` says yes to. It is asked for each function once.
    pub fn new(functions: &FunctionTable, mut contains: impl FnMut(FunctionId) -> bool) -> FunctionSet {
        let mut set = vec![false; functions.len()];
        functions.ids().for_each(|function| set[function.index()] = contains(function));
        FunctionSet(set)
    }

    /// Whether a function is one of them.
    #[must_use]
    pub fn contains(&self, function: FunctionId) -> bool {
        self.0.get(function.index()).copied().unwrap_or(false)
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

/// Which samples to keep. Each part that is given has to say yes.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these threads; the others are left out whole.
    pub threads: Option<Vec<ThreadIndex>>,
    /// Only samples with one of these functions on their stack.
    pub focus: Option<FunctionSet>,
    /// Only samples with none of these functions on their stack.
    pub ignore: Option<FunctionSet>,
    /// Let each stack begin with its outermost function of the focus.
    pub trim: bool,
}

impl Profile {
    /// The threads that are called `text`, or whose native or Python id it is.
    #[must_use]
    pub fn threads_called(&self, text: &str) -> Vec<ThreadIndex> {
        let id: Option<u64> = text.parse().ok().filter(|&id| id != 0);
        let is_meant = |thread: &Thread| {
            thread.name == text || id.is_some_and(|id| [thread.native_id, thread.python_id].contains(&id))
        };
        let numbered = self.threads.iter().zip(0..);
        numbered.filter(|(thread, _)| is_meant(thread)).map(|(_, index)| ThreadIndex(index)).collect()
    }

    /// The samples that a filter keeps, with their weights and times. What is left out is in nobody's weights, like time for which
    /// profiling was paused; threads of which nothing is left are left out.
    ///
    /// The counters stay those of the recording, but for the number of samples. Functions keep their ids, stacks do not.
    #[must_use]
    pub fn filtered(&self, filter: &Filter) -> Profile {
        let focus = filter.focus.as_ref().map(|set| self.stacks_with(set));
        let ignore = filter.ignore.as_ref().map(|set| self.stacks_with(set));
        let is_kept = |leaf: NodeId| {
            focus.as_ref().is_none_or(|stacks| stacks[leaf.index()])
                && !ignore.as_ref().is_some_and(|stacks| stacks[leaf.index()])
        };
        let is_thread_kept = |index| filter.threads.as_ref().is_none_or(|threads| threads.contains(&index));
        let threads: Vec<&Thread> = self
            .threads
            .iter()
            .zip(0..)
            .filter(|&(_, index)| is_thread_kept(ThreadIndex(index)))
            .map(|(thread, _)| thread)
            .collect();

        let mut is_used = vec![false; self.tree.len()];
        for sample in threads.iter().flat_map(|thread| &thread.timeline) {
            is_used[sample.leaf.index()] |= is_kept(sample.leaf);
        }
        for node in self.tree.ids().skip(1).rev() {
            is_used[self.tree.parent(node).index()] |= is_used[node.index()];
        }
        let trimmed = focus.as_ref().filter(|_| filter.trim);
        let mut tree = CallTree::new(usize::MAX);
        let mut new_node = vec![NodeId::ROOT; self.tree.len()];
        for node in self.tree.ids().skip(1).filter(|node| is_used[node.index()]) {
            if trimmed.is_none_or(|stacks| stacks[node.index()]) {
                let parent = new_node[self.tree.parent(node).index()];
                new_node[node.index()] = tree.child(parent, self.tree.function(node), self.tree.line(node)).opened();
            }
        }
        tree.freeze();

        let kept = |sample: &Sample| is_kept(sample.leaf).then(|| new_node[sample.leaf.index()]);
        let mut left: Vec<Thread> = Vec::with_capacity(threads.len());
        for thread in threads {
            let timeline = rebuilt(&thread.timeline, 0, kept);
            if !timeline.is_empty() || thread.timeline.is_empty() {
                left.push(thread.with_timeline(timeline));
            }
        }
        let entries: u64 = left.iter().map(|thread| thread.timeline.len() as u64).sum();
        let samples: u64 = left.iter().map(|thread| thread.weights().samples).sum();
        let counters = Counters {
            samples,
            coarsened: samples - entries,
            folded_threads: left.iter().map(|thread| thread.folded_threads).sum(),
            ..self.counters
        };
        let (info, end, ending) = (self.info.clone(), self.end, self.ending);
        Profile {
            info,
            end,
            ending,
            counters,
            strings: self.strings.frozen(),
            functions: self.functions.frozen(),
            tree,
            threads: left,
        }
    }

    /// For each node, whether one of `functions` is on its stack. By [`NodeId::index`].
    fn stacks_with(&self, functions: &FunctionSet) -> Vec<bool> {
        let mut has = vec![false; self.tree.len()];
        for node in self.tree.ids().skip(1) {
            has[node.index()] = has[self.tree.parent(node).index()] || functions.contains(self.tree.function(node));
        }
        has
    }
}

impl Thread {
    /// The same thread with other samples.
    pub(crate) fn with_timeline(&self, timeline: Timeline) -> Thread {
        let Thread { native_id, python_id, ref name, is_main, started_ns, ended_ns, folded_threads, timeline: _ } =
            *self;
        Thread { native_id, python_id, name: name.clone(), is_main, started_ns, ended_ns, folded_threads, timeline }
    }
}

/// A timeline with each sample at the leaf that `leaf_of` says, or left out, and all moved by `shift_ns`.
pub(crate) fn rebuilt(timeline: &Timeline, shift_ns: i64, leaf_of: impl Fn(&Sample) -> Option<NodeId>) -> Timeline {
    let shifted = |time_ns: u64| time_ns.saturating_add_signed(shift_ns);
    let mut new = Timeline::new(shifted(timeline.start_ns()));
    for sample in timeline {
        if let Some(leaf) = leaf_of(&sample) {
            new.skip_to(shifted(sample.timestamp_ns).saturating_sub(sample.wall_ns));
            new.push(&Sample { leaf, ..sample });
        }
    }
    new.skip_to(shifted(timeline.end_ns()));
    new.shrink_to_fit();
    new
}
