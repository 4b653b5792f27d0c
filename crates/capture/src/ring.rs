//! The ring between the signal handlers (many writers) and the collector (one reader).
//!
//! Fixed memory of 64-bit words. A writer *reserves* words by moving `reserved` with a compare-and-swap, *fills* them, and
//! *publishes* by storing the record's first word last: that word is never zero in a published record and always zero in
//! an unpublished one. The reader takes records in order of reservation, zeroes their words and then gives them back by
//! moving `released`. A record that is reserved but not yet published holds up the ones behind it, never loses them.
//!
//! Positions count words since the session began and never wrap (a 64-bit counter of 8-byte words outlives the machine),
//! so a position is also a time: [`crate::symbols`] uses it to say which records were taken before a code object died.

use std::{mem, slice};

use crate::sync::{AtomicU64, Ordering};

/// A writer gives up after this many lost races for the same words and counts a dropped sample: the handler's loops are
/// bounded. Each lost race means that another thread got a record in, so 64 losses in a row need 64 threads in handlers.
const MAX_RESERVE_ATTEMPTS: usize = 64;

/// The shared words and the two positions.
pub(crate) struct Ring<W> {
    words: W,
    /// Index mask: capacity in words is a power of two.
    mask: u64,
    reserved: AtomicU64,
    released: AtomicU64,
}

/// Words reserved by one writer: `length` words from `position` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) position: u64,
    pub(crate) length_words: u64,
}

impl<W: AsRef<[AtomicU64]>> Ring<W> {
    /// A ring over zeroed `words`, whose number must be a power of two.
    pub(crate) fn new(words: W) -> Self {
        let capacity = words.as_ref().len() as u64;
        assert!(capacity.is_power_of_two(), "a ring needs a power of two of words, got {capacity}");
        Self { words, mask: capacity - 1, reserved: AtomicU64::new(0), released: AtomicU64::new(0) }
    }

    /// Words in all.
    #[cfg(feature = "bench")]
    pub(crate) fn capacity_words(&self) -> u64 {
        self.mask + 1
    }

    fn word(&self, position: u64) -> Option<&AtomicU64> {
        self.words.as_ref().get((position & self.mask) as usize)
    }

    /// Takes `length_words` words, or `None` when they are not free (or too many writers race). Handler-safe.
    pub(crate) fn reserve(&self, length_words: u64) -> Option<Reservation> {
        // Relaxed is enough here and in the exchange: the words' contents are ordered by `released` below and by the
        // publishing store, the position itself only has to be unique.
        let mut position = self.reserved.load(Ordering::Relaxed);
        for _ in 0..MAX_RESERVE_ATTEMPTS {
            // Acquire, with the Release in `release`: the reader's zeroes are seen before the words are reused.
            let released = self.released.load(Ordering::Acquire);
            let end = position.wrapping_add(length_words);
            if end.wrapping_sub(released) > self.mask + 1 {
                return None;
            }
            match self.reserved.compare_exchange_weak(position, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Reservation { position, length_words }),
                Err(now) => position = now,
            }
        }
        None
    }

    /// Fills word `index` (1-based words of the payload; 0 is the header) of a reservation. Handler-safe.
    pub(crate) fn write(&self, reservation: Reservation, index: u64, value: u64) {
        if index < reservation.length_words
            && let Some(word) = self.word(reservation.position.wrapping_add(index))
        {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The words of a reservation from word `index` on, to be filled in pairs and in this order. Pairs are at even positions:
    /// there are none where `index` is at an odd one. Handler-safe.
    pub(crate) fn pairs_of(&self, reservation: Reservation, index: u64) -> ReservedPairs<'_> {
        let (pairs, _) = self.words.as_ref().as_chunks::<2>();
        let position = reservation.position.wrapping_add(index);
        let start = ((position & self.mask) / 2) as usize;
        let length = if position.is_multiple_of(2) { reservation.length_words.saturating_sub(index) / 2 } else { 0 };
        let to_the_end = pairs.get(start..).unwrap_or_default();
        let now = to_the_end.get(..length as usize).unwrap_or(to_the_end);
        let later = pairs.get(..(length as usize).saturating_sub(now.len())).unwrap_or_default();
        ReservedPairs { now: now.iter(), later }
    }

    /// Makes the record visible to the reader; `header` must not be zero. Handler-safe.
    pub(crate) fn publish(&self, reservation: Reservation, header: u64) {
        if let Some(word) = self.word(reservation.position) {
            // Release, with the Acquire in `peek`: the payload is seen before the header.
            word.store(header, Ordering::Release);
        }
    }

    /// Whether more than half of the words are taken. Handler-safe.
    pub(crate) fn is_half_full(&self) -> bool {
        let reserved = self.reserved.load(Ordering::Relaxed);
        // Two loads, so the reader may have come further meanwhile: then it is not.
        reserved.saturating_sub(self.released.load(Ordering::Relaxed)) > self.mask.div_ceil(2)
    }

    /// Where the next record will be reserved: every record taken so far lies before it.
    pub(crate) fn reserved_position(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Reader only: the header of the record at the front, if it is published.
    pub(crate) fn peek(&self) -> Option<(u64, u64)> {
        let position = self.released.load(Ordering::Relaxed);
        if position == self.reserved.load(Ordering::Relaxed) {
            return None;
        }
        match self.word(position)?.load(Ordering::Acquire) {
            0 => None,
            header => Some((position, header)),
        }
    }

    /// Reader only: every record before this position has been taken.
    pub(crate) fn drained_position(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }

    /// Reader only: word `index` of the record at `position`, which [`Self::peek`] returned.
    pub(crate) fn read(&self, position: u64, index: u64) -> u64 {
        self.word(position.wrapping_add(index)).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Reader only: zeroes the front record and gives its `length_words` words back to the writers.
    pub(crate) fn release(&self, position: u64, length_words: u64) {
        for index in 0..length_words {
            if let Some(word) = self.word(position.wrapping_add(index)) {
                word.store(0, Ordering::Relaxed);
            }
        }
        self.released.store(position.wrapping_add(length_words), Ordering::Release);
    }
}

/// What is left to fill of a reservation, two words at a time: the ring may end between two of them.
pub(crate) struct ReservedPairs<'a> {
    now: slice::Iter<'a, [AtomicU64; 2]>,
    /// Those from the ring's beginning on.
    later: &'a [[AtomicU64; 2]],
}

impl ReservedPairs<'_> {
    /// Fills the next words with `pairs`, as far as there is room: returns how many pairs were put in. Handler-safe.
    #[inline]
    pub(crate) fn write(&mut self, pairs: impl Iterator<Item = [u64; 2]>) -> usize {
        // Not in `self`, which the compiler would take to be changed by every store.
        let mut now = self.now.clone();
        let mut written = 0;
        for [first, second] in pairs {
            let next = now.next().or_else(|| {
                now = mem::take(&mut self.later).iter();
                now.next()
            });
            let Some([first_word, second_word]) = next else { break };
            first_word.store(first, Ordering::Relaxed);
            second_word.store(second, Ordering::Relaxed);
            written += 1;
        }
        self.now = now;
        written
    }
}
