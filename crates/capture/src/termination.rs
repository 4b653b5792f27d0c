//! SIGTERM while an output file is wanted and the program has no handler of its own.
//!
//! The handler leaves a note and wakes the collector. The collector's thread, which needs neither the GIL nor the main thread, saves the
//! profile and then lets the process die of the signal as it would have without us. A second SIGTERM kills at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::disposition::{self, SavedDisposition};
use crate::gate;
use crate::platform;

static PREVIOUS: SavedDisposition = SavedDisposition::default_action();
static REQUESTED: AtomicBool = AtomicBool::new(false);

fn ours() -> usize {
    on_sigterm as *const () as usize
}

/// Takes SIGTERM if it has its default action; a program that handles it itself ends as it likes, through atexit.
pub(crate) fn install() {
    REQUESTED.store(false, Ordering::SeqCst);
    let Ok(before) = disposition::current(libc::SIGTERM) else { return };
    if before.sa_sigaction != libc::SIG_DFL {
        return;
    }
    PREVIOUS.save(&before);
    let mut action = disposition::empty_action();
    action.sa_sigaction = ours();
    action.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND | libc::SA_ONSTACK;
    // A sandbox that refuses it costs the profile of a killed process, nothing else.
    let _ = disposition::set(libc::SIGTERM, &action);
}

/// Gives SIGTERM back if it is still ours; async-signal-safe.
pub(crate) fn uninstall() {
    if disposition::is_handled_by(libc::SIGTERM, ours()) {
        PREVIOUS.restore(libc::SIGTERM);
    }
}

/// Whether SIGTERM has come.
pub(crate) fn was_requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

extern "C" fn on_sigterm(_signal: libc::c_int) {
    REQUESTED.store(true, Ordering::SeqCst);
    let errno = platform::errno_location();
    // SAFETY: the location of errno is valid in every thread.
    let saved_errno = unsafe { *errno };
    if let Some(shared) = gate::enter() {
        shared.nap.wake();
    }
    // SAFETY: as above.
    unsafe { *errno = saved_errno };
}

/// Ends the process by SIGTERM's default action.
pub(crate) fn die() -> ! {
    let _ = disposition::set(libc::SIGTERM, &disposition::empty_action());
    loop {
        // SAFETY: a plain system call. This thread blocks all signals; any other may take it.
        unsafe { libc::kill(platform::pid(), libc::SIGTERM) };
        // Every other thread may block it too, and then it waits for one that does not, as it would have without us.
        // SAFETY: a plain call.
        unsafe { libc::pause() };
    }
}
