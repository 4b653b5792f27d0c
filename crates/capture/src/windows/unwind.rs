//! The calls by which a thread that stands still came where it is, by the tables that Windows' compilers leave for that.

use std::ffi::c_void;
use std::ptr;

use interpreter::Memory;
use windows_sys::Win32::System::Diagnostics::Debug::{
    IMAGE_RUNTIME_FUNCTION_ENTRY, RtlLookupFunctionEntry, RtlVirtualUnwind, UNW_FLAG_CHAININFO, UNW_FLAG_NHANDLER,
};

use crate::safe_load::LiveMemory;
use crate::stand_still::Registers;
use crate::wait_site::{Caller, MAX_CALLERS};

/// A call, and what is known of the function that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) caller: Caller,
    /// Where the calling function begins; of one that is split, its first part. 0 where it has no entry in the tables.
    pub(crate) function: u64,
    /// Where the library begins that has the function, 0 likewise.
    pub(crate) library: u64,
}

/// The innermost calls of a thread with these registers, which stands still, and how many there are. Allocates nothing; looks functions up in
/// tables that a thread locks which loads a library, so it may not be in the middle of that.
pub(crate) fn calls(registers: &Registers) -> ([Call; MAX_CALLERS], usize) {
    let mut calls = [Call::default(); MAX_CALLERS];
    let mut caller = *registers;
    for (count, place) in calls.iter_mut().enumerate() {
        if !unwind(&mut caller) {
            return (calls, count);
        }
        let offset_bytes = caller.0.Rsp.wrapping_sub(8).wrapping_sub(registers.0.Rsp);
        let (function, library) = function_of(caller.0.Rip).unwrap_or_default();
        *place = Call { caller: Caller { offset_bytes, address: caller.0.Rip }, function, library };
    }
    (calls, MAX_CALLERS)
}

/// Makes of a function's registers those of its caller; `false` at the end of the stack.
fn unwind(registers: &mut Registers) -> bool {
    let context = &mut registers.0;
    let mut library = 0u64;
    // SAFETY: only asks.
    let function = unsafe { RtlLookupFunctionEntry(context.Rip, &raw mut library, ptr::null_mut()) };
    if function.is_null() {
        // A function that keeps nothing on the stack has no entry.
        let Ok(caller) = LiveMemory.read_u64(context.Rsp) else { return false };
        context.Rip = caller;
        context.Rsp = context.Rsp.wrapping_add(8);
    } else {
        let mut handler_data: *mut c_void = ptr::null_mut();
        let mut frame = 0u64;
        // SAFETY: registers of a thread that stands still in the function of that entry, so what they point to is its stack.
        unsafe {
            RtlVirtualUnwind(
                UNW_FLAG_NHANDLER,
                library,
                context.Rip,
                function,
                context,
                &raw mut handler_data,
                &raw mut frame,
                ptr::null_mut(),
            );
        }
    }
    context.Rip != 0
}

/// So many parts a function may be split in that lead to one another.
const MAX_PARTS: u32 = 8;

/// Where the function begins to which `return_address` leads, and where its library does.
fn function_of(return_address: u64) -> Option<(u64, u64)> {
    let mut library = 0u64;
    // The call may be the function's last instruction.
    let within = return_address.wrapping_sub(1);
    // SAFETY: only asks.
    let found = unsafe { RtlLookupFunctionEntry(within, &raw mut library, ptr::null_mut()) };
    let mut entry: *const IMAGE_RUNTIME_FUNCTION_ENTRY = found;
    for _ in 0..MAX_PARTS {
        if entry.is_null() {
            return None;
        }
        // SAFETY: entries are in the library, which stays; so is what they lead to: a byte with flags, and the third tells how many
        // codes of two bytes follow the fourth, padded to an even number; with this flag the entry of the part before follows them
        // (Microsoft's "x64 exception handling").
        unsafe {
            let begin = library.wrapping_add(u64::from((*entry).BeginAddress));
            let information = library.wrapping_add(u64::from((*entry).Anonymous.UnwindData)) as *const u8;
            if u32::from(*information >> 3) & UNW_FLAG_CHAININFO == 0 {
                return Some((begin, library));
            }
            let codes = usize::from(*information.add(2)).next_multiple_of(2);
            entry = information.add(4 + 2 * codes).cast();
        }
    }
    None
}
