//! Who may use the session's shared memory, and when it may be freed.
//!
//! Handlers and the deallocation hook run on any thread at any time, so they enter through the gate: they announce
//! themselves, then look whether a session is open. Closing takes the session away first and then waits until all who
//! had entered have left; after that nobody holds it. Both sides order their two steps by sequential consistency: either
//! the one who enters sees the closed gate, or the one who closes sees the announcement.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::shared::Shared;

static OPEN: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// The session, for as long as this lives.
pub(crate) struct Entered {
    shared: *const Shared,
}

impl Deref for Entered {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        // SAFETY: non-null by `enter`, and `close` waits for us before its caller frees the session.
        unsafe { &*self.shared }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The open session, or `None`; handler-safe.
pub(crate) fn enter() -> Option<Entered> {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let shared = OPEN.load(Ordering::SeqCst);
    if shared.is_null() {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        return None;
    }
    Some(Entered { shared })
}

/// Opens the gate to `shared`, which must stay where it is until [`close`] has returned.
pub(crate) fn open(shared: &Shared) {
    OPEN.store(ptr::from_ref(shared).cast_mut(), Ordering::SeqCst);
}

/// Closes the gate and waits until everybody has left. A handler takes microseconds; one whose thread the system has
/// put aside is waited for by giving up the processor to it.
pub(crate) fn close() {
    OPEN.store(ptr::null_mut(), Ordering::SeqCst);
    while INSIDE.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

/// In a fork's child: closes the gate without waiting, for those who were inside live in the parent.
pub(crate) fn abandon() {
    OPEN.store(ptr::null_mut(), Ordering::SeqCst);
    INSIDE.store(0, Ordering::SeqCst);
}
