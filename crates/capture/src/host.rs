//! The interpreter that this process runs: where its structures and the two functions we may call are.

use std::ffi::{CStr, c_void};
use std::fmt;

#[cfg(target_os = "linux")]
use interpreter::Memory;
use interpreter::{Identity, Layout, LayoutError};

use crate::platform::{self, Tid};
#[cfg(target_os = "linux")]
use crate::pthread;
use crate::safe_load::LiveMemory;
use crate::session::with_faults_caught;

/// `PyTypeObject.tp_dealloc` follows `tp_name`, `tp_basicsize` and `tp_itemsize` (CPython 3.9–3.15,
/// `Include/cpython/object.h`).
const TP_DEALLOC_AFTER_TP_NAME_BYTES: u64 = 24;

/// What of `_PyEval_EvalFrameDefault` may run before a call of the interpreter has linked its first frame. The furthest such
/// store of the builds of 3.11 to 3.15 at hand (gcc and clang, with and without the GIL) begins 141 bytes in; of those for
/// Windows (MSVC) it ends 247 bytes in for 3.11.9, 202 for 3.12.9, 223 for 3.13.2.
const ENTERING_BYTES: u64 = if cfg!(windows) { 320 } else { 256 };

/// Both functions take nothing and return a `PyThreadState *` or null.
type ThreadStateFunction = unsafe extern "C" fn() -> *mut c_void;

/// What the profiler knows of the interpreter. Made once; plain data after that.
#[derive(Clone, Copy)]
pub struct Host {
    /// The structure offsets of this very build.
    pub layout: Layout,
    /// Address of `_PyRuntime`.
    pub runtime_address: u64,
    /// Address of `PyCode_Type`.
    pub code_type: u64,
    get_this_thread_state: ThreadStateFunction,
    get_unchecked: ThreadStateFunction,
    /// `_PyEval_EvalFrameDefault`.
    eval_frame: u64,
    /// It must not be interrupted by a walk while it is being entered.
    has_unsafe_entry: bool,
    /// Where a `pthread_t` points, the kernel's id of the thread stands at this offset (3.9 and 3.10 keep no native id).
    #[cfg(target_os = "linux")]
    tid_offset_bytes: Option<u64>,
}

/// Why this interpreter cannot be profiled; one sentence.
#[derive(Debug)]
pub enum HostError {
    /// A symbol that every supported CPython exports is missing.
    MissingSymbol(&'static str),
    /// The layout is unknown or does not check out.
    Layout(LayoutError),
    /// Up to 3.10 the interpreter does not know its threads' native ids, and this C library does not show where it has them.
    #[cfg(target_os = "linux")]
    NoThreadIds,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingSymbol(name) => write!(
                f,
                "this interpreter does not export {name}, which every CPython does; run spprof on an unmodified CPython 3.9 to 3.15"
            ),
            Self::Layout(error) => error.fmt(f),
            #[cfg(target_os = "linux")]
            Self::NoThreadIds => f.write_str(
                "CPython up to 3.10 keeps no native thread ids, and where this C library keeps them was not found; use CPython 3.11 or later"
            ),
        }
    }
}

impl std::error::Error for HostError {}

fn symbol(name: &'static CStr) -> Result<u64, HostError> {
    let address = platform::symbol(name);
    if address.is_null() {
        Err(HostError::MissingSymbol(name.to_str().unwrap_or("a symbol")))
    } else {
        Ok(address as u64)
    }
}

impl Host {
    /// Looks the interpreter up. Nothing is called and nothing changed.
    ///
    /// # Errors
    /// [`HostError`] when the interpreter is not one that is known to the byte.
    pub fn find(identity: &Identity) -> Result<Self, HostError> {
        // What is looked at is not known to be what it should be until it has been looked at.
        with_faults_caught(|| Self::find_unguarded(identity))
    }

    fn find_unguarded(identity: &Identity) -> Result<Self, HostError> {
        let runtime_address = symbol(c"_PyRuntime")?;
        let layout = Layout::detect(identity, &LiveMemory, runtime_address).map_err(HostError::Layout)?;
        let eval_frame = symbol(c"_PyEval_EvalFrameDefault")?;
        let this_thread = symbol(c"PyGILState_GetThisThreadState")?;
        let unchecked = symbol(c"_PyThreadState_UncheckedGet").or_else(|_| symbol(c"PyThreadState_GetUnchecked"))?;
        Ok(Self {
            layout,
            runtime_address,
            code_type: symbol(c"PyCode_Type")?,
            // SAFETY: the exported function of that name has this signature in CPython 3.9–3.15
            // (`Include/pystate.h`, `Include/cpython/pystate.h`).
            get_this_thread_state: unsafe { std::mem::transmute::<usize, ThreadStateFunction>(this_thread as usize) },
            // SAFETY: as above.
            get_unchecked: unsafe { std::mem::transmute::<usize, ThreadStateFunction>(unchecked as usize) },
            eval_frame,
            // Up to 3.10 a frame is linked before it becomes the innermost (`Objects/frameobject.c`, `_PyFrame_New_NoTrack`).
            has_unsafe_entry: identity.version() >= (3, 11),
            #[cfg(target_os = "linux")]
            tid_offset_bytes: match layout.thread_state.native_thread_id {
                Some(_) => None,
                None => Some(pthread::find_tid_offset_bytes().ok_or(HostError::NoThreadIds)?),
            },
        })
    }

    /// An interpreter that is not there.
    #[cfg(all(test, feature = "inject-faults"))]
    pub(crate) fn of_test(
        layout: Layout,
        runtime_address: u64,
        code_type: u64,
        get_this_thread_state: ThreadStateFunction,
        get_unchecked: ThreadStateFunction,
    ) -> Self {
        Self {
            layout,
            runtime_address,
            code_type,
            get_this_thread_state,
            get_unchecked,
            eval_frame: 0,
            has_unsafe_entry: false,
            #[cfg(target_os = "linux")]
            tid_offset_bytes: None,
        }
    }

    /// The calling thread's state whether it holds the GIL or not, 0 where it has none; handler-safe.
    ///
    /// `PyGILState_GetThisThreadState` reads a thread-specific value that CPython made at start-up.
    pub(crate) fn this_thread_state(&self) -> u64 {
        // SAFETY: the function reads one thread-specific value; it takes no lock and needs no GIL.
        unsafe { (self.get_this_thread_state)() as u64 }
    }

    /// The state of the calling thread, which holds the GIL.
    pub fn own_thread_state(&self) -> u64 {
        self.unchecked_thread_state()
    }

    /// To 3.11 the thread state that holds the GIL, of whichever thread; from 3.12 the calling thread's if it is attached
    /// to an interpreter, else 0. Handler-safe.
    pub(crate) fn unchecked_thread_state(&self) -> u64 {
        // SAFETY: the function reads one variable; it takes no lock and needs no GIL.
        unsafe { (self.get_unchecked)() as u64 }
    }

    /// Whether a thread that is at `program_counter` enters the interpreter anew and may not have linked its first frame yet:
    /// what stands in the place of the links is then what was on the stack before.
    pub(crate) fn is_entering_interpreter(&self, program_counter: u64) -> bool {
        self.has_unsafe_entry && program_counter.wrapping_sub(self.eval_frame) < ENTERING_BYTES
    }

    /// Address of the deallocation slot of code objects.
    pub(crate) fn code_dealloc_slot(&self) -> u64 {
        self.code_type + u64::from(self.layout.type_object.tp_name) + TP_DEALLOC_AFTER_TP_NAME_BYTES
    }

    /// The system's id of the thread whose `pthread_t` is `pthread`: the library says.
    #[cfg(target_os = "macos")]
    pub(crate) fn tid_of_pthread(&self, pthread: u64) -> Option<Tid> {
        platform::tid_of_pthread(pthread)
    }

    /// Windows knows a thread by one id, and the interpreter has it.
    #[cfg(windows)]
    pub(crate) fn tid_of_pthread(&self, _pthread: u64) -> Option<Tid> {
        None
    }

    /// The kernel's id of the thread whose `pthread_t` is `pthread`, where the C library's layout is known.
    #[cfg(target_os = "linux")]
    pub(crate) fn tid_of_pthread(&self, pthread: u64) -> Option<Tid> {
        let tid = LiveMemory.read_u32(pthread.checked_add(self.tid_offset_bytes?)?).ok()?;
        Tid::try_from(tid).ok().filter(|tid| *tid > 0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("runtime_address", &self.runtime_address).finish_non_exhaustive()
    }
}
