//! SIGSEGV and SIGBUS while profiling: ours are the faults of one load instruction, everything else goes to its owner.
//!
//! A fault is ours exactly when the program counter is at [`safe_load::faulting_instruction`]. Anything else is treated
//! as if we were not there: a handler that was installed before is called with the same arguments, and where there was
//! none the default action is put back and the faulting instruction runs again, so that the kernel reports the true
//! signal, address and core.

use std::io;

use crate::cpu_context::CpuContext;
use crate::disposition::{self, SavedDisposition};
use crate::safe_load;

/// The two signals a bad load can raise: unmapped or protected memory, and a file mapping past its end.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

static PREVIOUS: [SavedDisposition; 2] = [const { SavedDisposition::default_action() }; 2];

fn previous(signal: libc::c_int) -> &'static SavedDisposition {
    if signal == libc::SIGSEGV { &PREVIOUS[0] } else { &PREVIOUS[1] }
}

fn ours() -> usize {
    on_fault as *const () as usize
}

/// Installs the handler for both signals, keeping what was there.
///
/// # Errors
/// What `sigaction(2)` says; a sandbox may refuse it.
pub(crate) fn install() -> io::Result<()> {
    for signal in SIGNALS {
        let before = disposition::current(signal)?;
        if before.sa_sigaction == ours() {
            continue;
        }
        previous(signal).save(&before);
        let mut action = before;
        action.sa_sigaction = ours();
        // SA_NODEFER: a second fault inside a chained handler must reach its owner too. SA_ONSTACK as the owner had it,
        // or always where there was none: a stack overflow can only be reported on another stack.
        let on_stack = match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => libc::SA_ONSTACK,
            _ => before.sa_flags & libc::SA_ONSTACK,
        };
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | on_stack;
        disposition::set(signal, &action)?;
    }
    Ok(())
}

/// Puts back what was there, for each signal that is still ours; async-signal-safe (a fork's child calls it).
pub(crate) fn uninstall() {
    for signal in SIGNALS {
        if disposition::is_handled_by(signal, ours()) {
            previous(signal).restore(signal);
        }
    }
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `ucontext_t` to an SA_SIGINFO handler; nobody else has it while we run.
    let mut cpu = unsafe { CpuContext::from_raw(context) };
    if cpu.program_counter() == safe_load::faulting_instruction() as u64 {
        cpu.set_program_counter(safe_load::recovery_instruction() as u64);
        return;
    }
    // SAFETY: the kernel passes a valid `siginfo_t`.
    let from_kernel = unsafe { (*info).si_code } > 0;
    match previous(signal).handler() {
        libc::SIG_IGN if !from_kernel => {}
        // The kernel does not let a real fault be ignored either. Returning runs the instruction again.
        libc::SIG_DFL | libc::SIG_IGN => {
            let _ = disposition::set(signal, &disposition::empty_action());
            if !from_kernel {
                // Sent by kill or raise: nothing will fault again, so it is sent again to this thread.
                // SAFETY: plain system calls with integers.
                unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::syscall(libc::SYS_gettid), signal) };
            }
        }
        _ => previous(signal).call(signal, info, context),
    }
}
