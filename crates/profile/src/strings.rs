//! Strings kept once each.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::budget::ALLOCATION_OVERHEAD_BYTES;

/// A string of a [`StringTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringId(u32);

impl StringId {
    /// Position in the table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Every distinct string once, found again by its content.
///
/// The texts are shared by reference count, so a copy of the table (a snapshot) costs 16 bytes a string.
#[derive(Debug, Default, Clone)]
pub struct StringTable {
    texts: Vec<Arc<str>>,
    index: HashTable<StringId>,
    text_bytes: usize,
}

impl StringTable {
    /// The id of `text`, which is added if it is new.
    pub(crate) fn intern(&mut self, text: &str) -> StringId {
        if let Some(id) = self.find(text) {
            return id;
        }
        let id = StringId(u32::try_from(self.texts.len()).expect("fewer than 2^32 distinct strings fit in memory"));
        self.texts.push(Arc::from(text));
        self.text_bytes += Self::cost_bytes(text) - size_of::<Arc<str>>();
        let texts = &self.texts;
        self.index.insert_unique(FxBuildHasher.hash_one(text), id, |id| FxBuildHasher.hash_one(&*texts[id.index()]));
        id
    }

    /// Grows for `count` more strings where that is needed; `false` if there is no memory for the tables. That of the texts
    /// themselves is not asked for.
    pub(crate) fn makes_room(&mut self, count: usize) -> bool {
        let Self { texts, index, .. } = self;
        texts.try_reserve(count).is_ok()
            && index.try_reserve(count, |id| FxBuildHasher.hash_one(&*texts[id.index()])).is_ok()
    }

    /// What one more string takes, the table's own growth aside.
    pub(crate) fn cost_bytes(text: &str) -> usize {
        const COUNTS_BYTES: usize = 2 * size_of::<usize>(); // the strong and weak counts of an Arc
        size_of::<Arc<str>>() + COUNTS_BYTES + text.len() + ALLOCATION_OVERHEAD_BYTES
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.text_bytes + self.texts.capacity() * size_of::<Arc<str>>() + self.index.allocation_size()
    }

    /// The text of a string of this table.
    #[must_use]
    pub fn get(&self, id: StringId) -> &str {
        &self.texts[id.index()]
    }

    /// How many distinct strings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The id of `text`, if it is known.
    pub(crate) fn find(&self, text: &str) -> Option<StringId> {
        self.index.find(FxBuildHasher.hash_one(text), |id| &*self.texts[id.index()] == text).copied()
    }

    /// Gives back what only interning needs.
    pub(crate) fn freeze(&mut self) {
        self.index = HashTable::new();
    }

    /// A copy that was frozen.
    pub(crate) fn frozen(&self) -> StringTable {
        StringTable { texts: self.texts.clone(), index: HashTable::new(), text_bytes: self.text_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_text_same_id() {
        let mut table = StringTable::default();
        let ids: Vec<_> = ["", "a", "b", "a", "", "é\u{202e}\u{1f40d}"].iter().map(|text| table.intern(text)).collect();
        assert_eq!(ids, [0, 1, 2, 1, 0, 3].map(StringId));
        assert_eq!(table.get(ids[5]), "é\u{202e}\u{1f40d}");
        assert_eq!(table.len(), 4);
    }
}
