//! The life of a thread's slot: given, its ticks, let go, given to the next.
//!
//! Caught: `occupy` that publishes the generation Relaxed; `belongs_to` that looks Relaxed; `occupy` that moves the generation on
//! before it fills the slot in; `set_phase` or `is_parked` Relaxed; `vacate` that leaves the generation; `vacate` that does not wait,
//! that waits before it moves the generation on, by a load, or Relaxed; `hold` that looks before it counts, or counts by a store or
//! Relaxed; `Held` that lets go Relaxed.

use loom::cell::UnsafeCell;
use loom::sync::Arc;

use crate::explore;
use crate::platform::TimerId;
use crate::slots::{ARMED, PARKED, Slot, Vacated};
use crate::sync::{AtomicU32, Ordering};

/// A signal carries the generation, and that is all that is ordered by it: the kernel promises nothing of the rest.
#[test]
fn a_tick_sees_the_slot_of_its_own_thread() {
    explore(3, || {
        let world = Arc::new((Slot::vacant(), AtomicU32::new(0)));
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                let (slot, signal) = &*world;
                let generation = signal.load(Ordering::Relaxed);
                if slot.belongs_to(generation) {
                    assert_eq!((slot.seed(), slot.last_cell(), slot.missed()), (70, 3, 0));
                }
            })
        };
        let (slot, signal) = &*world;
        slot.add_missed(5);
        let generation = slot.occupy(10, 70, 3);
        signal.store(generation, Ordering::Relaxed);
        handler.join().expect("the handler's own assertions hold");
    });
}

/// A late signal: the thread was let go and its slot given away while the signal was under way. What the handler finds of
/// the next owner, it finds only under a generation that is no longer the slot's, and so the collector takes no record of it.
#[test]
fn a_late_tick_is_never_the_next_owner_s() {
    explore(3, || {
        let slot = Arc::new(Slot::vacant());
        let first = slot.occupy(10, 70, 3);
        slot.set_timer(TimerId(0));
        let handler = {
            let slot = Arc::clone(&slot);
            loom::thread::spawn(move || {
                let before = slot.belongs_to(first);
                let seed = slot.seed();
                let after = slot.belongs_to(first);
                (before, seed, after)
            })
        };
        slot.vacate();
        assert!(!slot.belongs_to(first));
        let second = slot.occupy(11, 71, 9);
        let (before, seed, after) = handler.join().expect("the handler's own assertions hold");
        assert_ne!(first, second);
        assert!(slot.belongs_to(second) && !slot.belongs_to(first));
        assert_eq!(slot.timer(), None, "the first one's timer is not the second one's");
        assert!(before || !after, "a generation never comes back");
        assert!(seed == 70 || seed == 71);
    });
}

/// While a slot is armed its timer is the handler's, while it is parked the collector's; never both.
#[test]
fn a_timer_has_one_owner() {
    struct World {
        slot: Slot,
        timer: UnsafeCell<u32>,
    }
    // SAFETY: what the model shows is that its uses never meet; loom checks each.
    unsafe impl Sync for World {}

    explore(3, || {
        let slot = Slot::vacant();
        slot.occupy(10, 70, 3);
        slot.set_phase(ARMED);
        let world = Arc::new(World { slot, timer: UnsafeCell::new(0) });
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                // On CPU: it sets the timer again. Then it is found blocked.
                // SAFETY: loom checks that the other does not.
                world.timer.with_mut(|timer| unsafe { *timer += 1 });
                world.slot.set_last_cell(4);
                world.slot.set_phase(PARKED);
            })
        };
        while !world.slot.is_parked() {
            loom::thread::yield_now();
        }
        assert_eq!(world.slot.last_cell(), 4, "the collector sees what the handler left");
        // SAFETY: loom checks that the other does not.
        world.timer.with_mut(|timer| unsafe { *timer += 1 });
        world.slot.set_phase(ARMED);
        handler.join().expect("the handler's own assertions hold");
    });
}

/// A handler that sets its timer against the collector that deletes it. Then the kernel gives the number to the program, and the
/// collector the slot to another thread.
#[test]
fn a_timer_of_the_program_is_never_set() {
    struct World {
        slot: Slot,
        /// The kernel's timer 7 is still ours.
        is_ours: UnsafeCell<bool>,
    }
    // SAFETY: what the model shows is that its uses never meet; loom checks each.
    unsafe impl Sync for World {}

    explore(3, || {
        let slot = Slot::vacant();
        let generation = slot.occupy(10, 70, 3);
        slot.set_timer(TimerId(7));
        let world = Arc::new(World { slot, is_ours: UnsafeCell::new(true) });
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                let Some(slot) = world.slot.hold(generation) else { return };
                if let Some(timer) = slot.timer() {
                    assert_eq!(timer, TimerId(7), "the next thread's timer was set");
                    // SAFETY: loom checks that nobody writes.
                    assert!(world.is_ours.with(|is_ours| unsafe { *is_ours }), "a timer of the program was set");
                }
            })
        };
        let Vacated { timer, is_left } = world.slot.vacate();
        assert_eq!(timer, Some(TimerId(7)));
        if is_left {
            // SAFETY: loom checks that nobody else uses it.
            world.is_ours.with_mut(|is_ours| unsafe { *is_ours = false });
            world.slot.occupy(11, 71, 9);
            world.slot.set_timer(TimerId(8));
        }
        handler.join().expect("the handler's own assertions hold");
        assert!(world.slot.vacate().is_left, "who has left is not waited for");
    });
}
