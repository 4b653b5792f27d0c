//! Tests of [`crate::slots`]; apart from it because `tests/models` compiles the same file with loom's atomics.

use crate::platform::TimerId;
use crate::slots::{Slot, TickValue};

#[test]
fn a_late_signal_does_not_match_the_next_owner() {
    let slot = Slot::vacant();
    assert!(!slot.belongs_to(0), "generation 0 is vacant");
    let first = slot.occupy(10, 1, 0);
    assert!(slot.belongs_to(first));
    slot.vacate();
    assert!(!slot.belongs_to(first));
    let second = slot.occupy(11, 2, 0);
    assert!(slot.belongs_to(second) && !slot.belongs_to(first));
}

#[test]
fn generations_stay_odd_for_owners_across_the_wrap() {
    let slot = Slot::vacant_before_the_wrap();
    assert_eq!(slot.occupy(1, 1, 0), TickValue::GENERATION_MASK);
    slot.vacate();
    assert_eq!(slot.occupy(1, 1, 0), 1);
}

#[test]
fn the_kernel_s_timer_0_is_a_timer() {
    let slot = Slot::vacant();
    assert_eq!(slot.timer(), None);
    slot.set_timer(TimerId(0));
    assert_eq!(slot.timer(), Some(TimerId(0)));
}

#[test]
fn values_come_back_and_strangers_are_refused() {
    let value = TickValue { session: 200, slot: 4_095, generation: 0xab_cdef };
    assert_eq!(TickValue::from_bits(value.to_bits()), Some(value));
    assert_eq!(TickValue::from_bits(0x7fff_dead_beef), None);
}

#[test]
fn a_slot_is_one_cache_line() {
    assert_eq!(std::mem::size_of::<Slot>(), 64);
}
