//! What single lines of functions add up to.

use rustc_hash::FxHashMap;

use crate::analysis::{Clock, Weights};
use crate::by_function::by_key;
use crate::function::FunctionId;
use crate::info::Profile;
use crate::precision::ShareErrors;

/// What one line of a function weighs over all threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineTotal {
    /// The function.
    pub function: FunctionId,
    /// The line in its file; 0 where unknown.
    pub line: u32,
    /// While it was the innermost frame.
    pub own: Weights,
    /// While it was anywhere on the stack; once a sample, however often it is on that stack.
    pub total: Weights,
    /// How precisely its shares are known.
    pub errors: ShareErrors,
}

impl Profile {
    /// Every line that was seen, those with the most time of their own on `clock` first; then by total time, then by first
    /// sight.
    #[must_use]
    pub fn line_totals(&self, clock: Clock) -> Vec<LineTotal> {
        let mut places: Vec<(FunctionId, u32)> = Vec::new();
        let mut known: FxHashMap<(FunctionId, u32), usize> = FxHashMap::default();
        let mut place_of_node = vec![0usize; self.tree.len()];
        for node in self.tree.ids().skip(1) {
            let place = (self.tree.function(node), self.tree.line(node));
            place_of_node[node.index()] = *known.entry(place).or_insert_with(|| {
                places.push(place);
                places.len() - 1
            });
        }
        let own = self.weights_by_leaf();
        let sums = by_key(&self.tree, &own, places.len(), |node| place_of_node[node.index()]);
        let errors = self.share_errors_by_key(clock, places.len(), |node| place_of_node[node.index()]);
        let mut lines: Vec<LineTotal> = places
            .iter()
            .zip(sums)
            .zip(errors)
            .map(|((&(function, line), sum), errors)| LineTotal {
                function,
                line,
                own: sum.own,
                total: sum.total,
                errors,
            })
            .filter(|line| line.total != Weights::default())
            .collect();
        // Stable: what is equal stays in the order of first sight.
        lines.sort_by_key(|line| std::cmp::Reverse((line.own.on(clock), line.total.on(clock))));
        lines
    }
}
