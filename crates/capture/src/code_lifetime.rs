//! Being told of every code object's death before its memory goes.
//!
//! While a session runs, the deallocation slot of `PyCode_Type` holds our function: it retires the code object's names if
//! a sample may have named it, then calls the original. It is the one hook that exists alike from CPython 3.9 to 3.15, with
//! the GIL and without (code watchers came with 3.12, and extra slots need each code object to be touched first).

use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};

use crate::gate;
use crate::host::Host;
use crate::reserve;
use crate::retirement::retire;
use crate::safe_load::LiveMemory;

type Dealloc = unsafe extern "C" fn(*mut c_void);

/// What was in the slot before us; never null once installed, and kept after removal for callers that are still inside.
static ORIGINAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
/// Address of the slot, 0 while nothing is installed.
static SLOT: AtomicU64 = AtomicU64::new(0);

fn slot(address: u64) -> &'static AtomicPtr<c_void> {
    // SAFETY: `address` is `Host::code_dealloc_slot`: a pointer-sized, aligned field of a static type object that lives as
    // long as the process and that CPython itself only reads after start-up.
    unsafe { AtomicPtr::from_ptr(address as *mut *mut c_void) }
}

fn ours() -> *mut c_void {
    on_dealloc as *const () as *mut c_void
}

/// Puts our function into the slot.
pub(crate) fn install(host: &Host) {
    let address = host.code_dealloc_slot();
    let place = slot(address);
    let before = place.load(Ordering::SeqCst);
    // Ours may still be there when another library had hooked on top of us and came off since the last session.
    if before != ours() {
        ORIGINAL.store(before, Ordering::SeqCst);
        place.store(ours(), Ordering::SeqCst);
    }
    SLOT.store(address, Ordering::SeqCst);
}

/// Takes it out again if it is still ours; where somebody has hooked on top of us it stays and only passes on. Safe in a
/// fork's child.
pub(crate) fn uninstall() {
    let address = SLOT.swap(0, Ordering::SeqCst);
    if address != 0 {
        let original = ORIGINAL.load(Ordering::SeqCst);
        // A failed exchange means that it is no longer ours, and nothing is to be done.
        let _ = slot(address).compare_exchange(ours(), original, Ordering::SeqCst, Ordering::SeqCst);
    }
}

unsafe extern "C" fn on_dealloc(code: *mut c_void) {
    // Whoever called us has read the slot, by an ordinary load. With the store in `install`: what stands behind it is there
    // too. (aarch64 may read ahead of a branch whose target it has guessed.)
    fence(Ordering::Acquire);
    if let Some(shared) = gate::enter() {
        if reserve::has_run_out() {
            // Nothing is named any more, but the collector may just be reading this code object for the last time.
            drop(shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        } else {
            retire(&shared.ring, &shared.filter, &shared.symbols, &LiveMemory, code as u64);
        }
    }
    let original = ORIGINAL.load(Ordering::SeqCst);
    // SAFETY: `install` stored the slot's former content before it put us there: CPython's own deallocator, or that of
    // whoever hooked before us, which takes the object we were given.
    unsafe {
        let original: Dealloc = std::mem::transmute(original);
        original(code);
    }
}
