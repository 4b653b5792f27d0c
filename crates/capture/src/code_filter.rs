//! Which code objects may stand in the ring: a small filter that the handler writes and the deallocation hook reads.
//!
//! A bit that is set means "perhaps"; one that is not set means that no sample ever named this address, so its
//! deallocation costs one load. Bits stay set for the session: a stale one only costs the hook a look.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tick::mix;

/// 64 Ki bits in 8 KiB: a program's few thousand sampled code objects fill a few per cent of it.
const WORDS: usize = 1024;

pub(crate) struct CodeFilter {
    words: Box<[AtomicU64; WORDS]>,
}

impl CodeFilter {
    pub(crate) fn new() -> Self {
        Self { words: Box::new([const { AtomicU64::new(0) }; WORDS]) }
    }

    fn place(&self, code_address: u64) -> (Option<&AtomicU64>, u64) {
        let hash = mix(code_address);
        (self.words.get((hash >> 6) as usize % WORDS), 1 << (hash & 63))
    }

    /// Notes that a record names `code_address`; handler-safe.
    ///
    /// Relaxed: the code object is on the marking thread's stack, so whoever deallocates it later has synchronised with
    /// that thread through the reference count or the GIL.
    pub(crate) fn mark(&self, code_address: u64) {
        if let (Some(word), bit) = self.place(code_address)
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether a record may name `code_address`.
    pub(crate) fn may_contain(&self, code_address: u64) -> bool {
        let (word, bit) = self.place(code_address);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_found_and_little_else() {
        let filter = CodeFilter::new();
        let marked: Vec<u64> = (0..2_000).map(|n| 0x7f00_0000_0000 + n * 208).collect();
        marked.iter().for_each(|address| filter.mark(*address));
        assert!(marked.iter().all(|address| filter.may_contain(*address)));
        // 2,000 of 65,536 bits are set at most: 3 % of strangers look marked, five standard deviations allow 160 of 3,000.
        let strangers = (0..3_000).filter(|n| filter.may_contain(0x5500_0000_0000 + n * 208)).count();
        assert!(strangers < 160, "{strangers}");
    }
}
