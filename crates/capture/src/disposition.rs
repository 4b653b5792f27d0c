//! What a process does on a signal, kept where a handler may read it.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

/// A signal mask as words: 128 bytes in glibc and musl alike, 4 on macOS.
const MASK_WORDS: usize = size_of::<libc::sigset_t>() / size_of::<u32>();

type MaskWords = [u32; MASK_WORDS];

/// Set beside a handler's address when it takes three arguments. User addresses leave the top bit free, and one word
/// means that a handler never sees the address of one disposition with the kind of another.
const TAKES_SIGINFO: usize = 1 << (usize::BITS - 1);

/// A disposition that was there before ours. Written under the session's lock, read by handlers.
pub(crate) struct SavedDisposition {
    /// Address and [`TAKES_SIGINFO`].
    handler: AtomicUsize,
    flags: AtomicI32,
    mask: [AtomicU32; MASK_WORDS],
}

impl SavedDisposition {
    /// The default action.
    pub(crate) const fn default_action() -> Self {
        Self {
            handler: AtomicUsize::new(libc::SIG_DFL),
            flags: AtomicI32::new(0),
            mask: [const { AtomicU32::new(0) }; MASK_WORDS],
        }
    }

    pub(crate) fn save(&self, action: &libc::sigaction) {
        let kind = if action.sa_flags & libc::SA_SIGINFO != 0 { TAKES_SIGINFO } else { 0 };
        self.handler.store(action.sa_sigaction | kind, Ordering::SeqCst);
        self.flags.store(action.sa_flags, Ordering::SeqCst);
        // SAFETY: plain old data of the same size, which the compiler checks.
        let words = unsafe { std::mem::transmute::<libc::sigset_t, MaskWords>(action.sa_mask) };
        for (place, word) in self.mask.iter().zip(words) {
            place.store(word, Ordering::SeqCst);
        }
    }

    /// Sets `signal` to what was saved; async-signal-safe.
    pub(crate) fn restore(&self, signal: libc::c_int) {
        let mut action = empty_action();
        action.sa_sigaction = self.handler();
        action.sa_flags = self.flags.load(Ordering::SeqCst);
        action.sa_mask = self.mask();
        // It was accepted once, so it is again; and there is nobody to tell otherwise.
        set_silently(signal, &action);
    }

    /// Address of the handler, or `SIG_DFL` or `SIG_IGN`.
    pub(crate) fn handler(&self) -> usize {
        self.handler.load(Ordering::SeqCst) & !TAKES_SIGINFO
    }

    /// Calls the saved handler as the kernel would have: with the signals blocked that its owner wanted blocked, and for the
    /// last time if it was to be called once. What is blocked here is unblocked by the return from our own handler.
    /// `false` if there is no handler to call, only `SIG_DFL` or `SIG_IGN`. Handler-safe.
    pub(crate) fn call(&self, signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) -> bool {
        let saved = self.handler.load(Ordering::SeqCst);
        let address = saved & !TAKES_SIGINFO;
        if matches!(address, libc::SIG_DFL | libc::SIG_IGN) {
            return false;
        }
        let flags = self.flags.load(Ordering::SeqCst);
        if flags & libc::SA_RESETHAND != 0 {
            self.handler.store(libc::SIG_DFL, Ordering::SeqCst);
        }
        let mut blocked = self.mask();
        // SAFETY: both sets are whole and only integers are passed else; both calls are async-signal-safe.
        unsafe {
            if flags & libc::SA_NODEFER == 0 {
                libc::sigaddset(&raw mut blocked, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, ptr::null_mut());
        }
        if saved & TAKES_SIGINFO != 0 {
            // SAFETY: the owner installed this address as an SA_SIGINFO handler.
            let call: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(address) };
            call(signal, info, context);
        } else {
            // SAFETY: the owner installed this address as a plain handler.
            let call: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(address) };
            call(signal);
        }
        true
    }

    fn mask(&self) -> libc::sigset_t {
        let mut words: MaskWords = [0; MASK_WORDS];
        for (word, place) in words.iter_mut().zip(&self.mask) {
            *word = place.load(Ordering::SeqCst);
        }
        // SAFETY: plain old data of the same size, which the compiler checks.
        unsafe { std::mem::transmute::<MaskWords, libc::sigset_t>(words) }
    }
}

/// The default action with an empty mask and no flags, to be filled in.
pub(crate) fn empty_action() -> libc::sigaction {
    // SAFETY: all-zero is a valid `sigaction`, and SIG_DFL is 0.
    unsafe { std::mem::zeroed() }
}

/// What the process does on `signal` now.
///
/// # Errors
/// What `sigaction(2)` says; a sandbox may refuse it.
pub(crate) fn current(signal: libc::c_int) -> io::Result<libc::sigaction> {
    let mut action = empty_action();
    // SAFETY: a null new action only asks; `action` is a valid place to write to.
    match unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } {
        0 => Ok(action),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether `handler` is what the process does on `signal` now.
pub(crate) fn is_handled_by(signal: libc::c_int, handler: usize) -> bool {
    current(signal).is_ok_and(|action| action.sa_sigaction == handler)
}

/// Changes what the process does on `signal`, where there is nobody to tell if that is refused; handler-safe, which a
/// `Result` is not: to drop an `io::Error` may free memory.
pub(crate) fn set_silently(signal: libc::c_int, action: &libc::sigaction) {
    // SAFETY: as in `replace`; a null place for the old action is allowed.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}

/// Changes what the process does on `signal`.
///
/// # Errors
/// As [`current`].
pub(crate) fn set(signal: libc::c_int, action: &libc::sigaction) -> io::Result<()> {
    replace(signal, action).map(|_| ())
}

/// The same, and tells what it did until then.
///
/// # Errors
/// As [`current`].
pub(crate) fn replace(signal: libc::c_int, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    let mut before = empty_action();
    // SAFETY: `action` is fully initialised, and its handler, where it has one, is a function of the kind that its flags
    // say: ours by construction, others' because it was read from the system. `before` is a valid place to write to.
    match unsafe { libc::sigaction(signal, action, &raw mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}
