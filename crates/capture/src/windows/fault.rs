//! Access violations while profiling: ours are those of our own loads, everything else goes on as if we were not there.
//!
//! A vectored handler is asked before anything of the program's. It knows ours by the program counter alone, as the handler
//! for SIGSEGV does elsewhere.

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::Mutex;

use windows_sys::Win32::Foundation::{
    EXCEPTION_ACCESS_VIOLATION, EXCEPTION_IN_PAGE_ERROR, STATUS_GUARD_PAGE_VIOLATION,
};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_POINTERS, RemoveVectoredExceptionHandler,
};
use windows_sys::Win32::System::Memory::{MEMORY_BASIC_INFORMATION, PAGE_GUARD, VirtualProtect, VirtualQuery};

use crate::platform;
use crate::safe_load;

/// What a vectored handler returns (Windows documentation of `PVECTORED_EXCEPTION_HANDLER`).
const CONTINUE_EXECUTION: i32 = -1;
const CONTINUE_SEARCH: i32 = 0;

/// What [`install`] asks for.
pub(crate) const WHAT: &str = "a handler for access violations";

/// The handle of our handler as a number, 0 while there is none.
static INSTALLED: Mutex<usize> = Mutex::new(0);

/// Puts our handler before all others. To be called again from time to time: a program that enables faulthandler during a
/// session would otherwise be told of our faults.
///
/// # Errors
/// When the system has no memory for it.
pub(crate) fn install() -> io::Result<()> {
    let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // SAFETY: a function that lives as long as the process: extension modules are never unloaded.
    let handle = unsafe { AddVectoredExceptionHandler(1, Some(on_exception)) };
    if handle.is_null() {
        return Err(platform::last_error());
    }
    // The new one stands before the old goes, so there is always one.
    remove(std::mem::replace(&mut *installed, handle as usize));
    Ok(())
}

/// Takes it away.
pub(crate) fn uninstall() {
    let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    remove(std::mem::take(&mut *installed));
}

fn remove(handle: usize) {
    if handle != 0 {
        // SAFETY: what the system gave for our handler, and only once.
        unsafe { RemoveVectoredExceptionHandler(ptr::without_provenance::<c_void>(handle)) };
    }
}

unsafe extern "system" fn on_exception(exception: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: the system passes a record and a context that are whole; nobody else has them while we run.
    unsafe {
        let code = (*(*exception).ExceptionRecord).ExceptionCode;
        let context = (*exception).ContextRecord;
        let is_load =
            [EXCEPTION_ACCESS_VIOLATION, EXCEPTION_IN_PAGE_ERROR, STATUS_GUARD_PAGE_VIOLATION].contains(&code);
        if is_load && let Some(elsewhere) = safe_load::recovery((*context).Rip) {
            if code == STATUS_GUARD_PAGE_VIOLATION {
                guard_again((*(*exception).ExceptionRecord).ExceptionInformation[1]);
            }
            (*context).Rip = elsewhere;
            return CONTINUE_EXECUTION;
        }
    }
    CONTINUE_SEARCH
}

/// Puts the guard of the page at `address` back, which the system takes away with the first fault: by it the system knows when a
/// thread's stack is to grow, and without it the thread would die of its next page (Windows documentation, "Creating Guard
/// Pages"). Two system calls, and no lock of the process.
fn guard_again(address: usize) {
    let address = ptr::without_provenance::<c_void>(address);
    // SAFETY: all-zero is a valid structure, and as much room as is said; the page gets the protection that it had. If somebody
    // else has changed it meanwhile, it has a guard again, which costs its owner one fault.
    unsafe {
        let mut page: MEMORY_BASIC_INFORMATION = std::mem::zeroed();
        let mut before = 0;
        if VirtualQuery(address, &raw mut page, size_of::<MEMORY_BASIC_INFORMATION>()) != 0 {
            VirtualProtect(address, 1, page.Protect | PAGE_GUARD, &raw mut before);
        }
    }
}

/// A fault is always delivered: there is nothing that could block it.
pub(crate) struct Allowed;

impl Allowed {
    pub(crate) fn new() -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use interpreter::{Fault, Memory, WordOffsets};
    use windows_sys::Win32::System::Memory::{
        MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
    };

    use super::*;

    use crate::safe_load::LiveMemory;
    use crate::session::with_faults_caught;

    #[test]
    fn a_guard_is_put_back() {
        // Not by a load that faults: what that does to the page is Windows' own, and Wine sometimes lets it pass.
        // SAFETY: a page of our own, which nobody touches and which is freed once; all-zero is a valid structure.
        unsafe {
            let page = VirtualAlloc(ptr::null(), 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
            assert!(!page.is_null());
            guard_again(page as usize);
            let mut found: MEMORY_BASIC_INFORMATION = std::mem::zeroed();
            assert_ne!(VirtualQuery(page, &raw mut found, size_of::<MEMORY_BASIC_INFORMATION>()), 0);
            assert_eq!(found.Protect, PAGE_READWRITE | PAGE_GUARD);
            VirtualFree(page, 0, MEM_RELEASE);
        }
    }

    #[test]
    fn a_bad_address_is_an_error_and_a_good_one_is_read() {
        let word = 0x1234_5678_9abc_def0_u64;
        with_faults_caught(|| {
            assert_eq!(LiveMemory.read_u64((&raw const word) as u64), Ok(word));
            for bad in [0, 0x10_000 - 8, 0x7fff_ffff_f000, u64::MAX & !7, 0x8000_0000_0000_0000] {
                assert_eq!(LiveMemory.read_u64(bad), Err(Fault), "{bad:#x}");
                let second = [bad, 2];
                let first = [(&raw const second) as u64, 1];
                let mut found = [[0; 4]; 3];
                let offsets = WordOffsets::new([0, 8, 8, 0]).expect("multiples of 8");
                assert_eq!(LiveMemory.read_chain((&raw const first) as u64, &offsets, &mut found), 2, "{bad:#x}");
                assert_eq!(found[..2].iter().map(|link| link[1]).collect::<Vec<_>>(), [1, 2]);
            }
        });
    }
}
