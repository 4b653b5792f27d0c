//! A thread of this process, suspended for a moment.

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Diagnostics::Debug::{
    CONTEXT, CONTEXT_CONTROL_AMD64, CONTEXT_INTEGER_AMD64, GetThreadContext,
};
use windows_sys::Win32::System::Threading::{ResumeThread, SuspendThread};

/// `CONTEXT` must begin at a multiple of 16.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(crate) struct Registers(pub(crate) CONTEXT);

/// Suspends the thread of `handle`, shows its registers to `look`, and lets it go on. `None` where it cannot be suspended: it
/// has ended, or the program has suspended it too often itself. `look` may want no lock that the thread may have.
pub(crate) fn stand_still<T>(handle: HANDLE, look: impl FnOnce(&Registers) -> T) -> Option<T> {
    // SAFETY: all-zero is a valid context.
    let mut registers = Registers(unsafe { std::mem::zeroed() });
    registers.0.ContextFlags = CONTEXT_CONTROL_AMD64 | CONTEXT_INTEGER_AMD64;
    // SAFETY: a handle of a thread of this process that is not the calling one.
    if unsafe { SuspendThread(handle) } == u32::MAX {
        return None;
    }
    // The call above only asks for it; this one returns when the thread has come to a stand.
    // SAFETY: the structure is whole, aligned and says what is to be filled in.
    let known = unsafe { GetThreadContext(handle, &raw mut registers.0) };
    let seen = (known != 0).then(|| look(&registers));
    // SAFETY: as above; it was suspended once by us.
    unsafe { ResumeThread(handle) };
    seen
}
