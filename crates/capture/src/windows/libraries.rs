//! The libraries of the process, and what they export.

use std::ffi::CStr;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::ProcessStatus::{K32EnumProcessModules, K32GetModuleInformation, MODULEINFO};
use windows_sys::Win32::System::Threading::GetCurrentProcess;
use windows_sys::w;

/// The list of libraries cannot be read, or not all of it, while another thread loads one (Windows documentation of
/// `EnumProcessModulesEx`): so often it is tried.
const MAX_LIST_READINGS: u32 = 10;

/// Address of what the interpreter's library exports as `name`, null where there is none.
pub(crate) fn symbol(name: &CStr) -> *const () {
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    let find = || modules().into_iter().find(|module| !export(*module, c"_PyRuntime").is_null());
    // Only what was found is kept: the next session may find what this one does not.
    let library = LIBRARY.get().copied().or_else(|| (0..MAX_LIST_READINGS).find_map(|_| find()));
    library.map_or(ptr::null(), |library| export(*LIBRARY.get_or_init(|| library), name))
}

/// Address of what the library at `module` exports as `name`, null where it does not.
pub(crate) fn export(module: usize, name: &CStr) -> *const () {
    // SAFETY: a module of this process that is not unloaded while the interpreter is in it, and a name that ends in 0.
    let found = unsafe { GetProcAddress(module as HMODULE, name.as_ptr().cast()) };
    found.map_or(ptr::null(), |function| function as *const ())
}

/// The program and the libraries that are loaded.
fn modules() -> Vec<usize> {
    let mut modules: Vec<HMODULE> = vec![ptr::null_mut(); 1024];
    let mut needed_bytes = 0;
    loop {
        let size_bytes = size_of_val(modules.as_slice()) as u32;
        // SAFETY: a pseudo handle, and as much room as is said.
        let known = unsafe {
            K32EnumProcessModules(GetCurrentProcess(), modules.as_mut_ptr(), size_bytes, &raw mut needed_bytes)
        };
        if known == 0 {
            return Vec::new();
        }
        if needed_bytes <= size_bytes {
            modules.truncate(needed_bytes as usize / size_of::<HMODULE>());
            return modules.into_iter().map(|module| module as usize).collect();
        }
        modules.resize(modules.len() * 2, ptr::null_mut());
    }
}

/// Where the library lies that has `address`; `None` where none does.
pub(crate) fn library_of(address: u64) -> Option<Range<u64>> {
    modules().into_iter().find_map(|module| {
        // SAFETY: all-zero is valid.
        let mut found: MODULEINFO = unsafe { std::mem::zeroed() };
        let size_bytes = size_of::<MODULEINFO>() as u32;
        // SAFETY: as much room as is said; a module that is no more is an error.
        let known =
            unsafe { K32GetModuleInformation(GetCurrentProcess(), module as HMODULE, &raw mut found, size_bytes) };
        let begin = module as u64;
        let library = begin..begin.saturating_add(u64::from(found.SizeOfImage));
        (known != 0 && library.contains(&address)).then_some(library)
    })
}

/// What a system call's function takes at most, bytes: 24 for Windows 10's.
const SYSTEM_CALL_BYTES: u64 = 32;

/// The functions in which the locks and conditions of Windows wait, since Windows 8 and before. Those that are not there are empty.
pub(crate) fn lock_calls() -> [Range<u64>; 2] {
    // SAFETY: a name that ends in 0; the library is in every process.
    let library = unsafe { GetModuleHandleW(w!("ntdll.dll")) } as usize;
    [c"NtWaitForAlertByThreadId", c"NtWaitForKeyedEvent"].map(|name| match export(library, name) as u64 {
        0 => 0..0,
        begin => begin..begin.saturating_add(SYSTEM_CALL_BYTES),
    })
}
