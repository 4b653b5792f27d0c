//! fork: the parent goes on as if nothing had been, the child is not profiled and can start its own session.
//!
//! SIGPROF is held back in the forking thread, because a fork that takes longer than the interval would be interrupted
//! and begun again for ever (Linux restarts `clone` with ERESTARTNOINTR). The lock over the session is held across the
//! fork, so that the child finds it in one piece and free.

use std::cell::UnsafeCell;
use std::sync::{MutexGuard, Once};

use crate::operation;
use crate::session::{self, Session};

/// What `prepare` leaves for the other two, which run on the same thread.
struct Across(UnsafeCell<Option<(MutexGuard<'static, Option<Session>>, libc::sigset_t)>>);

// SAFETY: only the thread that holds the session's lock, from `prepare` to `parent` or `child`, touches the cell.
unsafe impl Sync for Across {}

static ACROSS: Across = Across(UnsafeCell::new(None));
static REGISTER: Once = Once::new();

/// Registers the three handlers, once in a process.
pub(crate) fn register() {
    REGISTER.call_once(|| {
        // SAFETY: three functions that live as long as the process: extension modules are never unloaded.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    });
}

extern "C" fn prepare() {
    let control = session::control();
    // SAFETY: all-zero is a valid set, and the calls fill it in.
    let before = unsafe {
        let mut sigprof: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut sigprof);
        libc::sigaddset(&raw mut sigprof, libc::SIGPROF);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sigprof, &raw mut before);
        before
    };
    // SAFETY: this thread holds the lock.
    unsafe { *ACROSS.0.get() = Some((control, before)) };
}

fn take() -> Option<(MutexGuard<'static, Option<Session>>, libc::sigset_t)> {
    // SAFETY: this thread took the lock in `prepare` and holds it until what is returned here is dropped.
    unsafe { (*ACROSS.0.get()).take() }
}

fn restore_mask(before: &libc::sigset_t) {
    // SAFETY: the set was filled in by `prepare`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

extern "C" fn parent() {
    if let Some((control, before)) = take() {
        drop(control);
        restore_mask(&before);
    }
}

extern "C" fn child() {
    operation::forget_all();
    if let Some((mut control, before)) = take() {
        if let Some(session) = control.take() {
            session.abandon();
        }
        drop(control);
        restore_mask(&before);
    }
}
