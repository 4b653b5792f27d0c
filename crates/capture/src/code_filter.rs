//! Which code objects may stand in the ring: a small filter that the handler writes and the deallocation hook reads.
//!
//! A bit that is set means "perhaps"; one that is not set means that no sample ever named this address, so its
//! deallocation costs one load. Bits stay set for the session: a stale one only costs the hook a look.

use crate::sync::{AtomicU64, Ordering};

/// 2^64 divided by the golden ratio: multiplied by it, addresses that lie at even distances are spread evenly over the
/// highest bits (Knuth, The Art of Computer Programming 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// 64 Ki bits in 8 KiB: a program's few thousand sampled code objects fill a few per cent of it.
const WORDS: usize = 1024;

pub(crate) struct CodeFilter<W = Box<[AtomicU64]>> {
    words: W,
}

impl CodeFilter {
    pub(crate) fn new() -> Self {
        Self::of((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl<W: AsRef<[AtomicU64]>> CodeFilter<W> {
    /// A filter of zeroed `words`, whose number must be a power of two.
    pub(crate) fn of(words: W) -> Self {
        assert!(words.as_ref().len().is_power_of_two(), "a filter needs a power of two of words");
        Self { words }
    }

    #[inline]
    fn place(&self, code_address: u64) -> (Option<&AtomicU64>, u64) {
        // One multiplication and no remainder: this is done for each frame of each sample.
        let hash = code_address.wrapping_mul(SPREAD) >> 48;
        let words = self.words.as_ref();
        let place = (hash >> 6) as usize & words.len().wrapping_sub(1);
        (words.get(place), 1 << (hash & 63))
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

    /// [`Self::mark`] for each; one that follows itself, as in recursion, costs nothing.
    #[inline]
    pub(crate) fn mark_all(&self, code_addresses: impl Iterator<Item = u64>) {
        let mut marked = 0;
        for code_address in code_addresses {
            if code_address != marked {
                self.mark(code_address);
                marked = code_address;
            }
        }
    }

    /// Whether a record may name `code_address`.
    pub(crate) fn may_contain(&self, code_address: u64) -> bool {
        let (word, bit) = self.place(code_address);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }
}
