//! Entering against closing: nobody uses what the closer frees.
//!
//! Caught: `enter` that looks before it announces itself; `close` that counts once and does not wait; the counting of `enter` or
//! that of `close` Relaxed; the leaving Relaxed; the opening, or the look at it, Relaxed.

use std::ptr;

use loom::cell::UnsafeCell;
use loom::sync::Arc;

use crate::explore;
use crate::sync::{AtomicPtr, AtomicUsize};
use crate::turnstile::Turnstile;

/// Stands for the session's memory: loom sees a use that is not ordered with its freeing.
struct Session {
    memory: UnsafeCell<u32>,
}

// SAFETY: what the model shows is that its uses never meet; loom checks each.
unsafe impl Sync for Session {}

struct World {
    gate: Turnstile<Session>,
    session: Session,
}

fn world() -> Arc<World> {
    let gate = Turnstile { open: AtomicPtr::new(ptr::null_mut()), inside: AtomicUsize::new(0) };
    Arc::new(World { gate, session: Session { memory: UnsafeCell::new(0) } })
}

/// A handler: uses the memory if there is any; whether there was.
fn handle(world: &World) -> bool {
    match world.gate.enter() {
        Some(session) => {
            // SAFETY: loom checks that nobody writes meanwhile.
            let value = session.memory.with(|memory| unsafe { *memory });
            assert_eq!(value, 7, "it is used after it was made and before it was freed");
            true
        }
        None => false,
    }
}

fn make(world: &World) {
    // SAFETY: nobody can have entered.
    world.session.memory.with_mut(|memory| unsafe { *memory = 7 });
    world.gate.open(&world.session);
}

fn free(world: &World) {
    world.gate.close();
    // SAFETY: loom checks that nobody reads meanwhile.
    world.session.memory.with_mut(|memory| unsafe { *memory = 0xdead });
}

#[test]
fn what_is_freed_is_used_by_nobody() {
    explore(3, || {
        let world = world();
        make(&world);
        let handlers: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                loom::thread::spawn(move || handle(&world))
            })
            .collect();
        free(&world);
        for handler in handlers {
            handler.join().expect("the handler's own assertions hold");
        }
        assert!(!handle(&world), "it is closed for good");
    });
}

#[test]
fn what_is_opened_is_made() {
    explore(3, || {
        let world = world();
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || handle(&world))
        };
        make(&world);
        handler.join().expect("the handler's own assertions hold");
        assert!(handle(&world));
    });
}

/// Stop, and a new session in the same place.
#[test]
fn one_session_after_another() {
    explore(2, || {
        let world = world();
        make(&world);
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                handle(&world);
                handle(&world);
            })
        };
        free(&world);
        make(&world);
        handler.join().expect("the handler's own assertions hold");
        free(&world);
    });
}
