//! Who may use the session's shared memory, and when it may be freed.
//!
//! Handlers and the deallocation hook run on any thread at any time, so they enter through the gate, a [`Turnstile`].

use std::ptr;

use crate::shared::Shared;
use crate::sync::{AtomicPtr, AtomicUsize};
use crate::turnstile::{Entered, Turnstile};

static GATE: Turnstile<Shared> = Turnstile { open: AtomicPtr::new(ptr::null_mut()), inside: AtomicUsize::new(0) };

/// The open session, or `None`; handler-safe.
pub(crate) fn enter() -> Option<Entered<'static, Shared>> {
    GATE.enter()
}

/// Opens the gate to `shared`, which must stay where it is until [`close`] has returned.
pub(crate) fn open(shared: &Shared) {
    GATE.open(shared);
}

/// Waits for a moment in which nobody is inside. Whoever comes later sees what the caller did before.
pub(crate) fn wait_until_empty() {
    GATE.wait_until_empty();
}

/// Closes the gate and waits until everybody has left.
pub(crate) fn close() {
    GATE.close();
}

/// In a fork's child: closes the gate without waiting.
pub(crate) fn abandon() {
    GATE.abandon();
}
