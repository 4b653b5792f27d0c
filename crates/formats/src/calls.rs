//! Who called whom, and what that cost: the call tree by pairs of functions, for formats without stacks.
//!
//! Every sum counts a sample once, however often a function is on its stack: what was spent in the calls of a function, each
//! while it was the outermost frame of that function, adds up to what was spent while it was on the stack at all.

use std::collections::BTreeMap;

use profile::{Clock, NodeId, Profile, StringId, Weights};
use rustc_hash::FxHashMap;

/// Nanoseconds on each clock, in the order of [`Clock::ALL`], and samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) ns: [u64; Clock::ALL.len()],
    pub(crate) samples: u64,
}

impl Sums {
    pub(crate) fn on(&self, clock: Clock) -> u64 {
        let position = Clock::ALL.iter().position(|&other| other == clock);
        self.ns[position.expect("all clocks are there")]
    }

    pub(crate) fn add(&mut self, other: Sums) {
        self.ns.iter_mut().zip(other.ns).for_each(|(sum, ns)| *sum = sum.saturating_add(ns));
        self.samples = self.samples.saturating_add(other.samples);
    }
}

impl From<Weights> for Sums {
    fn from(weights: Weights) -> Sums {
        Sums { ns: Clock::ALL.map(|clock| weights.on(clock)), samples: weights.samples }
    }
}

/// A function as the format tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Callable {
    pub(crate) name: StringId,
    pub(crate) file: StringId,
    /// Line of its definition; where it does not tell functions apart, of the one that was seen first.
    pub(crate) first_line: u32,
}

/// A call from a line of a function. Numbers are positions in [`Calls::callables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) caller: usize,
    pub(crate) line: u32,
    pub(crate) callee: usize,
}

/// What was spent inside a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EdgeSums {
    /// By the callee itself.
    pub(crate) own: Sums,
    /// While the callee was the outermost frame of its function.
    pub(crate) outermost: Sums,
    /// In any such call.
    pub(crate) any: Sums,
}

/// The whole.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) callables: Vec<Callable>,
    /// By number and line.
    pub(crate) own: BTreeMap<(usize, u32), Sums>,
    /// While it was on the stack; by number.
    pub(crate) total: Vec<Sums>,
    pub(crate) edges: BTreeMap<Edge, EdgeSums>,
    /// While it was the outermost frame of a stack; by number.
    pub(crate) roots: BTreeMap<usize, Sums>,
}

impl Calls {
    /// `by_first_line`: functions of one name and file that begin at different lines are different.
    pub(crate) fn new(profile: &Profile, by_first_line: bool) -> Calls {
        let tree = &profile.tree;
        let (callables, number_of_function) = callables(profile, by_first_line);
        let own: Vec<Sums> = profile.weights_by_leaf().into_iter().map(Sums::from).collect();
        let mut total = own.clone();
        for node in tree.ids().skip(1).rev() {
            let sums = total[node.index()];
            total[tree.parent(node).index()].add(sums);
        }
        let number = |node: NodeId| number_of_function[tree.function(node).index()];
        let mut calls = Calls {
            total: vec![Sums::default(); callables.len()],
            callables,
            own: BTreeMap::new(),
            edges: BTreeMap::new(),
            roots: BTreeMap::new(),
        };
        // How often each function is on the way down.
        let mut on_stack = vec![0u32; calls.callables.len()];
        let mut way_down: Vec<NodeId> = Vec::new();
        for node in tree.depth_first().into_iter().skip(1) {
            while way_down.last().is_some_and(|&last| last != tree.parent(node)) {
                let left = way_down.pop().expect("it has a last");
                on_stack[number(left)] -= 1;
            }
            let callee = number(node);
            let sums = total[node.index()];
            let outermost = if on_stack[callee] == 0 { sums } else { Sums::default() };
            calls.own.entry((callee, tree.line(node))).or_default().add(own[node.index()]);
            calls.total[callee].add(outermost);
            match way_down.last() {
                None => calls.roots.entry(callee).or_default().add(sums),
                Some(&caller) => {
                    let edge = Edge { caller: number(caller), line: tree.line(caller), callee };
                    let edge = calls.edges.entry(edge).or_default();
                    edge.own.add(own[node.index()]);
                    edge.any.add(sums);
                    edge.outermost.add(outermost);
                }
            }
            way_down.push(node);
            on_stack[callee] += 1;
        }
        calls
    }
}

/// The functions as the format tells them apart, and the number of each function of the profile.
fn callables(profile: &Profile, by_first_line: bool) -> (Vec<Callable>, Vec<usize>) {
    let mut callables = Vec::new();
    let mut index = FxHashMap::default();
    // No node has the function 0.
    let mut number_of_function = vec![usize::MAX];
    for id in profile.functions.ids() {
        let function = profile.functions.get(id);
        let callable = Callable { name: function.name, file: function.file, first_line: function.first_line };
        let key = Callable { first_line: if by_first_line { function.first_line } else { 0 }, ..callable };
        number_of_function.push(*index.entry(key).or_insert_with(|| {
            callables.push(callable);
            callables.len() - 1
        }));
    }
    (callables, number_of_function)
}
