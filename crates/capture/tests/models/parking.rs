//! A thread that parks itself against the collector that goes to sleep: it is seen, or it wakes the collector.
//!
//! Caught: `note_parking` without its fence; `end_with_parking` without its own; a collector that looks before it says that it
//! wants to be woken.

use loom::sync::Arc;

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
