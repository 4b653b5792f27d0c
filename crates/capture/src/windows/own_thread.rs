//! The profiler's own thread, where the system's threads are std's.

use std::ffi::CStr;
use std::io;
use std::thread::JoinHandle;

type Body = Box<dyn FnOnce() + Send>;

/// A thread that was started and is to be joined.
pub(crate) struct OwnThread(JoinHandle<()>);

impl OwnThread {
    /// Runs `body` in a thread of that name and size of stack.
    pub(crate) fn spawn(name: &'static CStr, stack_bytes: usize, body: Body) -> io::Result<Self> {
        let named = std::thread::Builder::new().name(name.to_string_lossy().into_owned());
        named.stack_size(stack_bytes).spawn(body).map(Self)
    }

    /// Waits for the thread to end. Nobody could act on a panic of it.
    pub(crate) fn join(self) {
        let _ = self.0.join();
    }
}
