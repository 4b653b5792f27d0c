//! What Linux and macOS have in common.

/// The process id.
pub(crate) fn pid() -> i32 {
    // SAFETY: a plain system call.
    unsafe { libc::getpid() }
}

/// Name, release and machine of the system as `uname(2)` has them.
pub(crate) fn system_name() -> String {
    // SAFETY: all-zero is a valid `utsname`, which the call fills in with strings that end in 0.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut name);
        name
    };
    let text = |field: &[libc::c_char]| -> String {
        field.iter().map(|unit| *unit as u8).take_while(|byte| *byte != 0).map(char::from).collect()
    };
    format!("{}-{}-{}", text(&name.sysname), text(&name.release), text(&name.machine))
}

/// The signals that an instruction can raise.
const RAISED_BY_INSTRUCTIONS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// The signal mask of the calling thread with every signal blocked, put back when dropped: a thread spawned meanwhile
/// inherits the full mask, so no signal of the program is ever delivered to it. Signals that it would raise itself are not
/// blocked: our loads may fault, and a fault that is blocked ends the process without its handler being asked (Linux
/// `kernel/signal.c`, `force_sig_info_to_task`).
pub(crate) struct AllSignalsBlocked(libc::sigset_t);

impl AllSignalsBlocked {
    pub(crate) fn new() -> Self {
        // SAFETY: both sets are initialised by the calls before they are read.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            for signal in RAISED_BY_INSTRUCTIONS {
                libc::sigdelset(&raw mut all, signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for AllSignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by `new`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_has_a_name() {
        let name = system_name();
        assert!(name.starts_with("Linux-") || name.starts_with("Darwin-"), "{name}");
    }
}
