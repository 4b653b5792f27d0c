//! How long something took, in cycles of the processor's constant-rate counter, counted by size in fixed memory.
//!
//! Signal-safe: recording is a few atomic additions. Built for the benchmarks only; `benches/floor` shares this file, so the
//! cost of our handler and that of an empty one are taken by the same code.

use std::sync::atomic::{AtomicU64, Ordering};

/// Sizes with the same leading bit are told apart by the five bits behind it, so a size is known to 3 %.
const DETAIL_BITS: u32 = 5;
const DETAIL: usize = 1 << DETAIL_BITS;

/// Buckets: sizes below 32 one by one, then 32 for each power of two.
pub(crate) const BUCKETS: usize = DETAIL * (64 - DETAIL_BITS as usize + 1);

/// Counts by size.
pub(crate) struct CycleHistogram {
    buckets: [AtomicU64; BUCKETS],
    largest: AtomicU64,
}

impl CycleHistogram {
    /// Nothing counted yet.
    pub(crate) const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], largest: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub(crate) fn record(&self, cycles: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(cycles)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.largest.fetch_max(cycles, Ordering::Relaxed);
    }

    /// Moves the counts into `out` (bucket by bucket) and returns the largest duration; all is zero again afterwards.
    pub(crate) fn take(&self, out: &mut [u64]) -> u64 {
        for (bucket, place) in self.buckets.iter().zip(out) {
            *place = bucket.swap(0, Ordering::Relaxed);
        }
        self.largest.swap(0, Ordering::Relaxed)
    }
}

/// The bucket of a duration.
fn bucket_of(cycles: u64) -> usize {
    match cycles.checked_ilog2() {
        Some(exponent) if exponent >= DETAIL_BITS => {
            let detail = (cycles >> (exponent - DETAIL_BITS)) as usize & (DETAIL - 1);
            (exponent - DETAIL_BITS + 1) as usize * DETAIL + detail
        }
        _ => cycles as usize,
    }
}

/// The processor's counter. It runs at a constant rate on every processor that a current kernel takes its time from.
#[cfg(target_arch = "x86_64")]
pub(crate) fn cycles() -> u64 {
    // SAFETY: the instruction only reads a counter; no current x86_64 system forbids it to user code unless prctl says so.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The processor's counter, which the kernel opens to user code for the vDSO's clock.
#[cfg(target_arch = "aarch64")]
pub(crate) fn cycles() -> u64 {
    let count: u64;
    // SAFETY: the instruction only reads a counter.
    unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack)) };
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_apart_to_three_per_cent_and_stay_in_order() {
        assert_eq!((bucket_of(0), bucket_of(31), bucket_of(32), bucket_of(63)), (0, 31, 32, 63));
        assert_eq!((bucket_of(64), bucket_of(65), bucket_of(66)), (64, 64, 65));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_was_counted_is_taken_once() {
        let histogram = CycleHistogram::new();
        [5, 5, 1_000].into_iter().for_each(|cycles| histogram.record(cycles));
        let mut counts = [0; BUCKETS];
        assert_eq!(histogram.take(&mut counts), 1_000);
        assert_eq!((counts[5], counts[bucket_of(1_000)], counts.iter().sum::<u64>()), (2, 1, 3));
        assert_eq!(histogram.take(&mut counts), 0);
        assert_eq!(counts.iter().sum::<u64>(), 0);
    }
}
