//! What Linux and macOS have in common.

use std::ffi::CStr;

use super::Tid;

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
        field.iter().flat_map(|unit| unit.to_ne_bytes()).take_while(|byte| *byte != 0).map(char::from).collect()
    };
    format!("{}-{}-{}", text(&name.sysname), text(&name.release), text(&name.machine))
}

/// Time since the epoch in ns.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME).unwrap_or(0)
}

/// CPU time of the calling thread in ns; handler-safe.
pub(crate) fn own_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// CPU time of the whole process in ns.
pub(crate) fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

/// The time that a clock of clock_gettime(2) shows, ns; `None` where there is no such clock. Handler-safe.
pub(super) fn clock_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to; an unknown clock is an error, not undefined.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then(|| (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64))
}

/// Nobody will ask about thread `tid` any more; nothing is kept of it here.
pub(crate) fn forget_thread(_tid: Tid) {}

/// What `threading.get_ident()` gives for the calling thread (`Python/thread_pthread.h`).
pub(crate) fn own_python_id() -> u64 {
    // SAFETY: returns the calling thread's handle.
    unsafe { libc::pthread_self() as u64 }
}

/// Address of what this process exports as `name`, null where there is none.
pub(crate) fn symbol(name: &CStr) -> *const () {
    // SAFETY: a terminated name; a symbol that is not there gives null.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.cast_const().cast()
}

/// A thread on CPU looks at itself, at the ticks of its timer or at those that the collector sends.
pub(crate) const HAS_TICKS: bool = true;

/// A thread whose CPU clock shows what it showed before has not run: it moves with every nanosecond, or microsecond.
pub(crate) const CLOCK_SHOWS_REST: bool = true;

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
