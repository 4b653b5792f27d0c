//! Shared memory that may be used at any time until it is taken away, and then by nobody.
//!
//! Whoever enters announces itself, then looks whether there is anything. Closing takes it away first and then waits until
//! all who had entered have left. The announcement and the closer's count are both read-modify-writes of one counter, so one
//! of them comes first: either the closer counts whoever enters, or that one sees what the closer did before it counted.

use std::ops::Deref;
use std::ptr;

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, yield_now};

/// The way to a `T`.
pub(crate) struct Turnstile<T> {
    pub(crate) open: AtomicPtr<T>,
    pub(crate) inside: AtomicUsize,
}

/// The `T`, for as long as this lives.
pub(crate) struct Entered<'a, T> {
    shared: *const T,
    inside: &'a AtomicUsize,
}

impl<T> Deref for Entered<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: non-null by `enter`, and `close` waits for us before its caller frees it.
        unsafe { &*self.shared }
    }
}

impl<T> Drop for Entered<'_, T> {
    fn drop(&mut self) {
        // Release, with the Acquire in `close`: all use of it comes before whatever its owner does next.
        self.inside.fetch_sub(1, Ordering::Release);
    }
}

impl<T> Turnstile<T> {
    /// The `T`, or `None` while it is closed; handler-safe.
    pub(crate) fn enter(&self) -> Option<Entered<'_, T>> {
        // Acquire, with the Release in `close`: if the closer has counted already, what it took away is seen to be gone.
        self.inside.fetch_add(1, Ordering::Acquire);
        // Made at once, so that every way out leaves again. Acquire, with the Release in `open`: its contents are there.
        let entered = Entered { shared: self.open.load(Ordering::Acquire), inside: &self.inside };
        if entered.shared.is_null() { None } else { Some(entered) }
    }

    /// Opens the way to `shared`, which must stay where it is until [`Self::close`] has returned.
    pub(crate) fn open(&self, shared: &T) {
        self.open.store(ptr::from_ref(shared).cast_mut(), Ordering::Release);
    }

    /// Takes it away and waits until everybody has left. A handler takes microseconds; one whose thread the system has put
    /// aside is waited for by giving up the processor to it.
    pub(crate) fn close(&self) {
        self.open.store(ptr::null_mut(), Ordering::Release);
        self.wait_until_empty();
    }

    /// Waits for a moment in which nobody is inside: whoever comes later sees what the caller did before.
    pub(crate) fn wait_until_empty(&self) {
        while self.inside.fetch_add(0, Ordering::AcqRel) != 0 {
            yield_now();
        }
    }

    /// In a fork's child: closes it without waiting, for those who were inside live in the parent.
    pub(crate) fn abandon(&self) {
        self.open.store(ptr::null_mut(), Ordering::SeqCst);
        self.inside.store(0, Ordering::SeqCst);
    }
}
