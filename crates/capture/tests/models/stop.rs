//! Stop and pause against handlers: when a session's memory goes, every record that a handler counted was taken, and no tick
//! comes after it.
//!
//! Caught: a last look at the ring before everybody inside has left; a flag that is set after they have.

use std::ptr;

use loom::sync::Arc;

use crate::explore;
use crate::ring::Ring;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::turnstile::Turnstile;
use crate::words;

struct Session {
    ring: Ring<Vec<AtomicU64>>,
    is_paused: AtomicU32,
    samples: AtomicU32,
    /// The kernel's timer: how often it is set.
    armed: AtomicU32,
}

struct World {
    gate: Turnstile<Session>,
    session: Session,
}

fn world() -> Arc<World> {
    let world = Arc::new(World {
        gate: Turnstile { open: AtomicPtr::new(ptr::null_mut()), inside: AtomicUsize::new(0) },
        session: Session {
            ring: Ring::new(words(8)),
            is_paused: AtomicU32::new(0),
            samples: AtomicU32::new(0),
            armed: AtomicU32::new(0),
        },
    });
    world.gate.open(&world.session);
    world
}

/// `on_tick`: a record of one word, and the timer once more.
fn tick(world: &World) {
    let Some(session) = world.gate.enter() else { return };
    if session.is_paused.load(Ordering::Relaxed) == 1 {
        return;
    }
    let taken = session.ring.reserve(2).expect("there is room");
    session.ring.write(taken, 1, 11);
    session.ring.publish(taken, 1);
    session.samples.fetch_add(1, Ordering::Relaxed);
    session.armed.fetch_add(1, Ordering::Relaxed);
}

fn drain(session: &Session) -> u32 {
    let mut taken = 0;
    while let Some((position, _)) = session.ring.peek() {
        assert_eq!(session.ring.read(position, 1), 11);
        session.ring.release(position, 2);
        taken += 1;
    }
    taken
}

/// `finish`, in its order: handlers are told, those inside are waited for, the ring is emptied, the gate is closed.
#[test]
fn at_the_end_no_record_is_left_behind() {
    explore(3, || {
        let world = world();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                loom::thread::spawn(move || tick(&world))
            })
            .collect();
        let session = &world.session;
        let mut taken = drain(session);
        session.is_paused.store(1, Ordering::SeqCst);
        world.gate.wait_until_empty();
        let armed = session.armed.load(Ordering::Relaxed);
        taken += drain(session);
        assert_eq!(taken, session.samples.load(Ordering::Relaxed), "all that was counted was taken");
        world.gate.close();
        for thread in threads {
            thread.join().expect("the thread's own assertions hold");
        }
        assert_eq!(session.armed.load(Ordering::Relaxed), armed, "nobody has set a timer since");
        assert_eq!(session.samples.load(Ordering::Relaxed), taken);
    });
}

/// A pause, and going on: a handler that had looked before the pause gets its record in, all others come after it.
#[test]
fn a_pause_loses_nothing() {
    explore(3, || {
        let world = world();
        let thread = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                tick(&world);
                tick(&world);
            })
        };
        let session = &world.session;
        session.is_paused.store(1, Ordering::SeqCst);
        let mut taken = drain(session);
        session.is_paused.store(0, Ordering::SeqCst);
        taken += drain(session);
        thread.join().expect("the thread's own assertions hold");
        taken += drain(session);
        assert_eq!(taken, session.samples.load(Ordering::Relaxed));
    });
}
