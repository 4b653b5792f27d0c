//! The profiler's own thread.
//!
//! Not `std::thread`: what that allocates for a thread comes past the extension's allocator (Rust 1.95, `std/src/thread/thread.rs`,
//! `Thread::new`), and where it is refused the process ends. Here a refusal is an error.

use std::ffi::{CStr, c_void};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};

type Body = Box<dyn FnOnce() + Send>;

/// A thread that was started and is to be joined.
pub(crate) struct OwnThread(libc::pthread_t);

// SAFETY: a thread may be joined by any other.
unsafe impl Send for OwnThread {}

#[derive(Default)]
struct Started {
    has_begun: Mutex<bool>,
    changed: Condvar,
}

impl OwnThread {
    /// Runs `body` in a thread of that name and size of stack. Returns when it has begun: what the C library keeps for each
    /// thread it has got by then, and later it would end the process if there were no memory for it.
    pub(crate) fn spawn(name: &'static CStr, stack_bytes: usize, body: Body) -> io::Result<Self> {
        let started = Arc::new(Started::default());
        let begins = Arc::clone(&started);
        let body: Body = Box::new(move || {
            set_own_name(name);
            *begins.has_begun.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
            begins.changed.notify_one();
            drop(begins);
            body();
        });
        let argument = Box::into_raw(Box::new(body));
        // SAFETY: the attributes are initialised before they are used and destroyed once; `main` takes back the box that
        // `argument` is, and where no thread was made it is taken back here.
        let outcome = unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            let mut status = libc::pthread_attr_init(&raw mut attributes);
            let mut thread: libc::pthread_t = std::mem::zeroed();
            if status == 0 {
                // A size that is too small for this system leaves the default, which is large enough.
                libc::pthread_attr_setstacksize(&raw mut attributes, stack_bytes);
                status = libc::pthread_create(&raw mut thread, &raw const attributes, main, argument.cast());
                libc::pthread_attr_destroy(&raw mut attributes);
            }
            if status == 0 {
                Ok(Self(thread))
            } else {
                drop(Box::from_raw(argument));
                Err(io::Error::from_raw_os_error(status))
            }
        }?;
        let mut has_begun = started.has_begun.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while !*has_begun {
            has_begun = started.changed.wait(has_begun).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        Ok(outcome)
    }

    /// Waits for the thread to end.
    pub(crate) fn join(self) {
        // SAFETY: the thread was made to be joined and is joined once, by value.
        unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) };
    }
}

/// Names the calling thread; at most 15 bytes on Linux.
fn set_own_name(name: &'static CStr) {
    // SAFETY: the name is a C string, the thread the calling one.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::pthread_setname_np(libc::pthread_self(), name.as_ptr());
    }
    // SAFETY: as above; here it is always the calling one.
    #[cfg(target_os = "macos")]
    unsafe {
        libc::pthread_setname_np(name.as_ptr());
    }
}

extern "C" fn main(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` made it of such a box, for this call.
    let body = unsafe { Box::from_raw(argument.cast::<Body>()) };
    // Nobody could act on a panic, and it must not leave Rust.
    let _ = catch_unwind(AssertUnwindSafe(body));
    std::ptr::null_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_under_its_name_and_a_panic_ends_it_alone() {
        let seen = Arc::new(Mutex::new(String::new()));
        let writes = Arc::clone(&seen);
        let thread = OwnThread::spawn(
            c"a name",
            256 << 10,
            Box::new(move || {
                let name = std::fs::read_to_string("/proc/thread-self/comm").expect("Linux 3.17");
                writes.lock().expect("nobody panicked yet").push_str(name.trim());
                panic!("for the test");
            }),
        )
        .expect("there are threads left");
        thread.join();
        assert_eq!(*seen.lock().expect("the lock was let go before"), "a name");
    }

    #[test]
    fn a_thread_that_cannot_be_made_is_an_error() {
        // More stack than any address space has.
        let refused = OwnThread::spawn(c"large", 1 << 50, Box::new(|| {}));
        assert!(refused.is_err());
    }
}
