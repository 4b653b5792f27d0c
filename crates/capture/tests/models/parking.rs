//! A thread that parks itself, or sees that the collector is needed, against the collector that goes to sleep: it is seen, or it
//! wakes the collector.
//!
//! Caught: `wake_if` without its fence; `end_with_parking` or `end_with_need` without its own; a collector that looks before it
//! says that it wants to be woken.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};

use crate::explore;
use crate::nap::Nap;
use crate::slots::{ARMED, PARKED, Slot};

#[test]
fn nobody_parks_itself_unseen() {
    explore(3, || {
        let slot = Slot::vacant();
        slot.occupy(10, 70, 3);
        slot.set_phase(ARMED);
        let world = Arc::new((slot, Nap::default()));
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                let (slot, nap) = &*world;
                slot.set_phase(PARKED);
                nap.note_parking();
            })
        };
        let (slot, nap) = &*world;
        nap.end_with_parking(true);
        let is_seen = slot.is_parked();
        handler.join().expect("the handler asserts nothing");
        assert!(is_seen || nap.wakings() == 1, "it is parked, and nobody knows");
    });
}

#[test]
fn nobody_needs_it_unseen() {
    explore(3, || {
        // What a ring that fills comes to: a relaxed store, and a relaxed load by the collector.
        let world = Arc::new((AtomicBool::new(false), Nap::default()));
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                let (is_needed, nap) = &*world;
                is_needed.store(true, Ordering::Relaxed);
                nap.note_need();
            })
        };
        let (is_needed, nap) = &*world;
        nap.end_with_need();
        let is_seen = is_needed.load(Ordering::Relaxed);
        handler.join().expect("the handler asserts nothing");
        assert!(is_seen || nap.wakings() == 1, "it is needed, and nobody knows");
    });
}
