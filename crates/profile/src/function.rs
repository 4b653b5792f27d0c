//! Functions kept once each.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::strings::StringId;

/// A function of a [`FunctionTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub(crate) u32);

impl FunctionId {
    /// No function: that of the tree's root, and the answer where there was no memory for a new function.
    pub const NONE: FunctionId = FunctionId(0);

    /// Position in the table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a frame executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Qualified name.
    pub name: StringId,
    /// File, as the code object names it; empty when unknown.
    pub file: StringId,
    /// Line of its definition, 0 when unknown.
    pub first_line: u32,
    /// Machine code rather than Python.
    pub is_native: bool,
}

/// Every distinct function once, found again by its content. The first is [`FunctionId::NONE`].
#[derive(Clone, Debug)]
pub struct FunctionTable {
    functions: Vec<Function>,
    index: HashTable<FunctionId>,
}

impl FunctionTable {
    pub(crate) fn new(no_text: StringId) -> FunctionTable {
        let none = Function { name: no_text, file: no_text, first_line: 0, is_native: false };
        FunctionTable { functions: vec![none], index: HashTable::new() }
    }

    /// The id of `function`, if it is known.
    pub(crate) fn find(&self, function: &Function) -> Option<FunctionId> {
        self.index.find(FxBuildHasher.hash_one(function), |id| self.functions[id.index()] == *function).copied()
    }

    /// Adds a function that [`Self::find`] does not know.
    pub(crate) fn add(&mut self, function: Function) -> FunctionId {
        let id = FunctionId(u32::try_from(self.functions.len()).expect("fewer than 2^32 functions fit in memory"));
        self.functions.push(function);
        let functions = &self.functions;
        self.index
            .insert_unique(FxBuildHasher.hash_one(function), id, |id| FxBuildHasher.hash_one(functions[id.index()]));
        id
    }

    /// Grows for one more function where that is needed; `false` if there is no memory for it.
    pub(crate) fn makes_room(&mut self) -> bool {
        let Self { functions, index } = self;
        functions.try_reserve(1).is_ok()
            && index.try_reserve(1, |id| FxBuildHasher.hash_one(functions[id.index()])).is_ok()
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.functions.capacity() * size_of::<Function>() + self.index.allocation_size()
    }

    /// A function of this table.
    #[must_use]
    pub fn get(&self, id: FunctionId) -> &Function {
        &self.functions[id.index()]
    }

    /// How many there are, [`FunctionId::NONE`] included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// There are no functions but [`FunctionId::NONE`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.functions.len() == 1
    }

    /// All ids but [`FunctionId::NONE`], in order of first sight.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = FunctionId> + use<> {
        let end = u32::try_from(self.functions.len()).expect("checked when added");
        (1..end).map(FunctionId)
    }

    /// Gives back what only [`Self::find`] needs.
    pub(crate) fn freeze(&mut self) {
        self.index = HashTable::new();
    }

    /// A copy that was frozen.
    pub(crate) fn frozen(&self) -> FunctionTable {
        FunctionTable { functions: self.functions.clone(), index: HashTable::new() }
    }
}
