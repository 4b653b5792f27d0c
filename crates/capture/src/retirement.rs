//! The death of a code object, as the deallocation hook tells the collector.

use interpreter::Memory;

use crate::code_filter::CodeFilter;
use crate::ring::Ring;
use crate::symbols::Symbols;
use crate::sync::{AtomicU64, Mutex};

/// Called with the code object at `code` still whole and nobody's any more: keeps its names for the records that mean it.
///
/// Every record that names it was reserved by a thread that let go of it since, and every record that names the next one at
/// that address is reserved after this: so where the ring stands now is the border between them.
pub(crate) fn retire<W, F, M>(ring: &Ring<W>, filter: &CodeFilter<F>, symbols: &Mutex<Symbols>, memory: &M, code: u64)
where
    W: AsRef<[AtomicU64]>,
    F: AsRef<[AtomicU64]>,
    M: Memory,
{
    if filter.may_contain(code) {
        // The lock before the memory goes: the collector may be reading it.
        let mut symbols = symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        symbols.retire(memory, code, ring.reserved_position());
    }
}
