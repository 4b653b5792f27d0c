//! SIGPROF: ours while a session runs, shared with whoever had it before.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disposition::{self, SavedDisposition};
use crate::handler::on_sigprof;

static PREVIOUS: SavedDisposition = SavedDisposition::default_action();
/// Signals of others that reached us and had no handler of their own.
static UNCLAIMED: AtomicU64 = AtomicU64::new(0);

fn ours() -> usize {
    on_sigprof as *const () as usize
}

/// Whether SIGPROF is ours right now.
pub(crate) fn is_installed() -> bool {
    disposition::is_handled_by(libc::SIGPROF, ours())
}

/// Takes SIGPROF, remembering who had it.
///
/// # Errors
/// What `sigaction(2)` says; a sandbox may refuse it.
pub(crate) fn install() -> io::Result<()> {
    let before = disposition::current(libc::SIGPROF)?;
    if before.sa_sigaction == ours() {
        return Ok(());
    }
    PREVIOUS.save(&before);
    let mut action = disposition::empty_action();
    action.sa_sigaction = ours();
    // SA_RESTART: system calls go on by themselves where they can. SA_ONSTACK: where a thread has an alternate stack it is
    // used, since its own may be tiny (a Go runtime demands this of every handler) or nearly used up by deep recursion.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    disposition::set(libc::SIGPROF, &action)
}

/// Gives SIGPROF back to who had it, unless somebody has taken it over since. Ticks must have ended. What is still
/// pending is discarded on the way, in every thread, so it cannot meet a default action that ends the process.
pub(crate) fn uninstall() {
    if !is_installed() {
        return;
    }
    let mut ignore = disposition::empty_action();
    ignore.sa_sigaction = libc::SIG_IGN;
    // Setting SIG_IGN flushes the signal from every queue (Linux `kernel/signal.c`, `do_sigaction`). It cannot fail: the
    // same signal was set before.
    let _ = disposition::set(libc::SIGPROF, &ignore);
    PREVIOUS.restore(libc::SIGPROF);
}

/// The same in a fork's child, which inherits no pending signal; async-signal-safe.
pub(crate) fn abandon() {
    if is_installed() {
        PREVIOUS.restore(libc::SIGPROF);
    }
}

/// A SIGPROF that is not ours: for whoever had the signal before. Without a handler it is counted and otherwise ignored:
/// a profiled process must not die of it. Handler-safe.
pub(crate) fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    match PREVIOUS.handler() {
        libc::SIG_DFL | libc::SIG_IGN => {
            UNCLAIMED.fetch_add(1, Ordering::Relaxed);
        }
        _ => PREVIOUS.call(signal, info, context),
    }
}

/// SIGPROFs of others, since the process began, that no handler was there for.
pub(crate) fn unclaimed() -> u64 {
    UNCLAIMED.load(Ordering::Relaxed)
}
