//! SIGPROF: ours while a session runs, shared with whoever had it before.

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disposition;
use crate::handler::on_sigprof;
use crate::takeover::{Entry, LEVELS, Takeover};

static TAKEOVER: Takeover = Takeover::new(libc::SIGPROF, &ENTRIES);

static ENTRIES: [Entry; LEVELS] = [entry::<0>, entry::<1>, entry::<2>, entry::<3>];

/// Signals of others that reached us and had no handler of their own.
static UNCLAIMED: AtomicU64 = AtomicU64::new(0);

extern "C" fn entry<const LEVEL: usize>(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    on_sigprof(LEVEL, signal, info, context);
}

/// Puts our handler on top, if it is not there, remembering whose signal it was. `true` if it was not there.
///
/// # Errors
/// What `sigaction(2)` says; a sandbox may refuse it.
pub(crate) fn install() -> io::Result<bool> {
    // SA_RESTART: system calls go on by themselves where they can. SA_ONSTACK: where a thread has an alternate stack it is
    // used, since its own may be tiny (a Go runtime demands this of every handler) or nearly used up by deep recursion.
    TAKEOVER.install(|_| libc::SA_RESTART | libc::SA_ONSTACK)
}

/// Gives SIGPROF back to who had it, unless somebody has taken it over since. Ticks must have ended. What is still
/// pending is discarded on the way, in every thread, so it cannot meet a default action that ends the process.
pub(crate) fn uninstall() {
    TAKEOVER.uninstall(|| {
        let mut ignore = disposition::empty_action();
        ignore.sa_sigaction = libc::SIG_IGN;
        // Setting SIG_IGN flushes the signal from every queue (Linux `kernel/signal.c`, `do_sigaction`). It cannot fail: the
        // same signal was set before.
        let _ = disposition::set(libc::SIGPROF, &ignore);
    });
}

/// The same in a fork's child, which inherits no pending signal; async-signal-safe.
pub(crate) fn abandon() {
    TAKEOVER.uninstall(|| {});
}

/// A SIGPROF that is not ours: for whoever had the signal below `level`. Without a handler it is counted and otherwise
/// ignored: a profiled process must not die of it. Handler-safe.
pub(crate) fn pass_on(level: usize, signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if !TAKEOVER.below(level).is_some_and(|owner| owner.call(signal, info, context)) {
        UNCLAIMED.fetch_add(1, Ordering::Relaxed);
    }
}

/// SIGPROFs of others, since the process began, that no handler was there for.
pub(crate) fn unclaimed() -> u64 {
    UNCLAIMED.load(Ordering::Relaxed)
}
