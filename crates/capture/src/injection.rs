//! Wrong values in place of right ones, at a set rate, to see that nothing comes of it. Only with the feature
//! `inject-faults`, which no wheel is built with.
//!
//! What a walk reads is what a signal at a bad moment could let it read: a pointer that was never written, half of one and half
//! of another, one into memory that is gone.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tick::mix;

/// One load of so many is tampered with; 0 for none.
static ONE_OF: AtomicU64 = AtomicU64::new(0);
/// Loads so far: what a load reads depends on its number alone.
static LOADS: AtomicU64 = AtomicU64::new(0);
static TAMPERED: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// From now on one load of so many is tampered with; 0 for none.
pub(crate) fn tamper_with_one_of(loads: u64) {
    ONE_OF.store(loads, Ordering::SeqCst);
}

/// [`tamper_with_one_of`], as the environment asks for it.
pub(crate) fn begin() {
    let asked = std::env::var("SPPROF_INJECT_FAULTS").ok().and_then(|loads| loads.parse().ok());
    tamper_with_one_of(asked.unwrap_or(0));
}

/// What follows is as if so many loads had been done before.
#[cfg(test)]
pub(crate) fn begin_at(load: u64) {
    LOADS.store(load, Ordering::SeqCst);
}

/// Loads that were tampered with, and faults that were recovered from, since the process began.
pub fn injected() -> (u64, u64) {
    (TAMPERED.load(Ordering::SeqCst), FAULTS.load(Ordering::SeqCst))
}

/// A load has faulted and goes on; handler-safe.
pub(crate) fn note_fault() {
    FAULTS.fetch_add(1, Ordering::Relaxed);
}

/// What a load that read `value` gives; handler-safe.
pub(crate) fn tamper(value: u64) -> u64 {
    let one_of = ONE_OF.load(Ordering::Relaxed);
    if one_of == 0 {
        return value;
    }
    let draw = mix(LOADS.fetch_add(1, Ordering::Relaxed));
    if draw.checked_rem(one_of) != Some(0) {
        return value;
    }
    TAMPERED.fetch_add(1, Ordering::Relaxed);
    let random = mix(draw);
    match random & 7 {
        // Nothing, and a page that is never mapped (`vm.mmap_min_addr`).
        0 => 0,
        1 => 0x1000 | random >> 8 & 0xff8,
        // Misaligned.
        2 => value | (1 + (random >> 8) % 7),
        // One half of it and one of another, either way.
        3 => value & !0xffff_ffff | random >> 32,
        4 => value & 0xffff_ffff | random & !0xffff_ffff,
        // Beside the right place.
        5 => value.wrapping_add((random >> 8 & 0xff) * 8).wrapping_sub(0x400),
        // Anywhere where memory can be.
        6 => random >> 17 & !7,
        _ => random,
    }
}
