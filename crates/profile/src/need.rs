//! How much memory is needed to look at a profile: upper bounds, for whoever must know beforehand.
//!
//! They are compared with what is taken in `tests/memory.rs` and, for files, in `crates/formats/tests/memory.rs`.

use crate::info::Profile;

/// What the memory for anything made of a profile depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes of the call tree.
    pub nodes: usize,
    /// Functions.
    pub functions: usize,
    /// Entries of all timelines.
    pub entries: usize,
    /// Threads.
    pub threads: usize,
    /// Names and files of all functions, each function with its own.
    pub text_bytes: usize,
}

impl Size {
    /// So many bytes of each.
    #[must_use]
    pub fn times(self, node: usize, function: usize, entry: usize, thread: usize, text: usize) -> usize {
        [
            self.nodes.saturating_mul(node),
            self.functions.saturating_mul(function),
            self.entries.saturating_mul(entry),
            self.threads.saturating_mul(thread),
            self.text_bytes.saturating_mul(text),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

impl Profile {
    /// How large it is.
    #[must_use]
    pub fn size(&self) -> Size {
        let text = |id| {
            let function = self.functions.get(id);
            self.strings.get(function.name).len() + self.strings.get(function.file).len()
        };
        Size {
            nodes: self.tree.len(),
            functions: self.functions.len(),
            entries: self.threads.iter().map(|thread| thread.timeline.len()).sum(),
            threads: self.threads.len(),
            text_bytes: self.functions.ids().map(text).sum(),
        }
    }

    /// Heap bytes that sums by stack or function take at most, without the names of their result.
    #[must_use]
    pub fn sums_bytes(&self) -> usize {
        self.size().times(128, 512, 0, 0, 0)
    }

    /// Heap bytes that any other view takes at most, without the names of its result: lines, calls, activities, the order of time.
    #[must_use]
    pub fn view_bytes(&self) -> usize {
        self.size().times(600, 512, 16, 256, 0)
    }

    /// Heap bytes that a part or copy of it takes at most.
    #[must_use]
    pub fn copy_bytes(&self) -> usize {
        self.size().times(160, 768, 64, 2048, 4)
    }
}
