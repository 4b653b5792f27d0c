//! SIGSEGV and SIGBUS while profiling: ours are the faults of our own loads, everything else goes to its owner.
//!
//! A fault is ours exactly when the kernel raised it with the program counter at an instruction of [`safe_load`]'s.
//! Anything else is treated as if we were not there: a handler that was installed before is called with the same arguments,
//! and where there was none the default action is put back and the faulting instruction runs again, so that the kernel
//! reports the true signal, address and core.
//!
//! A thread that blocks these signals dies of a fault all the same (Linux `kernel/signal.c`, `force_sig_info_to_task`), so
//! they are unblocked where our loads are done: [`allow_in_handler`], [`Allowed`].

use std::io;
use std::ptr;

use crate::cpu_context::CpuContext;
use crate::disposition;
use crate::platform;
use crate::safe_load;
use crate::takeover::{Entry, LEVELS, Takeover};

/// What [`install`] asks for.
pub(crate) const WHAT: &str = "handlers for SIGSEGV and SIGBUS";

/// The two signals a bad load can raise: unmapped or protected memory, and a file mapping past its end.
static TAKEOVERS: [Takeover; 2] = [Takeover::new(libc::SIGSEGV, &ENTRIES), Takeover::new(libc::SIGBUS, &ENTRIES)];

static ENTRIES: [Entry; LEVELS] = [on_fault::<0>, on_fault::<1>, on_fault::<2>, on_fault::<3>];

/// Puts our handler on top for both signals, if it is not there, keeping what was. To be called again from time to time: a
/// program that enables faulthandler during a session would otherwise get our faults.
///
/// # Errors
/// What `sigaction(2)` says; a sandbox may refuse it.
pub(crate) fn install() -> io::Result<()> {
    for takeover in &TAKEOVERS {
        takeover.install(|before| {
            // SA_NODEFER: whoever runs in a chained handler has the signals blocked that its owner wanted, not those that
            // we need. SA_ONSTACK as the owner had it, or always where there was none: a stack overflow can only be reported
            // on another stack.
            let on_stack = match before.sa_sigaction {
                libc::SIG_DFL | libc::SIG_IGN => libc::SA_ONSTACK,
                _ => before.sa_flags & libc::SA_ONSTACK,
            };
            libc::SA_NODEFER | on_stack
        })?;
    }
    Ok(())
}

/// Puts back what was there, for each signal that is still ours; async-signal-safe (a fork's child calls it).
pub(crate) fn uninstall() {
    for takeover in &TAKEOVERS {
        takeover.uninstall(|| {});
    }
}

extern "C" fn on_fault<const LEVEL: usize>(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid `ucontext_t` to an SA_SIGINFO handler; nobody else has it while we run.
    let mut cpu = unsafe { CpuContext::from_raw(context) };
    // SAFETY: the kernel passes a valid `siginfo_t`.
    let code = unsafe { (*info).si_code };
    let from_kernel = platform::is_fault(code);
    if from_kernel && let Some(elsewhere) = safe_load::recovery(cpu.program_counter()) {
        cpu.set_program_counter(elsewhere);
        #[cfg(feature = "inject-faults")]
        crate::injection::note_fault();
        return;
    }
    let [segv, bus] = &TAKEOVERS;
    let Some(owner) = (if signal == libc::SIGSEGV { segv } else { bus }).below(LEVEL) else { return };
    if owner.call(signal, info, context) || (owner.handler() == libc::SIG_IGN && !from_kernel) {
        return;
    }
    // The default action; the kernel does not let a real fault be ignored either. Returning runs the instruction again.
    disposition::set_silently(signal, &disposition::empty_action());
    if !platform::comes_again(signal, code) {
        // SAFETY: what the kernel gave us.
        unsafe { platform::send_again(signal, info) };
    }
}

/// Both signals as a set.
fn set() -> libc::sigset_t {
    // SAFETY: all-zero is a valid set, and the calls, which are async-signal-safe, fill it in.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGSEGV);
        libc::sigaddset(&raw mut set, libc::SIGBUS);
        set
    }
}

/// Lets our loads fault in a handler whose thread blocks the two signals: one that handles a fault of its own, for instance.
/// The return from the handler blocks them again. Handler-safe.
pub(crate) fn allow_in_handler(cpu: &CpuContext<'_>) {
    if cpu.blocks_faults() {
        // SAFETY: a whole set; the call is async-signal-safe.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set(), ptr::null_mut()) };
    }
}

/// The two signals unblocked in the calling thread, as they were before when dropped.
pub(crate) struct Allowed(libc::sigset_t);

impl Allowed {
    pub(crate) fn new() -> Self {
        // SAFETY: both sets are whole; the second is filled in by the call.
        unsafe {
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set(), &raw mut before);
            Self(before)
        }
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by `new`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}
